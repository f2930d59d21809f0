# SPDX-License-Identifier: EUPL-1.2
"""What runs for people outside the directory: who they are stands in memory, and once a day old names are erased."""

import threading
from typing import Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.clock import Clock
from cardservice.people.outsiders.book import OutsiderBook
from cardservice.people.outsiders.rules import Bounds
from cardservice.people.outsiders.service import erase_ended

_DAY_S: Final = 86_400.0
# When the store could not be used.
_AGAIN_S: Final = 600.0
_STOP_S: Final = 10.0
_log = structlog.get_logger()


class Upkeep:
    """The book of outsiders, and a thread that erases names: at its start, and every day."""

    def __init__(self, engine: Engine, clock: Clock, bounds: Bounds) -> None:
        self._engine, self._clock = engine, clock
        self.bounds = bounds
        self.book = OutsiderBook(engine)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outsiders' names", daemon=True)

    def start(self) -> None:
        """Read who is kept here, and start the thread.

        Raises:
            DatabaseUnavailable: the store cannot be read.
        """
        self.book.refresh()
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=_STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(_DAY_S if self._erase() else _AGAIN_S)

    def _erase(self) -> bool:
        try:
            erased = erase_ended(self._engine, self._clock.now_ms(), self.bounds)
        except Exception as error:  # noqa: BLE001  # a thread that dies in silence keeps what should go
            # A driver's error may repeat what it was about.
            _log.error("outsiders.not_erased", error=type(error).__name__)
            return False
        if erased:
            _log.info("outsiders.erased", people=erased)
        return True
