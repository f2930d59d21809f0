# SPDX-License-Identifier: EUPL-1.2
"""The thread that erases once an hour, and what it knows for `/health` and `/metrics`."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cardservice.keeping import RetentionSection
from cardservice.retention.rules import GRACE_MS, HOUR_MS, Standing
from cardservice.retention.service import Hands, Retention

# Not while the service is still waking up.
FIRST_S: Final = 30.0
EVERY_S: Final = 3_600.0
# When a store could not be used.
_AGAIN_S: Final = 60.0
_STOP_S: Final = 10.0
_log = structlog.get_logger()


class Keeper(Collector):
    """Runs `Retention` by itself. What it shows is as of the last run; ages grow on until the next one."""

    def __init__(self, hands: Hands, section: RetentionSection) -> None:
        self._stop = threading.Event()
        self.retention = Retention(replace(hands, pause=self._stop.wait), section)
        self._clock = hands.clock
        self._standings: tuple[Standing, ...] = ()
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self, registry: CollectorRegistry) -> None:
        """Start the thread, and show its gauges in a registry."""
        registry.register(self)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what it has not erased yet the next run finds."""
        self._stop.set()
        self._thread.join(timeout=_STOP_S)

    def sentences(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        late = [one for one in self._standings if self._overdue_ms(one) > GRACE_MS]
        found = [
            f"retention: {one.name} should have been erased {self._overdue_ms(one) // HOUR_MS} hours ago; see "
            "'cardservice retention status'"
            for one in late
        ]
        return found if self._trouble is None else [*found, f"retention: {self._trouble}"]

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as Prometheus reads them."""
        age = GaugeMetricFamily(
            "cardservice_retention_oldest_seconds", "Age of the oldest entry that a limit ends", labels=["limit"]
        )
        overdue = GaugeMetricFamily(
            "cardservice_retention_overdue_seconds", "For how long the oldest should be erased", labels=["limit"]
        )
        halted = GaugeMetricFamily("cardservice_retention_halted", "1: the last run erased nothing, for a fault")
        now_ms = self._clock.now_ms()
        for one in self._standings:
            age.add_metric([one.name], 0 if one.oldest_ms is None else max(0, now_ms - one.oldest_ms) / 1_000)
            overdue.add_metric([one.name], self._overdue_ms(one) / 1_000)
        halted.add_metric([], self._trouble is not None)
        yield from (age, overdue, halted)

    def _overdue_ms(self, one: Standing) -> int:
        return one.overdue_ms(self._clock.now_ms())

    def look(self) -> bool:
        """Run once, and take note of how it stands; False: a store could not be used, and it is as it was."""
        try:
            self._trouble = self.retention.run().doubt
            self._standings = tuple(self.retention.standing())
        except Exception as error:  # noqa: BLE001  # a thread that dies in silence keeps what should go
            # A driver's error may repeat what it was about.
            self._trouble = f"the last run failed: {type(error).__name__}"
            _log.error("retention.not_run", error=type(error).__name__)
            return False
        return True

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._stop.wait(wait_s):
            wait_s = EVERY_S if self.look() else _AGAIN_S
