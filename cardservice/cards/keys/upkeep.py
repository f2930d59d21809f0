# SPDX-License-Identifier: EUPL-1.2
"""A thread that keeps what cards prove of their keys, takes over a changed key store, throws away what was closed."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Engine

from cardservice.cards.keys import store
from cardservice.cards.keys.keyfile import KeyFile
from cardservice.cards.keys.rules import Generation, open_numbers
from cardservice.cards.keys.service import UseStatus, status
from cardservice.cards.keystore import SealedKeyStore
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError

LOOK_S: Final = 2.0
COUNT_S: Final = 60.0
_STOP_S: Final = 10.0
# Cards that wait to be written down; beyond that they are noted at their next tap.
MAX_WAITING: Final = 20_000
_log = structlog.get_logger()


class KeyUpkeep(Collector):
    """What the thread knows may be asked for from any thread."""

    def __init__(self, engine: Engine, keys: SealedKeyStore, file: KeyFile, clock: Clock) -> None:
        self._engine, self._keys, self._file, self._clock = engine, keys, file, clock
        self._seen: dict[bytes, int] = {}
        self._waiting: dict[bytes, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._stamp = _stamp(file.path)
        self._counted_ns: int | None = None
        self._thread = threading.Thread(target=self._run, name="keys", daemon=True)
        self.status: tuple[UseStatus, ...] = ()
        self.trouble: str | None = None

    def start(self) -> None:
        """Read what is known, and start the thread.

        Raises:
            DatabaseUnavailable: it cannot be read.
        """
        with read(self._engine) as connection:
            self._seen = store.known(connection)
        self._thread.start()

    def stop(self) -> None:
        """Write down what waits, and end the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_S)

    def proved(self, credential: bytes, generation: int) -> None:
        """A card has proved keys of this generation. A look-up in memory unless it is news; from any thread."""
        if self._seen.get(credential) == generation:
            return
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return
            self._waiting[credential] = self._seen[credential] = generation

    @property
    def generations(self) -> Sequence[Generation]:
        """Every generation there ever was."""
        return self._keys.generations

    def sentences(self) -> list[str]:
        """Return what does not work."""
        return [] if self.trouble is None else [f"key store: {self.trouble}"]

    def look(self) -> None:
        """Do everything there is to do now; what fails is tried again at the next look."""
        try:
            self._write_down()
            self._reload()
            self._throw_away()
            self._count()
            self.trouble = None
        except CardServiceError as error:
            if self.trouble != str(error):
                _log.error("keys.upkeep_failed", error=str(error))
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001  # a thread that dies in silence accepts keys that were closed
            # What a library's error repeats may be a key.
            _log.error("keys.upkeep_failed", error=type(error).__name__)
            self.trouble = type(error).__name__

    def collect(self) -> Iterable[Metric]:
        """Return the gauges as Prometheus reads them."""
        cards = GaugeMetricFamily(
            "cardservice_key_cards", "Cards' applications by generation of their keys", labels=["use", "generation"]
        )
        states = GaugeMetricFamily(
            "cardservice_key_generation", "1 for what a generation of keys is", labels=["use", "generation", "state"]
        )
        for use in self.status:
            for one in use.generations:
                states.add_metric([use.use, str(one.generation), one.state.value], 1)
                cards.add_metric([use.use, str(one.generation)], one.cards)
            cards.add_metric([use.use, "unseen"], use.unseen)
        yield cards
        yield states
        trouble = GaugeMetricFamily("cardservice_key_store_trouble", "1 while the key store cannot be read or changed")
        trouble.add_metric([], self.trouble is not None)
        yield trouble

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(LOOK_S)
        self.look()

    def _write_down(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            with write(self._engine) as connection:
                store.note(connection, waiting)
        except CardServiceError:
            with self._lock:
                # What came meanwhile is newer.
                self._waiting = {**waiting, **self._waiting}
            raise
        self._counted_ns = None

    def _reload(self) -> None:
        stamp = _stamp(self._file.path)
        if stamp != self._stamp:
            self._keys.take_over(self._file.load())
            self._stamp, self._counted_ns = stamp, None
            _log.info("keys.reloaded")

    def _throw_away(self) -> None:
        with read(self._engine) as connection:
            closed = store.closings(connection)
        due = [one for one in closed if one[1] in open_numbers(self._keys.generations, one[0])]
        if due:
            self._file.close(due)
            self._reload()
            _log.info("keys.closed", generations=[f"{use} {number}" for use, number, _ in due])

    def _count(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._counted_ns is None or now_ns - self._counted_ns >= COUNT_S * 1e9:
            self.status = tuple(status(self._engine, self._keys.generations))
            self._counted_ns = now_ns


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
