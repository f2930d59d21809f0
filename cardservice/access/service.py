# SPDX-License-Identifier: EUPL-1.2
"""The city in memory: the snapshot every tap is answered from, kept up to date by the change log."""

import threading
from collections.abc import Callable, Sequence
from typing import Final, get_args

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import city
from cardservice.access.rules import HouseRules, Use
from cardservice.access.snapshot import NEVER_COMPILED, ShardedMap, Snapshot
from cardservice.changes import Change, ChangeKind
from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.database import read
from cardservice.settings import AccessSection

_USUAL: Final = HouseRules()
_log = structlog.get_logger()


ChangeListener = Callable[[frozenset[ChangeKind]], None]


EndListener = Callable[[frozenset[int]], None]


def _nobody(_: object) -> None:
    """Nobody listens."""


def house_rules(section: AccessSection) -> HouseRules:
    """Return what the settings say of every point: the same for all who compile points."""
    return HouseRules(lock_out_stops=frozenset(map(Use, section.lock_out_stops)))


class City:
    """Owns the snapshot. `snapshot` may be read from any thread at any time; it is replaced, never changed.

    `on_change` is told the kinds of what changed, from whichever thread applied it, after the snapshot was replaced.
    Before that `on_ended` is told who (row numbers) holds a card that was in use until then and is no longer.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        on_change: ChangeListener = _nobody,
        house: HouseRules = _USUAL,
        on_ended: EndListener = _nobody,
    ) -> None:
        self._engine = engine
        self._house = house
        self._on_change = on_change
        self._on_ended = on_ended
        self._clock = clock
        self._lock = threading.Lock()
        self._compiler = city.CardCompiler()
        self._direct: frozenset[int] = frozenset()
        self._caught_up_ns: int | None = None
        self.snapshot = Snapshot.empty()
        self.build_us = 0
        self.catch_up_us = 0

    def age_ms(self) -> int:
        """Return how long ago the change log was last read to its end: what others changed since is not known here."""
        caught_up_ns = self._caught_up_ns
        return UNKNOWN_AGE_MS if caught_up_ns is None else (self._clock.monotonic_ns() - caught_up_ns) // 1_000_000

    def knows(self, key: bytes) -> bool:
        """Tell whether a card is known under this key, or a certificate as revoked."""
        return self.snapshot.card(key) is not None

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
            points = city.PointCompiler(connection, now_ms, self._house).points(connection)
        self._compiler, self._direct = compiler, direct
        self.snapshot = Snapshot(revision, records, points, city.compiled_period(now_ms))
        self._caught_up_ns = started_ns
        self.build_us = (self._clock.monotonic_ns() - started_ns) // 1_000
        _log.info("snapshot.built", revision=revision, cards=len(records), points=len(points), took_us=self.build_us)

    def catch_up(self) -> None:
        """Apply everything the change log holds by now; when it returns, the next tap sees it.

        Raises:
            DatabaseUnavailable: the state store cannot be read; the snapshot stays as it was.
        """
        with self._lock:
            if self.snapshot.compiled == NEVER_COMPILED:
                self._build()
                # What the log held went into the new snapshot unseen: it may have been anything.
                self._on_change(frozenset(get_args(ChangeKind)))
                return
            started_ns = self._clock.monotonic_ns()
            while self._apply_some():
                pass
            self._caught_up_ns = started_ns

    def _apply_some(self) -> bool:
        started_ns = self._clock.monotonic_ns()
        with read(self._engine) as connection:
            waiting = changes.since(connection, self.snapshot.revision)
            period = city.compiled_period(self._clock.now_ms())
            kinds = {change.kind for change in waiting}
            if period != self.snapshot.compiled:
                # Schedules are worked out anew each day.
                kinds.add("access")
            if not kinds:
                return False
            self.snapshot, ended = self._applied(connection, waiting, frozenset(kinds))
        if ended:
            self._on_ended(ended)
        self._on_change(frozenset(kinds))
        self.catch_up_us = (self._clock.monotonic_ns() - started_ns) // 1_000
        return True

    def _applied(
        self, connection: Connection, waiting: Sequence[Change], kinds: frozenset[ChangeKind]
    ) -> tuple[Snapshot, frozenset[int]]:
        """Return the next snapshot, and who holds a card that is no longer in use."""
        snapshot, direct = self.snapshot, self._direct
        revision = waiting[-1].revision if waiting else snapshot.revision
        people = {change.row for change in waiting if change.kind == "person"}
        cards = {change.row for change in waiting if change.kind == "card"}
        if "access" in kinds:
            now_ms = self._clock.now_ms()
            points = city.PointCompiler(connection, now_ms, self._house).points(connection)
            unchanged = {
                code: old for code, new in points.items() if (old := snapshot.point(code)) is not None and old == new
            }
            snapshot = snapshot.with_points(revision, points | unchanged, city.compiled_period(now_ms))
            direct = city.people_named_directly(connection)
            people |= direct ^ self._direct
        found = city.cards_of(connection, self._compiler, direct, people=sorted(people), cards=sorted(cards))
        # Only now: had reading failed, the next attempt must find the same difference again.
        self._direct = direct
        return snapshot.with_cards(revision, found), snapshot.out_of_use(found, self._clock.now_ms())
