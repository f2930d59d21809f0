# SPDX-License-Identifier: EUPL-1.2
"""The agent's end of the WebSocket against a foreign server: messages in parts, floods, silence, and ends."""

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from cardservice.agents.messages import MAX_MESSAGE_BYTES
from readers import centre_socket
from readers.centre_socket import MAX_UNREAD_BYTES, websocket_connector
from readers.errors import ChannelFault
from readers.ports import CentreSocket
from readers.settings import AgentSettings

Play = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def connected(play: Play, **options: Any) -> AsyncIterator[CentreSocket]:
    """A socket of the agent to a server that does what `play` says."""
    async with (
        serve(play, "127.0.0.1", 0, compression=None, close_timeout=1, **options) as server,
        opened(server.sockets[0].getsockname()[1]) as socket,
    ):
        yield socket


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[CentreSocket]:
    settings = AgentSettings(agent="agent-1", centre_url=f"ws://127.0.0.1:{port}/agents")
    async with websocket_connector(settings)() as socket:
        yield socket


async def until_it_ends(socket: CentreSocket, heard: Callable[[str | bytes], None]) -> str:
    """Listen to the end; return why it was the end."""
    async with asyncio.timeout(20):
        with pytest.raises(ChannelFault) as fault:
            await socket.listen(heard)
    return str(fault.value)


async def read_slowly(socket: CentreSocket) -> None:
    """Read eight messages, later than they come."""
    await asyncio.sleep(1)
    for _ in range(8):
        await socket.recv()


async def test_messages_are_heard_whole_and_in_order_before_anybody_listens_and_after() -> None:
    """In one frame or in several, and with a ping between them (RFC 6455 §5.4)."""

    async def play(server: ServerConnection) -> None:
        await server.send("one")
        await server.send(["t", "w", "o"])
        assert await server.recv() == "go on"
        await server.send(["thr", "ee"])
        await server.ping()
        await server.send(b"four")

    heard: list[str | bytes] = []
    async with connected(play) as socket:
        assert await socket.recv() == b"one"
        assert socket.send("go on")
        assert await until_it_ends(socket, heard.append) == "the centre closed the connection (1000)"
        assert not socket.send("too late")
    assert heard == [b"two", b"three", b"four"]


async def test_what_the_listener_raises_ends_it_and_nothing_is_heard_after() -> None:
    async def play(server: ServerConnection) -> None:
        for text in ("good", "bad", "good"):
            await server.send(text)
        await server.wait_closed()

    heard: list[str | bytes] = []

    def hear(frame: str | bytes) -> None:
        heard.append(frame)
        if frame == b"bad":
            raise ValueError("what a listener makes of it")

    async with connected(play) as socket:
        with pytest.raises(ValueError, match="makes of it"):
            await socket.listen(hear)
    assert heard == [b"good", b"bad"]


@pytest.mark.parametrize("parts", [1, 4])
async def test_a_message_that_is_too_long_ends_it(parts: int) -> None:
    """Whole or in parts, each of which would do."""

    async def play(server: ServerConnection) -> None:
        part = "x" * (MAX_MESSAGE_BYTES // parts + 1)
        await server.send([part] * parts if parts > 1 else part)
        await server.wait_closed()

    heard: list[str | bytes] = []
    async with connected(play) as socket:
        assert re.search("exceeding|too_big", await until_it_ends(socket, heard.append))
    assert heard == []


async def test_more_than_anybody_waits_for_ends_it() -> None:
    """Before the hello is answered nobody sends a megabyte."""

    async def play(server: ServerConnection) -> None:
        for _ in range(8):
            await server.send("x" * MAX_MESSAGE_BYTES)
        await server.wait_closed()

    async with connected(play) as socket:
        with pytest.raises(ChannelFault, match="too much at once"):
            await read_slowly(socket)


async def test_a_centre_that_does_not_read_gets_nothing_more() -> None:
    """What the system takes and a megabyte wait; the rest is refused at once, and nobody waits."""
    go = asyncio.Event()

    async def play(server: ServerConnection) -> None:
        server.transport.pause_reading()
        await go.wait()
        server.transport.resume_reading()

    frame = "x" * MAX_MESSAGE_BYTES
    async with connected(play) as socket:
        sent = 0
        while socket.send(frame):
            sent += len(frame)
            assert sent < 100 * MAX_UNREAD_BYTES
        assert sent >= MAX_UNREAD_BYTES
        go.set()


async def test_a_centre_that_answers_no_ping_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shakes hands and says nothing any more, as when a machine on the way forgot the connection."""
    monkeypatch.setattr(centre_socket, "PING_S", 0.3)
    monkeypatch.setattr(centre_socket, "CLOSE_TIMEOUT_S", 0.3)
    silent = asyncio.Event()

    async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[1]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        await silent.wait()
        writer.close()

    async with await asyncio.start_server(shake_hands, "127.0.0.1", 0) as server:
        async with opened(server.sockets[0].getsockname()[1]) as socket:
            assert "has not answered" in await until_it_ends(socket, lambda _: None)
        silent.set()


@pytest.mark.parametrize("listens", [True, False])
async def test_a_connection_that_breaks_is_told_at_once(listens: bool) -> None:
    """Nobody said goodbye: the system resets the connection, or closes it."""
    async with connected(_reset) as socket:
        if listens:
            assert await until_it_ends(socket, lambda _: None) == "the connection was lost"
        else:
            with pytest.raises(ChannelFault, match="lost"):
                await socket.recv()
        assert not socket.send("too late")


async def _reset(server: ServerConnection) -> None:
    server.transport.abort()


async def test_a_centre_that_answers_pings_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centre_socket, "PING_S", 0.3)

    async def play(server: ServerConnection) -> None:
        await asyncio.sleep(2)
        await server.send("still here")

    async with connected(play, ping_interval=None) as socket:
        assert await socket.recv() == b"still here"


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE])
async def test_who_is_not_let_in_is_told_so(status: HTTPStatus) -> None:
    async def play(server: ServerConnection) -> None:
        raise AssertionError("let in")

    with pytest.raises(ChannelFault, match=str(int(status))):
        async with connected(play, process_request=lambda server, _: server.respond(status, "")):
            raise AssertionError("let in")


async def test_no_redirect_is_followed() -> None:
    """The centre is where the settings say, and nowhere else."""
    asked: list[str] = []

    async def elsewhere(_server: ServerConnection) -> None:
        asked.append("elsewhere")

    async with serve(elsewhere, "127.0.0.1", 0) as other:
        place = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/agents"

        def redirect(server: ServerConnection, _request: object) -> Any:
            response = server.respond(HTTPStatus.FOUND, "")
            response.headers["Location"] = place
            return response

        with pytest.raises(ChannelFault, match="302"):
            async with connected(elsewhere, process_request=redirect):
                raise AssertionError("let in")
    assert asked == []


async def test_nobody_there_is_a_fault_of_the_channel() -> None:
    """A port that was taken and given back, and a name that nobody has."""
    async with await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    with pytest.raises(ChannelFault):
        async with opened(port):
            raise AssertionError("somebody is there")
