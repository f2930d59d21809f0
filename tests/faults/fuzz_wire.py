# SPDX-License-Identifier: EUPL-1.2
"""Agents, or whoever reaches the port, that attack the centre below the messages: HTTP, frames, floods, deafness."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from fastapi import FastAPI
from faults.fuzz_city import HOSTILE, FuzzCity
from faults.fuzz_frames import frames

from cardservice.agents.messages import MAX_MESSAGE_BYTES, hello_signing_input
from cardservice.agents.wire import PATH, AgentWire
from cardservice.server import Server, listen, uvicorn_config
from cardservice.settings import ServiceSection

TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10
MAX_CONNECTIONS = 64
ATTACK_S = 0.5
LIMIT_S = 10.0
UPGRADE = (
    f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
).encode()
NO_UPGRADES = (
    b"\r\n" * 5_000,
    b"GET " + b"/" * 200_000,
    b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(20_000)),
    b"GET / HTTP/1.1\r\nX: " + b"x" * 2_000_000,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 500_000,
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n" + b"x" * 100_000,
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    UPGRADE.replace(b"AAAA", b"A") + b"\r\n",
    UPGRADE.replace(b": 13", b": 99") + b"\r\n",
    UPGRADE + b"Origin: https://page.example\r\n\r\n",
    UPGRADE.replace(PATH.encode(), PATH.encode() + b"/%00/..") + b"\r\n",
    UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n\r\n",
)


class Intruder:
    """One connection to the centre's port."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, city: FuzzCity) -> None:
        self.dice = city.dice
        self.sent = 0
        self._city = city
        self._reader = reader
        self._writer = writer

    async def raw(self, content: bytes) -> None:
        """Send bytes as they are."""
        self.sent += 1
        self._writer.write(content)
        await self._writer.drain()

    async def upgraded(self) -> None:
        """Switch to WebSocket."""
        await self.raw(UPGRADE + b"\r\n")
        answer = await self._reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101"), answer[:100]

    async def let_in(self) -> None:
        """Say hello as the enrolled agent does."""
        await self.upgraded()
        challenge = json.loads(await self.hears())
        key, epoch = self._city.keys[HOSTILE], self._city.next_epoch()
        signature = key.sign(hello_signing_input(challenge["nonce"], HOSTILE, epoch)).hex()
        hello = {"type": "hello", "agent": HOSTILE, "epoch": epoch, "signature": signature, "software": "test"}
        await self.raw(frame(json.dumps(hello).encode()))

    async def hears(self) -> bytes:
        """Return the payload of the next short text frame."""
        first, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
        assert first == 0x81, f"{first:02x}"
        return await self._reader.readexactly(size)

    async def listens(self) -> None:
        """Take whatever the centre says until it hangs up."""
        while await self._reader.read(65_536):
            pass


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, masked: bool = True) -> bytes:
    """Return one frame; its mask is of zeros, which is as good as any."""
    head, mask = bytes(((0x80 if fin else 0) | opcode,)), 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        length = bytes((mask | size,))
    elif size < 65_536:
        length = bytes((mask | 126,)) + size.to_bytes(2, "big")
    else:
        length = bytes((mask | 127,)) + size.to_bytes(8, "big")
    return head + length + (bytes(4) if masked else b"") + payload


Intrusion = Callable[[Intruder], Awaitable[None]]


async def no_http(who: Intruder) -> None:
    """Anything but a request for a WebSocket."""
    await who.raw(who.dice.choice((*NO_UPGRADES, who.dice.randbytes(1_000))))
    await who.listens()


async def no_hello(who: Intruder) -> None:
    """Frames of any kind where a hello is due, more of them than wait."""
    await who.upgraded()
    source = frames("agent", who.dice)
    await who.raw(b"".join(frame(next(source)) for _ in range(who.dice.choice((1, 100)))))
    await who.listens()


async def many_early_frames(who: Intruder) -> None:
    """Long frames on top of a hello whose signature takes time to check."""
    await who.upgraded()
    hello = {"type": "hello", "agent": HOSTILE, "epoch": 1, "signature": "00" * 64, "software": ""}
    await who.raw(frame(json.dumps(hello).encode()) + frame(b" " * MAX_MESSAGE_BYTES) * 40)
    await who.listens()


