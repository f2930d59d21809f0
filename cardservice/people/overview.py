# SPDX-License-Identifier: EUPL-1.2
"""The directories as another program sees them, in the tables beside the running service."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.database import read, write
from cardservice.people import store
from cardservice.people.holds.rules import HoldState
from cardservice.people.holds.service import HoldView, list_holds
from cardservice.people.movers import store as mover_store
from cardservice.people.rules import OUTSIDE
from cardservice.people.status import instant

# A running service stores its proofs every five seconds.
_SILENT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Overview:
    """What is stored of one directory. `age_ms` is None before the first proof, `read_ms` before the first full read.

    `movers` is how many windows count. `connected` is what the service said last; whether it still runs, only the age
    tells.
    """

    directory: str
    server: str
    mode: str
    connected: bool
    since_ms: int | None
    age_ms: int | None
    people: int
    disabled: int
    groups: int
    read_ms: int | None
    asked_ms: int | None
    trouble: str | None
    remark: str | None
    holds: tuple[HoldView, ...]
    movers: int = 0

    def troubles(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        found = []
        if self.age_ms is None:
            found.append(f"never read completely: {self.trouble or 'has the service run with this directory?'}")
        elif not self.connected:
            since = "" if self.since_ms is None else f" since {instant(self.since_ms)}"
            found.append(f"not followed{since}: {self.trouble or 'connecting'}")
        elif self.trouble:
            found.append(self.trouble)
        if self.connected and self.age_ms is not None and self.age_ms > _SILENT_MS:
            found.append(f"not proved current for {self.age_ms // 1_000} s: does the service run?")
        waiting = (hold for hold in self.holds if hold.state is HoldState.OPEN)
        return found + [
            f"hold {hold.number} waits for a decision: {hold.lost} lost, {hold.disabled} disabled" for hold in waiting
        ]


def overviews(engine: Engine, names: Sequence[str], now_ms: int) -> list[Overview]:
    """Return what is stored of these directories, in their order.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    holds = list_holds(engine)
    with read(engine) as connection:
        people, disabled = _people(connection), _people(connection, enabled=False)
        groups = _counted(connection, store.directory_group, store.directory_group.c.present)
        movers = mover_store.counting(connection)
        copies = {name: store.load_copy(connection, name) for name in names}
    found = []
    for name, copy in copies.items():
        counts: dict[str, Any] = {
            "people": people.get(name, 0),
            "disabled": disabled.get(name, 0),
            "groups": groups.get(name, 0),
            "movers": movers.get(name, 0),
        }
        standing = tuple(hold for hold in holds if hold.directory == name)
        found.append(Overview(directory=name, holds=standing, **counts, **_copy_values(copy, now_ms)))
    return found


def stored_age_ms(engine: Engine, names: Sequence[str], person: int, now_ms: int) -> int | None:
    """Return how long ago the copy that knows a person (a row number) was last proved; of nobody's, the oldest.

    None: one of these was never proved. Whom the service keeps itself is as it says.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    knows = sa.and_(store.person.c.id == person, store.person.c.present)
    with read(engine) as connection:
        directory = connection.execute(sa.select(store.person.c.directory).where(knows)).scalar()
        if directory == OUTSIDE:
            return 0
        copies = [store.load_copy(connection, name) for name in (names if directory is None else (directory,))]
    proved = [None if copy is None else copy.verified_at_ms for copy in copies]
    known = [at_ms for at_ms in proved if at_ms is not None]
    return max(0, now_ms - min(known)) if known and len(known) == len(proved) else None


def ask_for_reading(engine: Engine, names: Sequence[str], now_ms: int) -> None:
    """Ask the running service to read these directories anew now; at its next start, if it does not run.

    Raises:
        DatabaseUnavailable: the state store cannot be written.
    """
    with write(engine) as connection:
        for name in names:
            store.store_copy(connection, name, asked_ms=now_ms)


def describe(one: Overview) -> str:
    """Return an overview as an administrator reads it."""
    read_at = "never completely" if one.read_ms is None else f"completely at {instant(one.read_ms)}"
    age = "never proved current" if one.age_ms is None else f"proved current {one.age_ms / 1_000:.1f} s ago"
    lines = [
        f"directory {one.directory}: {'followed' if one.connected else 'not followed'}, {age}",
        f"  server  {one.server or '-'}, mode {one.mode or '-'}",
        f"  people  {one.people} ({one.disabled} disabled), in {one.groups} groups",
        f"  read    {read_at}{_waiting(one)}",
    ]
    lines += [
        f"  kept    {hold.lost + hold.disabled} people by hold {hold.number} ({hold.state})" for hold in one.holds
    ]
    lines += [f"  movers  {one.movers} windows count (cardservice directory movers)"] if one.movers else []
    lines += [f"  remark  {one.remark}"] if one.remark else []
    lines += [f"  WRONG   {trouble}" for trouble in one.troubles()]
    return "\n".join(lines)


def _waiting(one: Overview) -> str:
    if one.asked_ms is None or one.asked_ms <= (one.read_ms or 0):
        return ""
    return f", asked for again at {instant(one.asked_ms)}"


def _copy_values(copy: Any, now_ms: int) -> dict[str, Any]:
    """Return the part of an overview that the copy's own row says."""
    columns = ("server", "mode", "connected", "since_ms", "read_ms", "asked_ms", "trouble", "remark")
    values = {name: None if copy is None else getattr(copy, name) for name in columns}
    verified_ms = None if copy is None else copy.verified_at_ms
    said = {"server": values["server"] or "", "mode": values["mode"] or "", "connected": bool(values["connected"])}
    return {**values, **said, "age_ms": None if verified_ms is None else max(0, now_ms - verified_ms)}


def _people(connection: Connection, *, enabled: bool | None = None) -> dict[str, int]:
    wanted = store.person.c.present if enabled is None else store.person.c.present & (store.person.c.enabled == enabled)
    return _counted(connection, store.person, wanted)


def _counted(connection: Connection, table: sa.Table, wanted: sa.ColumnElement[bool]) -> dict[str, int]:
    """Return directory -> how many rows fit."""
    rows = connection.execute(
        sa.select(table.c.directory, sa.func.count().label("number")).where(wanted).group_by(table.c.directory)
    )
    return {row.directory: row.number for row in rows}
