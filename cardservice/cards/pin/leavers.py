# SPDX-License-Identifier: EUPL-1.2
"""Forgets the PINs that nobody needs: of people who left, and of those who have no card any more that could be used."""

import threading
from typing import Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.cards.pin import store
from cardservice.clock import Clock
from cardservice.database import read, write

# Locks that have healed are nobody's change: they are looked for so often.
LOOK_S: Final = 3_600.0
# A directory that tells of thousands of people one by one makes us look this often.
_PAUSE_S: Final = 2.0
# When the store could not be used.
_AGAIN_S: Final = 60.0
_STOP_S: Final = 10.0
_log = structlog.get_logger()


def forget_leavers(engine: Engine, now_ms: int) -> tuple[int, int]:
    """Delete what nobody needs; return how many PINs and counts of wrong tries that were.

    Raises:
        DatabaseUnavailable: the state store cannot be used; the next time finds the same.
    """
    with read(engine) as connection:
        found = store.leftovers(connection, now_ms)
    if any(found):
        # Only then: on SQLite nobody else can write meanwhile.
        with write(engine) as connection:
            store.drop_leftovers(connection, now_ms)
    return found


class Leavers:
    """A thread that forgets them: at its start, soon after `wake`, and every hour."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._due, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="leavers' PINs", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def wake(self) -> None:
        """People or cards have changed. From any thread; returns at once."""
        self._due.set()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._due.set()
        self._thread.join(timeout=_STOP_S)

    def _run(self) -> None:
        while True:
            # In this order: `stop` sets the one, then the other.
            self._due.clear()
            if self._stop.is_set():
                return
            within_s = LOOK_S if self._forget() else _AGAIN_S
            self._stop.wait(_PAUSE_S)
            self._due.wait(within_s)

    def _forget(self) -> bool:
        try:
            pins, tries = forget_leavers(self._engine, self._clock.now_ms())
        except Exception as error:  # noqa: BLE001  # a thread that dies in silence keeps what should go
            # A driver's error may repeat what it was about.
            _log.error("pins.not_forgotten", error=type(error).__name__)
            return False
        if pins or tries:
            _log.info("pins.forgotten", pins=pins, tries=tries)
        return True
