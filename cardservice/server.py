# SPDX-License-Identifier: EUPL-1.2
"""The HTTP server: its socket, its limits, its TLS, and how it says that it is ready and stops."""

import asyncio
import gc
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from cardservice.errors import SettingsError
from cardservice.settings import ServiceSection

SHUTDOWN_S: Final = 5
MAX_CONNECTIONS: Final = 4_096
_COLLECT_AFTER: Final = 20_000
_SWITCH_S: Final = 0.001
# Makes the protocol that takes over a connection which asks for a WebSocket.
WebSocketFactory = Callable[[Any, Any, Any], asyncio.BufferedProtocol]


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use is told before anything else starts.

    Raises:
        SettingsError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"service.host, service.port: cannot listen on {host} port {port}: {error.strerror}; "
            "choose another port or end the program that uses it"
        ) from error
    return listener


class Server(uvicorn.Server):
    """Says when it is ready and when it begins to stop."""

    def __init__(
        self, config: uvicorn.Config, *, when_ready: Callable[[], None], when_stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._when_ready = when_ready
        self._when_stopping = when_stopping

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals as uvicorn does, but do not raise them again: what waits has yet to be written."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        spare_the_collector()
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those who only watch go first, so that they hold nothing up."""
        self._when_stopping()
        await super().shutdown(sockets)


def spare_the_collector() -> None:
    """Keep what was built at the start out of every garbage collection: a million cards would stop a tap for a second.

    What a tap makes goes with its last reference; the collector is only for the rare cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)
    # The recorder's thread and the event loop share one interpreter: neither waits longer than this for the other.
    sys.setswitchinterval(_SWITCH_S)


def uvicorn_config(section: ServiceSection, app: FastAPI, websockets: WebSocketFactory) -> uvicorn.Config:
    """Return the server's configuration: bounded, without logs of its own, TLS 1.2 or later with modern ciphers.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        http="httptools",
        # uvicorn calls it like a class of its own.
        ws=websockets,  # type: ignore[arg-type]
        timeout_graceful_shutdown=SHUTDOWN_S,
        limit_concurrency=MAX_CONNECTIONS,
        ssl_certfile=str(section.tls_certificate) if section.tls_certificate else None,
        ssl_keyfile=str(section.tls_key) if section.tls_key else None,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"service.tls_certificate, service.tls_key: {error}") from error
    if isinstance(config.ssl, ssl.SSLContext):
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        config.ssl.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    return config
