# SPDX-License-Identifier: EUPL-1.2
"""A thread that keeps every authority's revocation list current and in memory, and counts what ends soon."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Engine

from cardservice.cards.pki import store
from cardservice.cards.pki.authorities import Authorities, Authority
from cardservice.cards.pki.lists import Lists
from cardservice.cards.pki.rules import DAY_MS, KEPT_AFTER_END_MS, PkiRules, Published, Slot
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError

LOOK_S: Final = 30.0
# In a large city there is always something to renew. What has this part of the time left that is given for it is late.
OVERDUE_PART: Final = 4
_STOP_S: Final = 10.0
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Out:
    """A revocation list as it is served: its bytes, their name (an entity tag), and how it stands."""

    der: bytes
    tag: str
    published: Published


class Publisher(Collector):
    """`current` may be asked from any thread; it is a look-up in memory."""

    def __init__(
        self, engine: Engine, authorities: Authorities, rules: PkiRules, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._engine, self._authorities, self._rules, self._clock = engine, authorities, rules, clock
        self._lists = Lists(engine, rules)
        self._changed = changed
        self._out: dict[str, Out] = {}
        self._ending: dict[str, int] = {}
        self._overdue: dict[str, int] = {}
        self._waiting = 0
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pki", daemon=True)
        self.trouble: str | None = None

    def start(self) -> None:
        """Make what is due, and start the thread. What fails is tried again, and said: no tap waits for a list."""
        self.look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_S)

    def wake(self) -> None:
        """A card changed; from any thread."""
        self._changed()
        self._wake.set()

    def current(self, name: str) -> Out | None:
        """Return the list of an authority, None if it has none."""
        return self._out.get(name)

    def sentences(self) -> list[str]:
        """Return what does not work."""
        now_ms = self._clock.now_ms()
        late = [name for name, out in self._out.items() if out.published.next_ms <= now_ms]
        found = [f"the revocation list of {name} is over: others may refuse every card's certificate" for name in late]
        return found + ([] if self.trouble is None else [f"certificates: {self.trouble}"])

    def look(self) -> None:
        """Do everything there is to do now; what fails for one authority does not stop the others."""
        now_ms = self._clock.now_ms()
        steps = [partial(self._renew, authority, now_ms) for authority in self._authorities]
        found = [why for step in (*steps, partial(self._keep_little, now_ms)) if (why := _trouble(step)) is not None]
        trouble = "; ".join(found) or None
        if trouble is not None and trouble != self.trouble:
            _log.error("pki.upkeep_failed", error=trouble)
        self.trouble = trouble

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as Prometheus reads them."""
        now_ms = self._clock.now_ms()
        age = GaugeMetricFamily("cardservice_crl_age_seconds", "Age of the revocation list", labels=["authority"])
        left = GaugeMetricFamily(
            "cardservice_crl_left_seconds", "How long the revocation list still counts", labels=["authority"]
        )
        days = GaugeMetricFamily(
            "cardservice_authority_days_left", "How long an authority's certificate is valid", labels=["authority"]
        )
        ending = GaugeMetricFamily(
            "cardservice_card_certificates_ending", "Cards' certificates that have to be renewed", labels=["slot"]
        )
        overdue = GaugeMetricFamily(
            "cardservice_card_certificates_overdue",
            "Of these, the ones for which three quarters of the time to renew them are over",
            labels=["slot"],
        )
        waiting = GaugeMetricFamily(
            "cardservice_certificate_requests_waiting", "Requests that the city's own PKI has to answer", self._waiting
        )
        for name, out in tuple(self._out.items()):
            age.add_metric([name], (now_ms - out.published.made_ms) / 1000)
            left.add_metric([name], (out.published.next_ms - now_ms) / 1000)
        for authority in self._authorities:
            ends_ms = authority.certificate.not_valid_after_utc.timestamp() * 1000
            days.add_metric([authority.name], (ends_ms - now_ms) // DAY_MS)
        for slot in Slot:
            ending.add_metric([slot.value], self._ending.get(slot.value, 0))
            overdue.add_metric([slot.value], self._overdue.get(slot.value, 0))
        return [age, left, days, ending, overdue, waiting]

    def _keep_little(self, now_ms: int) -> None:
        left_ms = self._rules.renew_days * DAY_MS
        with read(self._engine) as connection:
            self._ending = store.ending_counts(connection, now_ms, now_ms + left_ms)
            self._overdue = store.ending_counts(connection, now_ms, now_ms + left_ms // OVERDUE_PART)
            self._waiting = store.waiting_count(connection)
            over = store.has_ended(connection, now_ms - KEPT_AFTER_END_MS)
        if over:
            with write(self._engine) as connection:
                store.erase_ended(connection, now_ms - KEPT_AFTER_END_MS)

    def _renew(self, authority: Authority, now_ms: int) -> None:
        published, der = self._lists.renew(authority, now_ms)
        known = self._out.get(authority.name)
        if known is None or known.published != published:
            self._out[authority.name] = Out(der, f'"{sha256(der).hexdigest()}"', published)
            self._changed()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(LOOK_S)
            self._wake.clear()
            if not self._stop.is_set():
                self.look()


def _trouble(step: Callable[[], None]) -> str | None:
    try:
        step()
    except CardServiceError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # a thread that dies in silence lets every list run out
        # What a library's error repeats may be a name.
        return type(error).__name__
    return None
