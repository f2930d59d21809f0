# SPDX-License-Identifier: EUPL-1.2
"""What administrators do with cards: register, suspend, revoke. One transaction each."""

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.cards import store
from cardservice.cards.life.rules import needs_second
from cardservice.cards.pki.effects import CertificateEffects, follow
from cardservice.cards.pki.store import certificate
from cardservice.cards.rules import TRANSITIONS, CardState, Transition, next_states, state_at, uses_among
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound


@dataclass(frozen=True, slots=True)
class NewCard:
    """A card to be registered: the holder's row number and the credential keys read from it or printed with it."""

    organisation_id: int
    person_id: int | None
    credentials: tuple[bytes, ...]
    state: CardState = CardState.ACTIVE
    state_reason: str | None = None
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class NewState:
    """What a card is to become; a suspension may have an end, from which on the card is active again."""

    state: CardState
    reason: str | None = None
    suspended_until_ms: int | None = None


class OwnCard(Conflict):
    """Somebody wants for their own card what a colleague has to do."""

    code = "own_card"


class NotYours(Conflict):
    """The step belongs to another right than the one that was asked for."""

    code = "foreign_step"


class SecondNeeded(Conflict):
    """The card's profile wants two people for this step."""

    code = "second_person_needed"


@dataclass(frozen=True, slots=True)
class By:
    """Who changes a card: what the history calls them, their row number if they are a person, and who approved it.

    `operation` is the right they use; none: the command line of the machine itself, which makes every step.
    """

    name: str
    person: int | None = None
    second: str | None = None
    operation: str | None = None


# Nobody in particular: the demonstration, and whoever administers the machine itself.
SERVICE: Final = By("the service")


@dataclass(frozen=True, slots=True)
class Effects:
    """What followed from a step at once: which uses ended, and how many certificates came into another state."""

    uses_ended: tuple[str, ...]
    certificates_changed: int

    def __str__(self) -> str:
        return f"{len(self.uses_ended)} uses end, {self.certificates_changed} certificates changed"


@dataclass(frozen=True, slots=True)
class CardView:
    """One card as a list shows it; a suspended one may have an end, which may have passed."""

    reference: str
    state: CardState
    state_reason: str | None
    suspended_until_ms: int | None
    person_id: int | None

    def state_at(self, at_ms: int) -> CardState:
        """Return what the card is at an instant."""
        return state_at(self.state, self.suspended_until_ms, at_ms)


def register(engine: Engine, cards: Sequence[NewCard]) -> list[str]:
    """Register cards, all or none; return their references.

    Raises:
        Conflict: a credential already belongs to another card.
    """
    references: list[str] = []
    numbers: list[int] = []
    with write(engine) as connection:
        for new in cards:
            reference = str(uuid.uuid4())
            try:
                numbers.append(
                    store.add_card(
                        connection,
                        reference,
                        new.organisation_id,
                        new.person_id,
                        new.credentials,
                        state=new.state.value,
                        state_reason=new.state_reason,
                        valid_from_ms=new.valid_from_ms,
                        valid_until_ms=new.valid_until_ms,
                    )
                )
            except sa.exc.IntegrityError as error:
                raise Conflict("a credential of the new card already belongs to another card") from error
            references.append(reference)
        changes.append(connection, "card", numbers)
    return references


def change_state(engine: Engine, reference: str, new: NewState, now_ms: int, by: By = SERVICE) -> Effects:
    """Move a card to another state; return what followed.

    Raises:
        NotFound: no such card.
        Conflict: the life cycle does not allow the step, or the reason or the end of the suspension does not fit.
    """
    with write(engine) as connection:
        return change_state_in(connection, reference, new, now_ms, by)


def change_state_in(connection: Connection, reference: str, new: NewState, now_ms: int, by: By = SERVICE) -> Effects:
    """Move a card to another state, in the caller's transaction, with everything that follows from it.

    Raises:
        NotFound, Conflict: as `change_state`.
    """
    _require_end(new, now_ms)
    found = store.lock(connection, reference)
    if found is None:
        raise NotFound(f"there is no card {reference}")
    current = state_at(CardState(found.state), found.suspended_until_ms, now_ms)
    step = _step(reference, current, new)
    _require_may(step, found, by)
    if step.end is CardState.ACTIVE:
        _require_free(connection, found, step, now_ms)
    effects = _make(connection, found, step, new, now_ms)
    store.add_event(
        connection,
        found.id,
        at_ms=now_ms,
        before=current.value,
        after=step.end.value,
        reason=new.reason if step.reasons else None,
        actor=by.name,
        second_actor=by.second,
        uses_ended=len(effects.uses_ended),
        certificates_changed=effects.certificates_changed,
    )
    changes.append(connection, "card", [found.id])
    if current is CardState.READY_FOR_PICKUP and step.end is CardState.ACTIVE:
        end_replaced(connection, found.replaces_id, now_ms, by)
    return effects


