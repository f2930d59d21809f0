# SPDX-License-Identifier: EUPL-1.2
"""The WebSocket to the centre (RFC 6455), through picows; the agent's one file that imports it."""

import asyncio
import contextlib
import logging
import socket as sockets
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NoReturn
from urllib.parse import urlsplit

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows.picows import WSCloseHandshake

from cardservice.agents.fragments import FragmentRefused, Fragments
from cardservice.agents.messages import MAX_MESSAGE_BYTES
from readers.errors import ChannelFault, SettingsFault
from readers.ports import CentreSocket, Connector
from readers.settings import AgentSettings

OPEN_TIMEOUT_S: Final = 5.0
PING_S: Final = 5.0
CLOSE_TIMEOUT_S = 2.0
# What may wait before anybody listens, and what the centre may leave unread.
MAX_EARLY_BYTES: Final = 4 * MAX_MESSAGE_BYTES
MAX_UNREAD_BYTES: Final = 4 * MAX_MESSAGE_BYTES

# Whether bytes are text shows when they are parsed.
_FIRST: Final = (WSMsgType.TEXT, WSMsgType.BINARY)
_quiet = logging.getLogger("readers.centre_socket")
_quiet.setLevel(logging.CRITICAL)


def websocket_connector(settings: AgentSettings) -> Connector:
    """Return what opens a WebSocket to the centre of `settings`.

    Raises:
        SettingsFault: the CA file cannot be used.
    """
    tls = _tls_context(settings)

    @asynccontextmanager
    async def open_socket() -> AsyncIterator[CentreSocket]:
        socket = await _connected(settings.centre_url, tls)
        pings = asyncio.create_task(socket.keep_asking())
        try:
            yield socket
        finally:
            pings.cancel()
            await socket.close()

    return open_socket


class _Socket(WSListener):
    """One connection: whole messages are heard in order."""

    def __init__(self) -> None:
        super().__init__()
        self._transport: WSTransport
        self._fragments = Fragments()
        self._early: deque[bytes] = deque()
        self._early_bytes = 0
        self._heard: Callable[[bytes], None] | None = None
        self._news = asyncio.Event()
        # Why nothing is heard any more; the first reason counts.
        self._fault: Exception | None = None
        self._over = asyncio.Event()
        self._is_full = False
        self._is_answered = False

    def send(self, frame: str) -> bool:
        """Send one frame; False if the connection is gone, or the centre leaves too much unread."""
        if self._is_full or self._fault is not None:
            return False
        self._transport.send(WSMsgType.TEXT, frame.encode())
        return True

    async def recv(self) -> bytes:
        """Return the next frame, as long as nobody listens.

        Raises:
            ChannelFault: the connection is gone.
        """
        while not self._early:
            if self._fault is not None:
                raise self._fault
            self._news.clear()
            await self._news.wait()
        self._early_bytes -= len(self._early[0])
        return self._early.popleft()

    async def listen(self, heard: Callable[[bytes], None]) -> NoReturn:
        """Hand every frame to `heard` from now on, those that wait first.

        Raises:
            ChannelFault: the connection is gone.
            Exception: whatever `heard` raised.
        """
        self._heard = heard
        while self._early:
            self._hear(self._early.popleft())
        await self._over.wait()
        raise self._fault or ChannelFault("the connection is over")

    async def keep_asking(self) -> None:
        """Ping all the time; a centre that has not answered by the next one is gone."""
        while self._fault is None:
            self._is_answered = False
            self._transport.send_ping()
            await asyncio.sleep(PING_S)
            if not self._is_answered:
                self._end(f"the centre has not answered for {PING_S:.0f} s")
                self._tear_down()

    async def close(self) -> None:
        """Say goodbye (RFC 6455 §7.1.1); who does not answer in time is not waited for."""
        self._end("closed")
        # It raises again what ended the connection, and that is known.
        with contextlib.suppress(TimeoutError, OSError, WSError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._transport.wait_disconnected()
        self._tear_down()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the transport of an open connection."""
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        _no_delay(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
        kind = frame.msg_type
        if kind in _FIRST and frame.fin and self._fragments.is_empty:
            self._hear(frame.get_payload_as_bytes())
        elif kind in _FIRST or kind is WSMsgType.CONTINUATION:
            self._fragment(frame)
        elif kind is WSMsgType.PONG:
            self._is_answered = True
        elif kind is WSMsgType.CLOSE:
            code = int.from_bytes(frame.get_payload_as_bytes()[:2], "big")
            self._end(_said(transport) or f"the centre closed the connection ({code})")
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note that the connection is gone."""
        self._lose(ChannelFault(_said(transport) or "the connection was lost"))

    def pause_writing(self) -> None:
        """Take nothing more: the centre does not read."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._is_full = False

    def _fragment(self, frame: WSFrame) -> None:
        is_first, payload = frame.msg_type in _FIRST, frame.get_payload_as_bytes()
        try:
            whole = self._fragments.add(payload, is_first=is_first, is_last=frame.fin, longest=MAX_MESSAGE_BYTES)
        except FragmentRefused as refused:
            self._end(str(refused), refused.code)
            return
        if whole is not None:
            self._hear(whole)

    def _hear(self, frame: bytes) -> None:
        # picows goes on reading after it has refused a frame: what it refused would be heard after all.
        if self._fault is not None or self._transport.is_close_frame_sent:
            return
        if self._heard is None:
            self._keep(frame)
            return
        try:
            self._heard(frame)
        except Exception as error:  # noqa: BLE001  # raised where it is listened
            self._lose(error)

    def _keep(self, frame: bytes) -> None:
        self._early.append(frame)
        self._early_bytes += len(frame)
        if self._early_bytes > MAX_EARLY_BYTES:
            self._end("the centre sent too much at once", WSCloseCode.POLICY_VIOLATION)
        self._news.set()

    def _end(self, why: str, code: WSCloseCode = WSCloseCode.OK) -> None:
        self._lose(ChannelFault(why))
        if not self._transport.is_disconnected and not self._transport.is_close_frame_sent:
            self._transport.send_close(code)

    def _tear_down(self) -> None:
        if not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)

    def _lose(self, fault: Exception) -> None:
        self._fault = self._fault or fault
        self._over.set()
        self._news.set()


def _said(transport: WSTransport) -> str | None:
    """Return what picows told the centre when it ended the connection by itself."""
    # None where nobody said goodbye, whatever picows's types say.
    handshake: WSCloseHandshake | None = transport.close_handshake
    if handshake is None or handshake.sent is None:
        return None
    return handshake.sent.reason or handshake.sent.code.name.lower()


async def _connected(url: str, tls: ssl.SSLContext | None) -> _Socket:
    """Open a connection; no redirect is followed: the centre is where the settings say."""
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            _, socket = await ws_connect(
                _Socket,
                url,
                ssl_context=tls,
                logger_name=_quiet,
                max_redirects=0,
                max_frame_size=MAX_MESSAGE_BYTES,
                # TLS is the loop's own.
                use_aiofastnet=False,
            )
    except (OSError, WSError) as error:
        raise ChannelFault(str(error) or type(error).__name__) from error
    assert isinstance(socket, _Socket)  # noqa: S101  # for mypy
    return socket


def _no_delay(transport: WSTransport) -> None:
    """Small frames must not wait for each other (RFC 896)."""
    plain = transport.underlying_transport.get_extra_info("socket")
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
