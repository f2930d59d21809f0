# SPDX-License-Identifier: EUPL-1.2
"""A lean agent: the whole conversation of the wire over a real WebSocket, a virtual card in its hand, nothing stored.

What the agent of `readers` does besides (threads for readers, a durable outbox) costs more than the service on the same
machine; fifty of them would measure each other. Everything the service sees is the same: the hello, `card.present`,
the card's answers, and the event that is uploaded until it is acknowledged.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from websockets.asyncio.client import ClientConnection, connect

from cardservice.agents.messages import (
    CardApdus,
    CardPresent,
    CardResponses,
    Challenge,
    DecisionMessage,
    EventAck,
    EventId,
    Hello,
    TapEvent,
    Welcome,
    decode_from_centre,
    encode,
)
from cardsim.interfaces import Card
from readers.identity import Identity

ANSWER_S: Final = 2.0
_ACK_S: Final = 10.0
_ATR: Final = "3b8180018080"


class NoAnswer(Exception):
    """The centre did not decide, or not acknowledge, in time, or cut the agent off."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One tap as the agent saw it; `took_s` from the frame `card.present` to the decision, `at_s` monotonic."""

    permit: bool
    reason: str
    took_s: float
    at_s: float
    centre_us: int


class LoadAgent:
    """One connected agent; taps one card at a time. Made with `join`."""

    def __init__(self, name: str, epoch: int, socket: ClientConnection) -> None:
        self._name = name
        self._epoch = epoch
        self._socket = socket
        self._sequence = 0
        self._unacknowledged: set[int] = set()
        self._all_acknowledged = asyncio.Event()
        self._all_acknowledged.set()
        self._decided: asyncio.Future[DecisionMessage] | None = None
        self._card: Card | None = None
        self.refused_events = 0
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def join(cls, url: str, name: str, key_file: Path) -> Self:
        """Connect and say hello.

        Raises:
            NoAnswer: the centre does not let it in.
        """
        epoch = int(time.time())
        socket = await connect(url, compression=None, ping_interval=None)
        challenge = decode_from_centre(await socket.recv())
        if not isinstance(challenge, Challenge):
            raise NoAnswer(f"{name}: {challenge.type} instead of a challenge")
        signature = Identity.load(key_file).sign_hello(challenge.nonce, name, epoch)
        await socket.send(encode(Hello(agent=name, epoch=epoch, signature=signature, software="bench")))
        welcome = decode_from_centre(await socket.recv())
        if not isinstance(welcome, Welcome):
            raise NoAnswer(f"{name}: {welcome.type} instead of a welcome")
        return cls(name, epoch, socket)

    async def tap(self, card: Card, point: str) -> Answer:
        """Hold `card` to `point` until the centre has decided, then hand over what came of it.

        Raises:
            NoAnswer: there was no decision within two seconds.
        """
        card.power_on("contactless")
        self._card = card
        self._sequence += 1
        event = EventId(agent=self._name, epoch=self._epoch, sequence=self._sequence)
        at_ms = time.time_ns() // 1_000_000
        decided = self._decided = asyncio.get_running_loop().create_future()
        began_s = time.monotonic()
        await self._socket.send(encode(CardPresent(event=event, point=point, atr=_ATR, at_ms=at_ms)))
        try:
            async with asyncio.timeout(ANSWER_S):
                decision = await decided
        except TimeoutError:
            raise NoAnswer(f"{self._name}: no decision within {ANSWER_S:.0f} s") from None
        at_s = time.monotonic()
        await self._upload(decision, point, at_ms)
        return Answer(decision.permit, decision.reason, at_s - began_s, at_s, decision.stages_us.get("centre", 0))

    async def leave(self) -> int:
        """Wait until every event is acknowledged, then disconnect; return how many never were."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_ACK_S):
                await self._all_acknowledged.wait()
        self._reading.cancel()
        await self._socket.close()
        return len(self._unacknowledged) + self.refused_events

    async def _upload(self, decision: DecisionMessage, point: str, at_ms: int) -> None:
        self._unacknowledged.add(decision.event.sequence)
        self._all_acknowledged.clear()
        report = TapEvent(
            event=decision.event,
            point=point,
            at_ms=at_ms,
            outcome="acted" if decision.permit else "shown",
            decision=decision.decision,
            permit=decision.permit,
            receipt=decision.receipt,
        )
        await self._socket.send(encode(report))

    async def _read(self) -> None:
        """Answer the centre: relay to the card at once, wake whoever waits for the decision."""
        async for frame in self._socket:
            message = decode_from_centre(frame)
            if isinstance(message, CardApdus):
                await self._relay(message)
            elif isinstance(message, DecisionMessage):
                if self._decided is not None and not self._decided.done():
                    self._decided.set_result(message)
            elif isinstance(message, EventAck):
                self._unacknowledged.discard(message.event.sequence)
                if not self._unacknowledged:
                    self._all_acknowledged.set()
            elif message.type == "event.refused":
                self.refused_events += 1

    async def _relay(self, message: CardApdus) -> None:
        if self._card is None:
            return
        began_ns = time.monotonic_ns()
        responses = tuple(self._card.transmit(bytes.fromhex(apdu)).hex() for apdu in message.apdus)
        took_us = (time.monotonic_ns() - began_ns) // 1_000
        answer = CardResponses(
            conversation=message.conversation, n=message.n, responses=responses, took_us=took_us, gone=None
        )
        await self._socket.send(encode(answer))
