# SPDX-License-Identifier: EUPL-1.2
"""Lockdowns: zones in which no door opens from outside, and single doors that do not; begun and ended from the desk."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access.rules import Use
from cardservice.access.service import City
from cardservice.access.store import number_of
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.record import DoorJournal, require_text
from cardservice.doors.rules import DoorOptions
from cardservice.errors import CardServiceError, Conflict
from cardservice.people.store import directory_group

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lockdown:
    """A `zone` in which no door opens from outside, or one `door`; but to the group `passing` if there is one."""

    zone: str | None
    since_ms: int
    by: str
    reason: str
    passing: str | None
    door: str | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """What is locked down: how lines call it, and where its row number stands."""

    called: dict[str, str]
    column: str
    find: Callable[[Connection], int]
    ended: Callable[[Connection, int], bool]


class Lockdowns:
    """Begins, ends and lists lockdowns. All of it blocks: not in the loop."""

    def __init__(self, city: City, journal: DoorJournal, clock: Clock, state: Engine) -> None:
        self._city, self._journal, self._clock, self._state = city, journal, clock, state

    def begin(self, zone: str, *, by: str, reason: str, passing: str | None = None) -> bool:
        """Lock down every door in `zone` and the zones inside it; False if it already was.

        Members of the group `passing` may still enter where they have a grant. Doors of escape routes are left out. The
        lockdown stands even if it cannot be journalled.

        Raises:
            NotFound: there is no such zone or group.
            Conflict: two groups are called so.
            DatabaseUnavailable: the state store cannot be written, or the journal cannot.
            Overloaded: the journal is too busy.
        """
        return self._begin(_zone(zone), by=by, reason=reason, passing=passing)

    def begin_at_door(self, door: str, *, by: str, reason: str, passing: str | None = None) -> bool:
        """Lock down one door, as `begin` does a zone; False if it already was.

        Raises:
            NotFound, DatabaseUnavailable, Overloaded: as for a zone.
            Conflict: as for a zone, or the point is no door, or people flee through it.
        """
        point = self._city.snapshot.point(door)
        if point is not None and point.use is not Use.DOOR:
            raise Conflict(f"point {door!r} is no door")
        if point is not None and DoorOptions.parse(point.options).escape_route:
            raise Conflict(f"door {door!r} is on an escape route: it is never locked down")
        return self._begin(_door(door), by=by, reason=reason, passing=passing)

    def end(self, zone: str, *, by: str) -> bool:
        """End the lockdown of `zone`; False if there is none. A zone around it stays as it is, and a single door in it.

        Raises:
            NotFound: there is no such zone.
            DatabaseUnavailable: the journal or the state store cannot be written; the lockdown stands.
            Overloaded: the journal is too busy; the lockdown stands.
        """
        return self._end(_zone(zone), by=by)

    def end_at_door(self, door: str, *, by: str) -> bool:
        """End the lockdown of one door; False if there is none. Those of the zones around it stay. Raises as `end`."""
        return self._end(_door(door), by=by)

    def _begin(self, place: _Place, *, by: str, reason: str, passing: str | None) -> bool:
        require_text(by=by, reason=reason)
        since_ms = self._clock.now_ms()
        with write(self._state) as connection:
            number = place.find(connection)
            group = None if passing is None else number_of(connection, directory_group.c.name, passing)
            row = {place.column: number, "since_ms": since_ms, "by": by, "reason": reason, "passing_group_id": group}
            if not store.begin_lockdown(connection, row):
                return False
            changes.append(connection, "access", [0])
        self._publish()
        facts = {"kind": "lockdown_begun", **place.called} | ({"passing": passing} if passing else {})
        self._journal.keep(facts, {"by": by, "reason": reason})
        return True

    def _end(self, place: _Place, *, by: str) -> bool:
        require_text(by=by)
        with read(self._state) as connection:
            number = place.find(connection)
            standing = [row for row in store.lockdowns(connection) if getattr(row, place.column) == number]
        if not standing:
            return False
        # First written down, then done: no door may become free without a line that says by whom.
        began = standing[0]
        personal = {"by": by, "begun_by": began.by, "reason": began.reason}
        self._journal.keep({"kind": "lockdown_ended", **place.called, "since_ms": began.since_ms}, personal)
        with write(self._state) as connection:
            ended = place.ended(connection, number)
            changes.append(connection, "access", [0])
        self._publish()
        return ended

    def standing(self) -> tuple[Lockdown, ...]:
        """Return the zones and single doors that are locked down now, oldest first.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with read(self._state) as connection:
            rows = store.lockdowns(connection)
        return tuple(Lockdown(row.code, row.since_ms, row.by, row.reason, row.passing, row.door) for row in rows)

    def _publish(self) -> None:
        """Let the city know now; if it cannot, it finds out by itself."""
        try:
            self._city.catch_up()
        except CardServiceError as error:
            _log.error("doors.not_published", error=str(error))


def _zone(code: str) -> _Place:
    return _Place({"zone": code}, "zone_id", lambda connection: store.zone_number(connection, code), store.end_lockdown)


def _door(code: str) -> _Place:
    return _Place(
        {"point": code}, "point_id", lambda connection: store.door_number(connection, code), store.end_door_lockdown
    )
