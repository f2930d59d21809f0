# SPDX-License-Identifier: EUPL-1.2
"""The centre's end of one connection, for an attacker: it speaks RFC 6455 by hand, so that it can break it.

Every decision it makes up names an opening time of its own: what a strike did tells which message moved it.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import random
from typing import Any

from faults.fuzz_frames import sampler

from cardservice.agents.messages import CardPresent, EventId, Hello, TapEvent, decode_from_agent

ACCEPT_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
TEXT, CONTINUATION, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10
READERS = tuple(f"Reader {number}" for number in range(4))
POINTS = [
    {"point": f"door-{number}", "reader": reader, "use": "door", "answer_budget_ms": 200}
    for number, reader in enumerate(READERS)
]
# How many messages of each type are kept in stock.
EACH = 40
UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


class Permits:
    """Which opening time was given to whom."""

    def __init__(self) -> None:
        self._times = itertools.count(1)
        # Only permits for an event the agent had reported on that very connection are in here.
        self.granted: dict[int, EventId] = {}
        self.decisions = 0

    def stamp(self, decision: dict[str, Any], presented: set[EventId]) -> None:
        """Give `decision` an opening time no other has."""
        self.decisions += 1
        decision["open_ms"] = 1 + next(self._times) % 600_000
        event = EventId.model_validate(decision["event"])
        if decision["permit"] and event in presented:
            self.granted[decision["open_ms"]] = event


class Armoury:
    """What attackers share: chance, a stock of messages within the protocol, and the permits they gave."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.permits = Permits()
        maker = sampler("centre", dice)
        self._stock = {kind: [maker.message(kind) for _ in range(EACH)] for kind in maker.kinds}

    def message(self, kind: str | None = None) -> dict[str, Any]:
        """Return a message, of the type `kind` if one is given."""
        return dict(self.dice.choice(self._stock[kind or self.dice.choice(list(self._stock))]))


class Peer:
    """One connection of the agent; `welcomed` is set once the agent was let in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armoury: Armoury) -> None:
        self.dice = armoury.dice
        self.presented: list[EventId] = []
        self.heard = asyncio.Event()
        self.welcomed = asyncio.Event()
        self.frames = 0
        self._armoury = armoury
        self._events: list[EventId] = []
        self._reader = reader
        self._writer = writer

    async def raw(self, content: bytes) -> None:
        """Send bytes as they are, and wait until the other side takes them."""
        self.frames += 1
        self._writer.write(content)
        await self._writer.drain()
        # Draining does not wait while there is room; the agent lives in the same loop.
        await asyncio.sleep(0)

    async def frame(self, payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> None:
        """Send one frame, unmasked as a server's are."""
        size = len(payload)
        if size < 126:
            length = bytes((size,))
        else:
            length = b"\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x7f" + size.to_bytes(8, "big")
        await self.raw(bytes(((0x80 if fin else 0) | opcode,)) + length + payload)

    async def say(self, *messages: dict[str, Any]) -> None:
        """Send messages."""
        for message in messages:
            await self.frame(json.dumps(message).encode())

    async def upgrade(self) -> None:
        """Take the request and switch to WebSocket."""
        request = await self._reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in request.split(b"\r\n")[1:] if line)
        original = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if line)
        key = next(value for name, value in original.items() if name.lower() == b"sec-websocket-key")
        assert headers[b"upgrade"] == b"websocket"
        await self.raw(UPGRADED + base64.b64encode(hashlib.sha1(key + ACCEPT_KEY).digest()) + b"\r\n\r\n")

    async def challenged(self) -> None:
        """Upgrade, challenge and take the hello."""
        await self.upgrade()
        await self.say({"type": "challenge", "nonce": "aa" * 32, "centre_time_ms": 0})
        assert isinstance(await self.hears(), Hello), "the agent began with something else than hello"

    async def greeted(self) -> None:
        """Let the agent in."""
        await self.challenged()
        await self.say({"type": "welcome", "points": POINTS, "centre_time_ms": 0})
        self.welcomed.set()

    async def hears(self) -> Any:
        """Return the agent's next message; every one of them must be within the protocol."""
        while True:
            first, second = await self._reader.readexactly(2)
            size = second & 0x7F
            if size >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
            mask = await self._reader.readexactly(4)
            masked = await self._reader.readexactly(size)
            if first & 0x0F == TEXT:
                key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
                return self._noted(decode_from_agent((int.from_bytes(masked, "big") ^ key).to_bytes(size, "big")))

    async def listens(self) -> None:
        """Take whatever the agent says, from the welcome to the end of the connection."""
        await self.welcomed.wait()
        while True:
            await self.hears()

    def message(self, kind: str | None = None) -> dict[str, Any]:
        """Return a message within the protocol, often about the taps and events that there are."""
        dice = self.dice
        made = self._armoury.message(kind)
        if "event" in made and self._events and dice.random() < 0.6:
            made["event"] = dice.choice(self._events[-8:]).model_dump()
        if "conversation" in made and dice.random() < 0.8:
            made["conversation"] = dice.choice(("c0", "c1", "c2"))
        if "apdus" in made and dice.random() < 0.7:
            made["n"] = dice.randrange(4)
        if "points" in made and dice.random() < 0.8:
            made["points"] = POINTS
        if "permit" in made:
            return self.decision(made)
        return made

    def decision(self, made: dict[str, Any], event: EventId | None = None) -> dict[str, Any]:
        """Return `made` as a decision that can be told from all others, about `event` if one is given."""
        chosen = made["event"] if event is None else event.model_dump()
        decided = {**made, "event": chosen, "permit": self.dice.random() < 0.7}
        self._armoury.permits.stamp(decided, set(self.presented))
        return decided

    def _noted(self, message: Any) -> Any:
        if isinstance(message, CardPresent):
            self.presented.append(message.event)
        if isinstance(message, CardPresent | TapEvent):
            self._events.append(message.event)
            self.heard.set()
        return message
