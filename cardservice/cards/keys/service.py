# SPDX-License-Identifier: EUPL-1.2
"""How far a rotation is, and closing a generation: nobody is shut out unless somebody said how many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import Connection, Engine

from cardservice.cards.keys import store
from cardservice.cards.keys.rules import CARD, USES, Generation, GenerationState, of_use, state_of, why_not_closed
from cardservice.database import read, write
from cardservice.errors import Conflict

MAX_LISTED: Final = 1_000


class CardsLeft(Conflict):
    """Cards would be shut out that nobody said."""

    code = "cards_left"


@dataclass(frozen=True, slots=True)
class GenerationStatus:
    """One generation: what it is good for, its dates, and how many cards have it."""

    use: str
    generation: int
    state: GenerationState
    made_ms: int | None
    closed_ms: int | None
    cards: int


@dataclass(frozen=True, slots=True)
class UseStatus:
    """The keys of one use: `moved` of `cards` applications have the active generation; `unseen` nobody knows of yet."""

    use: str
    generations: tuple[GenerationStatus, ...]
    cards: int
    moved: int
    unseen: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A generation to be closed: how many cards are expected to be shut out, and by which approved request."""

    use: str
    generation: int
    cards_left: int = 0
    approval: int | None = None


def status(engine: Engine, generations: Sequence[Generation]) -> list[UseStatus]:
    """Return how far every use is.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    with read(engine) as connection:
        counted = store.counts(connection, (*USES, CARD))
    return [_of(use, generations, counted[use]) for use in (*USES, CARD)]


def _of(use: str, generations: Sequence[Generation], counted: dict[int | None, int]) -> UseStatus:
    known = of_use(generations, use)
    lines = tuple(
        GenerationStatus(
            use,
            one.number,
            state_of(generations, one),
            one.made_ms,
            one.closed_ms,
            counted.get(one.number, 0),
        )
        for one in known
    )
    active = next((one for one in lines if one.state is GenerationState.ACTIVE), None)
    moved = 0 if active is None else counted.get(active.generation, 0)
    return UseStatus(use, lines, sum(counted.values()), moved, counted.get(None, 0))


def cards_left(connection: Connection, use: str, generation: int) -> int:
    """Return how many cards a closing would shut out: those that have this generation, and those nobody knows of."""
    counted = store.counts(connection, (use,))[use]
    return counted.get(generation, 0) + counted.get(None, 0)


def require_closable(connection: Connection, generations: Sequence[Generation], closing: Closing) -> None:
    """Refuse a closing that cannot be, or that shuts out more or fewer cards than somebody said.

    Raises:
        CardsLeft: it would shut out others than were said.
        Conflict: this generation cannot be closed.
    """
    why = why_not_closed(generations, closing.use, closing.generation)
    if why:
        raise Conflict(why)
    left = cards_left(connection, closing.use, closing.generation)
    if left != closing.cards_left:
        raise CardsLeft(
            f"closing generation {closing.generation} of {closing.use} shuts out {left} cards that have it or were not "
            f"seen since the service counts; said were {closing.cards_left}. 'cardservice keys cards {closing.use} "
            f"{closing.generation}' lists them"
        )


def close(connection: Connection, generations: Sequence[Generation], closing: Closing, now_ms: int) -> None:
    """Close a generation, in the caller's transaction: whoever holds the keys throws its masters away.

    Raises:
        CardsLeft, Conflict: as `require_closable`.
    """
    require_closable(connection, generations, closing)
    if not store.close(connection, closing.use, closing.generation, now_ms, closing.cards_left, closing.approval):
        raise Conflict(f"generation {closing.generation} of {closing.use} is closed already")


def close_now(engine: Engine, generations: Sequence[Generation], closing: Closing, now_ms: int) -> None:
    """Close a generation in a transaction of its own. Raises as `close`, and DatabaseUnavailable."""
    with write(engine) as connection:
        close(connection, generations, closing, now_ms)


def listed(engine: Engine, use: str, generation: int) -> list[str]:
    """Return the references of at most 1,000 cards that a closing would shut out.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    with read(engine) as connection:
        return store.cards_of(connection, use, generation, MAX_LISTED)
