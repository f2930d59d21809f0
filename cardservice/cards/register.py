# SPDX-License-Identifier: EUPL-1.2
"""The cards, for whoever may look, and their change from one state to another.

A right that is bound to organisations or departments is about the cards of the people it holds, and about cards without
a holder only if no department bounds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards import store
from cardservice.cards.rules import CardState, next_states, state_at, use_of
from cardservice.cards.service import By, Effects, NewState, change_state_in
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.reach import Reach


@dataclass(frozen=True, slots=True)
class CardLine:
    """One card. `state` is what it is now; a suspension with an end has `suspended_until_ms`.

    `reason` is why it is so, `person` the holder's number, none: nobody's.
    """

    card: str
    organisation: str
    person: int | None
    state: CardState
    reason: str | None
    suspended_until_ms: int | None
    valid_from_ms: int | None
    valid_until_ms: int | None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class CardLife:
    """One card with what it is known by, and what it can become now: state -> the reasons that fit, none: any.

    `known_as` names uses, or "piv" for a certificate; never a number. `effects` is what followed from the step that has
    just been made, None where it was only looked at.
    """

    line: CardLine
    known_as: tuple[str, ...]
    next_states: Mapping[CardState, tuple[str, ...]]
    effects: Effects | None = None


@dataclass(frozen=True, slots=True)
class CardsWanted:
    """What a list is about; None: whatever it is."""

    state: CardState | None = None
    person: int | None = None
    organisation: str | None = None


class CardRegister:
    """Answers for the cards as they are stored. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(self, state: Engine, clock: Clock) -> None:
        self._state, self._clock = state, clock

    def list(
        self, wanted: CardsWanted, reaches: tuple[Reach, ...], after: int = 0, limit: int = 100
    ) -> tuple[list[CardLine], int | None]:
        """Return cards within one of `reaches` in the order they were registered, and what to go on after."""
        now_ms = self._clock.now_ms()
        chosen = _CARDS.where(within(reaches), store.card.c.id > after, *_conditions(wanted, now_ms))
        with read(self._state) as connection:
            rows = connection.execute(chosen.order_by(store.card.c.id).limit(limit)).all()
        return [_line(row, now_ms) for row in rows], rows[-1].id if len(rows) == limit else None

    def one(self, reference: str, reaches: tuple[Reach, ...]) -> CardLife:
        """Return one card.

        Raises:
            NotFound: there is none called so within one of `reaches`.
        """
        with read(self._state) as connection:
            return self.one_in(connection, reference, reaches)

    def change(
        self, connection: Connection, reference: str, new: NewState, reaches: tuple[Reach, ...], by: By
    ) -> CardLife:
        """Move a card to another state, in the caller's transaction.

        Raises:
            NotFound: there is none called so within one of `reaches`.
            Conflict: the life cycle does not allow the step, or the reason or the end does not fit.
        """
        self.one_in(connection, reference, reaches)
        effects = change_state_in(connection, reference, new, self._clock.now_ms(), by)
        return replace(self.one_in(connection, reference, reaches), effects=effects)

    def one_in(self, connection: Connection, reference: str, reaches: tuple[Reach, ...]) -> CardLife:
        """Return one card as the caller's transaction sees it.

        Raises:
            NotFound: there is none called so within one of `reaches`.
        """
        now_ms = self._clock.now_ms()
        row = connection.execute(_CARDS.where(within(reaches), store.card.c.reference == reference)).first()
        if row is None:
            raise NotFound(f"there is no card {reference}")
        line = _line(row, now_ms)
        known_as = sorted({use_of(key) for key in store.keys_of_card(connection, row.id)})
        return CardLife(line, tuple(known_as), next_states(line.state))


# A card's holder is whoever it was given to; without one it is its organisation's.
_CARDS: Final = (
    sa.select(store.card, organisation.c.code.label("organisation"))
    .join(person, store.card.c.person_id == person.c.id, isouter=True)
    .join(organisation, organisation.c.id == sa.func.coalesce(person.c.organisation_id, store.card.c.organisation_id))
)


def _conditions(wanted: CardsWanted, now_ms: int) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.state is not None:
        found.append(store.is_now(wanted.state, now_ms))
    if wanted.person is not None:
        found.append(store.card.c.person_id == wanted.person)
    if wanted.organisation is not None:
        found.append(organisation.c.code == wanted.organisation)
    return found


def _line(row: sa.Row[Any], now_ms: int) -> CardLine:
    state = state_at(CardState(row.state), row.suspended_until_ms, now_ms)
    over = state.value != row.state
    return CardLine(
        card=row.reference,
        organisation=row.organisation,
        person=row.person_id,
        state=state,
        reason=None if over else row.state_reason,
        suspended_until_ms=None if over else row.suspended_until_ms,
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
        profile=row.profile,
    )
