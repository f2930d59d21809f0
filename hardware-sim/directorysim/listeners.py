# SPDX-License-Identifier: EUPL-1.2
"""The listening side: loopback sockets, live connections and the faults that can be switched on."""

import asyncio
import logging
import socket
import ssl
from dataclasses import dataclass
from typing import Final

from directorysim.connection import Connection, ConnectionContext
from directorysim.service import Service

_LOG: Final = logging.getLogger(__name__)
_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 128
_ACCEPT_RETRY_S: Final = 0.05


@dataclass(slots=True)
class _Listener:
    port: int
    encrypted: bool
    listening: socket.socket | None = None
    task: asyncio.Task[None] | None = None


class Listeners:
    """Accepts connections on an ldap:// and an ldaps:// port, both on 127.0.0.1."""

    def __init__(self, service: Service, tls: ssl.SSLContext, *, ldap_port: int, ldaps_port: int) -> None:
        self._context = ConnectionContext(service, tls, self._opened, self._closed)
        self._limits = service.options.limits
        self._listeners = (_Listener(ldap_port, encrypted=False), _Listener(ldaps_port, encrypted=True))
        self._connections: set[Connection] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        self.paused = False

    @property
    def ports(self) -> tuple[int, int]:
        """The ldap and ldaps ports; they stay the same once they have been bound."""
        return self._listeners[0].port, self._listeners[1].port

    @property
    def accepting(self) -> bool:
        """Whether the ports are open."""
        return all(listener.listening is not None for listener in self._listeners)

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def accept(self) -> None:
        """Open the ports, if they are closed.

        Raises:
            OSError: a port is taken.
        """
        for listener in self._listeners:
            if listener.listening is None:
                listener.listening = _listen(listener.port)
                listener.port = listener.listening.getsockname()[1]
        self._run_accept_loops()

    def refuse(self) -> None:
        """Close the ports: connections that are there stay, new ones are refused."""
        for listener in self._listeners:
            _stop_accepting(listener)
            if listener.listening is not None:
                listener.listening.close()
                listener.listening = None

    def pause(self) -> None:
        """Behave like a stopped process: the kernel still accepts, nobody answers."""
        self.paused = True
        for listener in self._listeners:
            _stop_accepting(listener)
        for connection in self._connections:
            connection.pause()

    def resume(self) -> None:
        """Undo `pause`: everything that waited is answered."""
        self.paused = False
        for connection in tuple(self._connections):
            connection.resume()
        self._run_accept_loops()

    def drop_connections(self) -> None:
        """Reset every connection."""
        for connection in tuple(self._connections):
            connection.abort()

    async def close(self) -> None:
        """Close the ports and every connection, and wait until they are gone."""
        tasks = [listener.task for listener in self._listeners if listener.task is not None]
        tasks += self._handshakes
        self.refuse()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.drop_connections()
        await self._all_closed.wait()

    def _run_accept_loops(self) -> None:
        for listener in self._listeners:
            if listener.listening is not None and listener.task is None and not self.paused:
                listener.task = asyncio.get_running_loop().create_task(
                    self._accept_loop(listener.listening, encrypted=listener.encrypted)
                )

    async def _accept_loop(self, listening: socket.socket, *, encrypted: bool) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(listening)
            except OSError as error:
                _LOG.warning("a connection could not be accepted: %s", error)
                await asyncio.sleep(_ACCEPT_RETRY_S)
                continue
            if len(self._connections) + len(self._handshakes) >= self._limits.max_connections:
                _LOG.warning("connection refused: %d are open already", self._limits.max_connections)
                client.close()
                continue
            task = loop.create_task(self._connect(client, encrypted=encrypted))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)

    async def _connect(self, client: socket.socket, *, encrypted: bool) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self._context, tls_active=encrypted)
        timeout_s = self._limits.tls_handshake_timeout_s if encrypted else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._context.tls if encrypted else None,
                ssl_handshake_timeout=timeout_s,
            )
        except OSError as error:
            _LOG.info("a connection failed before its first message: %s", error)
            client.close()

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._all_closed.clear()
        if self.paused:
            connection.pause()

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._all_closed.set()


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _stop_accepting(listener: _Listener) -> None:
    if listener.task is not None:
        listener.task.cancel()
        listener.task = None
