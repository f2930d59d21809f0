# SPDX-License-Identifier: EUPL-1.2
"""The HTTP server: its socket, its limits, what runs beside it, and how it says that it is ready and stops."""

import asyncio
import gc
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from cardservice.client_certificates import Authorities, ShownByProxy, ShownByTls
from cardservice.errors import SettingsError
from cardservice.http_limits import Patient
from cardservice.settings import ApiSection, ServiceSection
from cardservice.tls import Certificate

SHUTDOWN_S: Final = 5
MAX_CONNECTIONS: Final = 4_096
_COLLECT_AFTER: Final = 20_000
_SWITCH_S: Final = 0.001
# Makes the protocol that takes over a connection which asks for a WebSocket.
WebSocketFactory = Callable[[Any, Any, Any], asyncio.BufferedProtocol]
Beside = Coroutine[Any, Any, None]


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
    """Says when it is ready and when it begins to stop; what is `beside` runs in its loop in between."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        when_ready: Callable[[], None],
        when_stopping: Callable[[], None],
        beside: Sequence[Callable[[], Beside]] = (),
    ) -> None:
        super().__init__(config)
        self._when_ready = when_ready
        self._when_stopping = when_stopping
        self._beside = beside
        self._tasks: list[asyncio.Task[None]] = []

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
        self._tasks = [asyncio.create_task(begin()) for begin in self._beside]
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those who only watch go first, so that they hold nothing up."""
        for task in self._tasks:
            task.cancel()
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


def uvicorn_config(
    section: ServiceSection,
    app: ASGIApp,
    websockets: WebSocketFactory,
    certificate: Certificate | None = None,
    authorities: Authorities | None = None,
) -> uvicorn.Config:
    """Return the server's configuration: bounded, without logs of its own, and TLS alone if there is a `certificate`.

    Who asked, and with which certificate, is believed of the proxies that the settings name, and of nobody else.
    """
    asgi: Any = app
    if section.trusted_proxies:
        asgi = ProxyHeadersMiddleware(asgi, list(section.trusted_proxies))
    if authorities is not None:
        # Around the other one: behind it nobody knows any more who connected.
        asgi = ShownByProxy(asgi, authorities, section.trusted_proxies)
    return uvicorn.Config(
        asgi,
        log_config=None,
        access_log=False,
        server_header=False,
        http=Patient if authorities is None or certificate is None else _PatientWithCertificates,
        # uvicorn calls it like a class of its own.
        ws=websockets,  # type: ignore[arg-type]
        timeout_graceful_shutdown=SHUTDOWN_S,
        limit_concurrency=MAX_CONNECTIONS,
        proxy_headers=False,
        ssl_context_factory=None if certificate is None else lambda _config, _default: certificate.context,
    )


class _PatientWithCertificates(Patient, ShownByTls):
    """What clients show goes with their requests."""


class Front:
    """What the service shows of itself to whoever connects, and what it asks of them; both renewed while it runs.

    Raises:
        SettingsError: certificate, key or authorities cannot be used.
    """

    def __init__(self, service: ServiceSection, api: ApiSection) -> None:
        self.authorities = authorities_of(api)
        self.certificate = certificate_of(service, self.authorities)

    @property
    def beside(self) -> tuple[Callable[[], Beside], ...]:
        """What follows the files while the server runs."""
        return tuple(one.follow for one in (self.certificate, self.authorities) if one is not None)

    def register(self, registry: CollectorRegistry) -> None:
        """Have it measured."""
        if self.certificate is not None:
            registry.register(self.certificate)

    def sentences(self, now_s: float) -> list[str]:
        """Return what is wrong with the files, one sentence each."""
        found = [] if self.certificate is None else self.certificate.sentences(now_s)
        return found if self.authorities is None else [*found, *self.authorities.sentences()]


def authorities_of(section: ApiSection) -> Authorities | None:
    """Return the authorities whose certificates systems may show, None if the settings name none.

    Raises:
        SettingsError: their file cannot be used.
    """
    if section.client_ca_file is None:
        return None
    return Authorities(section.client_ca_file, required=section.client_certificates == "required")


def certificate_of(section: ServiceSection, authorities: Authorities | None = None) -> Certificate | None:
    """Return the certificate that the settings name, None if there is none; clients are asked for theirs if wanted.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    if section.tls_certificate is None or section.tls_key is None:
        return None
    client_ca = None if authorities is None else authorities.file
    return Certificate(section.tls_certificate, section.tls_key, client_ca)
