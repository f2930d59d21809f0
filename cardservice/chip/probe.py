# SPDX-License-Identifier: EUPL-1.2
"""What the card in the reader is, and what it could prove: an answer for whoever holds an unknown card.

It needs no key and proves nothing: everything here is the card's own claim.
"""

from dataclasses import dataclass, field
from enum import Enum, unique

from cardservice.chip import open_reading as places
from cardservice.chip.conversation import Conversation
from cardservice.chip.desfire_formats import ChipVersion, Family
from cardservice.chip.layout import CardUse
from cardservice.chip.open_reading import OpenReading, Place, read_openly
from cardservice.chip.privacy_scan import has_random_uid


@unique
class ReachableLevel(Enum):
    """The highest level of assurance that a card could reach here; the values are those of the access model."""

    NONE = "none"
    """Nothing about it is both stable and readable without a key."""
    UID = "uid"
    """Its UID, which anybody can copy: refused unless an exception with an end date exists."""
    CARD = "card"
    """A proof by a key that only the card holds, once the key or the certificate's issuer is known here."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a card has claimed.

    Attributes:
        version: the chip, None when it speaks no DESFire.
        has_piv: whether it holds a PIV application that this interface reaches.
        has_card_authentication: whether that shows a card authentication certificate.
        uses: whose applications of our layout it holds.
        random_uid: whether its UID is random, None when the reader gave none.
        uid: the UID as the reader gave it; not in the repr.
        level: the highest level it could reach.
    """

    version: ChipVersion | None
    has_piv: bool
    has_card_authentication: bool
    uses: tuple[CardUse, ...]
    random_uid: bool | None
    uid: bytes | None = field(repr=False)
    level: ReachableLevel

    @property
    def family(self) -> Family | None:
        """Which DESFire it is, None when it is none."""
        return None if self.version is None else self.version.family

    @property
    def can_be_personalised(self) -> bool:
        """Whether the chip has what our layout needs; whether its keys are known is another question."""
        return self.version is not None and self.version.has_key_sets


def probe() -> Conversation[Probe]:
    """Asks a card what it is, without any key.

    Raises:
        CardGone: the card left.
    """
    return conclude((yield from read_openly()))


def conclude(reading: OpenReading) -> Probe:
    """What one keyless reading says about a card."""
    has_certificate = Place(places.PIV_CERTIFICATE) in reading.values
    random_uid = has_random_uid(reading)
    if reading.selectable or has_certificate:
        level = ReachableLevel.CARD
    else:
        level = ReachableLevel.UID if random_uid is False else ReachableLevel.NONE
    return Probe(
        version=_version_of(reading),
        has_piv=Place(places.PIV_TEMPLATE) in reading.values,
        has_card_authentication=has_certificate,
        uses=reading.selectable,
        random_uid=random_uid,
        uid=reading.values.get(Place(places.UID)),
        level=level,
    )


def _version_of(reading: OpenReading) -> ChipVersion | None:
    names = (places.VERSION_HARDWARE, places.VERSION_SOFTWARE, places.VERSION_UID, places.VERSION_PRODUCTION)
    parts = [reading.values.get(Place(name), b"") for name in names]
    if [len(part) for part in parts[:3]] != [7, 7, 7]:
        return None
    return ChipVersion(*parts)