def end_replaced(connection: Connection, replaced_id: int | None, now_ms: int, by: By) -> None:
    """Revoke the card that another one has replaced: there are never two."""
    row = None if replaced_id is None else store.card_numbered(connection, replaced_id)
    if row is not None and row.state in {CardState.ACTIVE, CardState.SUSPENDED}:
        change_state_in(connection, row.reference, NewState(CardState.REVOKED, "replaced"), now_ms, by)


def _require_end(new: NewState, now_ms: int) -> None:
    """Refuse an end that no state of this kind has, whichever card is meant."""
    end_ms = new.suspended_until_ms
    if end_ms is not None and new.state is not CardState.SUSPENDED:
        raise Conflict(f"only a suspension has an end; a card that becomes {new.state} has none")
    if end_ms is not None and end_ms <= now_ms:
        raise Conflict("the suspension would have ended already: its end must lie in the future")


def _step(reference: str, current: CardState, new: NewState) -> Transition:
    state = new.state
    step = TRANSITIONS.get((current, state))
    if step is None:
        allowed = ", ".join(next_states(current)) or "nothing"
        raise Conflict(f"card {reference} is {current}; from there it can become: {allowed}")
    if step.reasons and new.reason not in step.reasons:
        raise Conflict(f"{state} needs a reason: {', '.join(step.reasons)}")
    return step


def _require_may(step: Transition, found: sa.Row[Any], by: By) -> None:
    if by.operation is not None and by.operation != step.operation:
        raise NotYours(f"{step.start} to {step.end} is not for whoever may {by.operation}, but {step.operation}")
    if by.person is not None and by.person == found.person_id and not step.own:
        raise OwnCard("nobody issues, reinstates or erases a card for themselves: a colleague does")
    if needs_second(found.profile, step.end) and by.second is None:
        raise SecondNeeded(f"a card for {found.profile} becomes {step.end} by two people: ask for an approval")


def _require_free(connection: Connection, found: sa.Row[Any], step: Transition, now_ms: int) -> None:
    if found.valid_until_ms is not None and found.valid_until_ms <= now_ms:
        raise Conflict(f"the time of card {found.reference} is over: give a new one")
    if step.start is CardState.SUSPENDED and store.in_its_place(connection, found.id):
        raise Conflict(f"another card stands for card {found.reference}: take that one back first")


def _make(connection: Connection, found: sa.Row[Any], step: Transition, new: NewState, now_ms: int) -> Effects:
    uses = uses_among(store.keys_of_card(connection, found.id))
    reason = new.reason if step.reasons else None
    store.set_state(connection, found.id, step.end, reason, new.suspended_until_ms)
    if step.retires:
        store.retire(connection, found.id)
    if step.end is CardState.STOCK:
        store.back_to_stock(connection, found)
    before = _certificates(connection, found.id)
    follow(CertificateEffects(lambda: now_ms), connection, found, step.end, new.reason)
    # Whatever left one state has come into another.
    changed = (before - _certificates(connection, found.id)).total()
    return Effects(uses if step.start is CardState.ACTIVE else (), changed)


def list_cards(engine: Engine, limit: int = 1_000) -> list[CardView]:
    """Return cards in the order they were registered, at most `limit`."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(store.card).order_by(store.card.c.id).limit(limit))
        return [
            CardView(row.reference, CardState(row.state), row.state_reason, row.suspended_until_ms, row.person_id)
            for row in rows
        ]


def _certificates(connection: Connection, number: int) -> Counter[str]:
    """Return how many certificates of a card are in each state."""
    chosen = sa.select(certificate.c.state, sa.func.count()).where(certificate.c.card_id == number)
    return Counter({row[0]: row[1] for row in connection.execute(chosen.group_by(certificate.c.state))})
