# SPDX-License-Identifier: EUPL-1.2
"""What works now and what does not, put together from what every part says of itself."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from cardservice.access.rules import Use
from cardservice.agents.register import AgentLine, AgentRegister
from cardservice.cards.keys.service import UseStatus
from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.database import Databases, read
from cardservice.errors import DatabaseUnavailable
from cardservice.metrics import StageTimes
from cardservice.people.status import DirectoryStatus
from cardservice.running import store
from cardservice.running.rules import Copy, Outlook, outlook
from cardservice.web.gate import Actor
from cardservice.web.health import Health

HOURS: Final = 24
# Counting the taps of a day takes a moment: nobody has it done more often than this.
KEPT_MS: Final = 60_000
_MAX_KEPT: Final = 50
_DAYS: Final = 7
# What the whole answer took, and what of it was waiting for the disk.
STAGES: Final = ("centre", "journal")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the running service says of itself. `expires_s` is when the certificate ends, None: it shows none."""

    health: Callable[[], Health]
    statuses: Callable[[], Sequence[DirectoryStatus]]
    stages: StageTimes
    waiting: Callable[[], int]
    record_trouble: Callable[[], str | None]
    expires_s: Callable[[], int | None]
    keys: Callable[[], Sequence[UseStatus]]


@dataclass(frozen=True, slots=True)
class Hour:
    """How many taps the journal keeps of one hour, which began at `at_ms`."""

    at_ms: int
    permitted: int
    refused: int


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many taps of a day (since 1970, UTC) ended how at points that keep no single one."""

    use: str
    day: int
    outcome: str
    count: int


@dataclass(frozen=True, slots=True)
class Taps:
    """What the journal tells of taps. `days` is None for whoever may see some points only: it names no point."""

    hours: tuple[Hour, ...]
    days: tuple[DayCount, ...] | None


@dataclass(frozen=True, slots=True)
class Within:
    """Which share of the answers (0 to 100) took no longer than `bound_us`, for each of `STAGES`."""

    bound_us: int
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class State:
    """The page's content. `agents` are those within reach, `days_left` of the certificate; `taps` None: unreadable."""

    now_ms: int
    health: Health
    outlooks: tuple[Outlook, ...]
    agents: tuple[AgentLine, ...] | None
    waiting: int
    record_trouble: str | None
    days_left: int | None
    taps: Taps | None
    answered: int
    within: tuple[Within, ...]
    keys: Sequence[UseStatus]

    @property
    def away(self) -> list[AgentLine]:
        """The agents that are away though they should not be."""
        return [one for one in self.agents or () if not one.online and not one.locked]

    @property
    def outbox(self) -> int:
        """How many events the agents have not handed over."""
        return sum(one.outbox_depth or 0 for one in self.agents or ())


@dataclass(slots=True)
class _Kept:
    """What was counted, when, for which points."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    taps: dict[frozenset[str] | None, tuple[int, Taps]] = field(default_factory=dict)


class Running:
    """Answers for the page. Blocks."""

    def __init__(self, databases: Databases, agents: AgentRegister, parts: Parts, clock: Clock) -> None:
        self._databases, self._agents, self._parts, self._clock = databases, agents, parts, clock
        self._kept = _Kept()

    def state(self, actor: Actor) -> State:
        """Return what works now, as far as it is about points that the actor may see.

        Raises:
            DatabaseUnavailable: the state store cannot be read; without the record store the rest is told.
        """
        now_ms, parts = self._clock.now_ms(), self._parts
        expires_s = parts.expires_s()
        return State(
            now_ms=now_ms,
            health=parts.health(),
            outlooks=tuple(self._outlooks(actor, now_ms)),
            agents=self._agents_of(actor),
            waiting=parts.waiting(),
            record_trouble=parts.record_trouble(),
            days_left=None if expires_s is None else (expires_s * 1_000 - now_ms) // store.DAY_MS,
            taps=self._taps(actor.points, now_ms),
            answered=parts.stages.count(STAGES[0]),
            within=tuple(_within(parts.stages)),
            keys=parts.keys(),
        )

    def _outlooks(self, actor: Actor, now_ms: int) -> Iterator[Outlook]:
        copies = [
            Copy(one.directory, one.connected, one.age_ms if one.age_ms < UNKNOWN_AGE_MS else None)
            for one in self._parts.statuses()
        ]
        with read(self._databases.state) as connection:
            classes = store.classes_of_points(connection, actor.points)
        for points in classes:
            found = outlook(points, copies, now_ms)
            if found is not None:
                yield found

    def _agents_of(self, actor: Actor) -> tuple[AgentLine, ...] | None:
        try:
            return self._agents.list(actor.reaches)
        except DatabaseUnavailable as error:
            _log.warning("running.agents_not_read", error=str(error))
            return None

    def _taps(self, points: frozenset[str] | None, now_ms: int) -> Taps | None:
        with self._kept.lock:
            counted_ms, taps = self._kept.taps.get(points, (-KEPT_MS, None))
            if taps is not None and 0 <= now_ms - counted_ms < KEPT_MS:
                return taps
            try:
                taps = self._count(points, now_ms)
            except DatabaseUnavailable as error:
                _log.warning("running.taps_not_read", error=str(error))
                return None
            if len(self._kept.taps) >= _MAX_KEPT:
                self._kept.taps.clear()
            self._kept.taps[points] = now_ms, taps
            return taps

    def _count(self, points: frozenset[str] | None, now_ms: int) -> Taps:
        last = now_ms // store.HOUR_MS
        first = last - HOURS + 1
        counted: Counter[tuple[int, bool]] = Counter()
        with read(self._databases.record) as connection:
            for use in Use:
                for hour, permitted, count in store.taps_by_hour(connection, use.value, first * store.HOUR_MS, points):
                    counted[hour, permitted] += count
            days = None
            if points is None:
                from_ms = now_ms - _DAYS * store.DAY_MS
                days = tuple(DayCount(*row) for row in store.taps_by_day(connection, from_ms))
        hours = (
            Hour(hour * store.HOUR_MS, counted[hour, True], counted[hour, False]) for hour in range(first, last + 1)
        )
        return Taps(tuple(hours), days)


def _within(stages: StageTimes) -> Iterator[Within]:
    """Yield the shares by growing bound, from the last that nothing keeps to the first that everything does."""
    counts = [stages.count(stage) for stage in STAGES]
    by_bound = [dict(stages.within(stage)) for stage in STAGES]
    before: Within | None = None
    for bound_us in by_bound[0]:
        shares = tuple(
            100 * found.get(bound_us, 0) / count if count else 0.0
            for found, count in zip(by_bound, counts, strict=True)
        )
        here = Within(bound_us, shares)
        if any(shares):
            if before is not None:
                yield before
                before = None
            yield here
        else:
            before = here
        if all(share >= 100 for share, count in zip(shares, counts, strict=True) if count):
            return
