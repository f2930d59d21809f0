# SPDX-License-Identifier: EUPL-1.2
"""Doors at the centre: how they are now, what happened at them, and the desk's part of them put together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy.engine import Engine

from cardservice.access.rules import PointRecord, Use
from cardservice.access.service import City
from cardservice.agents.hub import AgentHub
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.doors import store
from cardservice.doors.alarms import Alarms
from cardservice.doors.lockdowns import Lockdowns
from cardservice.doors.openings import Openings
from cardservice.doors.ports import ContactState, StrikeState
from cardservice.doors.record import DoorJournal
from cardservice.doors.rules import Alarm
from cardservice.errors import Conflict
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Journal
from cardservice.recorder import Recorder

MAX_EVENTS: Final = 500
# What an event tells; everything else of a line stays in the journal.
_TOLD: Final = ("permit", "reason", "level", "event", "outcome", "alarm", "zone")


@dataclass(frozen=True, slots=True)
class DoorView:
    """One door's point as it is now; `since_ms` is from when contact and alarm are as they are, None if unknown."""

    code: str
    name: str
    zone: str
    locked_down: bool
    online: bool
    strike: StrikeState | Literal["unknown"]
    contact: ContactState
    alarm: Alarm
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class DoorEvent:
    """Something that happened at a door; `cursor` is where to go on from. Names nobody."""

    cursor: str
    at_ms: int
    kind: str
    point: str | None
    facts: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class DoorServices:
    """What doors use; put together once."""

    city: City
    hub: AgentHub
    recorder: Recorder
    journal: Journal
    clock: Clock
    state: Engine


class Doors:
    """The use "door". `start` once, after the recorder and before the first agent connects."""

    def __init__(self, services: DoorServices) -> None:
        self._services = services
        city, clock, state = services.city, services.clock, services.state
        journal = DoorJournal(services.recorder, services.journal, clock)
        self.alarms = Alarms(journal)
        self.openings = Openings(city, services.hub, journal, clock, state)
        self.lockdowns = Lockdowns(city, journal, clock, state)
        self._zones: tuple[int, Mapping[str, str]] = (-1, {})
        services.hub.states.listeners.append(self.alarms.told)

    def start(self) -> None:
        """Read which alarms last, and note what became of requests that were under way when the service ended.

        Raises:
            CardServiceError: a store cannot be read or written.
        """
        self.alarms.remember()
        self.openings.settle()

    def list(self) -> tuple[DoorView, ...]:
        """Return every point of the use, by code; may be called from any thread.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        snapshot, online, zones = self._services.city.snapshot, self._services.hub.online, self._zones_now()
        doors = sorted((p for p in snapshot.points.values() if p.use is Use.DOOR), key=lambda point: point.code)
        return tuple(self._view(point, zones.get(point.code, ""), online=point.agent in online) for point in doors)

    def _view(self, point: PointRecord, zone: str, *, online: bool) -> DoorView:
        states = self._services.hub.states
        output, door = states.outputs.get(point.code), states.doors.get(point.code)
        return DoorView(
            code=point.code,
            name=point.name,
            zone=zone,
            locked_down=point.locked_down,
            online=online,
            strike="unknown" if output is None else output.state,
            contact="unknown" if door is None else door.contact,
            # Nobody has said that it ended.
            alarm=self.alarms.lasting(point.code) if door is None else door.alarm,
            since_ms=None if door is None else door.at_ms,
        )

    def _zones_now(self) -> Mapping[str, str]:
        """Return point -> zone, read again when the city has changed."""
        revision, zones = self._zones
        now = self._services.city.snapshot.revision
        if now != revision:
            with read(self._services.state) as connection:
                zones = store.zones_of_points(connection)
            self._zones = now, zones
        return zones

    def events(
        self, after_cursor: str | None = None, limit: int = 100, points: frozenset[str] | None = None
    ) -> tuple[DoorEvent, ...]:
        """Return what happened after `after_cursor` in order, without it the newest. Reads the store: not in the loop.

        With `points` only what happened at these; None: at any.

        Raises:
            Conflict: the cursor is none of ours.
            DatabaseUnavailable: the record store cannot be read.
        """
        after = None if after_cursor is None else _place(after_cursor)
        with read(self._services.recorder.engine) as connection:
            found = store.lines(
                connection, after=after, limit=max(1, min(limit, MAX_EVENTS)), wanted=store.Wanted(points)
            )
        return tuple(_event(line) for line in found)


def _place(cursor: str) -> tuple[int, int]:
    epoch, dot, sequence = cursor.partition(".")
    if not (dot and epoch.isdecimal() and sequence.isdecimal() and len(cursor) <= 40):
        raise Conflict("cursor: allowed is the cursor of an event, as it was given")
    return min(int(epoch), 2**62), min(int(sequence), 2**62)


def _event(line: store.Line) -> DoorEvent:
    payload = line.payload
    facts: dict[str, Scalar] = {name: payload[name] for name in _TOLD if name in payload}
    cursor = f"{line.epoch}.{line.sequence}"
    return DoorEvent(cursor, line.at_ms, str(payload.get("kind", "")), payload.get("point"), facts)
