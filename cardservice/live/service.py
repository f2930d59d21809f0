# SPDX-License-Identifier: EUPL-1.2
"""The newest taps as somebody may see them, and the zones they may choose from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from cardservice.access.snapshot import Snapshot
from cardservice.agents.live_taps import LiveTaps, TapSeen
from cardservice.database import read
from cardservice.live.rules import MAX_ROWS, Place, PointsWithin, Sight, Wanted, sight_of
from cardservice.live.store import Places, places
from cardservice.web.gate import Actor


@dataclass(frozen=True, slots=True)
class Row:
    """A tap to show; `id` is unique also over restarts of the service."""

    id: str
    tap: TapSeen


class LiveView:
    """What people watch. `snapshot` returns the city as it is now."""

    def __init__(
        self, taps: LiveTaps, snapshot: Callable[[], Snapshot], state: Engine, points_within: PointsWithin
    ) -> None:
        self.taps = taps
        self._snapshot, self._state, self._points_within = snapshot, state, points_within
        self._places: tuple[int, Places] = (-1, Places((), {}))

    def sight(self, actor: Actor) -> Sight:
        """Return what `actor` may watch."""
        return sight_of(actor.reaches_by_role, self._points_within)

    def rows(self, actor: Actor, wanted: Wanted, taps: Sequence[TapSeen]) -> list[Row]:
        """Return the newest of these taps that `actor` may and wants to see, in their order.

        Raises:
            DatabaseUnavailable: where the points lie cannot be read.
        """
        sight, around = self.sight(actor), self._places_now().around
        found = [
            tap
            for tap in taps
            if sight.holds(tap.use, tap.point) and wanted.fits(tap.use, around.get(tap.point, ()), permit=tap.permit)
        ]
        return [Row(f"{self.taps.life}-{tap.number}", tap) for tap in found[-MAX_ROWS:]]

    def zones(self, actor: Actor) -> list[Place]:
        """Return the zones with points that `actor` may watch, outer ones first.

        Raises:
            DatabaseUnavailable: they cannot be read.
        """
        sight, here = self.sight(actor), self._places_now()
        points = self._snapshot().points
        seen = {
            zone
            for code, zones in here.around.items()
            if (point := points.get(code)) is not None and sight.holds(point.use, code)
            for zone in zones
        }
        return [zone for zone in here.zones if zone.code in seen]

    def _places_now(self) -> Places:
        """Return where everything lies, read again when the city has changed."""
        revision, found = self._places
        now = self._snapshot().revision
        if now != revision:
            with read(self._state) as connection:
                found = places(connection)
            self._places = now, found
        return found
