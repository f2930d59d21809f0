# SPDX-License-Identifier: EUPL-1.2
"""Tables of cards and their credentials."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.rules import ENDED, CardState, first_bytes
from cardservice.database import STATE, RowNumber, row_id

card = sa.Table(
    "card",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    # What administrators and integrators call the card; it is not on the chip.
    sa.Column("reference", sa.String(36), nullable=False, unique=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("person_id", sa.ForeignKey("person.id"), index=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("state_reason", sa.String(40)),
    # From when on a suspended card counts as active again; none: until somebody says so.
    sa.Column("suspended_until_ms", sa.BigInteger),
    sa.Column("valid_from_ms", sa.BigInteger),
    sa.Column("valid_until_ms", sa.BigInteger),
    # What it was given for: a name of `cards.life.rules.PROFILES`; none: before there were profiles.
    sa.Column("profile", sa.String(20)),
    # Row numbers of cards and deliveries, of which none is ever deleted.
    sa.Column("replaces_id", RowNumber, index=True),
    # Which suspended card a temporary one is for.
    sa.Column("stands_in_for_id", RowNumber, index=True),
    sa.Column("delivery_id", RowNumber, index=True),
)

# Blank cards that came at once: what is in stock is what was neither issued nor found void.
card_delivery = sa.Table(
    "card_delivery",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("label", sa.String(80), nullable=False),
    sa.Column("delivered_ms", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.Integer, nullable=False),
    sa.Column("issued", sa.Integer, nullable=False, server_default="0"),
    sa.Column("void", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("organisation_id", "label"),
    sa.CheckConstraint("issued >= 0 AND void >= 0 AND issued + void <= delivered", name="counts"),
)

# What became of each card, by whom, and what followed; `before` none: it was registered so.
card_event = sa.Table(
    "card_event",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("card_id", sa.ForeignKey("card.id"), nullable=False, index=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("before", sa.String(20)),
    sa.Column("after", sa.String(20), nullable=False),
    sa.Column("reason", sa.String(40)),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("second_actor", sa.String(200)),
    sa.Column("uses_ended", sa.Integer, nullable=False),
    sa.Column("certificates_changed", sa.Integer, nullable=False),
)

credential = sa.Table(
    "credential",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("card_id", sa.ForeignKey("card.id"), nullable=False, index=True),
    sa.Column("key", sa.LargeBinary(64), nullable=False, unique=True),
    # Retired, never deleted: whoever follows the change log must learn which key is gone.
    sa.Column("retired", sa.Boolean, nullable=False, server_default=sa.false()),
)


def add_card(
    connection: Connection,
    reference: str,
    organisation_id: int,
    person_id: int | None,
    credentials: Iterable[bytes],
    **values: Any,
) -> int:
    """Add one card with its credentials; return its row number."""
    number = row_id(
        connection.execute(
            sa.insert(card).values(
                reference=reference,
                organisation_id=organisation_id,
                person_id=person_id,
                **{"state": CardState.ACTIVE.value} | values,
            )
        )
    )
    for key in credentials:
        connection.execute(sa.insert(credential).values(card_id=number, key=key))
    return number


def find_card(connection: Connection, reference: str) -> sa.Row[Any] | None:
    """Return the card called `reference`, None if there is none."""
    return connection.execute(sa.select(card).where(card.c.reference == reference)).first()


def set_state(
    connection: Connection, number: int, state: CardState, reason: str | None, suspended_until_ms: int | None
) -> None:
    """Store a card's state, the reason for it and when a suspension ends."""
    values = {"state": state.value, "state_reason": reason, "suspended_until_ms": suspended_until_ms}
    connection.execute(sa.update(card).where(card.c.id == number).values(**values))


def add_event(connection: Connection, number: int, **values: Any) -> None:
    """Write down what became of a card."""
    connection.execute(sa.insert(card_event).values(card_id=number, **values))


def events_of(connection: Connection, reference: str, limit: int) -> list[sa.Row[Any]]:
    """Return what became of a card, the newest first."""
    chosen = sa.select(card_event).join(card).where(card.c.reference == reference)
    return list(connection.execute(chosen.order_by(card_event.c.id.desc()).limit(limit)))


def retire(connection: Connection, number: int) -> None:
    """Have nothing a card was known by count any more."""
    connection.execute(sa.update(credential).where(credential.c.card_id == number).values(retired=True))


def lock(connection: Connection, reference: str) -> sa.Row[Any] | None:
    """Return the card called `reference`, None if there is none; nobody else changes it in this transaction."""
    return connection.execute(sa.select(card).where(card.c.reference == reference).with_for_update()).first()


def card_numbered(connection: Connection, number: int) -> sa.Row[Any] | None:
    """Return the card in a row, None if there is none."""
    return connection.execute(sa.select(card).where(card.c.id == number)).first()


def back_to_stock(connection: Connection, found: sa.Row[Any]) -> None:
    """Count a card as blank again: it is nobody's, and its delivery has issued one less."""
    connection.execute(sa.update(card).where(card.c.id == found.id).values(person_id=None))
    if found.delivery_id is not None:
        counted = sa.update(card_delivery).where(card_delivery.c.id == found.delivery_id)
        connection.execute(counted.values(issued=card_delivery.c.issued - 1))


def in_its_place(connection: Connection, number: int) -> list[sa.Row[Any]]:
    """Return the cards that replace a card, or stand in for it, and have not ended."""
    chosen = sa.select(card).where(
        sa.or_(card.c.replaces_id == number, card.c.stands_in_for_id == number), card.c.state.not_in(sorted(ENDED))
    )
    return list(connection.execute(chosen.order_by(card.c.id)))


def keys_of_card(connection: Connection, number: int) -> list[bytes]:
    """Return what a card is known by."""
    keys = sa.select(credential.c.key).where(credential.c.card_id == number, ~credential.c.retired)
    return [bytes(key) for key in connection.execute(keys).scalars()]


def is_now(state: CardState, at_ms: int) -> sa.ColumnElement[bool]:
    """Return what is true of cards that are in this state at an instant, as `rules.state_at` tells it."""
    stored = card.c.state == state.value
    if state not in {CardState.ACTIVE, CardState.SUSPENDED}:
        return stored
    ended = sa.func.coalesce(card.c.suspended_until_ms <= at_ms, sa.false())
    suspended = card.c.state == CardState.SUSPENDED.value
    return sa.or_(stored, sa.and_(suspended, ended)) if state is CardState.ACTIVE else sa.and_(stored, sa.not_(ended))


def in_use_first(at_ms: int) -> sa.ColumnElement[int]:
    """Return what to sort by for the cards in use at an instant to come first, as `rules.state_at` tells them."""
    over = sa.and_(card.c.state == CardState.SUSPENDED.value, card.c.suspended_until_ms <= at_ms)
    return sa.case((sa.or_(card.c.state == CardState.ACTIVE.value, over), 0), else_=1)


def keys_of_person(connection: Connection, person_id: int, use: str, *, at_ms: int, limit: int) -> list[bytes]:
    """Return what the cards of a person are known by at points of `use`, cards in use first, then the newest.

    Their numbers of other uses are not read.
    """
    key = credential.c.key
    fits = sa.or_(*(sa.and_(key >= bytes((first,)), key < bytes((first + 1,))) for first in first_bytes(use)))
    chosen = sa.select(key).join(card).where(card.c.person_id == person_id, ~credential.c.retired, fits)
    rows = connection.execute(chosen.order_by(in_use_first(at_ms), card.c.id.desc(), credential.c.id).limit(limit))
    return [bytes(row.key) for row in rows]
