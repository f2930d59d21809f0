# SPDX-License-Identifier: EUPL-1.2
"""Lockdowns: zones in which no door opens from outside, begun and ended from the desk."""

from dataclasses import dataclass

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access.service import City
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.record import DoorJournal, require_text
from cardservice.errors import CardServiceError, NotFound

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lockdown:
    """A zone in which no door opens from outside, but to the group `passing` if there is one."""

    zone: str
    since_ms: int
    by: str
    reason: str
    passing: str | None


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
        require_text(by=by, reason=reason)
        since_ms = self._clock.now_ms()
        with write(self._state) as connection:
            number = _zone(connection, zone)
            group = None if passing is None else _group(connection, passing)
            row = {"zone_id": number, "since_ms": since_ms, "by": by, "reason": reason, "passing_group_id": group}
            if not store.begin_lockdown(connection, row):
                return False
            changes.append(connection, "access", [0])
        self._publish()
        facts = {"kind": "lockdown_begun", "zone": zone} | ({"passing": passing} if passing else {})
        self._journal.keep(facts, {"by": by, "reason": reason})
        return True

    def end(self, zone: str, *, by: str) -> bool:
        """End the lockdown of `zone`; False if there is none. A zone around it stays as it is.

        Raises:
            NotFound: there is no such zone.
            DatabaseUnavailable: the journal or the state store cannot be written; the lockdown stands.
            Overloaded: the journal is too busy; the lockdown stands.
        """
        require_text(by=by)
        with read(self._state) as connection:
            number = _zone(connection, zone)
            standing = [row for row in store.lockdowns(connection) if row.zone_id == number]
        if not standing:
            return False
        # First written down, then done: no door may become free without a line that says by whom.
        began = standing[0]
        personal = {"by": by, "begun_by": began.by, "reason": began.reason}
        self._journal.keep({"kind": "lockdown_ended", "zone": zone, "since_ms": began.since_ms}, personal)
        with write(self._state) as connection:
            ended = store.end_lockdown(connection, number)
            changes.append(connection, "access", [0])
        self._publish()
        return ended

    def standing(self) -> tuple[Lockdown, ...]:
        """Return the zones that are locked down now, oldest first.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with read(self._state) as connection:
            rows = store.lockdowns(connection)
        return tuple(Lockdown(row.code, row.since_ms, row.by, row.reason, row.passing) for row in rows)

    def _publish(self) -> None:
        """Let the city know now; if it cannot, it finds out by itself."""
        try:
            self._city.catch_up()
        except CardServiceError as error:
            _log.error("doors.not_published", error=str(error))


def _zone(connection: Connection, code: str) -> int:
    number = store.zone_number(connection, code)
    if number is None:
        raise NotFound(f"there is no zone {code!r}")
    return number


def _group(connection: Connection, name: str) -> int:
    number = store.group_number(connection, name)
    if number is None:
        raise NotFound(f"there is no group {name!r}")
    return number
