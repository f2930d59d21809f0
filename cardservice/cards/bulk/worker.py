# SPDX-License-Identifier: EUPL-1.2
"""The thread that carries batches out: from the start of the service on, so that a restart only interrupts them."""

import threading
from typing import Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.cards.bulk import service
from cardservice.cards.bulk.rules import MAX_LINES
from cardservice.cards.life.service import Giver
from cardservice.clock import Clock

# So often it looks for what the command line began; what begins over HTTP wakes it.
EVERY_S: Final = 5.0
# So many lines until it looks whether it is to stop.
AT_ONCE: Final = 10
_STOP_S: Final = 10.0
_log = structlog.get_logger()


class BatchWorker:
    """Goes on with every batch that has lines left, the oldest first."""

    def __init__(self, state: Engine, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="card batches", daemon=True)

    def start(self) -> None:
        """Start the thread; it begins with what an earlier run left."""
        self._thread.start()

    def wake(self) -> None:
        """Have it look at once: a batch was begun."""
        self._news.set()

    def stop(self) -> None:
        """End the thread after the line it is at; the rest waits for the next start."""
        self._stopping.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_S)

    def look(self) -> None:
        """Go on with what waits, until nothing does or the service stops; a batch in trouble stops no other."""
        for batch, giver in service.open_batches(self._state):
            try:
                self._carry_out(batch, giver)
            except Exception as error:  # noqa: BLE001  # what waits is tried again, and a dead thread would do nothing
                # What a driver says of its error may repeat whom the line is about.
                _log.error("batches.interrupted", batch=batch, error=type(error).__name__)

    def _carry_out(self, batch: int, giver: Giver) -> None:
        for _ in range(MAX_LINES):
            if self._stopping.is_set():
                return
            if not service.go_on(self._state, batch, giver, self._clock.now_ms(), AT_ONCE).waiting:
                return

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            try:
                self.look()
            except Exception as error:  # noqa: BLE001  # the same: the store is away, and comes back
                _log.error("batches.not_read", error=type(error).__name__)
            self._news.wait(EVERY_S)
