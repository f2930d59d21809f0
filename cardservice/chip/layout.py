# SPDX-License-Identifier: EUPL-1.2
"""What our DESFire cards hold, as `docs/card-layout.md` fixes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final

from cardservice.chip.errors import LayoutUnknown

NUMBER_BYTES: Final = 12
NUMBER_FILE_NO: Final = 1
NUMBER_FILE_BYTES: Final = 14
SYSTEM_ID_MAX_BYTES: Final = 16

KEY_APPLICATION_MASTER: Final = 0
KEY_PROOF: Final = 1
KEY_LOCATE: Final = 2

_LAYOUT: Final = 0x01


@unique
class CardUse(Enum):
    """A place of use; each has its own application, number and keys, so that uses cannot be linked."""

    DOOR = "door"
    TIME_CLOCK = "timeclock"
    PRINTER = "printer"
    CANTEEN = "canteen"
    OFFLINE_CYLINDER = "offline_cylinder"

    @property
    def aid(self) -> bytes:
        """The DESFire application identifier as sent: 3 bytes, least significant first."""
        return _AIDS[self]


_AIDS: Final[Mapping[CardUse, bytes]] = {
    CardUse.DOOR: bytes.fromhex("01C1F5"),
    CardUse.TIME_CLOCK: bytes.fromhex("02C1F5"),
    CardUse.PRINTER: bytes.fromhex("03C1F5"),
    CardUse.CANTEEN: bytes.fromhex("04C1F5"),
    CardUse.OFFLINE_CYLINDER: bytes.fromhex("05C1F5"),
}


@dataclass(frozen=True, slots=True)
class NumberFile:
    """The content of file 1: layout (1) ‖ generation (1) ‖ number (12).

    Attributes:
        generation: generation of the application's keys 0 and 1, 1 to 255.
        number: the card's random number for this one use, 12 bytes; not in the repr, for it identifies a card.
    """

    generation: int
    number: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.generation <= 0xFF or len(self.number) != NUMBER_BYTES:
            raise ValueError(f"a generation is 1 to 255, a number {NUMBER_BYTES} bytes")

    def __bytes__(self) -> bytes:
        return bytes((_LAYOUT, self.generation)) + self.number

    @classmethod
    def from_bytes(cls, content: bytes) -> "NumberFile":
        """Reads the file; raises `LayoutUnknown` for another length, another layout or generation 0."""
        if len(content) != NUMBER_FILE_BYTES:
            raise LayoutUnknown("number file", f"{len(content)} bytes, {NUMBER_FILE_BYTES} are expected")
        layout, generation = content[0], content[1]
        if layout != _LAYOUT:
            raise LayoutUnknown("number file", f"layout {layout:02X}, only {_LAYOUT:02X} is known")
        if generation == 0:
            raise LayoutUnknown("number file", "generation 00, allowed are 01 to FF")
        return cls(generation, content[2:])


def diversification_input(number: bytes, use: CardUse, system_id: bytes) -> bytes:
    """M for AN10922: number (12) ‖ AID as sent (3) ‖ system id (1 to 16); raises `ValueError` for other lengths."""
    if len(number) != NUMBER_BYTES:
        raise ValueError(f"a number has {NUMBER_BYTES} bytes, not {len(number)}")
    if not 1 <= len(system_id) <= SYSTEM_ID_MAX_BYTES:
        raise ValueError(f"a system id has 1 to {SYSTEM_ID_MAX_BYTES} bytes, not {len(system_id)}")
    return number + use.aid + system_id
