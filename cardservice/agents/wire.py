# SPDX-License-Identifier: EUPL-1.2
"""The agents' WebSocket (RFC 6455) on the service's own port, through picows.

uvicorn reads the HTTP request and hands the connection over when it asks for a WebSocket; from then on picows frames
it and no ASGI lies between. The one file that knows picows: its protocol class is not public, hence the pinned version
and the tests of this file against a foreign client.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, Protocol

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # see above

from cardservice.agents.channel import Channel
from cardservice.agents.messages import MAX_MESSAGE_BYTES

PATH: Final = "/agents/v1"
HANDSHAKE_S: Final = 5.0
PING_S: Final = 10.0
# An agent that leaves this much unread is cut off: it would get its decisions too late anyway.
MAX_UNREAD_BYTES: Final = 1 << 20
MAX_FRAGMENTS: Final = 64
# How long what was said last may take to arrive before the connection is torn down.
CLOSING_S: Final = 2.0

_TEXT: Final = (WSMsgType.TEXT, WSMsgType.CONTINUATION)
_quiet = logging.getLogger("cardservice.wire")
_quiet.setLevel(logging.CRITICAL)

# Serves one connection to its end.
Serve = Callable[[Channel], Awaitable[None]]


class ServerState(Protocol):
    """What uvicorn shares between its connections: those open (ended by `shutdown`) and the tasks to wait for."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class AgentWire:
    """Makes the protocol of each agent's connection, as uvicorn asks for it; `serve` gets the channel."""

    def __init__(self, serve: Serve, max_connections: int) -> None:
        self._serve = serve
        self._max_connections = max_connections

    def __call__(self, config: object, server_state: ServerState, app_state: object) -> "_Protocol":
        """Return the protocol of one connection."""
        return _Protocol(lambda request: self._admit(request, server_state))

    def _admit(self, request: WSUpgradeRequest, state: ServerState) -> "WSListener | WSUpgradeResponseWithListener":
        if request.path.decode(errors="replace") != PATH:
            return _refusal(HTTPStatus.NOT_FOUND)
        # Browsers always send an Origin, agents never do: a page must not be able to speak for an agent.
        if "Origin" in request.headers:
            return _refusal(HTTPStatus.FORBIDDEN)
        if len(state.connections) >= self._max_connections:
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        return _Listener(self._serve, state)


def _refusal(status: HTTPStatus) -> WSUpgradeResponseWithListener:
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, b""), None)


class _Protocol(WSProtocol):  # type: ignore[misc]  # as imported above
    """picows's protocol, which also takes the request that uvicorn has read already."""

    def __init__(self, admit: Callable[[WSUpgradeRequest], WSListener | WSUpgradeResponseWithListener]) -> None:
        super().__init__(
            None,  # host and port, of a client
            None,  # path, of a client
            False,  # is a client
            admit,
            _quiet,
            True,  # disconnect when the listener fails
            HANDSHAKE_S,
            True,  # ping by itself
            PING_S,
            PING_S,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # pong by itself
            MAX_MESSAGE_BYTES,
            None,  # headers, of a client
            16 * 1024,
        )

    def data_received(self, data: bytes) -> None:
        """Take the upgrade request as uvicorn repeats it."""
        while data:
            buffer = self.get_buffer(len(data))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self.buffer_updated(count)


class _Listener(WSListener):
    """One connection: whole text messages go to the channel, anything else ends it."""

    def __init__(self, serve: Serve, state: ServerState) -> None:
        super().__init__()
        self._serve = serve
        self._state = state
        self._transport: WSTransport
        self._channel: Channel
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.underlying_transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        self._channel = Channel(self._send, self._close)
        self._state.connections.add(self)
        task = asyncio.ensure_future(self._run())
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.TEXT and frame.fin and not self._fragments:
            self._channel.received(frame.get_payload_as_bytes())
        elif kind in _TEXT:
            self._fragment(frame)
        elif kind is WSMsgType.CLOSE:
            self._end(WSCloseCode.OK)
        elif kind is WSMsgType.BINARY:
            self._end(WSCloseCode.UNSUPPORTED_DATA)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._state.connections.discard(self)
        self._channel.lost()

    def pause_writing(self) -> None:
        """Cut off an agent that does not read: more is buffered for it than it may leave unread."""
        self._transport.disconnect(graceful=False)

    def resume_writing(self) -> None:
        """Nothing: the connection has been cut off."""

    def shutdown(self) -> None:
        """End this connection because the service stops (asked by uvicorn)."""
        self._end(WSCloseCode.SERVICE_RESTART)

    async def _run(self) -> None:
        try:
            await self._serve(self._channel)
        finally:
            self._close()

    def _fragment(self, frame: WSFrame) -> None:
        """Put a message together that came in several frames (RFC 6455 §5.4)."""
        is_first = frame.msg_type is WSMsgType.TEXT
        if is_first == bool(self._fragments):
            self._end(WSCloseCode.PROTOCOL_ERROR)
            return
        self._fragments.append(frame.get_payload_as_bytes())
        self._fragments_bytes += frame.payload_size
        if self._fragments_bytes > self._channel.longest_frame or len(self._fragments) > MAX_FRAGMENTS:
            self._end(WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            whole, self._fragments, self._fragments_bytes = b"".join(self._fragments), [], 0
            self._channel.received(whole)

    def _send(self, text: str) -> None:
        if not self._transport.is_disconnected:
            self._transport.send(WSMsgType.TEXT, text)

    def _close(self) -> None:
        self._end(WSCloseCode.OK)

    def _end(self, code: WSCloseCode) -> None:
        if not self._transport.is_disconnected:
            self._transport.send_close(code)
            self._transport.disconnect()
            asyncio.get_running_loop().call_later(CLOSING_S, self._transport.disconnect, False)
