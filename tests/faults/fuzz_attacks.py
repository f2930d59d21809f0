# SPDX-License-Identifier: EUPL-1.2
"""A centre that attacks its agents, from the first byte of HTTP to messages that fit but were never asked for."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from faults.fuzz_frames import frames
from faults.fuzz_peer import BINARY, PING, POINTS, PONG, UPGRADED, Armoury, Peer

from cardservice.agents.messages import MAX_MESSAGE_BYTES

# How long an attack may go on, and how long the agent is listened to afterwards.
ATTACK_S = 0.4
AFTERWARDS_S = 0.05
FLOOD = 3_000
MOST_FRAGMENTS = 50_000

Attack = Callable[[Peer], Awaitable[None]]

NO_UPGRADES = (
    b"",
    b"\r\n" * 1_000,
    b"HTTP/9.9 abc\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    UPGRADED + b"AAAA\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: ws://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 No\r\nRetry-After: 9999999999\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 70_000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    UPGRADED + b"A\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5_000)),
    b"HTTP/1.1 101 " + b"x" * 100_000,
)
NO_FRAMES = (
    *(
        b"\xf1\x05hello",
        b"\x81\x85abcdhello",
        b"\x83\x00",
        b"\x89\x7e\x00\x80",
        b"\x80\x00",
        b"\x09\x00",
        b"\x88\x01\x00",
    ),
    *(b"\x81\x7f" + size.to_bytes(8, "big") for size in (0, MAX_MESSAGE_BYTES + 1, 2**63, 2**64 - 1)),
    *(b"\x88\x04" + code.to_bytes(2, "big") + b"\xff\xfe" for code in (0, 999, 1000, 1005, 1006, 1015, 4999, 65_535)),
)


async def no_http(peer: Peer) -> None:
    """Anything but the answer to an upgrade."""
    await peer.raw(peer.dice.choice((*NO_UPGRADES, peer.dice.randbytes(300))))


async def no_frames(peer: Peer) -> None:
    """Bytes that are no frames: reserved bits, masks, opcodes, lengths and control frames that must not be."""
    await (peer.greeted() if peer.dice.random() < 0.7 else peer.challenged())
    await peer.raw(peer.dice.choice((*NO_FRAMES, peer.dice.randbytes(64))))


async def no_welcome(peer: Peer) -> None:
    """Something else than a challenge or a welcome, or nothing at all."""
    await (peer.challenged() if peer.dice.random() < 0.5 else peer.upgrade())
    if peer.dice.random() < 0.8:
        await peer.say(*(peer.message() for _ in range(peer.dice.choice((1, 50)))))


async def one_message_without_end(peer: Peer) -> None:
    """A message in ever more fragments, empty ones or short ones, before or after the welcome."""
    await (peer.greeted() if peer.dice.random() < 0.5 else peer.challenged())
    await peer.frame(b'{"type":"', fin=False)
    piece = peer.dice.choice((b"\x00\x00", b"\x00\x01x"))
    for _ in range(MOST_FRAGMENTS // 500):
        await peer.raw(piece * 500)


async def ever_new_points(peer: Peer) -> None:
    """Welcome after welcome, with as many points as fit and names as long as may be."""
    await peer.greeted()
    welcomes = [peer.message("welcome") for _ in range(5)]
    for _ in range(peer.dice.choice((2, 20))):
        await peer.say(*welcomes)
    await peer.say({"type": "welcome", "points": POINTS, "centre_time_ms": 0})


async def soup(peer: Peer) -> None:
    """Messages within the protocol in any order, about this agent's taps and events and about others'."""
    await peer.greeted()
    while True:
        await peer.say(*(peer.message() for _ in range(peer.dice.choice((1, 5, 100)))))
        await asyncio.sleep(peer.dice.choice((0, 0.005, 0.02)))


async def eager(peer: Peer) -> None:
    """Answers every tap, with commands of any length first, and with several decisions after."""
    await peer.greeted()
    while True:
        await peer.heard.wait()
        peer.heard.clear()
        for event in peer.presented[-2:]:
            about = {"event": event.model_dump(), "conversation": "c0"}
            await peer.say({"type": "card.open", **about, "applications": ["desfire"]})
            for n in range(peer.dice.choice((0, 0, 1, 3))):
                sizes = (peer.dice.choice((4, 5, 260, 20_000)) for _ in range(peer.dice.randint(1, 6)))
                await peer.say({"type": "card.apdus", **about, "n": n, "apdus": ["90" * size for size in sizes]})
                await asyncio.sleep(0.005)
            await peer.say(*(peer.decision(peer.message("decision"), event) for _ in range(3)))


async def bent_frames(peer: Peer) -> None:
    """Frames that are nearly messages; decisions are left to the others, which know what they said."""
    await peer.greeted()
    for frame in frames("centre", peer.dice):
        if b"decision" not in frame:
            await peer.frame(frame)


async def floods(peer: Peer) -> None:
    """The same again and again: pings, pongs, acknowledgements, binary frames; or one frame that is too long."""
    await peer.greeted()
    what = peer.dice.choice((PING, PONG, BINARY, None, "too long"))
    if what == "too long":
        await peer.frame(b"x" * (MAX_MESSAGE_BYTES + 1))
        return
    ack = json.dumps({"type": "event.ack", "event": {"agent": "agent-1", "epoch": 1, "sequence": 1}}).encode()
    for _ in range(FLOOD):
        await (peer.frame(ack) if what is None else peer.frame(b"p" * 125, what))


async def never_reads(peer: Peer) -> None:
    """Takes nothing of what the agent says."""
    await peer.challenged()
    await peer.say({"type": "welcome", "points": POINTS, "centre_time_ms": 0})
    await asyncio.sleep(ATTACK_S)


async def lost_in_mid_word(peer: Peer) -> None:
    """The connection ends within a frame."""
    await (peer.greeted() if peer.dice.random() < 0.5 else peer.challenged())
    frame = json.dumps(peer.message("card.open")).encode()
    await peer.raw(b"\x81\x7e" + len(frame).to_bytes(2, "big") + frame[: len(frame) // 2])


ATTACKS: tuple[Attack, ...] = (
    *(no_http, no_frames, no_welcome, one_message_without_end, ever_new_points, soup, eager),
    *(bent_frames, floods, never_reads, lost_in_mid_word),
)


class HostileCentre:
    """Carries out one attack on each connection; else hands it on to an honest centre if `is_honest`, or drops it."""

    def __init__(self, dice: random.Random, honest_port: int) -> None:
        self.armoury = Armoury(dice)
        self.port = 0
        self.is_honest = False
        self.frames = 0
        self.carried_out = 0
        # What the agent did that no agent may do, and what went wrong here.
        self.failures: list[BaseException] = []
        self._honest_port = honest_port
        self._attacks: list[Attack] = []
        self._over = asyncio.Event()
        self._connections: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where the agent connects."""
        return f"ws://127.0.0.1:{self.port}/agents"

    async def attack(self, *attacks: Attack) -> None:
        """Cut every connection; return when each of `attacks` has been carried out."""
        self._attacks = list(attacks)
        self.is_honest = False
        self._over.clear()
        for writer in tuple(self._connections):
            writer.transport.abort()
        await self._over.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of the agent."""
        self._connections.add(writer)
        try:
            if self._attacks:
                await self._carry_out(self._attacks[0], Peer(reader, writer, self.armoury))
            elif self.is_honest:
                await _hand_on(reader, writer, self._honest_port)
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _carry_out(self, attack: Attack, peer: Peer) -> None:
        attacking, listening = asyncio.ensure_future(attack(peer)), asyncio.ensure_future(peer.listens())
        both = (attacking, listening)
        await asyncio.wait(both, timeout=ATTACK_S, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            await asyncio.wait((listening,), timeout=AFTERWARDS_S)
        for task in both:
            task.cancel()
        for result in await asyncio.gather(*both, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(
                result, OSError | asyncio.IncompleteReadError | asyncio.CancelledError
            ):
                self.failures.append(result)
        self.frames += peer.frames
        self.carried_out += 1
        self._attacks = self._attacks[1:]
        if not self._attacks:
            self._over.set()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    there, back = await asyncio.open_connection("127.0.0.1", port)

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while content := await source.read(65_536):
                sink.write(content)
                await sink.drain()
        sink.close()

    await asyncio.gather(pipe(reader, back), pipe(there, writer))


@asynccontextmanager
async def attacking(dice: random.Random, honest_port: int) -> AsyncIterator[HostileCentre]:
    """Serve a hostile centre on a free loopback port."""
    centre = HostileCentre(dice, honest_port)
    server = await asyncio.start_server(centre.serve, "127.0.0.1", 0, limit=4 * MAX_MESSAGE_BYTES)
    centre.port = server.sockets[0].getsockname()[1]
    try:
        yield centre
    finally:
        server.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
