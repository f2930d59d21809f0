# SPDX-License-Identifier: EUPL-1.2
"""What a DESFire holds: keys, files and applications."""

from dataclasses import dataclass, field
from enum import IntEnum

AID_LENGTH = 3
KEY_LENGTH = 16
FREE = 0xE
NEVER = 0xF
FREE_LISTING = 0x02
"""Key settings bit 1: directory and settings are readable without the master key."""


class CommunicationMode(IntEnum):
    """How data of a file travel."""

    PLAIN = 0
    MAC = 1
    FULL = 3


@dataclass(frozen=True)
class AesKey:
    """One AES-128 key; ``value`` has 16 bytes."""

    value: bytes = field(repr=False)
    version: int = 0

    def __post_init__(self) -> None:
        if len(self.value) != KEY_LENGTH:
            raise ValueError(f"an AES-128 key has 16 bytes, got {len(self.value)}")


@dataclass(frozen=True)
class AccessRights:
    """Key numbers that may read, write, do both, and change the settings; E is free, F is never."""

    read: int
    write: int
    read_write: int
    change: int

    def encode(self) -> bytes:
        """The two bytes of GetFileSettings, LSB first."""
        number = self.read << 12 | self.write << 8 | self.read_write << 4 | self.change
        return number.to_bytes(2, "little")


@dataclass
class StandardFile:
    """A standard data file of fixed size."""

    number: int
    content: bytearray = field(repr=False)
    mode: CommunicationMode
    rights: AccessRights

    def settings(self) -> bytes:
        """Answer of GetFileSettings: type 00, mode, rights, size (3, LSB first)."""
        return bytes([0x00, self.mode]) + self.rights.encode() + len(self.content).to_bytes(3, "little")


@dataclass
class Application:
    """An application with its keys and files; the AID is kept as sent (LSB first).

    The PICC level is an application with AID 000000, one key and no file.
    """

    aid: bytes
    keys: list[AesKey]
    files: dict[int, StandardFile] = field(default_factory=dict)
    key_settings: int = 0x0B

    def __post_init__(self) -> None:
        if len(self.aid) != AID_LENGTH:
            raise ValueError(f"an AID has 3 bytes, got {len(self.aid)}")
        if not 1 <= len(self.keys) <= 14:
            raise ValueError(f"an application has 1 to 14 keys, got {len(self.keys)}")

    @property
    def is_picc_level(self) -> bool:
        """Whether this is the card itself."""
        return self.aid == bytes(AID_LENGTH)
