# SPDX-License-Identifier: EUPL-1.2
"""What an administrator can watch of one agent; labels are reader and point names and closed codes, nothing else."""

from collections import Counter as Counts

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from readers.logs import is_worth_a_line

_PREFIX = "cardservice_agent_"
_log = structlog.get_logger("readers.metrics")


class Metrics:
    """The figures of one agent, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ignored: Counts[str] = Counts()
        registry = self.registry
        self.last_good_tap = Gauge(
            f"{_PREFIX}last_good_tap_seconds", "Unix time of the last tap decided", ["reader"], registry=registry
        )
        self.taps = Counter(f"{_PREFIX}taps", "Taps by what came of them", ["point", "outcome"], registry=registry)
        self.tap_seconds = Histogram(
            f"{_PREFIX}tap_seconds",
            "From the card's arrival to the output",
            ["point"],
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5),
            registry=registry,
        )
        self.outbox_depth = Gauge(f"{_PREFIX}outbox_depth", "Entries waiting for the centre", registry=registry)
        self.outbox_aside = Gauge(f"{_PREFIX}outbox_aside", "Entries the centre refused", registry=registry)
        self.outbox_lost = Gauge(f"{_PREFIX}outbox_lost", "Reports lost because the outbox was full", registry=registry)
        self.connected = Gauge(f"{_PREFIX}connected", "1 while the centre accepts this agent", registry=registry)
        self.clock_offset = Gauge(
            f"{_PREFIX}clock_offset_seconds",
            "This machine's clock minus the centre's, at the welcome",
            registry=registry,
        )
        self.pcsc_up = Gauge(f"{_PREFIX}pcsc_up", "1 while the readers' driver answers", registry=registry)
        self.reader_usable = Gauge(
            f"{_PREFIX}reader_usable", "1 while the reader can be used", ["reader"], registry=registry
        )
        self.ignored = Counter(
            f"{_PREFIX}ignored_messages", "Messages of the centre not acted on", ["why"], registry=registry
        )
        self.faults = Counter(f"{_PREFIX}faults", "Faults of outbox, readers and outputs", ["what"], registry=registry)

    def ignore(self, message_type: str, why: str) -> None:
        """Count a message of the centre that is not acted on, and log it; a flood of them does not fill the log."""
        self.ignored.labels(why).inc()
        self._ignored[why] += 1
        if is_worth_a_line(self._ignored[why]):
            _log.warning("message_ignored", type=message_type, why=why, count=self._ignored[why])

    def forget_reader(self, reader: str) -> None:
        """Drop the series of a reader that is not served any more."""
        for gauge in (self.last_good_tap, self.reader_usable):
            gauge.remove_by_labels({"reader": reader})

    def forget_point(self, point: str) -> None:
        """Drop the series of a point that is not this agent's any more."""
        for series in (self.taps, self.tap_seconds):
            series.remove_by_labels({"point": point})
