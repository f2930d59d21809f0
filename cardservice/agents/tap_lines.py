# SPDX-License-Identifier: EUPL-1.2
"""What came of taps, for auditors: the open part of the journal's lines. Whose card it was is sealed, and stays so."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.access.rules import Use
from cardservice.database import read
from cardservice.journal.store import journal_entry

# What a line tells; everything else of it stays in the journal.
_TOLD: Final = ("point", "permit", "reason", "level", "method", "detail")


@dataclass(frozen=True, slots=True)
class TapLine:
    """What a tap was answered; go on after it with its `cursor`.

    `detail` is a code of docs/bad-cards.md: what the card did that made it refused; empty where the reason says it all.
    """

    cursor: str
    at_ms: int
    point: str
    permit: bool
    reason: str
    level: str
    method: str
    detail: str


@dataclass(frozen=True, slots=True)
class TapsWanted:
    """Taps of one use; `after` is a cursor, None: from the first; `points` are those within reach, None: all."""

    use: Use
    after: str | None = None
    points: frozenset[str] | None = None
    permit: bool | None = None


def tap_lines(record: Engine, wanted: TapsWanted, limit: int) -> tuple[TapLine, ...]:
    """Return taps in the order of the journal, at most `limit`. Blocks.

    Raises:
        DatabaseUnavailable: the record store cannot be read.
    """
    table = journal_entry.c
    place = (table.epoch, table.sequence)
    with read(record) as connection:
        chosen = sa.select(*place, table.at_ms, table.payload).where(
            table.stream == wanted.use.value, fact(connection, "kind").as_string() == "tap"
        )
        if wanted.points is not None:
            chosen = chosen.where(fact(connection, "point").as_string().in_(sorted(wanted.points)))
        if wanted.permit is not None:
            chosen = chosen.where(fact(connection, "permit").as_boolean() == wanted.permit)
        if wanted.after is not None:
            epoch, _, sequence = wanted.after.partition(".")
            chosen = chosen.where(sa.tuple_(*place) > sa.tuple_(int(epoch), int(sequence)))
        rows = connection.execute(chosen.order_by(*place).limit(limit))
        return tuple(_line(f"{row.epoch}.{row.sequence}", row.at_ms, json.loads(row.payload)) for row in rows)


def _line(cursor: str, at_ms: int, payload: Mapping[str, Any]) -> TapLine:
    return TapLine(cursor, at_ms, **{name: payload.get(name, "") for name in _TOLD})


def fact(connection: Connection, name: str) -> Any:
    """Return what a line has under `name`."""
    payload = journal_entry.c.payload
    # To SQLite JSON is text; PostgreSQL wants to be told that this text is JSON.
    is_text = connection.dialect.name == "sqlite"
    document = sa.type_coerce(payload, sa.JSON) if is_text else sa.cast(payload, sa.JSON)
    return document[name]
