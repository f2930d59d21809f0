# SPDX-License-Identifier: EUPL-1.2
"""Tables of organisations, people and groups: the durable copy of the directory."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import STATE, RowNumber, row_id
from cardservice.people.rules import OUTSIDE, DirectoryGroup, DirectoryPerson

organisation = sa.Table(
    "organisation",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("code", sa.String(40), nullable=False, unique=True),
    sa.Column("name", sa.String(200), nullable=False),
)

person = sa.Table(
    "person",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("organisation_id", sa.ForeignKey("organisation.id"), nullable=False),
    sa.Column("directory", sa.String(40), nullable=False),
    sa.Column("stable_id", sa.String(64), nullable=False),
    sa.Column("dn", sa.Text, nullable=False),
    # What the directory says has whatever length the directory allows: one long value must not stop the copy.
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("login", sa.Text),
    sa.Column("mail", sa.Text),
    sa.Column("personnel_number", sa.Text),
    sa.Column("upn", sa.Text),
    sa.Column("sid", sa.Text),
    sa.Column("department", sa.Text),
    sa.Column("cost_centre", sa.Text),
    sa.Column("enabled", sa.Boolean, nullable=False),
    # When the lock-out after wrong passwords ends; none: not locked out.
    sa.Column("locked_until_ms", sa.BigInteger),
    sa.Column("valid_from_ms", sa.BigInteger),
    sa.Column("valid_until_ms", sa.BigInteger),
    # False once the directory no longer names them: the row stays, since cards and history point at it.
    sa.Column("present", sa.Boolean, nullable=False),
    # Row numbers of the effective groups, a JSON list: derived from the groups' members, kept to start quickly.
    sa.Column("groups", sa.Text, nullable=False),
    sa.UniqueConstraint("directory", "stable_id"),
    # Hashes on PostgreSQL: its ordered index would refuse a long value, and with it the copy.
    sa.Index(None, "login", postgresql_using="hash"),
    sa.Index(None, "personnel_number", postgresql_using="hash"),
)

directory_group = sa.Table(
    "directory_group",
    STATE,
    sa.Column("id", RowNumber, primary_key=True),
    sa.Column("directory", sa.String(40), nullable=False),
    sa.Column("stable_id", sa.String(64), nullable=False),
    sa.Column("dn", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    # Normalised DNs as the directory holds them, a JSON list; they may name people, groups or nothing.
    sa.Column("members", sa.Text, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.UniqueConstraint("directory", "stable_id"),
)

directory_copy = sa.Table(
    "directory_copy",
    STATE,
    sa.Column("directory", sa.String(40), primary_key=True),
    sa.Column("cookie", sa.Text),
    # The wall clock of the last proof, so that a restart while the directory is down does not lock out the city.
    sa.Column("verified_at_ms", sa.BigInteger),
    sa.Column("server", sa.Text),
    sa.Column("mode", sa.String(40)),
    # What the running service last knew of its connection, for whoever looks from outside.
    sa.Column("connected", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("since_ms", sa.BigInteger),
    sa.Column("trouble", sa.Text),
    sa.Column("remark", sa.Text),
    # When everything was last read, and when somebody last asked for that.
    sa.Column("read_ms", sa.BigInteger),
    sa.Column("asked_ms", sa.BigInteger),
)


def ensure_organisation(connection: Connection, code: str, name: str) -> int:
    """Return the row number of the organisation, adding it if it is new."""
    found = connection.execute(sa.select(organisation.c.id).where(organisation.c.code == code)).scalar()
    if found is not None:
        return int(found)
    return row_id(connection.execute(sa.insert(organisation).values(code=code, name=name)))


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """One row of `person`."""

    row: int
    entry: DirectoryPerson
    groups: frozenset[int]
    present: bool


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """One row of `directory_group`."""

    row: int
    entry: DirectoryGroup
    present: bool


def load_people(connection: Connection, directory: str) -> dict[str, KnownPerson]:
    """Return stable id -> row of everyone the directory ever named."""
    rows = connection.execute(sa.select(person).where(person.c.directory == directory))
    return {
        row.stable_id: KnownPerson(row.id, _person(row), frozenset(json.loads(row.groups)), row.present) for row in rows
    }


def load_person(connection: Connection, number: int) -> DirectoryPerson | None:
    """Return somebody who is stored as present, None for nobody."""
    row = connection.execute(sa.select(person).where(person.c.id == number, person.c.present)).first()
    return None if row is None else _person(row)


def _person(row: sa.Row[Any]) -> DirectoryPerson:
    return DirectoryPerson(
        stable_id=row.stable_id,
        dn=row.dn,
        name=row.name,
        enabled=row.enabled,
        locked_until_ms=row.locked_until_ms,
        valid_from_ms=row.valid_from_ms,
        valid_until_ms=row.valid_until_ms,
        login=row.login,
        mail=row.mail,
        personnel_number=row.personnel_number,
        upn=row.upn,
        sid=row.sid,
        department=row.department,
        cost_centre=row.cost_centre,
    )


def load_groups(connection: Connection, directory: str) -> dict[str, KnownGroup]:
    """Return stable id -> row of every group the directory ever named."""
    rows = connection.execute(sa.select(directory_group).where(directory_group.c.directory == directory))
    return {
        row.stable_id: KnownGroup(
            row.id,
            DirectoryGroup(row.stable_id, row.dn, row.name, frozenset(json.loads(row.members))),
            row.present,
        )
        for row in rows
    }


def _person_values(entry: DirectoryPerson) -> dict[str, Any]:
    return {
        "dn": entry.dn,
        "name": entry.name,
        "login": entry.login,
        "mail": entry.mail,
        "personnel_number": entry.personnel_number,
        "upn": entry.upn,
        "sid": entry.sid,
        "department": entry.department,
        "cost_centre": entry.cost_centre,
        "enabled": entry.enabled,
        "locked_until_ms": entry.locked_until_ms,
        "valid_from_ms": entry.valid_from_ms,
        "valid_until_ms": entry.valid_until_ms,
        "present": True,
    }


def _group_values(entry: DirectoryGroup) -> dict[str, Any]:
    return {
        "dn": entry.dn,
        "name": entry.name,
        "members": json.dumps(sorted(entry.member_dns)),
        "present": True,
    }


def insert_people(
    connection: Connection, directory: str, organisation_id: int, entries: Sequence[DirectoryPerson]
) -> dict[str, int]:
    """Add people never seen before; return stable id -> row number."""
    common = {"directory": directory, "organisation_id": organisation_id, "groups": "[]"}
    values = [common | {"stable_id": entry.stable_id} | _person_values(entry) for entry in entries]
    return _insert(connection, person, values)


def update_people(connection: Connection, entries: Mapping[int, DirectoryPerson]) -> None:
    """Store people as they are now, by row number."""
    _update(connection, person, {row: _person_values(entry) for row, entry in entries.items()})


def insert_groups(connection: Connection, directory: str, entries: Sequence[DirectoryGroup]) -> dict[str, int]:
    """Add groups never seen before; return stable id -> row number."""
    values = [{"directory": directory, "stable_id": entry.stable_id} | _group_values(entry) for entry in entries]
    return _insert(connection, directory_group, values)


def update_groups(connection: Connection, entries: Mapping[int, DirectoryGroup]) -> None:
    """Store groups as they are now, by row number."""
    _update(connection, directory_group, {row: _group_values(entry) for row, entry in entries.items()})


def _insert(connection: Connection, table: sa.Table, values: list[dict[str, Any]]) -> dict[str, int]:
    if not values:
        return {}
    rows = connection.execute(sa.insert(table).returning(table.c.stable_id, table.c.id), values)
    return {row.stable_id: row.id for row in rows}


def _update(connection: Connection, table: sa.Table, values: Mapping[int, dict[str, Any]]) -> None:
    if not values:
        return
    columns = next(iter(values.values()))
    statement = (
        sa.update(table)
        .where(table.c.id == sa.bindparam("row_number"))
        .values({name: sa.bindparam(f"new_{name}") for name in columns})
    )
    connection.execute(
        statement,
        [{"row_number": row} | {f"new_{name}": value for name, value in new.items()} for row, new in values.items()],
    )


def store_effective_groups(connection: Connection, groups_of: Mapping[int, frozenset[int]]) -> None:
    """Store the effective groups of people, by row number."""
    _update(connection, person, {row: {"groups": json.dumps(sorted(groups))} for row, groups in groups_of.items()})


def mark_gone(connection: Connection, table: sa.Table, rows: Iterable[int]) -> None:
    """Mark rows of `person` or `directory_group` as no longer named by the directory."""
    _update(connection, table, {row: {"present": False} for row in rows})


def logins_of(connection: Connection, rows: Iterable[int]) -> tuple[str, ...]:
    """Return the logins of these people that have one, also of those who are gone."""
    wanted, found = sorted(rows), list[str]()
    for start in range(0, len(wanted), 500):
        some = person.c.id.in_(wanted[start : start + 500])
        found += connection.execute(sa.select(person.c.login).where(some, person.c.login.is_not(None))).scalars()
    return tuple(found)


def present_directories(connection: Connection) -> frozenset[str]:
    """Return the names of the directories that have people stored as present."""
    followed = sa.select(person.c.directory).where(person.c.present, person.c.directory != OUTSIDE)
    return frozenset(connection.execute(followed.distinct()).scalars())


def load_copy(connection: Connection, directory: str) -> sa.Row[Any] | None:
    """Return what is stored of the copy itself; None before anything was."""
    return connection.execute(sa.select(directory_copy).where(directory_copy.c.directory == directory)).first()


def store_copy(connection: Connection, directory: str, **values: Any) -> None:
    """Store columns of the copy's state, leaving the others as they are."""
    known = directory_copy.c.directory == directory
    if connection.execute(sa.update(directory_copy).where(known).values(**values)).rowcount == 0:
        connection.execute(sa.insert(directory_copy).values(directory=directory, **values))
