# SPDX-License-Identifier: EUPL-1.2
"""Tables of the PINs: a verifier per holder, the wrong tries per card. Nothing of them reaches an agent."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.pin.rules import Tries
from cardservice.cards.store import card
from cardservice.database import STATE, insert_or

# A person belongs to one organisation, so theirs is the PIN of that organisation.
holder_pin = sa.Table(
    "holder_pin",
    STATE,
    sa.Column("person_id", sa.ForeignKey("person.id"), primary_key=True, autoincrement=False),
    # Argon2id with its parameters and salt (PHC string format); the key store's secret goes in and is not in it.
    sa.Column("verifier", sa.String(200), nullable=False),
    sa.Column("changed_ms", sa.BigInteger, nullable=False),
)

# Per card and not per person: whoever does not hold the card cannot lock its holder out.
pin_tries = sa.Table(
    "pin_tries",
    STATE,
    sa.Column("card_id", sa.ForeignKey("card.id"), primary_key=True, autoincrement=False),
    sa.Column("wrong", sa.Integer, nullable=False),
    sa.Column("locked_until_ms", sa.BigInteger, nullable=False),
)


def find_pin(connection: Connection, person_id: int) -> sa.Row[Any] | None:
    """Return verifier and date of a person's PIN, None if they have none."""
    return connection.execute(sa.select(holder_pin).where(holder_pin.c.person_id == person_id)).first()


def put_pin(connection: Connection, person_id: int, verifier: str, changed_ms: int) -> None:
    """Store a person's PIN in place of the one before."""
    values = {"verifier": verifier, "changed_ms": changed_ms}
    insert = insert_or(connection, holder_pin).values(person_id=person_id, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["person_id"], set_=values))


def drop_pin(connection: Connection, person_id: int) -> bool:
    """Forget a person's PIN; tell whether there was one."""
    return bool(connection.execute(sa.delete(holder_pin).where(holder_pin.c.person_id == person_id)).rowcount)


def tries_to_change(connection: Connection, card_id: int) -> Tries:
    """Return the wrong tries of a card; nobody else reads them until this transaction ends."""
    none_yet = insert_or(connection, pin_tries).values(card_id=card_id, **Tries()._asdict())
    connection.execute(none_yet.on_conflict_do_nothing(index_elements=["card_id"]))
    found = sa.select(pin_tries.c.wrong, pin_tries.c.locked_until_ms).where(pin_tries.c.card_id == card_id)
    return Tries(*connection.execute(found.with_for_update()).one())


def put_tries(connection: Connection, card_id: int, tries: Tries) -> None:
    """Store the wrong tries of a card. A row is never deleted: whoever counts meanwhile must find it again."""
    connection.execute(sa.update(pin_tries).where(pin_tries.c.card_id == card_id).values(**tries._asdict()))


def forget_tries_of_person(connection: Connection, person_id: int) -> None:
    """Forget the wrong tries of every card of a person."""
    theirs = sa.select(card.c.id).where(card.c.person_id == person_id)
    connection.execute(sa.update(pin_tries).where(pin_tries.c.card_id.in_(theirs)).values(**Tries()._asdict()))


def tries_of_person(connection: Connection, person_id: int) -> dict[str, Tries]:
    """Return the wrong tries of a person's cards by their references; cards without any are left out."""
    wanted = sa.select(card.c.reference, pin_tries.c.wrong, pin_tries.c.locked_until_ms).join(card)
    rows = connection.execute(wanted.where(card.c.person_id == person_id).order_by(card.c.id))
    return {row.reference: Tries(row.wrong, row.locked_until_ms) for row in rows}
