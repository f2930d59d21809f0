# SPDX-License-Identifier: EUPL-1.2
"""The city in memory: the snapshot every tap is answered from, kept up to date by the change log."""

import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import city
from cardservice.access.rules import CardRecord
from cardservice.access.snapshot import ShardedMap, Snapshot
from cardservice.changes import Change, ChangeKind
from cardservice.clock import Clock
from cardservice.database import read

# Schedules are compiled anew when less than this of their horizon is left.
_RENEW_MS: Final = 390 * 86_400_000
_log = structlog.get_logger()


ChangeListener = Callable[[frozenset[ChangeKind]], None]


def _nobody(_: frozenset[ChangeKind]) -> None:
    """Nobody listens."""


class City:
    """Owns the snapshot. `snapshot` may be read from any thread at any time; it is replaced, never changed.

    `on_change` is told the kinds of what changed, from whichever thread applied it, after the snapshot was replaced.
    """

    def __init__(self, engine: Engine, clock: Clock, on_change: ChangeListener = _nobody) -> None:
        self._engine = engine
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._compiler = city.CardCompiler()
        self._direct: frozenset[int] = frozenset()
        self.snapshot = Snapshot.empty()
        self.build_us = 0
        self.catch_up_us = 0

    def build(self) -> None:
        """Compile the whole city.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with self._lock:
            self._build()

    def _build(self) -> None:
        started_ns = self._clock.monotonic_ns()
        now_ms = self._clock.now_ms()
        compiler = city.CardCompiler()
        with read(self._engine) as connection:
            revision = changes.latest(connection)
            direct = city.people_named_directly(connection)
            records = ShardedMap.of(city.all_cards(connection, compiler, direct))
            points = city.PointCompiler(connection, now_ms).points(connection)
        self._compiler, self._direct = compiler, direct
        self.snapshot = Snapshot(revision, records, points, city.horizon_ms(now_ms))
        self.build_us = (self._clock.monotonic_ns() - started_ns) // 1_000
        _log.info("snapshot.built", revision=revision, cards=len(records), points=len(points), took_us=self.build_us)

    def catch_up(self) -> None:
        """Apply everything the change log holds by now; when it returns, the next tap sees it.

        Raises:
            DatabaseUnavailable: the state store cannot be read; the snapshot stays as it was.
        """
        with self._lock:
            if self.snapshot.horizon_ms - self._clock.now_ms() < _RENEW_MS:
                self._build()
                return
            while self._apply_some():
                pass

    def _apply_some(self) -> bool:
        started_ns = self._clock.monotonic_ns()
        with read(self._engine) as connection:
            waiting = changes.since(connection, self.snapshot.revision)
            if not waiting:
                return False
            self.snapshot = self._applied(connection, waiting)
        self._on_change(frozenset(change.kind for change in waiting))
        self.catch_up_us = (self._clock.monotonic_ns() - started_ns) // 1_000
        return True

    def _applied(self, connection: Connection, waiting: Sequence[Change]) -> Snapshot:
        revision = waiting[-1].revision
        snapshot = self.snapshot
        people = {change.row for change in waiting if change.kind == "person"}
        cards = {change.row for change in waiting if change.kind == "card"}
        if any(change.kind == "access" for change in waiting):
            now_ms = self._clock.now_ms()
            points = city.PointCompiler(connection, now_ms).points(connection)
            unchanged = {
                code: old for code, new in points.items() if (old := snapshot.point(code)) is not None and old == new
            }
            snapshot = snapshot.with_points(revision, points | unchanged, city.horizon_ms(now_ms))
            direct = city.people_named_directly(connection)
            people |= direct ^ self._direct
            self._direct = direct
        found = city.cards_of(connection, self._compiler, self._direct, people=sorted(people), cards=sorted(cards))
        changed: dict[bytes, CardRecord | None] = dict(found)
        return snapshot.with_cards(revision, changed)
