# SPDX-License-Identifier: EUPL-1.2
"""Watches server-sent events over HTTP: the service's live feed as any operator would, a kiosk as its browser would."""

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

_RETRY_S: Final = 0.2
_TIMEOUT_S: Final = 15.0
_MAX_LINE: Final = 1024 * 1024
Listener = Callable[[Mapping[str, Any]], None]


class LiveReader:
    """One thread that reads server-sent events and hands each to every listener; reconnects by itself."""

    def __init__(self, url: str, token: str | None = None, *, path: str = "/api/v1/live") -> None:
        self._url = urlsplit(url)
        self._path = path
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._listeners: list[Listener] = []
        self._stop = threading.Event()
        self._watching = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` for every event from now on, in the reader's thread; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def start(self) -> None:
        """Start watching; returns once the feed is open (or after 5 s)."""
        self._thread.start()
        self._watching.wait(5.0)

    def stop(self) -> None:
        """Stop watching; the thread ends with the next line or keep-alive."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch()
            except (OSError, http.client.HTTPException, ValueError):
                self._watching.clear()
            self._stop.wait(_RETRY_S)

    def _watch(self) -> None:
        connection = http.client.HTTPConnection(
            self._url.hostname or "127.0.0.1", self._url.port or 80, timeout=_TIMEOUT_S
        )
        try:
            connection.request("GET", self._path, headers=self._headers)
            response = connection.getresponse()
            if response.status != 200:
                return
            while not self._stop.is_set():
                line = response.readline(_MAX_LINE)
                if not line:
                    return
                self._watching.set()
                if line.startswith(b"data: "):
                    self.tell(json.loads(line[6:]))
        finally:
            connection.close()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Hand an event to every listener, as if it had come over the feed."""
        for listener in tuple(self._listeners):
            listener(event)
