# SPDX-License-Identifier: EUPL-1.2
"""Lines of the journal as the record store has them: their open part, and whose pseudonym they carry."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.agents.tap_lines import fact
from cardservice.audit.rules import Filter, Line, Position
from cardservice.journal.rules import Place
from cardservice.journal.store import AUDITED, STREAM_OF, journal_entry, journal_subject
from cardservice.people.store import person

_OPEN: Final = tuple(journal_entry.c[name] for name in ("stream", "epoch", "sequence", "at_ms", "payload"))


@dataclass(frozen=True, slots=True)
class Human:
    """Somebody as the copy of the directory has them."""

    person: int
    name: str
    login: str | None


def newest(connection: Connection, wanted: Filter, below: Position | None, limit: int) -> list[Line]:
    """Return the newest lines that fit, newest first."""
    table = journal_entry.c
    order = (table.at_ms, table.epoch, table.sequence, table.stream)
    chosen = sa.select(*_OPEN).where(*_conditions(connection, wanted))
    if below is not None:
        chosen = chosen.where(sa.tuple_(*order) < sa.tuple_(*below))
    rows = connection.execute(chosen.order_by(*(column.desc() for column in order)).limit(limit))
    return [_line(row) for row in rows]


def at(connection: Connection, places: Sequence[Place]) -> list[Line]:
    """Return the lines at these places, newest first."""
    table = journal_entry.c
    key = sa.tuple_(table.stream, table.epoch, table.sequence)
    chosen = sa.select(*_OPEN).where(key.in_([tuple(place) for place in places]))
    return [_line(row) for row in connection.execute(chosen.order_by(table.at_ms.desc(), table.sequence.desc()))]


def pseudonyms(connection: Connection, places: Sequence[Place]) -> dict[Place, str]:
    """Return place -> the pseudonym its line carries, for those that carry one still."""
    table = journal_subject.c
    key = sa.tuple_(table.stream, table.epoch, table.sequence)
    chosen = sa.select(journal_subject).where(key.in_([tuple(place) for place in places]))
    return {Place(row.stream, row.epoch, row.sequence): row.pseudonym for row in connection.execute(chosen)}


def everybody(state: Connection) -> Iterable[Human]:
    """Return everyone the directories ever named, whoever is present last: a login that was given anew is theirs."""
    chosen = sa.select(person.c.id, person.c.name, person.c.login).order_by(person.c.present, person.c.id)
    return [Human(row.id, row.name, row.login) for row in state.execute(chosen)]


def _conditions(connection: Connection, wanted: Filter) -> list[sa.ColumnElement[bool]]:
    table = journal_entry.c
    database = connection.dialect.name
    found: list[sa.ColumnElement[bool]] = [sa.literal_column(f"({AUDITED[database]})")]
    if wanted.stream is not None:
        found.append(sa.literal_column(STREAM_OF[database]) == wanted.stream.value)
    if wanted.from_ms is not None:
        found.append(table.at_ms >= wanted.from_ms)
    if wanted.until_ms is not None:
        found.append(table.at_ms < wanted.until_ms)

    def says(name: str, value: str) -> sa.ColumnElement[bool]:
        said: sa.ColumnElement[bool] = fact(connection, name).as_string() == value
        return said

    if wanted.operation is not None:
        found.append(sa.or_(*(says(name, wanted.operation) for name in ("operation", "kind", "outcome"))))
    if wanted.request is not None:
        found.append(says("request", wanted.request))
    if wanted.account is not None:
        found.append(says("account", wanted.account))
    return found


def _line(row: sa.Row[Any]) -> Line:
    return Line(Place(row.stream, row.epoch, row.sequence), row.at_ms, json.loads(row.payload))
