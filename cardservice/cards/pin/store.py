# SPDX-License-Identifier: EUPL-1.2
"""Tables of the PINs: a verifier per holder, the wrong tries per card. Nothing of them reaches an agent."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.pin.rules import ENDED, Tries
from cardservice.cards.store import card
from cardservice.database import STATE, insert_or
from cardservice.people.store import person

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


def keeps_pin(connection: Connection, person_id: int) -> bool:
    """Tell whether a PIN of this person would be kept."""
    return connection.execute(_holders().where(person.c.id == person_id)).first() is not None


def leftovers(connection: Connection, now_ms: int) -> tuple[int, int]:
    """Return how many PINs and counts of wrong tries nobody needs any more."""
    pins = sa.select(sa.func.count()).select_from(holder_pin).where(_unneeded_pin())
    tries = sa.select(sa.func.count()).select_from(pin_tries).where(_unneeded_tries(now_ms))
    return connection.execute(pins).scalar_one(), connection.execute(tries).scalar_one()


def drop_leftovers(connection: Connection, now_ms: int) -> None:
    """Delete the PINs and counts of wrong tries that nobody needs any more."""
    connection.execute(sa.delete(holder_pin).where(_unneeded_pin()))
    connection.execute(sa.delete(pin_tries).where(_unneeded_tries(now_ms)))


def _holders() -> sa.Select[int]:
    """Return who keeps a PIN: everybody present but those whose cards have all come to their end."""
    theirs = sa.select(card.c.id).where(card.c.person_id == person.c.id)
    usable = theirs.where(card.c.state.not_in(ENDED))
    return sa.select(person.c.id).where(person.c.present, sa.or_(~theirs.exists(), usable.exists()))


def _unneeded_pin() -> sa.ColumnElement[bool]:
    return ~_holders().where(person.c.id == holder_pin.c.person_id).exists()


def _unneeded_tries(now_ms: int) -> sa.ColumnElement[bool]:
    """Of a card nobody can use, or of a lock that has healed."""
    healed = sa.and_(pin_tries.c.locked_until_ms > 0, pin_tries.c.locked_until_ms <= now_ms)
    in_use = sa.select(card.c.id).join(person, card.c.person_id == person.c.id)
    in_use = in_use.where(card.c.id == pin_tries.c.card_id, card.c.state.not_in(ENDED), person.c.present)
    return sa.or_(healed, ~in_use.exists())


def tries_to_change(connection: Connection, card_id: int) -> Tries:
    """Return the wrong tries of a card; nobody else reads or deletes them until this transaction ends."""
    count = pin_tries.c
    mine = insert_or(connection, pin_tries).values(card_id=card_id, **Tries()._asdict())
    # Changes nothing, but locks a row that is there already, in the same breath.
    mine = mine.on_conflict_do_update(index_elements=["card_id"], set_={"wrong": count.wrong})
    return Tries(*connection.execute(mine.returning(count.wrong, count.locked_until_ms)).one())


def put_tries(connection: Connection, card_id: int, tries: Tries) -> None:
    """Store the wrong tries of a card that `tries_to_change` has returned."""
    connection.execute(sa.update(pin_tries).where(pin_tries.c.card_id == card_id).values(**tries._asdict()))


def forget_tries(connection: Connection, card_id: int) -> None:
    """Forget the wrong tries of a card."""
    connection.execute(sa.delete(pin_tries).where(pin_tries.c.card_id == card_id))


def forget_tries_of_person(connection: Connection, person_id: int) -> None:
    """Forget the wrong tries of every card of a person."""
    theirs = sa.select(card.c.id).where(card.c.person_id == person_id)
    connection.execute(sa.delete(pin_tries).where(pin_tries.c.card_id.in_(theirs)))


def tries_of_person(connection: Connection, person_id: int) -> dict[str, Tries]:
    """Return the wrong tries of a person's cards by their references; cards without any are left out."""
    wanted = sa.select(card.c.reference, pin_tries.c.wrong, pin_tries.c.locked_until_ms).join(card)
    rows = connection.execute(wanted.where(card.c.person_id == person_id).order_by(card.c.id))
    return {row.reference: Tries(row.wrong, row.locked_until_ms) for row in rows}
