# SPDX-License-Identifier: EUPL-1.2
"""The table of windows: who left which department group when. A row goes with its window."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, RowNumber
from cardservice.people.store import directory_group, person

# Before every instant: the end of a window that an administrator ended.
ENDED_MS: Final = 0

directory_window = sa.Table(
    "directory_window",
    STATE,
    sa.Column("id", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("directory", sa.String(40), nullable=False),
    sa.Column("person_id", sa.ForeignKey("person.id"), nullable=False),
    sa.Column("group_id", sa.ForeignKey("directory_group.id"), nullable=False),
    sa.Column("left_ms", sa.BigInteger, nullable=False),
    sa.Column("until_ms", sa.BigInteger, nullable=False),
    # Whether it is why they count in the group now: derived, for whoever reads the table.
    sa.Column("counts", sa.Boolean, nullable=False),
    # The caller of the API or the command line; the running service has yet to carry it out.
    sa.Column("ended_by", sa.Text),
    sa.UniqueConstraint("person_id", "group_id"),
    sa.Index(None, "directory", "until_ms"),
    # A number that an administrator has read is never another window's.
    sqlite_autoincrement=True,
)

Pair = tuple[int, int]
"""A person and a group, row numbers."""


def load(connection: Connection, directory: str) -> list[sa.Row[Any]]:
    """Return every window of a directory."""
    return list(connection.execute(sa.select(directory_window).where(directory_window.c.directory == directory)))


def next_end_ms(connection: Connection, directory: str) -> int | None:
    """Return when the next window of a directory ends, None if there is none."""
    found: int | None = connection.execute(
        sa.select(sa.func.min(directory_window.c.until_ms)).where(directory_window.c.directory == directory)
    ).scalar()
    return found


def due(connection: Connection, directory: str, now_ms: int) -> list[sa.Row[Any]]:
    """Return the windows of a directory that are over."""
    over = sa.and_(directory_window.c.directory == directory, directory_window.c.until_ms <= now_ms)
    return list(connection.execute(sa.select(directory_window).where(over)))


def add(connection: Connection, directory: str, windows: Mapping[Pair, Mapping[str, Any]]) -> None:
    """Add windows."""
    rows = [
        {"directory": directory, "person_id": person_row, "group_id": group_row, **values}
        for (person_row, group_row), values in windows.items()
    ]
    if rows:
        connection.execute(sa.insert(directory_window), rows)


def change(connection: Connection, windows: Mapping[Pair, Mapping[str, Any]]) -> None:
    """Change `until_ms` and `counts` of windows, but the end of none that an administrator ended meanwhile."""
    rows = [_named(pair) | {f"new_{name}": value for name, value in values.items()} for pair, values in windows.items()]
    if rows:
        ended, until_ms = directory_window.c.ended_by.is_not(None), directory_window.c.until_ms
        new_until = sa.case((ended, until_ms), else_=sa.bindparam("new_until_ms", type_=sa.BigInteger))
        counts = sa.bindparam("new_counts", type_=sa.Boolean)
        connection.execute(sa.update(directory_window).where(_IS_NAMED).values(until_ms=new_until, counts=counts), rows)


def remove(connection: Connection, windows: Iterable[Pair]) -> None:
    """Remove windows that are over."""
    rows = [_named(pair) for pair in windows]
    if rows:
        connection.execute(sa.delete(directory_window).where(_IS_NAMED), rows)


_IS_NAMED: Final = sa.and_(
    directory_window.c.person_id == sa.bindparam("of_person"), directory_window.c.group_id == sa.bindparam("in_group")
)


def _named(pair: Pair) -> dict[str, Any]:
    person_row, group_row = pair
    return {"of_person": person_row, "in_group": group_row}


def lock(connection: Connection, number: int) -> sa.Row[Any] | None:
    """Return a window's row; nobody else ends it before this transaction ends."""
    wanted = sa.select(directory_window).where(directory_window.c.id == number)
    return connection.execute(wanted.with_for_update()).first()


def end(connection: Connection, number: int, by: str) -> None:
    """Have the running service end a window."""
    ended = sa.update(directory_window).where(directory_window.c.id == number)
    connection.execute(ended.values(ended_by=by, until_ms=ENDED_MS))


def list_windows(connection: Connection, after: int, limit: int) -> list[sa.Row[Any]]:
    """Return windows by number, with the names of person and group, those after `after` and at most `limit`."""
    wanted = (
        sa.select(directory_window, person.c.name, person.c.login, directory_group.c.name.label("group_name"))
        .join(person, directory_window.c.person_id == person.c.id)
        .join(directory_group, directory_window.c.group_id == directory_group.c.id)
        .where(directory_window.c.id > after)
        .order_by(directory_window.c.id)
        .limit(limit)
    )
    return list(connection.execute(wanted))


def counting_of(connection: Connection, person_row: int) -> dict[int, int]:
    """Return group -> until when somebody counts in it by a window that is why they do."""
    wanted = sa.select(directory_window.c.group_id, directory_window.c.until_ms).where(
        directory_window.c.person_id == person_row, directory_window.c.counts, directory_window.c.ended_by.is_(None)
    )
    return {row.group_id: row.until_ms for row in connection.execute(wanted)}


def counting_rows(connection: Connection) -> dict[int, set[int]]:
    """Return person -> the groups in which they count by windows, for everybody who has one that counts."""
    wanted = sa.select(directory_window.c.person_id, directory_window.c.group_id).where(
        directory_window.c.counts, directory_window.c.ended_by.is_(None)
    )
    found: dict[int, set[int]] = {}
    for row in connection.execute(wanted):
        found.setdefault(row.person_id, set()).add(row.group_id)
    return found


def counting(connection: Connection) -> dict[str, int]:
    """Return directory -> how many windows count."""
    wanted = sa.select(directory_window.c.directory, sa.func.count().label("number")).where(directory_window.c.counts)
    return {row.directory: row.number for row in connection.execute(wanted.group_by(directory_window.c.directory))}
