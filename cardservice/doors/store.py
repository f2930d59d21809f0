# SPDX-License-Identifier: EUPL-1.2
"""What is kept of doors beside the access model, and the queries of doors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.store import door_lockdown, number_of, point, zone
from cardservice.database import STATE, insert_or
from cardservice.journal.store import journal_entry
from cardservice.people.store import directory_group

# The journal's stream of this use.
STREAM: Final = "door"

# What was asked for at the desk, so that asking twice opens once. In the state store, not in the record: it is no
# history, and forgotten after a week.
door_request = sa.Table(
    "door_request",
    STATE,
    # SHA-256 of caller and request id: the table names nobody.
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("point", sa.String(64), nullable=False),
    # None: not answered yet, or the service died before it knew.
    sa.Column("outcome", sa.String(10)),
    sa.Column("message", sa.String(200), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
)


class Line(NamedTuple):
    """One entry of the door's stream in the journal, without its personal part."""

    epoch: int
    sequence: int
    at_ms: int
    payload: dict[str, Any]


def find_request(connection: Connection, key: str) -> sa.Row[Any] | None:
    """Return the row of a request, None if it was never made."""
    return connection.execute(sa.select(door_request).where(door_request.c.key == key)).first()


def claim_request(connection: Connection, key: str, code: str, at_ms: int) -> bool:
    """Note that a request is being carried out; False if it already was."""
    row = {"key": key, "point": code, "outcome": None, "message": "", "at_ms": at_ms}
    return _insert_new(connection, door_request, row)


def withdraw_request(connection: Connection, key: str) -> None:
    """Forget a request that was not carried out."""
    connection.execute(sa.delete(door_request).where(door_request.c.key == key))


def finish_request(connection: Connection, key: str, outcome: str, message: str) -> None:
    """Note what became of a request."""
    row = sa.update(door_request).where(door_request.c.key == key)
    connection.execute(row.values(outcome=outcome, message=message))


def forget_requests(connection: Connection, before_ms: int) -> None:
    """Delete the requests made before `before_ms`."""
    connection.execute(sa.delete(door_request).where(door_request.c.at_ms < before_ms))


def unanswered_requests(connection: Connection) -> Sequence[sa.Row[Any]]:
    """Return the requests of which nobody knows what became of them."""
    return connection.execute(sa.select(door_request).where(door_request.c.outcome.is_(None))).all()


def zones_of_points(connection: Connection) -> dict[str, str]:
    """Return point -> code of the zone it is in."""
    rows = connection.execute(
        sa.select(point.c.code, zone.c.code.label("zone")).join(zone, point.c.zone_id == zone.c.id)
    )
    return {row.code: row.zone for row in rows}


def zone_number(connection: Connection, code: str) -> int:
    """Return the row number of a zone.

    Raises:
        NotFound: there is none.
    """
    return number_of(connection, zone.c.code, code)


def door_number(connection: Connection, code: str) -> int:
    """Return the row number of a point.

    Raises:
        NotFound: there is none.
    """
    return number_of(connection, point.c.code, code)


def begin_lockdown(connection: Connection, row: dict[str, Any]) -> bool:
    """Lock a zone down (`zone_id`) or a door (`point_id`); False if it already is."""
    return _insert_new(connection, door_lockdown, row)


def end_lockdown(connection: Connection, zone_id: int) -> bool:
    """End the lockdown of a zone; False if there is none."""
    return _ended(connection, door_lockdown.c.zone_id == zone_id)


def end_door_lockdown(connection: Connection, point_id: int) -> bool:
    """End the lockdown of a single door; False if there is none. One of a zone around it stays."""
    return _ended(connection, door_lockdown.c.point_id == point_id)


def _ended(connection: Connection, which: sa.ColumnElement[bool]) -> bool:
    return bool(connection.execute(sa.delete(door_lockdown).where(which)).rowcount)


def lockdowns(connection: Connection) -> Sequence[sa.Row[Any]]:
    """Return the zones and doors that are locked down, oldest first."""
    names = (zone.c.code, point.c.code.label("door"), directory_group.c.name.label("passing"))
    named = sa.select(door_lockdown, *names).join_from(
        door_lockdown, zone, door_lockdown.c.zone_id == zone.c.id, isouter=True
    )
    named = named.join(point, door_lockdown.c.point_id == point.c.id, isouter=True)
    named = named.join(directory_group, door_lockdown.c.passing_group_id == directory_group.c.id, isouter=True)
    return connection.execute(named.order_by(door_lockdown.c.since_ms, door_lockdown.c.id)).all()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: of these points, of these kinds; None: of all, empty: of none."""

    points: frozenset[str] | None = None
    kinds: frozenset[str] | None = None


def lines(
    connection: Connection,
    *,
    after: tuple[int, int] | None,
    limit: int,
    wanted: Wanted = Wanted(),  # frozen
) -> list[Line]:
    """Return what follows `after` (epoch, sequence) in order, at most `limit`; with None the newest of all."""
    table = journal_entry
    place = (table.c.epoch, table.c.sequence)
    chosen = sa.select(*place, table.c.at_ms, table.c.payload).where(table.c.stream == STREAM).limit(limit)
    for name, values in (("point", wanted.points), ("kind", wanted.kinds)):
        if values is not None:
            chosen = chosen.where(_in_payload(connection, name).in_(sorted(values)))
    if after is None:
        newest = connection.execute(chosen.order_by(table.c.epoch.desc(), table.c.sequence.desc()))
        return _read(newest)[::-1]
    later = chosen.where(sa.tuple_(*place) > sa.tuple_(*after)).order_by(*place)
    return _read(connection.execute(later))


def _in_payload(connection: Connection, name: str) -> sa.ColumnElement[str]:
    """Return the text a line has under `name`."""
    payload = journal_entry.c.payload
    is_text = connection.dialect.name == "sqlite"
    # To SQLite JSON is text; PostgreSQL wants to be told that this text is JSON.
    document = sa.type_coerce(payload, sa.JSON) if is_text else sa.cast(payload, sa.JSON)
    found: sa.ColumnElement[str] = document[name].as_string()
    return found


def _insert_new(connection: Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Insert `row`; False if its key is taken."""
    # Asked for the key itself: how many rows were inserted not every driver says.
    new = insert_or(connection, table).values(**row).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(new).first() is not None


def _read(rows: sa.CursorResult[Any]) -> list[Line]:
    return [Line(row.epoch, row.sequence, row.at_ms, json.loads(row.payload)) for row in rows]
