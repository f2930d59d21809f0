# SPDX-License-Identifier: EUPL-1.2
"""The deck of bad cards: what an attack on a door of a city can look like, and what has to be answered to it.

A card is described as a deck describes it (`cardsim.deck`), made from the keys and the authority of a `Town`. Wherever
it can be, the card stands on record as the valid card of somebody who may enter: nothing but what is wrong with it
keeps the door shut. Reasons and details are codes of docs/bad-cards.md.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cardsim.certificates import Issuer, Order, card_authentication_slot, certificate_pem, key_pem
from cardsim.errors import PersonalisationError
from cardsim.personalise import NUMBER_LENGTH, CardKeys, UseKeys, derive_card_keys
from cardsim.piv_keys import PivSlot

DOOR = "door"
VICTIM = "victim"
"""The good card that thieves and cloners have had in their hands."""
UNKNOWN_KEY = bytes.fromhex("5B1D7C0EA9F24638B1C0D27E6F9A3345")
"""A key that is nobody's: what a counterfeiter guesses."""
PIN, PUK = "123456", "12345678"
MAX_NAME_LENGTH = 60

Description = dict[str, Any]


@dataclass(frozen=True)
class UseMasters:
    """The keys of one use, as the issuer of the cards has them."""

    aid_as_sent: bytes
    application_master: bytes = field(repr=False)
    proof_master: bytes = field(repr=False)
    locate_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Town:
    """Who issues the cards: its system id, keys of generation 1 by use, its authority for PIV, and what day it is."""

    system_id: bytes
    uses: Mapping[str, UseMasters]
    authority: Issuer
    today: datetime


Maker = Callable[[Town, str], Description]
"""Makes a card of this name from a town's keys: its parts of a deck's description."""


@dataclass(frozen=True)
class OnRecord:
    """What the city has on record under the card's own numbers.

    Args:
        state: the card's state of docs/cards.md.
        state_reason: of a suspended or revoked card.
        holder: "entitled" may enter; "blocked", "left", "disabled", "expired", "without_grant", or "nobody".
        valid: "now", "not_yet" or "no_more", by the card's own dates.
        revoked_serial: the serial number of a certificate of this card that was revoked, though the card is in use.
    """

    state: str = "active"
    state_reason: str | None = None
    holder: str = "entitled"
    valid: str = "now"
    revoked_serial: int | None = None


@dataclass(frozen=True)
class BadCard:
    """One card of the deck.

    Args:
        name: what it is called, in ASCII.
        threat: what somebody gains if the door opens to it.
        made: how it is made.
        reason: the reason code for the holder.
        detail: the detail code for the administrator.
        describe: its parts of a deck's description.
        on_record: None where the city has never heard of its numbers.
        piv: whether it is a PIV card: it needs a point that accepts them.
    """

    name: str
    threat: str
    made: str
    reason: str
    detail: str
    describe: Maker = field(repr=False)
    on_record: OnRecord | None = OnRecord()
    piv: bool = False

    def description(self, town: Town) -> Description:
        """The card as a deck holds it."""
        return {"card_id": self.name, "label": self.made[:MAX_NAME_LENGTH], **self.describe(town, self.name)}


def number_of(name: str, use: str = DOOR) -> bytes:
    """The number of one use of a card of this name, 12 bytes."""
    return _derived(f"number {name} {use}")[:NUMBER_LENGTH]


def uuid_of(name: str) -> UUID:
    """The UUID (RFC 9562, version 4) of a card of this name."""
    return UUID(bytes=_derived(f"uuid {name}")[:16], version=4)


def use_with(town: Town, number: bytes, use: str = DOOR, **more: object) -> Description:
    """One use of a card as its issuer makes it; ``more`` replaces members."""
    masters = town.uses[use]
    return {
        "aid_as_sent": masters.aid_as_sent.hex(),
        "application_master": masters.application_master.hex(),
        "proof_master": masters.proof_master.hex(),
        "locate_key": masters.locate_key.hex(),
        "generation": 1,
        "number": number.hex(),
        **more,
    }


def keys_of(town: Town, number: bytes, use: str = DOOR) -> CardKeys:
    """The keys a card with this number holds for one use."""
    masters = town.uses[use]
    return derive_card_keys(
        town.system_id,
        UseKeys(masters.aid_as_sent, masters.application_master, masters.proof_master, masters.locate_key, 1, number),
    )


def held_keys(keys: CardKeys, **more: object) -> Description:
    """One use with the keys as the card holds them; ``more`` replaces members."""
    return {
        "aid_as_sent": keys.aid_as_sent.hex(),
        "application_key": keys.application_key.hex(),
        "proof_key": keys.proof_key.hex(),
        "locate_key": keys.locate_key.hex(),
        "generation": keys.generation,
        "number": keys.number.hex(),
        **more,
    }


def desfire_with_uses(town: Town, *uses: Description, **more: object) -> Description:
    """A DESFire with these uses."""
    return {"desfire": {"system_id": town.system_id.hex(), "uses": list(uses), **more}}


def issued(town: Town, name: str) -> Description:
    """A DESFire as the city issues it."""
    return desfire_with_uses(town, *(use_with(town, number_of(name, use), use) for use in town.uses))


def disturbed(kind: str, **members: object) -> Maker:
    """A DESFire as the city issues it, with a fault of a deck."""

    def describe(town: Town, name: str) -> Description:
        return {**issued(town, name), "fault": {"kind": kind, **members}}

    return describe


def order_of(town: Town) -> Order:
    """How the city orders a certificate of 9E today."""
    return Order(town.authority, town.today)


def piv_with(card_uuid: UUID, slot: PivSlot, **more: object) -> Description:
    """A card with PIV on the air interface, its key of 9E in ``slot``."""
    material = {"key": key_pem(slot), "certificate": certificate_pem(slot)}
    piv = {"card_uuid": str(card_uuid), "pin": PIN, "puk": PUK, "slots": {"9E": material}, **more}
    return {"piv": piv, "piv_contactless": True}


def issued_piv(town: Town, name: str, **more: object) -> Description:
    """A PIV card as the city issues it to guests."""
    card_uuid = uuid_of(name)
    return piv_with(card_uuid, card_authentication_slot(order_of(town), card_uuid), **more)


def good_card(town: Town, name: str) -> Description:
    """A card that has to open."""
    return {"card_id": name, "label": "A good card", **issued(town, name)}


def good_piv_card(town: Town, name: str) -> Description:
    """A PIV card that has to open."""
    return {"card_id": name, "label": "A good PIV card", **issued_piv(town, name)}


def unique(cards: tuple[BadCard, ...]) -> tuple[BadCard, ...]:
    """The cards, once their names are known to differ.

    Raises:
        PersonalisationError: if two have one name.
    """
    names = [card.name for card in cards]
    for name in names:
        if names.count(name) > 1:
            raise PersonalisationError(f"two bad cards are named {name}")
    return cards


def _derived(label: str) -> bytes:
    return hashlib.sha256(b"deck of bad cards; published; never for real cards\0" + label.encode()).digest()
