# SPDX-License-Identifier: EUPL-1.2
"""What administrators do with cards: register, suspend, revoke. One transaction each."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice import changes
from cardservice.cards import store
from cardservice.cards.rules import ALLOWED, REVOCATION_REASONS, SUSPENSION_REASONS, CardState
from cardservice.database import read, write
from cardservice.errors import Conflict, NotFound

_REASONS = {CardState.SUSPENDED: SUSPENSION_REASONS, CardState.REVOKED: REVOCATION_REASONS}


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
class CardView:
    """One card as a list shows it."""

    reference: str
    state: CardState
    state_reason: str | None
    person_id: int | None


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


def change_state(engine: Engine, reference: str, state: CardState, reason: str | None) -> None:
    """Move a card to `state`.

    Raises:
        NotFound: no such card.
        Conflict: the life cycle does not allow the step, or the reason does not fit.
    """
    with write(engine) as connection:
        found = store.find_card(connection, reference)
        if found is None:
            raise NotFound(f"there is no card {reference}")
        current = CardState(found.state)
        if (current, state) not in ALLOWED:
            allowed = ", ".join(sorted(to for frm, to in ALLOWED if frm is current)) or "nothing"
            raise Conflict(f"card {reference} is {current}; from there it can become: {allowed}")
        reasons = _REASONS.get(state, ())
        if reasons and reason not in reasons:
            raise Conflict(f"{state} needs a reason: {', '.join(reasons)}")
        store.set_state(connection, found.id, state, reason if reasons else None)
        changes.append(connection, "card", [found.id])


def list_cards(engine: Engine, limit: int = 1_000) -> list[CardView]:
    """Return cards in the order they were registered, at most `limit`."""
    with read(engine) as connection:
        rows = connection.execute(sa.select(store.card).order_by(store.card.c.id).limit(limit))
        return [CardView(row.reference, CardState(row.state), row.state_reason, row.person_id) for row in rows]
