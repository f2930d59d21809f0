# SPDX-License-Identifier: EUPL-1.2
"""How the service is: what `/health/ready` says, and the gauges that are read when somebody looks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cardservice.access.service import City
from cardservice.agents.events import EventDesk
from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.metrics import Metrics
from cardservice.people.directories import Directories
from cardservice.people.status import DirectoryStatus
from cardservice.recorder import Recorder
from cardservice.web.health import DirectoryHealth, Health


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is looked at.

    `dead` names threads that should run and do not; `complaints` are asked in turn for sentences about what does not
    work besides, each with the time in milliseconds.
    """

    metrics: Metrics
    clock: Clock
    city: City
    directory: Directories
    recorder: Recorder
    events: EventDesk
    online: Callable[[], frozenset[str]]
    dead: Callable[[], list[str]]
    complaints: Sequence[Callable[[int], Iterable[str]]]

    def health(self) -> Health:
        """Return the state of the service, and bring the gauges up to date."""
        statuses = self.directory.statuses()
        self._measure(statuses)
        dead, snapshot = self.dead(), self.city.snapshot
        degraded = list(self._degraded(statuses, dead))
        known = self.directory.age_ms() < UNKNOWN_AGE_MS
        ready = known and self.recorder.trouble is None and not dead
        return Health(
            status="not_ready" if not ready else "degraded" if degraded else "ready",
            degraded=degraded,
            snapshot_revision=snapshot.revision,
            credentials=snapshot.card_count,
            points=len(snapshot.points),
            agents_online=sorted(self.online()),
            directories=[_directory_health(status) for status in statuses],
        )

    def _measure(self, statuses: Sequence[DirectoryStatus]) -> None:
        metrics, snapshot = self.metrics, self.city.snapshot
        for status in statuses:
            _measure_directory(metrics, status)
        metrics.snapshot_revision.set(snapshot.revision)
        metrics.snapshot_cards.set(snapshot.card_count)
        metrics.snapshot_build.set(self.city.build_us / 1e6)
        metrics.events_missing.clear()
        for missing in self.events.missing:
            metrics.events_missing.labels(missing.agent, "asked").set(missing.asked)
            metrics.events_missing.labels(missing.agent, "lost").set(missing.lost)
        metrics.recorder_depth.set(self.recorder.depth)
        metrics.recorder_flushes.set(self.recorder.flushes)

    def _degraded(self, statuses: Sequence[DirectoryStatus], dead: Sequence[str]) -> Iterator[str]:
        """Yield what does not work, one sentence each."""
        now_ms = self.clock.now_ms()
        for status in statuses:
            yield from status.troubles(now_ms)
        for missing in self.events.missing:
            if missing.asked:
                yield f"agent {missing.agent}: {missing.asked} events are missing here and were asked for again"
            if missing.lost:
                yield f"agent {missing.agent}: {missing.lost} events are lost; the journal names them"
        for name in dead:
            yield f"the {name} thread has died; restart the service"
        if self.recorder.trouble:
            yield f"record store: {self.recorder.trouble}"
        for complaints in self.complaints:
            yield from complaints(now_ms)


def _measure_directory(metrics: Metrics, status: DirectoryStatus) -> None:
    name = status.directory
    metrics.directory_age.labels(name).set(status.age_ms / 1000 if status.age_ms < UNKNOWN_AGE_MS else -1)
    metrics.directory_connected.labels(name).set(status.connected)
    metrics.directory_people.labels(name).set(status.people)
    metrics.removals_held.labels(name).set(status.held_removals)
    metrics.directory_movers.labels(name).set(status.movers)


def _directory_health(status: DirectoryStatus) -> DirectoryHealth:
    return DirectoryHealth(
        directory=status.directory,
        connected=status.connected,
        server=status.server,
        mode=status.mode,
        since_ms=status.since_ms,
        age_ms=status.age_ms if status.age_ms < UNKNOWN_AGE_MS else None,
        people=status.people,
        groups=status.groups,
        held_removals=status.held_removals,
        held_since_ms=status.held_since_ms,
        trouble=status.trouble,
        remark=status.remark,
    )
