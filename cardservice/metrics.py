# SPDX-License-Identifier: EUPL-1.2
"""What `/metrics` shows. Labels are uses, reasons, agents and stages: never a person, a card or a login."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_STAGE_BOUNDS_US = (
    *(10, 25, 50, 100, 250, 500),
    *(1_000, 2_500, 5_000, 10_000, 25_000, 50_000),
    *(100_000, 250_000, 500_000, 1_000_000, 2_500_000),
)


class StageTimes(Collector):
    """How long the stages of a tap took: a histogram that costs a tap next to nothing.

    `observe` from one thread only; a scrape may read meanwhile.
    """

    def __init__(self, name: str, documentation: str) -> None:
        self._name = name
        self._documentation = documentation
        self._counts: dict[str, list[int]] = {}
        self._sums_us: dict[str, int] = {}

    def observe(self, stage: str, took_us: int) -> None:
        """Count one duration."""
        counts = self._counts.get(stage)
        if counts is None:
            counts = self._counts[stage] = [0] * (len(_STAGE_BOUNDS_US) + 1)
            self._sums_us[stage] = 0
        counts[bisect_left(_STAGE_BOUNDS_US, took_us)] += 1
        self._sums_us[stage] += took_us

    def within(self, stage: str) -> tuple[tuple[int, int], ...]:
        """Return how many took no longer than each bound (µs) since the service started; longer ones stand nowhere."""
        counts = self._counts.get(stage)
        return () if counts is None else tuple(zip(_STAGE_BOUNDS_US, accumulate(counts[:-1]), strict=True))

    def count(self, stage: str) -> int:
        """Return how many were observed."""
        return sum(self._counts.get(stage, ()))

    def collect(self) -> Iterable[Metric]:
        """Return the histogram as Prometheus reads it: seconds, cumulative."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=["stage"])
        for stage, counts in tuple(self._counts.items()):
            bounds = [f"{bound / 1e6:g}" for bound in _STAGE_BOUNDS_US] + ["+Inf"]
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([stage], buckets=buckets, sum_value=self._sums_us[stage] / 1e6)
        yield family


class Metrics:
    """One registry per service, so that two services in one process do not mix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.taps = Counter("cardservice_taps", "Taps answered", ["use", "outcome", "reason"], registry=self.registry)
        self.places = Counter(
            "cardservice_place_answers",
            "What the places of use made of permitted taps",
            ["use", "code"],
            registry=self.registry,
        )
        self.stage = StageTimes("cardservice_tap_stage_seconds", "How long the stages of a tap took")
        self.registry.register(self.stage)
        self.events = Counter(
            "cardservice_agent_events", "Events uploaded by agents", ["result"], registry=self.registry
        )
        self.refused_messages = Counter(
            "cardservice_agent_messages_refused",
            "Messages from agents that made no sense",
            ["agent"],
            registry=self.registry,
        )
        self.sign_ins = Counter(
            "cardservice_sign_ins", "What became of signing in to the pages", ["outcome"], registry=self.registry
        )
        self.agent_online = Gauge(
            "cardservice_agent_online", "1 while the agent's channel is open", ["agent"], registry=self.registry
        )
        self.live_streams = Gauge(
            "cardservice_live_streams",
            "Streams of events that are open: pages and programs that watch",
            registry=self.registry,
        )
        self.agent_outbox = Gauge(
            "cardservice_agent_outbox_depth",
            "Events the agent has not handed over yet",
            ["agent"],
            registry=self.registry,
        )
        self.events_missing = Gauge(
            "cardservice_agent_events_missing",
            "Events acknowledged once and not here: asked for again, or lost",
            ["agent", "state"],
            registry=self.registry,
        )
        self._make_directory_gauges()
        self.snapshot_revision = Gauge(
            "cardservice_snapshot_revision", "Change log revision of the snapshot", registry=self.registry
        )
        self.snapshot_cards = Gauge("cardservice_snapshot_credentials", "Credentials known", registry=self.registry)
        self.snapshot_build = Gauge(
            "cardservice_snapshot_build_seconds", "How long the last full build took", registry=self.registry
        )
        self.recorder_depth = Gauge(
            "cardservice_recorder_waiting", "Units waiting for the record store", registry=self.registry
        )
        self.recorder_flushes = Gauge(
            "cardservice_recorder_flushes", "Transactions committed to the record store", registry=self.registry
        )

    def _make_directory_gauges(self) -> None:
        self.directory_age = Gauge(
            "cardservice_directory_age_seconds",
            "Since when the directory copy is not proved current (-1: never was)",
            ["directory"],
            registry=self.registry,
        )
        self.directory_connected = Gauge(
            "cardservice_directory_connected",
            "1 while the directory is followed",
            ["directory"],
            registry=self.registry,
        )
        self.directory_people = Gauge(
            "cardservice_directory_people", "People in the directory copy", ["directory"], registry=self.registry
        )
        self.removals_held = Gauge(
            "cardservice_directory_removals_held",
            "People the directory no longer shows or shows as disabled, kept as they were until somebody decides",
            ["directory"],
            registry=self.registry,
        )
        self.directory_movers = Gauge(
            "cardservice_directory_movers",
            "Windows of movers that count: memberships in a department left before",
            ["directory"],
            registry=self.registry,
        )
