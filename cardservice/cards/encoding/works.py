# SPDX-License-Identifier: EUPL-1.2
"""The work on a card, of the conversations of the card language and the keys of one card. Knows no store.

Whatever is written was stored before by `service`. Every work can end at any command and is begun again from the start.
"""

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from cardservice.cards.encoding.ports import CardInReader, EncodingKeys
from cardservice.cards.ports import KeyName
from cardservice.chip.conversation import MAX_EXCHANGES, Conversation
from cardservice.chip.desfire_card import PICC_KEY_NO, CardLevel
from cardservice.chip.desfire_layout import Progress, UseKeySet
from cardservice.chip.desfire_personalise import ApplicationPlan, CardPlan
from cardservice.chip.desfire_rollover import RolloverPlan, finish_rollover, prepare_rollover, replace_keys
from cardservice.chip.errors import CardGone, CardUnfit, ProtocolError, StatusError, UnfitCause
from cardservice.chip.keys import WritableKey
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import UseKeys
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.randomness import random_bytes

T = TypeVar("T")
_CHIP_BYTES: Final = 16
_CHIP_PURPOSE: Final = "encoding chip"
_NOBODY: Final = CardAuthTrust(())


class Application(NamedTuple):
    """What is on a card for one use, or is to be; `following` is a generation that is being put in force."""

    use: str
    number: bytes
    generation: int
    following: int | None = None


@dataclass(frozen=True, slots=True)
class Badge:
    """From what the card level's key comes; the number is not in the repr."""

    number: bytes = field(repr=False)
    generation: int
    former: int | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a card shows before anything is written.

    Attributes:
        chip: by what it is known again while it is encoded, None where it hides its identifier.
        ours: whether its card level opens with the key of this badge.
        foreign: how many applications that are not ours it lists.
    """

    chip: bytes | None = field(repr=False)
    ours: bool
    foreign: int


def converse(conversation: Conversation[T], card: CardInReader) -> T:
    """Run a conversation against a card on an encoder and return its result. Blocks.

    Raises:
        ChipError: what the conversation raises, CardGone among it, or ProtocolError after 256 exchanges.
    """
    try:
        commands = next(conversation)
        for _ in range(MAX_EXCHANGES):
            responses = card.exchange(commands)
            if len(responses) < len(commands):
                commands = conversation.throw(CardGone("the card left during the conversation"))
            else:
                commands = conversation.send(responses)
    except StopIteration as finished:
        result: T = finished.value
        return result
    finally:
        conversation.close()
    raise ProtocolError("conversation", f"not finished after {MAX_EXCHANGES} exchanges")


def look(picc: WritableKey, secret: bytes) -> Conversation[Looked]:
    """Looks at a card without writing anything: which chip, whether its card level is this badge's, what is on it.

    Raises:
        ApplicationNotFound: it speaks no DESFire.
        CardGone, ProtocolError, StatusError: as every conversation.
    """
    level = yield from CardLevel.select()
    version = yield from level.get_version()
    listed = yield from _listed(level)
    level = yield from CardLevel.select()
    ours = yield from _opens(level, picc)
    chip = chip_of(version.uid, secret) if any(version.uid) else None
    known = {use.aid for use in CardUse}
    return Looked(chip, ours, len([aid for aid in listed if aid not in known]))


def chip_of(uid: bytes, secret: bytes) -> bytes:
    """Return by what a chip is known again, 16 bytes: nobody without the secret learns its identifier from it."""
    return hmac.digest(secret, uid, "sha256")[:_CHIP_BYTES]


def _listed(level: CardLevel) -> Conversation[tuple[bytes, ...]]:
    try:
        return (yield from level.get_application_ids())
    except StatusError:
        return ()  # cards of ours list nothing without the key


def _opens(level: CardLevel, picc: WritableKey) -> Conversation[bool]:
    # What a card answers whose key has another cipher differs from chip to chip.
    try:
        yield from level.authenticate_ev2_first(PICC_KEY_NO, picc, random_bytes=random_bytes)
    except StatusError:
        return False
    return True


class CardKeys:
    """The keys of single cards, out of the key store, and which PIV cards are believed.

    Whatever it returns may raise KeyStoreError.
    """

    def __init__(self, keys: EncodingKeys, trust: CardAuthTrust = _NOBODY) -> None:
        self._keys, self.trust = keys, trust

    @property
    def chip_secret(self) -> bytes:
        """With what identifiers of chips are hashed."""
        return self._keys.secret(_CHIP_PURPOSE)

    def newest(self, use: str) -> int:
        """Return the generation that new cards get; of the card level for the use `card`."""
        return self._keys.newest(use)

    @property
    def system_id(self) -> bytes:
        """The installation's constant in every diversification."""
        return self._keys.system_id

    def ring(self, use: str) -> UseKeys:
        """Return the keys of one use that a tap needs."""
        return self._keys.ring(use)

    def picc(self, badge: Badge) -> WritableKey:
        """Return the card level's key."""
        return self._keys.picc_key(badge.generation, badge.number)

    def former_picc(self, badge: Badge) -> WritableKey | None:
        """Return the card level's key that a used blank may still have, None where there is none."""
        return None if badge.former is None else self._keys.picc_key(badge.former, badge.number)

    def card_plan(self, badge: Badge, applications: Iterable[Application]) -> CardPlan:
        """Return what a card is to become."""
        former = self.former_picc(badge)
        plans = tuple(
            ApplicationPlan(CardUse(one.use), one.number, self._set_of(one, one.generation)) for one in applications
        )
        return CardPlan(self.picc(badge), plans, () if former is None else (former,))

    def rollover_plan(self, one: Application, following: int) -> RolloverPlan:
        """Return the way of one application to another generation."""
        current = self._set_of(one, one.generation)
        return RolloverPlan(CardUse(one.use), one.number, current, self._set_of(one, following))

    def _set_of(self, one: Application, generation: int) -> UseKeySet:
        master, proof, locate = (
            self._keys.application_key(KeyName(one.use, purpose, generation), one.number)
            for purpose in ("application_master", "proof", "locate")
        )
        return UseKeySet(generation, master, proof, locate)


def renewed(badge: Badge, newest: int) -> Badge:
    """Return a badge with the newest generation of the card level's key, and the one that its blank may still have."""
    return badge if newest == badge.generation else Badge(badge.number, newest, badge.generation)


def roll(plan: RolloverPlan, card: CardInReader, note: Callable[[], None], progress: Progress) -> None:
    """Put the next generation of one application in force; `note` is called before the old one may cease to count.

    Raises:
        ChipError: as `prepare_rollover` and `finish_rollover`.
    """
    try:
        converse(prepare_rollover(plan, progress=progress), card)
    except CardUnfit as unfit:
        if unfit.cause is not UnfitCause.KEY_SETS:
            raise
        note()
        converse(replace_keys(plan, progress=progress), card)
    else:
        note()
        converse(finish_rollover(plan, progress=progress), card)
