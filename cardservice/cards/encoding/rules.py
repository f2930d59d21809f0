# SPDX-License-Identifier: EUPL-1.2
"""Jobs at an encoder: what they do, which cards they are for, how far they are, what keeps them from ending. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

from cardservice.cards.rules import CardState
from cardservice.chip.errors import ApplicationNotFound, CardGone, CardUnfit, ChipError, UnfitCause

MAX_DETAIL: Final = 200


@unique
class JobKind(StrEnum):
    """What a job does with the card that is laid on the encoder."""

    ENCODE = "encode"
    """A blank card becomes the card that was ordered."""
    ERASE = "erase"
    """A card that was taken back, or that was only half made, becomes blank."""
    REKEY = "rekey"
    """A card in use gets the keys of the newest generation of each of its uses."""
    PROBE = "probe"
    """Whatever lies there is asked what it is. Needs no key and writes nothing."""
    REGISTER = "register"
    """A card that is not of ours, or that the register has lost, becomes the card that was ordered. Writes nothing."""


@unique
class JobState(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    """The card is wanted; nothing was written yet."""
    RUNNING = "running"
    """The card lies there and is written."""
    INTERRUPTED = "interrupted"
    """It was written in part; the same card is wanted again."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN: Final = frozenset({JobState.WAITING, JobState.RUNNING, JobState.INTERRUPTED})

# What a card has to be for a job to be begun.
FOR_CARDS: Final[Mapping[JobKind, frozenset[CardState]]] = MappingProxyType(
    {
        JobKind.ENCODE: frozenset({CardState.IN_PRODUCTION}),
        JobKind.REGISTER: frozenset({CardState.IN_PRODUCTION}),
        JobKind.ERASE: frozenset({CardState.RETURNED, CardState.IN_PRODUCTION}),
        JobKind.REKEY: frozenset(
            {CardState.PRODUCED, CardState.READY_FOR_PICKUP, CardState.ACTIVE, CardState.SUSPENDED}
        ),
    }
)


@unique
class Trouble(StrEnum):
    """Why a job waits for its card once more, or has failed."""

    CARD_GONE = "card_gone"
    """The card was taken away, or the reader or its agent did not answer; it is wanted again."""
    OTHER_CARD = "other_card"
    """Another card than the one that was begun, or than the one that belongs here. Nothing was written."""
    NOT_DESFIRE = "not_desfire"
    """Not a card of the kind that can be encoded. Nothing was written."""
    WRONG_CHIP = "wrong_chip"
    """A chip without what the layout needs. Nothing was written."""
    OCCUPIED = "occupied"
    """Somebody else's applications are on it. Nothing was written."""
    CARD_FAULT = "card_fault"
    """The card refused, answered nonsense, or does not hold what was written."""
    KEYS_AWAY = "keys_away"
    """What keeps the keys does not answer; it may come back."""
    NO_KEYS = "no_keys"
    """A generation of keys that is needed is not there any more."""
    CARD_CHANGED = "card_changed"
    """The card became something else meanwhile: the job is over."""
    NOTHING_STABLE = "nothing_stable"
    """It proves nothing that is known here and shows no number that stays: there is nothing to know it by."""
    NUMBER_ALONE = "number_alone"
    """It shows a number that anybody can copy, and proves nothing: that counts in one building alone, to a day."""
    KNOWN = "known"
    """It is in the register already, or was."""
    USELESS = "useless"
    """What it could be known by is for none of the uses that the card is ordered for."""
    SERVICE = "service"
    """The service could not go on; its log says why."""


_OF_CAUSE: Final[Mapping[UnfitCause, Trouble]] = MappingProxyType(
    {
        UnfitCause.CHIP: Trouble.WRONG_CHIP,
        UnfitCause.KEY: Trouble.OTHER_CARD,
        UnfitCause.OCCUPIED: Trouble.OCCUPIED,
    }
)
# A job that met one of these is over; after any other the card is wanted again.
FINAL: Final = frozenset(
    {
        Trouble.NO_KEYS,
        Trouble.CARD_CHANGED,
        Trouble.NOTHING_STABLE,
        Trouble.NUMBER_ALONE,
        Trouble.KNOWN,
        Trouble.USELESS,
    }
)


@dataclass(frozen=True, slots=True)
class EncoderName:
    """Where cards are encoded: a reader of an agent, by its PC/SC name."""

    agent: str
    reader: str


@dataclass(frozen=True, slots=True)
class NumberUse:
    """Where a bare number may count, which anybody can copy: in one building (a zone, by its row number), to a day."""

    building: int
    until_ms: int


def trouble_of(error: ChipError) -> Trouble:
    """Return what a failure of the card language means for a job."""
    if isinstance(error, CardGone):
        return Trouble.CARD_GONE
    if isinstance(error, ApplicationNotFound):
        return Trouble.NOT_DESFIRE
    if isinstance(error, CardUnfit):
        return _OF_CAUSE.get(error.cause, Trouble.CARD_FAULT)
    return Trouble.CARD_FAULT


def state_after(trouble: Trouble, *, begun: bool) -> JobState:
    """Return what a job is after a trouble; `begun`: something may have been written to its card."""
    if trouble in FINAL:
        return JobState.FAILED
    return JobState.INTERRUPTED if begun else JobState.WAITING
