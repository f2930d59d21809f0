# SPDX-License-Identifier: EUPL-1.2
"""All doors as the desk sees them at one moment: looked at once for everybody who watches.

How a door is comes from its agent, from the journal and from the access model; what is compared is what is shown.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy.engine import Engine

from cardservice.access.snapshot import Snapshot
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.doors import desk_store
from cardservice.doors.desk_store import Zone
from cardservice.doors.lockdowns import Lockdown
from cardservice.doors.rules import DoorOptions
from cardservice.doors.service import Doors, DoorView

# How old what is shown may be; a door is looked at no more often, however many watch.
FRESH_MS: Final = 500


@dataclass(frozen=True, slots=True)
class DeskDoor:
    """One door as the desk sees it; `zone` is None where nobody knows it yet."""

    view: DoorView
    zone: Zone | None
    escape_route: bool

    @property
    def alarm(self) -> bool:
        """Whether an alarm lasts."""
        return self.view.alarm != "none"

    @property
    def trouble(self) -> bool:
        """Whether somebody has to look after it."""
        return self.alarm or not self.view.online or self.view.strike == "fault"

    @property
    def opens(self) -> bool:
        """Whether it can be opened from the desk now."""
        return self.view.online and not self.view.locked_down

    def inside(self, zone: str) -> bool:
        """Tell whether it lies in a zone or in one inside that."""
        return self.zone is not None and zone in self.zone.path


@dataclass(frozen=True, slots=True)
class Board:
    """Doors by zone and name, every zone by code, and the lockdowns that stand."""

    doors: tuple[DeskDoor, ...] = ()
    zones: Mapping[str, Zone] | None = None
    lockdowns: tuple[Lockdown, ...] = ()

    def door(self, code: str) -> DeskDoor | None:
        """Return one door, None if there is none of this code."""
        return next((door for door in self.doors if door.view.code == code), None)

    def lockdown(self, zone: str) -> Lockdown | None:
        """Return the lockdown of this very zone, None if there is none."""
        return next((one for one in self.lockdowns if one.zone == zone), None)

    def lockdown_of_door(self, door: str) -> Lockdown | None:
        """Return the lockdown of this door alone, None if there is none."""
        return next((one for one in self.lockdowns if one.door == door), None)

    def zones_locked_around(self, door: DeskDoor) -> list[str]:
        """Return the zones around a door that are locked down."""
        return [one.zone for one in self.lockdowns if one.zone is not None and door.inside(one.zone)]

    def of_zone(self, zone: str) -> tuple[tuple[DeskDoor, ...], tuple[DeskDoor, ...]]:
        """Return the doors that a lockdown of this zone is for, and those it leaves out because people flee there."""
        inside = [door for door in self.doors if door.inside(zone)]
        return tuple(d for d in inside if not d.escape_route), tuple(d for d in inside if d.escape_route)


class Boards:
    """Looks at the doors. `now` is used from the event loop, and works in a thread."""

    def __init__(self, doors: Doors, snapshot: Callable[[], Snapshot], state: Engine, clock: Clock) -> None:
        self._doors, self._snapshot, self._state, self._clock = doors, snapshot, state, clock
        self._looking = asyncio.Lock()
        self._looked_ns: int | None = None
        self._board = Board()
        self._model: tuple[int, Mapping[str, Zone], tuple[Lockdown, ...]] = (-1, {}, ())

    async def now(self, *, fresh: bool = False) -> Board:
        """Return the doors as they are; `fresh`: not as somebody saw them a moment ago.

        Raises:
            DatabaseUnavailable: zones or lockdowns cannot be read.
        """
        async with self._looking:
            now_ns = self._clock.monotonic_ns()
            old = self._looked_ns is None or now_ns - self._looked_ns >= FRESH_MS * 1_000_000
            if old or fresh:
                self._board = await asyncio.to_thread(self._look)
                self._looked_ns = now_ns
            return self._board

    def _look(self) -> Board:
        snapshot = self._snapshot()
        revision, zones, lockdowns = self._model
        if snapshot.revision != revision:
            with read(self._state) as connection:
                zones = desk_store.zones(connection)
            lockdowns = self._doors.lockdowns.standing()
            self._model = snapshot.revision, zones, lockdowns
        doors = []
        for view in self._doors.list():
            point = snapshot.points.get(view.code)
            escape = point is not None and DoorOptions.parse(point.options).escape_route
            doors.append(DeskDoor(view, zones.get(view.zone), escape))
        doors.sort(key=lambda door: ("" if door.zone is None else door.zone.name, door.view.name, door.view.code))
        return Board(tuple(doors), zones, lockdowns)
