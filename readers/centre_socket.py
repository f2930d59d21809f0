# SPDX-License-Identifier: EUPL-1.2
"""The WebSocket to the centre (RFC 6455), through the library `websockets`; the only file that imports it."""

import socket as sockets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from cardservice.agents.messages import MAX_MESSAGE_BYTES
from readers.errors import ChannelFault, SettingsFault
from readers.ports import CentreSocket, Connector
from readers.settings import AgentSettings

OPEN_TIMEOUT_S = 5.0
PING_S = 5.0
CLOSE_TIMEOUT_S = 2.0
INCOMING_FRAMES = 16


class _Connect(connect):
    """Never follows a redirect: the centre is where the settings say."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def websocket_connector(settings: AgentSettings) -> Connector:
    """Return what opens a WebSocket to the centre of `settings`.

    Raises:
        SettingsFault: the CA file cannot be used.
    """
    tls = _tls_context(settings)

    @asynccontextmanager
    async def open_socket() -> AsyncIterator[CentreSocket]:
        try:
            async with _Connect(
                settings.centre_url,
                ssl=tls,
                compression=None,
                proxy=None,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=MAX_MESSAGE_BYTES,
                max_queue=INCOMING_FRAMES,
            ) as socket:
                _no_delay(socket)
                yield socket
        except (OSError, WebSocketException) as error:
            raise ChannelFault(str(error) or type(error).__name__) from error

    return open_socket


def _no_delay(socket: ClientConnection) -> None:
    """Small frames must not wait for each other (RFC 896)."""
    plain = socket.transport.get_extra_info("socket")
    if plain is not None and plain.family in {sockets.AF_INET, sockets.AF_INET6}:
        plain.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)


def _tls_context(settings: AgentSettings) -> ssl.SSLContext | None:
    if urlsplit(settings.centre_url).scheme != "wss":
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise SettingsFault(f"ca_file {settings.ca_file} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
