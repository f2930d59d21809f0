# SPDX-License-Identifier: EUPL-1.2
"""Follows the change log for what other processes write: the command line, other replicas.

Changes of this process are published by whoever makes them. Here the log is looked at every 100 ms on SQLite; on
PostgreSQL the server wakes us (LISTEN), and a look every second is the net below.
"""

import threading
from typing import Final

import psycopg
import structlog
from sqlalchemy.engine import Engine

from cardservice.access.service import City
from cardservice.changes import CHANNEL

_POLL_S: Final = 0.1
_NET_S: Final = 1.0
STOP_S: Final = 10.0
_log = structlog.get_logger()


class ChangeFollower:
    """One thread that keeps the city up to date."""

    def __init__(self, engine: Engine, city: City) -> None:
        self._engine = engine
        self._city = city
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.trouble: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=STOP_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._engine.dialect.name == "postgresql":
                    self._follow_postgresql()
                else:
                    self._follow_by_looking()
            except Exception as error:  # noqa: BLE001  # a follower that dies in silence leaves an old city behind
                self.trouble = f"the change log cannot be followed: {type(error).__name__}"
                _log.error("follower.trouble", error=str(error))
                self._stop.wait(_NET_S)

    def _follow_by_looking(self) -> None:
        while not self._stop.wait(_POLL_S):
            self._city.catch_up()
            self.trouble = None

    def _follow_postgresql(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
            driver = connection.connection.driver_connection
            if not isinstance(driver, psycopg.Connection):
                raise TypeError("PostgreSQL is spoken through psycopg 3")
            while not self._stop.is_set():
                self._city.catch_up()
                self.trouble = None
                for _ in driver.notifies(timeout=_NET_S, stop_after=1):
                    pass
