# SPDX-License-Identifier: EUPL-1.2
"""Tables of cards and their credentials."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.rules import CardState, first_bytes
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
    sa.Column("valid_from_ms", sa.BigInteger),
    sa.Column("valid_until_ms", sa.BigInteger),
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


def set_state(connection: Connection, number: int, state: CardState, reason: str | None) -> None:
    """Store a card's state and the reason for it."""
    connection.execute(sa.update(card).where(card.c.id == number).values(state=state.value, state_reason=reason))


def keys_of_person(connection: Connection, person_id: int, use: str, limit: int) -> list[bytes]:
    """Return what the cards of a person are known by at points of `use`, cards in use first, then the newest.

    Their numbers of other uses are not read.
    """
    key = credential.c.key
    fits = sa.or_(*(sa.and_(key >= bytes((first,)), key < bytes((first + 1,))) for first in first_bytes(use)))
    in_use_first = sa.case((card.c.state == CardState.ACTIVE.value, 0), else_=1)
    chosen = sa.select(key).join(card).where(card.c.person_id == person_id, ~credential.c.retired, fits)
    rows = connection.execute(chosen.order_by(in_use_first, card.c.id.desc(), credential.c.id).limit(limit))
    return [bytes(row.key) for row in rows]
