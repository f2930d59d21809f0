# SPDX-License-Identifier: EUPL-1.2
"""A centre for tests: it plays the wire's other side exactly as a script says, well-behaved or hostile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardResponses,
    Challenge,
    DecisionMessage,
    EventId,
    EventsAccount,
    Health,
    Hello,
    OutputState,
    PointSetup,
    Sentence,
    Welcome,
    decode_from_agent,
    encode,
    hello_signing_input,
)

NONCE = "aa" * 32
DOOR = PointSetup(point="door-1", reader="*", use="door", answer_budget_ms=2_000, tap_budget_ms=5_000)


def permit(event: EventId, *, open_ms: int = 3_000, permitted: bool = True) -> DecisionMessage:
    return DecisionMessage(
        event=event,
        decision="d0" * 8,
        permit=permitted,
        reason="permitted" if permitted else "not_granted",
        level="card",
        text=Sentence(de="Willkommen", en="Welcome") if permitted else Sentence(de="Kein Zutritt", en="No access"),
        open_ms=open_ms if permitted else 0,
        receipt="ee" * 32,
    )


class Link:
    """One accepted connection of the agent, as a test sees it."""

    def __init__(self, socket: ServerConnection, hello: Hello) -> None:
        self.socket = socket
        self.hello = hello
        self.noted: list[Any] = []

    async def send(self, *messages: Any) -> None:
        for message in messages:
            await self.socket.send(message if isinstance(message, str | bytes) else encode(message))

    async def expect(self, kind: type, *, skip: tuple[type, ...] = (Health, OutputState)) -> Any:
        """Return the next message of `kind`; only messages of `skip` may come before it, and are noted."""
        while True:
            message = decode_from_agent(await self.socket.recv())
            if isinstance(message, kind):
                return message
            if isinstance(message, EventsAccount):
                continue
            assert isinstance(message, skip), f"expected {kind.__name__}, got {message!r}"
            self.noted.append(message)

    async def open_card(self, present: CardPresent, conversation: str = "c0") -> None:
        await self.send(CardOpen(event=present.event, conversation=conversation, applications=("desfire",)))

    async def relay(
        self, n: int, *apdus: str, conversation: str = "c0", skip: tuple[type, ...] = (Health, OutputState)
    ) -> CardResponses:
        await self.send(CardApdus(conversation=conversation, n=n, apdus=apdus))
        answered = await self.expect(CardResponses, skip=skip)
        assert (answered.conversation, answered.n) == (conversation, n)
        return answered

    async def close(self) -> None:
        await self.socket.close()


class ScriptedCentre:
    """Accepts agents with a correct hello and hands each connection to the test as a `Link`."""

    def __init__(self, public_key_hex: str | None = None, points: tuple[PointSetup, ...] = (DOOR,)) -> None:
        self.points = points
        self.centre_time_ms = 1_760_000_000_000
        self.port = 0
        self.hellos: list[Hello] = []
        # Sent instead of the challenge or the welcome, one per connection, for as long as there are any.
        self.instead_of_challenge: list[Any] = []
        self.instead_of_welcome: list[Any] = []
        self._public_key_hex = public_key_hex
        self._links: asyncio.Queue[Link] = asyncio.Queue()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/agents"

    async def link(self) -> Link:
        """Return the next connection that was accepted."""
        return await self._links.get()

    async def serve_one(self, socket: ServerConnection) -> None:
        try:
            await self._greet(socket)
        except ConnectionClosed:
            return
        await socket.wait_closed()

    async def _greet(self, socket: ServerConnection) -> None:
        if self.instead_of_challenge:
            await _send(socket, self.instead_of_challenge.pop(0))
            return
        await _send(socket, Challenge(nonce=NONCE, centre_time_ms=self.centre_time_ms))
        hello = decode_from_agent(await socket.recv())
        assert isinstance(hello, Hello)
        self.hellos.append(hello)
        if self._public_key_hex is not None:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self._public_key_hex))
            key.verify(bytes.fromhex(hello.signature), hello_signing_input(NONCE, hello.agent, hello.epoch))
        if self.instead_of_welcome:
            await _send(socket, self.instead_of_welcome.pop(0))
            return
        await _send(socket, Welcome(points=self.points, centre_time_ms=self.centre_time_ms))
        self._links.put_nowait(Link(socket, hello))


async def _send(socket: ServerConnection, message: Any) -> None:
    await socket.send(message if isinstance(message, str | bytes) else encode(message))


@asynccontextmanager
async def running(centre: ScriptedCentre, **options: Any) -> AsyncIterator[ScriptedCentre]:
    """Serve `centre` on a free loopback port."""
    async with serve(centre.serve_one, "127.0.0.1", centre.port, compression=None, **options) as server:
        centre.port = server.sockets[0].getsockname()[1]
        yield centre
