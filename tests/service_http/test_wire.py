# SPDX-License-Identifier: EUPL-1.2
"""The agents' WebSocket on its own: upgrade, framing, limits, TLS, against a client of another make (RFC 6455)."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress

import pytest
from agent.test_channel_tls import write_certificate
from fastapi import FastAPI
from support.scripted_agent import report
from support.service import LIVE_TOKEN
from support.waiting import LIMIT_S
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cardservice.agents.channel import Channel
from cardservice.agents.messages import MAX_MESSAGE_BYTES, EventAck, Refused, encode
from cardservice.agents.wire import MAX_UNREAD_BYTES, AgentWire
from cardservice.server import Server, listen, uvicorn_config
from cardservice.settings import ServiceSection

DOOR = "bauamt.aussen"


@pytest.mark.parametrize(
    "path", ["/", "/agents", "/agents/v1/", "/agents/v2", "/agents/v1?a=b", "/health/ready", "/%00"]
)
async def test_there_is_one_place_for_agents(city, path):
    """Any other address is not found, whoever asks for a WebSocket there."""
    with pytest.raises(InvalidStatus) as refused:
        await connect(city.service.agents_url.replace("/agents/v1", path))
    assert refused.value.response.status_code == 404


async def test_a_message_may_come_in_pieces(city):
    """RFC 6455 §5.4: whatever cuts a message into frames, it is one message, and pings may lie between."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        text = encode(report(decision, DOOR))
        pieces = [text[:1], text[1:40], text[40:]]

        async def piecemeal():
            for piece in pieces:
                yield piece
                await agent.socket.ping()

        await agent.socket.send(piecemeal())
        assert isinstance(await agent.receive(), EventAck)


@pytest.mark.parametrize("size", [1 << 10, 1 << 16])
async def test_pieces_have_the_limit_of_a_whole(city, size):
    """A message that never ends is cut off at the longest one that is read."""
    async with city.agent() as agent:
        sent = 0

        async def endless():
            nonlocal sent
            while sent < 64 * MAX_MESSAGE_BYTES:
                sent += size
                yield "x" * size

        with suppress(ConnectionClosed):
            await agent.socket.send(endless())
        assert await agent.closed() in {1009, 1006}
        assert sent < 32 * MAX_MESSAGE_BYTES
    async with city.agent() as again:
        assert (await again.tap(city.card("anna"), DOOR)).permit


async def test_binary_frames_are_not_taken(city):
    """The protocol is text; the code says so."""
    async with city.agent() as agent:
        await agent.socket.send(b"\x00\x01")
        assert await agent.closed() == 1003


@contextmanager
def serving(serve) -> Iterator[int]:
    """The wire alone, with `serve` in the place of the hub; yields its port."""
    listener, ready = listen("127.0.0.1", 0), threading.Event()
    config = uvicorn_config(ServiceSection(port=0), FastAPI(), AgentWire(serve, 10))
    server = Server(config, when_ready=ready.set, when_stopping=lambda: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert ready.wait(LIMIT_S)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(LIMIT_S)
    assert not thread.is_alive()


async def test_an_agent_that_does_not_read_is_cut_off():
    """What it leaves unread is bounded."""
    sent, cut_off = 0, threading.Event()

    async def talk(channel: Channel) -> None:
        nonlocal sent
        lost = asyncio.ensure_future(channel.until_lost())
        while not lost.done() and sent < 100 * MAX_UNREAD_BYTES:
            channel.send(Refused(code="protocol", message="x" * 200))
            sent += 200
            await asyncio.sleep(0)
        if lost.done():
            cut_off.set()

    with serving(talk) as port:
        async with connect(f"ws://127.0.0.1:{port}/agents/v1", compression=None) as socket:
            socket.transport.pause_reading()
            assert await asyncio.to_thread(cut_off.wait, LIMIT_S)
            socket.transport.abort()
    assert sent >= MAX_UNREAD_BYTES


async def test_connections_are_counted():
    """Past the bound a new one is told to come back later, those there go on."""

    async def echo(channel: Channel) -> None:
        while True:
            await channel.receive()
            channel.send(Refused(code="protocol", message="heard"))

    with serving(echo) as port:
        url = f"ws://127.0.0.1:{port}/agents/v1"
        async with AsyncExitStack() as stack:
            first, *_ = [await stack.enter_async_context(connect(url)) for _ in range(10)]
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            assert refused.value.response.status_code == 503
            await first.send("still there?")
            assert "heard" in await first.recv()


async def test_agents_and_pages_share_one_port_with_tls(make_city, tmp_path):
    """The same certificate serves the channel, the health page and the live feed."""
    certificate, key = write_certificate(tmp_path, "127.0.0.1")
    city = make_city()
    await asyncio.to_thread(city.service.stop)
    city.files.configure({"service": {"tls_certificate": str(certificate), "tls_key": str(key)}})
    await asyncio.to_thread(city.service.start)
    context = ssl.create_default_context(cafile=certificate)
    agent = city.agent()
    agent.url = agent.url.replace("ws://", "wss://")
    challenge = await agent.connect(ssl=context)
    await agent.send(agent.hello(challenge.nonce))
    await agent.welcomed()
    decision = await agent.tap(city.card("anna"), DOOR)
    assert decision.permit
    assert isinstance(await agent.upload(report(decision, DOOR)), EventAck)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(agent.url.split(":")[2].split("/")[0]), ssl=context)
    writer.write(f"GET /api/v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {LIVE_TOKEN}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await agent.socket.close()
