# SPDX-License-Identifier: EUPL-1.2
"""Short ways to say what a directory told, for tests of the copy and of the city."""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from service.fake_clock import FakeClock
from sqlalchemy.engine import Engine

from cardservice.changes import changes
from cardservice.people.census import Followed
from cardservice.people.directories import Directories, open_copies
from cardservice.people.movers.rules import MoverRule
from cardservice.people.ports import DirectoryChange, Proof
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson
from cardservice.people.service import DirectoryCopy
from cardservice.people.store import directory_group, person


def someone(stable_id: str, *, dn: str | None = None, enabled: bool = True, **values: Any) -> DirectoryPerson:
    """A person whose login is the stable id."""
    return DirectoryPerson(
        stable_id=stable_id,
        dn=dn or f"uid={stable_id}",
        name=stable_id.title(),
        enabled=enabled,
        login=stable_id,
        **values,
    )


def group(stable_id: str, *members: str, dn: str | None = None) -> DirectoryGroup:
    """A group of logins, of groups (`@name`) or of whole DNs."""
    return DirectoryGroup(stable_id, dn or f"cn={stable_id}", stable_id, frozenset(map(_dn, members)))


def _dn(member: str) -> str:
    if "=" in member:
        return member
    return f"cn={member[1:]}" if member.startswith("@") else f"uid={member}"


def tell(copy: DirectoryCopy, *entries: DirectoryEntry, removed: tuple[str, ...] = (), **values: Any) -> None:
    """Apply one change."""
    copy.apply(DirectoryChange(upserts=entries, removed=frozenset(removed), **values))


def nothing() -> None:
    """Publish to nobody."""


def open_copy(
    engine: Engine,
    clock: FakeClock,
    *,
    name: str = "city",
    publish: Callable[[], None] = nothing,
    movers: MoverRule | None = None,
) -> DirectoryCopy:
    """Open the copy as the service does at its start."""
    return DirectoryCopy(engine, Followed(name, movers), organisation=("city", "City"), clock=clock, publish=publish)


def open_all(engine: Engine, clock: FakeClock, *names: str, publish: Callable[[], None] = nothing) -> Directories:
    """Open the copies of several directories as the service does at its start; their thread is not started."""
    followed = [Followed(name) for name in names]
    return Directories(open_copies(engine, followed, organisation=("city", "City"), clock=clock, publish=publish))


def proof(clock: FakeClock, *, cookie: str | None = None) -> Proof:
    """A proof asked for right now."""
    return Proof("ldaps://one", "syncrepl", cookie, clock.monotonic_ns(), clock.now_ms())


def effective_groups(engine: Engine) -> dict[str, set[str]]:
    """Return login -> names of the effective groups, as stored, of everyone present."""
    with engine.connect() as connection:
        names = {row.id: row.name for row in connection.execute(sa.select(directory_group))}
        rows = connection.execute(sa.select(person.c.login, person.c.groups).where(person.c.present)).all()
    return {row.login: {names[int(number)] for number in row.groups.strip("[]").split(",") if number} for row in rows}


def row_numbers(engine: Engine) -> dict[str, int]:
    """Return stable id -> row number of everyone ever seen."""
    with engine.connect() as connection:
        return {row.stable_id: row.id for row in connection.execute(sa.select(person.c.stable_id, person.c.id))}


class ChangeWatch:
    """Tells which people the change log named since it was last asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen = 0
        self.people()

    def people(self) -> list[str]:
        """Return the stable ids, sorted, with repetitions."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                sa.select(changes.c.revision, changes.c.kind, person.c.stable_id)
                .join(person, person.c.id == changes.c.row, isouter=True)
                .where(changes.c.revision > self._seen)
            ).all()
        self._seen = max((row.revision for row in rows), default=self._seen)
        return sorted(str(row.stable_id) for row in rows if row.kind == "person")
