# SPDX-License-Identifier: EUPL-1.2
"""An agent for tests: a real WebSocket to the centre, virtual cards in its hands, well-behaved or hostile."""

import asyncio
import itertools
import time
from collections.abc import Sequence
from typing import Any, Never, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.client import ClientConnection, connect

from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardResponses,
    Challenge,
    DecisionMessage,
    EventAck,
    EventId,
    EventRefused,
    Hello,
    Outcome,
    PointCommand,
    PointDone,
    Prompt,
    SessionsEnd,
    TapEvent,
    Welcome,
    decode_from_centre,
    encode,
    hello_signing_input,
)
from cardsim.errors import CardPulled
from cardsim.interfaces import Card, Interface

LIMIT_S = 30.0
_EPOCHS = itertools.count(1)
Message = TypeVar("Message")


class CardInHand:
    """A card held to the reader: answers until it is pulled."""

    def __init__(self, card: Card, interface: Interface = "contactless") -> None:
        self._card = card
        card.power_on(interface)

    def answers(self, apdus: Sequence[str]) -> tuple[str, ...]:
        """Return the card's answers in order, fewer if it left."""
        found: list[str] = []
        for apdu in apdus:
            try:
                answer = self._card.transmit(bytes.fromhex(apdu))
            except CardPulled:
                break
            if len(answer) < 2:
                break
            found.append(answer.hex())
        return tuple(found)


class ScriptedAgent:
    """One agent; `join` connects and says hello as an enrolled agent does."""

    def __init__(self, url: str, name: str, key: Ed25519PrivateKey) -> None:
        self.url = url
        self.name = name
        self.key = key
        self.epoch = next(_EPOCHS)
        self.points: dict[str, Any] = {}
        self._sequences = itertools.count(1)
        self.socket: ClientConnection

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def connect(self, **options: Any) -> Challenge:
        """Open the connection only; return the challenge."""
        self.socket = await connect(self.url, compression=None, **options)
        return await self.expect(Challenge)

    def hello(self, nonce: str, key: Ed25519PrivateKey | None = None) -> Hello:
        """Return the hello that answers `nonce`."""
        signature = (key or self.key).sign(hello_signing_input(nonce, self.name, self.epoch))
        return Hello(agent=self.name, epoch=self.epoch, signature=signature.hex(), software="test")

    async def join(self) -> Welcome:
        """Connect and be let in."""
        challenge = await self.connect()
        await self.send(self.hello(challenge.nonce))
        return await self.welcomed()

    async def welcomed(self) -> Welcome:
        """Return the next welcome; its points are ours from now on."""
        welcome = await self.expect(Welcome)
        self.points = {setup.point: setup for setup in welcome.points}
        return welcome

    async def send(self, *messages: Any) -> None:
        """Send messages, or raw frames."""
        for message in messages:
            await self.socket.send(message if isinstance(message, str | bytes) else encode(message))

    async def receive(self, limit_s: float = LIMIT_S) -> Any:
        """Return whatever comes next."""
        async with asyncio.timeout(limit_s):
            return decode_from_centre(await self.socket.recv())

    async def expect(self, kind: type[Message], limit_s: float = LIMIT_S) -> Message:
        """Return the next message, which must be of `kind`."""
        message = await self.receive(limit_s)
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message!r}"
        return message

    def event_id(self) -> EventId:
        """Return the next event's id."""
        return EventId(agent=self.name, epoch=self.epoch, sequence=next(self._sequences))

    def present(self, point: str, **changes: Any) -> CardPresent:
        """Return what is sent when a card arrives at `point`."""
        values: dict[str, Any] = {"event": self.event_id(), "point": point, "atr": "3b80", "at_ms": now_ms()}
        return CardPresent(**(values | changes))

    async def converse(self, hand: CardInHand) -> DecisionMessage:
        """Relay between the centre and the card until the decision."""
        while True:
            message = await self.receive()
            if isinstance(message, DecisionMessage):
                return message
            # A card that went out of use before is told to every agent, at any time.
            if isinstance(message, CardOpen | Prompt | SessionsEnd):
                continue
            assert isinstance(message, CardApdus), f"unexpected {message!r}"
            await self.send(response(message, hand.answers(message.apdus)))

    async def tap(self, card: Card, point: str, **changes: Any) -> DecisionMessage:
        """Hold `card` to `point` until the centre has decided."""
        await self.send(self.present(point, **changes))
        return await self.converse(CardInHand(card))

    async def prompted(self, limit_s: float = LIMIT_S) -> Prompt:
        """Return what a terminal's screen is asked to show next, passing over everything else."""
        async with asyncio.timeout(limit_s):
            while True:
                message = await self.receive(limit_s)
                if isinstance(message, Prompt) and message.text is not None:
                    return message

    async def obey(self, told: list[PointCommand]) -> Never:
        """Carry out what the desk asks for, and note it, until somebody ends this."""
        while True:
            message = decode_from_centre(await self.socket.recv())
            if isinstance(message, PointCommand):
                told.append(message)
                await self.send(PointDone(id=message.id, point=message.point, done=True))

    async def upload(self, event: TapEvent) -> EventAck | EventRefused:
        """Hand over an event and return the answer."""
        await self.send(event)
        answer = await self.receive()
        assert isinstance(answer, EventAck | EventRefused), f"unexpected {answer!r}"
        return answer

    async def closed(self) -> int | None:
        """Wait for the end of the connection; return its close code."""
        async with asyncio.timeout(LIMIT_S):
            await self.socket.wait_closed()
        return self.socket.close_code


def response(message: CardApdus, answers: Sequence[str], **changes: Any) -> CardResponses:
    """Return the answer to one exchange."""
    gone = "pulled" if len(answers) < len(message.apdus) else None
    values = {"conversation": message.conversation, "n": message.n, "responses": tuple(answers)}
    return CardResponses(**(values | {"took_us": 1_000, "gone": gone} | changes))


def report(decision: DecisionMessage, point: str, outcome: Outcome | None = None, **changes: Any) -> TapEvent:
    """Return the event an honest agent uploads after `decision`."""
    values: dict[str, Any] = {
        "event": decision.event,
        "point": point,
        "at_ms": 1_790_000_000_000,
        "outcome": outcome or ("acted" if decision.permit else "shown"),
        "decision": decision.decision,
        "permit": decision.permit,
        "receipt": decision.receipt,
    }
    return TapEvent(**(values | changes))


def now_ms() -> int:
    """Return the wall clock."""
    return time.time_ns() // 1_000_000