async def broken_frames(who: Intruder) -> None:
    """Unmasked ones, reserved bits, unknown opcodes, impossible lengths, long control frames, noise."""
    await (who.upgraded() if who.dice.random() < 0.5 else who.let_in())
    huge = tuple(b"\x81\xff" + size.to_bytes(8, "big") for size in (MAX_MESSAGE_BYTES + 1, 2**63 - 1, 2**64 - 1))
    bits = tuple(bytes((first, 0x80)) + bytes(4) for first in (0xF1, 0x83, 0x00, 0x08))
    strange = (frame(b"{}", masked=False), frame(b"x" * 200, PING), *bits, *huge)
    codes = tuple(frame(code.to_bytes(2, "big"), CLOSE) for code in (0, 999, 1005, 1015, 5_000))
    await who.raw(who.dice.choice((*strange, *codes, who.dice.randbytes(500))))
    await who.listens()


async def one_message_without_end(who: Intruder) -> None:
    """Fragments, empty or short, as many in one piece as the network carries, whether or not it is told to stop."""
    await (who.upgraded() if who.dice.random() < 0.5 else who.let_in())
    pieces = frame(who.dice.choice((b"", b"x")), CONTINUATION, fin=False) * 40_000
    await who.raw(frame(b'{"type":"', fin=False))
    while True:
        await who.raw(pieces)


async def floods(who: Intruder) -> None:
    """Pings, pongs or binary frames, thousands in one piece."""
    await who.let_in()
    await who.raw(frame(b"p" * 125, who.dice.choice((PING, PONG, BINARY))) * 10_000)
    await who.listens()


async def deaf(who: Intruder) -> None:
    """Sends what has to be answered, and takes no answer."""
    await who.let_in()
    event = {"agent": "another", "epoch": 1, "sequence": 1}
    upload = {"type": "event", "event": event, "point": "p", "at_ms": 0, "outcome": "shown"}
    answered = who.dice.choice((frame(json.dumps(upload).encode()), frame(b"p" * 125, PING)))
    while True:
        await who.raw(answered * 2_000)


async def bent_messages(who: Intruder) -> None:
    """Frames that are nearly messages, until the centre hangs up."""
    await who.let_in()
    for one in frames("agent", who.dice):
        await who.raw(frame(one))


async def half_a_frame(who: Intruder) -> None:
    """The beginning of a long frame, and nothing more."""
    await who.upgraded()
    await who.raw(frame(b" " * MAX_MESSAGE_BYTES)[: who.dice.choice((1, 5, 10, 200_000))])
    await who.listens()


INTRUSIONS: tuple[Intrusion, ...] = (
    *(no_http, no_hello, many_early_frames, broken_frames, one_message_without_end, floods, deaf, bent_messages),
    half_a_frame,
)


class Port:
    """The centre's real listener in a thread of its own."""

    def __init__(self, city: FuzzCity) -> None:
        self.carried_out = 0
        self._city = city
        self._listener = listen("127.0.0.1", 0)
        self.port = self._listener.getsockname()[1]
        self._ready = threading.Event()
        config = uvicorn_config(ServiceSection(), FastAPI(), AgentWire(city.hub.serve, MAX_CONNECTIONS))
        self.server = Server(config, when_ready=self._ready.set, when_stopping=lambda: None)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._listener]}, name="port")

    @property
    def url(self) -> str:
        """Where agents connect."""
        return f"ws://127.0.0.1:{self.port}{PATH}"

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        assert self._ready.wait(LIMIT_S)

    def stop(self) -> None:
        """End every connection and the thread."""
        self.server.should_exit = True
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive(), "the server did not end"

    async def attack(self, intrusion: Intrusion) -> None:
        """Carry out one intrusion, for half a second at most."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ATTACK_S):
                await intrusion(Intruder(reader, writer, self._city))
        writer.transport.abort()
        self.carried_out += 1

    @asynccontextmanager
    async def fragments(self, connections: int) -> AsyncIterator[None]:
        """Send thousands of fragments at once on each of many connections that said no hello.

        The context begins when the centre has hung up on the first, and has the others' before it.
        """
        opened, strangers = [], []
        for _ in range(connections):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            strangers.append(Intruder(reader, writer, self._city))
            opened.append(writer)
            await strangers[-1].upgraded()
        for writer in opened:
            writer.write(frame(b'{"type":"', fin=False) + frame(b"x", CONTINUATION, fin=False) * 9_000)
        ends = [asyncio.ensure_future(who.listens()) for who in strangers]
        try:
            ended, _ = await asyncio.wait(ends, timeout=LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            assert ended, "the centre takes fragments without end"
            yield
        finally:
            for writer in opened:
                writer.transport.abort()
            await asyncio.gather(*ends, return_exceptions=True)


@contextmanager
def listening(city: FuzzCity) -> Iterator[Port]:
    """Serve `city` on a loopback port."""
    port = Port(city)
    port.start()
    try:
        yield port
    finally:
        port.stop()
