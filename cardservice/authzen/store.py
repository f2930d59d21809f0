# SPDX-License-Identifier: EUPL-1.2
"""What subjects are known by: people and cards, all of them or those that changed."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.cards.store import card, credential
from cardservice.people.store import person

_CHUNK: Final = 500
_PEOPLE: Final = sa.select(person.c.id, person.c.directory, person.c.stable_id, person.c.login, person.c.present)
_CARDS: Final = sa.select(card.c.id, card.c.reference, card.c.person_id)
_KEYS: Final = sa.select(credential.c.card_id, credential.c.key).where(~credential.c.retired).order_by(credential.c.id)


def people(connection: Connection, rows: Sequence[int] | None = None) -> Iterator[sa.Row[Any]]:
    """Yield people, of these row numbers or all: directory, stable id, login, whether they are present."""
    yield from _some(connection, _PEOPLE, person.c.id, rows)


def cards(connection: Connection, rows: Sequence[int] | None = None) -> Iterator[sa.Row[Any]]:
    """Yield cards, of these row numbers or all: reference and whose it is."""
    yield from _some(connection, _CARDS, card.c.id, rows)


def keys(connection: Connection, cards: Sequence[int] | None = None) -> dict[int, tuple[bytes, ...]]:
    """Return what each card is known by, of these row numbers or of all."""
    found: dict[int, list[bytes]] = {}
    for row in _some(connection, _KEYS, credential.c.card_id, cards):
        found.setdefault(row.card_id, []).append(bytes(row.key))
    return {number: tuple(theirs) for number, theirs in found.items()}


def _some(
    connection: Connection, select: sa.Select[Any], column: sa.ColumnElement[Any], rows: Sequence[int] | None
) -> Iterator[sa.Row[Any]]:
    if rows is None:
        yield from connection.execution_options(yield_per=2_000).execute(select)
        return
    for start in range(0, len(rows), _CHUNK):
        yield from connection.execute(select.where(column.in_(rows[start : start + _CHUNK])))
