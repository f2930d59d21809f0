# SPDX-License-Identifier: EUPL-1.2
"""How long a request may take to come and how large it may be, before anything of it is looked at.

uvicorn waits for a request for ever and keeps whatever stands in its head: whoever opens connections and sends a byte
now and then, or a header without end, would have the service to themselves.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# For a whole request, and for the first byte of one on a new connection.
REQUEST_S: Final = 60.0
MAX_HEAD: Final = 64 * 1024
# The longest body that any route takes, with its chunks' own bytes.
MAX_REQUEST: Final = 8 * 1024 * 1024


class Patient(HttpToolsProtocol):
    """uvicorn's protocol, whose patience has an end."""

    _timer: asyncio.TimerHandle | None = None
    # Whether a request has begun, whether its head is still to come, how many bytes came since the last was complete.
    _begun = False
    _in_head = True
    _came = 0
    _is_ours = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, as far as a request may be long."""
        was_in_head = self._in_head
        self._came += len(data)
        if self._came > MAX_REQUEST:
            self._refuse()
            return
        super().data_received(data)
        if was_in_head and self._in_head and self._came > MAX_HEAD:
            self._refuse()
        elif self._is_ours and (self._begun or self._came):
            # Most come in one piece and need no timer.
            self._wait()

    def on_message_begin(self) -> None:
        """A request begins, maybe on a connection that was used before."""
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here; how long the answer takes is the service's to know."""
        self._stop_waiting()
        self._begun, self._in_head, self._came = False, True, 0
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the agents' own protocol, with limits of its own."""
        self._is_ours = False
        self._stop_waiting()
        super().handle_websocket_upgrade()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(REQUEST_S, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self.transport.abort()

    def _refuse(self) -> None:
        self._stop_waiting()
        if not self.transport.is_closing():
            self.send_400_response("The request is too long.")
