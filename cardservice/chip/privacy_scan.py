# SPDX-License-Identifier: EUPL-1.2
"""Which bytes a card tells to every reader twice alike: by those it could be followed.

Two readings by `open_reading.read_openly`, each of its own activation, are compared byte by byte. What names the type
of the chip is left out. The rest is told apart by whom it could tell: every card of the city, a group of them, or one.
"""

from dataclasses import dataclass, field
from enum import Enum, unique
from itertools import groupby
from typing import Final

from cardservice.chip import open_reading as places
from cardservice.chip.desfire_layout import (
    APPLICATION_KEY_SETTINGS,
    NUMBER_FILE,
    PICC_KEY_SETTINGS,
    application_of,
)
from cardservice.chip.layout import CardUse
from cardservice.chip.open_reading import OpenReading, Place

MAX_FINDINGS: Final = 512

_CHIP: Final = frozenset({places.ATS, places.VERSION_HARDWARE, places.VERSION_SOFTWARE, places.DESFIRE_NAME})
_GROUPS: Final = frozenset(
    {
        places.VERSION_PRODUCTION,
        places.FREE_MEMORY,
        places.APPLICATION_LIST,
        places.KEY_SET_VERSIONS,
        places.KEY_SETTINGS,
    }
)
_EVERY_PIV: Final = frozenset({places.PIV_TEMPLATE})
_RANDOM_UID_BYTES: Final = 4
_RANDOM_UID_FIRST: Final = frozenset({0x08, 0x80})


@unique
class Tells(Enum):
    """Whom a stable byte could tell. The values are stable."""

    EVERY_CARD = "every_card"
    """The same on every card of this layout: it tells that somebody has one."""
    SOME_CARDS = "some_cards"
    """The same on many cards: a production batch, a profile, a generation of keys."""
    ONE_CARD = "one_card"
    """It may be the same on this card alone: the card could be followed by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A run of bytes that were the same in both readings.

    Attributes:
        place: where they were read.
        offset: at which byte of what was read there.
        value: the bytes; not in the repr.
        tells: whom they could tell.
    """

    place: Place
    offset: int
    value: bytes = field(repr=False)
    tells: Tells


def compare(first: OpenReading, second: OpenReading) -> tuple[Finding, ...]:
    """The stable bytes beyond the chip's type, in the order in which they were read; at most 512 runs."""
    findings = []
    for place, before in first.values.items():
        after = second.values.get(place)
        if after is None or place.name in _CHIP:
            continue
        if place.name == places.UID:
            findings += _compare_uid(place, before, after)
        else:
            findings += _compare_bytes(place, before, after)
    return tuple(findings[:MAX_FINDINGS])


def can_be_followed(findings: tuple[Finding, ...]) -> bool:
    """Whether a byte was found that may tell this card from all others."""
    return any(finding.tells is Tells.ONE_CARD for finding in findings)


def _compare_uid(place: Place, before: bytes, after: bytes) -> list[Finding]:
    """A UID is stable as a whole or not at all; single bytes of random ones are alike now and then."""
    if before != after:
        return []
    return [Finding(place, 0, before, Tells.ONE_CARD)]


def _compare_bytes(place: Place, before: bytes, after: bytes) -> list[Finding]:
    if before == after:
        return [Finding(place, 0, before, _tells(place, before))]
    same = [(i, a) for i, (a, b) in enumerate(zip(before, after, strict=False)) if a == b]
    runs = (list(run) for _, run in groupby(enumerate(same), key=lambda numbered: numbered[1][0] - numbered[0]))
    found = []
    for run in runs:
        value = bytes(byte for _, (_, byte) in run)
        found.append(Finding(place, run[0][1][0], value, _tells(place, value)))
    return found


def _tells(place: Place, value: bytes) -> Tells:
    if not any(value) or place.name in _EVERY_PIV or value == _of_layout(place):
        return Tells.EVERY_CARD
    if place.name == places.APPLICATION_LIST:
        ours = {use.aid for use in CardUse}
        listed = {value[i : i + 3] for i in range(0, len(value), 3)}
        return Tells.SOME_CARDS if listed <= ours else Tells.ONE_CARD
    if place.aid is not None and place.aid not in {use.aid for use in CardUse}:
        return Tells.ONE_CARD
    return Tells.SOME_CARDS if place.name in _GROUPS else Tells.ONE_CARD


def _of_layout(place: Place) -> bytes | None:
    """What `docs/card-layout.md` fixes for every card at this place, None where it fixes nothing."""
    if place.name == places.PICC_KEY_SETTINGS:
        return bytes((PICC_KEY_SETTINGS, 0x81))
    if place.name == places.KEY_SETTINGS and place.aid is not None:
        return bytes((APPLICATION_KEY_SETTINGS, bytes(application_of(CardUse.DOOR, 1))[4]))
    if place.name == places.FILES:
        return bytes((NUMBER_FILE.file_no,))
    if place.name == places.FILE_SETTINGS and place.number == NUMBER_FILE.file_no:
        size = NUMBER_FILE.size_bytes.to_bytes(3, "little")
        return bytes((0x00, NUMBER_FILE.mode)) + bytes(NUMBER_FILE.rights) + size
    return None


def has_random_uid(reading: OpenReading) -> bool | None:
    """Whether the UID looks random: 4 bytes that begin with 08 (or 80); None where the reader gave none."""
    uid = reading.values.get(Place(places.UID))
    if uid is None:
        return None
    return len(uid) == _RANDOM_UID_BYTES and uid[0] in _RANDOM_UID_FIRST
