# SPDX-License-Identifier: EUPL-1.2
"""Serves the kiosk pages inside the agent's event loop, on loopback, and never disturbs the agent."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final, cast

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from readers.kiosk.app import make_app
from readers.kiosk.terminals import Terminals
from readers.logs import is_worth_a_line

MAX_CONNECTIONS: Final = 64
_FIRST_REQUEST_WITHIN_S: Final = 10.0
_STOP_WITHIN_S: Final = 3.0
_LONGEST_PAUSE_S: Final = 60.0

_log = structlog.get_logger("readers.kiosk")


class _Connection(H11Protocol):
    """One connection: refused when there are too many, ended when it asks for nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast("asyncio.Transport", transport)
        super().connection_made(stream)
        self._deadline = self.loop.call_later(_FIRST_REQUEST_WITHIN_S, self._end_if_silent)
        if len(self.connections) > MAX_CONNECTIONS:
            stream.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        super().connection_lost(exc)

    def _end_if_silent(self) -> None:
        # Its type does not say so, but there is no cycle before the first request.
        if cast("object | None", self.cycle) is None:
            self.transport.abort()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the agent."""
        yield


class KioskServer:
    """The pages of `terminals` on a loopback address; `run` it as a task of the agent and cancel it at the end."""

    def __init__(self, terminals: Terminals, address: str, port: int, *, first_pause_s: float = 1.0) -> None:
        self._terminals = terminals
        self._address = address
        self._port = port
        self._first_pause_s = first_pause_s
        self._ending = False
        # Where the pages are, while they are served.
        self.url: str | None = None

    async def run(self) -> None:
        """Serve until cancelled; after a fault again, with a pause that grows."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began_s = loop.time()
            try:
                await self._serve()
                reason = "it ended by itself"
            except OSError as error:
                reason = error.strerror or type(error).__name__
            except Exception as error:  # noqa: BLE001  # doors must go on opening, whatever becomes of the pages
                reason = f"{type(error).__name__}: {error}"
            failures = 1 if loop.time() - began_s > _LONGEST_PAUSE_S else failures + 1
            # A port that stays taken does not fill the log.
            if is_worth_a_line(failures):
                _log.error("kiosk_down", address=self._address, port=self._port, failures=failures, reason=reason)
            await asyncio.sleep(min(_LONGEST_PAUSE_S, self._first_pause_s * 2 ** min(failures - 1, 16)))

    async def _serve(self) -> None:
        self._ending = False
        server = _Server(_config(make_app(self._terminals, lambda: self._ending)))
        listener = _listen(self._address, self._port)
        host = f"[{self._address}]" if ":" in self._address else self._address
        self.url = f"http://{host}:{listener.getsockname()[1]}/"
        _log.info("kiosk_ready", url=self.url)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="kiosk http")
        try:
            await asyncio.shield(serving)
        finally:
            self.url = None
            self._ending = server.should_exit = True
            self._terminals.wake()
            await asyncio.wait({serving}, timeout=_STOP_WITHIN_S)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            listener.close()


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(MAX_CONNECTIONS)
    except OSError:
        listener.close()
        raise
    return listener


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # uvicorn's own name for an ASGI application is narrower than ASGI
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        http=_Connection,
        ws="none",
        backlog=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
