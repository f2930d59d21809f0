# SPDX-License-Identifier: EUPL-1.2
"""What a fresh PIV card is to become, and what differs between makers (`docs/card-layout.md`)."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol, TypeAlias

from cardservice.chip.conversation import Conversation
from cardservice.chip.errors import CardUnfit, UnfitCause
from cardservice.chip.piv_formats import Chuid, ObjectId, ReferenceData, Slot, capability_container
from cardservice.chip.piv_keys import Algorithm, PublicKey
from cardservice.chip.piv_management import ManagementKey
from cardservice.chip.piv_session import PivSession

# 9C wants the PIN for every single use, and 9D signs no request: neither is made here.
_SLOTS: Final = frozenset({Slot.AUTHENTICATION, Slot.CARD_AUTHENTICATION})

ToBeSigned: TypeAlias = Callable[[Slot, PublicKey], bytes]
"""What a new key signs: the CertificationRequestInfo (RFC 2986 §4.1) about it."""
WhyForbidden: TypeAlias = Callable[[bytes], str | None]
"""Why the bytes of a key must not be used; None if nothing speaks against them."""


class CardFamily(Protocol):
    """What makers do each in their own way, because SP 800-73 leaves it to them."""

    def set_management_key(self, session: PivSession, key: ManagementKey) -> Conversation[None]:
        """Replaces the management key that the session has proved; raises `CardUnfit` where there is no way."""
        ...


class StandardFamily:
    """Cards that do what SP 800-73 says and nothing else: it has no command for a new management key."""

    def set_management_key(self, _session: PivSession, _key: ManagementKey) -> Conversation[None]:
        """See `CardFamily.set_management_key`."""
        yield from ()
        raise CardUnfit(UnfitCause.KEY, "this family has no command for it: the maker has to set the management key")


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One key that the card is to make."""

    slot: Slot
    algorithm: Algorithm


OUR_KEYS: Final = (
    KeyPlan(Slot.CARD_AUTHENTICATION, Algorithm.ECC_P256),
    KeyPlan(Slot.AUTHENTICATION, Algorithm.RSA_3072),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The secrets that a card has when its maker delivers it; none of them is in the repr.

    Attributes:
        pin: its PIN.
        puk: its PUK.
        management: its management key; None where the maker has already set the planned one.
    """

    pin: ReferenceData
    puk: ReferenceData
    management: ManagementKey | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PivPlan:
    """What a card is to become. Everything secret in it is stored before the first command.

    Attributes:
        card_uuid: the GUID of its CHUID; not in the repr.
        expires: its last day.
        management: its own management key.
        pin: its own PIN; another than that of the delivery.
        puk: its own PUK; another than that of the delivery.
        delivery: what it has until then.
        why_forbidden: asked about the management key before the first command, and again at the end.
        family: what its maker does in a way of its own.
        keys: what it is to make, in 9A and 9E; each slot once, at least one.
    """

    card_uuid: uuid.UUID = field(repr=False)
    expires: date
    management: ManagementKey = field(repr=False)
    pin: ReferenceData
    puk: ReferenceData
    delivery: Delivery
    why_forbidden: WhyForbidden
    family: CardFamily = field(default_factory=StandardFamily)
    keys: tuple[KeyPlan, ...] = OUR_KEYS

    def __post_init__(self) -> None:
        slots = [key.slot for key in self.keys]
        if not slots or len(set(slots)) != len(slots) or not set(slots) <= _SLOTS:
            raise ValueError("a card makes at least one key, each slot once, of 9A and 9E")
        if self.pin == self.delivery.pin or self.puk == self.delivery.puk:
            raise ValueError("a card keeps neither the PIN nor the PUK of its delivery")

    def objects(self) -> tuple[tuple[ObjectId, bytes], ...]:
        """The data objects that say which card it is."""
        return (
            (ObjectId.CHUID, bytes(Chuid(self.card_uuid, self.expires))),
            (ObjectId.CAPABILITIES, capability_container(self.card_uuid)),
        )


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key that the card has made.

    Attributes:
        slot: where it is.
        public_key: its public half.
        signature: its own over what `ToBeSigned` gave; checked.
    """

    slot: Slot
    public_key: PublicKey
    signature: bytes = field(repr=False)
