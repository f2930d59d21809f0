# SPDX-License-Identifier: EUPL-1.2
"""What reviews wait for, for health and metrics: read when grants change, never when somebody looks."""

from collections.abc import Iterable

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Engine

from cardservice.access.review import store
from cardservice.access.review.rules import REMIND_MS, Tally
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import DatabaseUnavailable

_log = structlog.get_logger()


class Reminder(Collector):
    """Counts what is unanswered. `refresh` blocks; the others may be asked from any thread at any time."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._tallies: tuple[Tally, ...] = ()

    def refresh(self) -> None:
        """Read how far the reviews are; if that fails the last counts stay."""
        try:
            with read(self._engine) as connection:
                since_ms = self._clock.now_ms() - REMIND_MS
                self._tallies = store.tallies(connection, deadline_after_ms=since_ms)
        except DatabaseUnavailable as error:
            _log.error("review.not_counted", error=str(error))

    def sentences(self) -> list[str]:
        """Return what is due, one sentence for each review."""
        now_ms = self._clock.now_ms()
        found = (tally.sentence(now_ms) for tally in self._tallies)
        return [sentence for sentence in found if sentence is not None]

    def collect(self) -> Iterable[Metric]:
        """Return the gauge as Prometheus reads it."""
        name, text = "cardservice_review_unanswered", "Grants in a review that nobody has answered for"
        gauge = GaugeMetricFamily(name, text, labels=["review"])
        for tally in self._tallies:
            gauge.add_metric([tally.review], tally.unanswered)
        yield gauge
