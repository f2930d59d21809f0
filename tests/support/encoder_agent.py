# SPDX-License-Identifier: EUPL-1.2
"""An agent with one encoder, in a thread: virtual cards are laid on it, and taken away in the middle of a command."""

import asyncio
import itertools
import threading
from contextlib import suppress
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.scripted_agent import CardInHand, ScriptedAgent
from support.waiting import LIMIT_S
from websockets.exceptions import ConnectionClosed

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease, EncoderResponses, EncoderState
from cardservice.agents.messages import (
    decode_from_centre,
)
from cardsim.card import VirtualCard
from cardsim.personalise import factory_desfire

READER = "Encoder 00 00"
_VISITS = itertools.count(1)


def blank() -> VirtualCard:
    """Return a card as it leaves the factory."""
    return VirtualCard("blank", "blank", desfire=factory_desfire())


class EncoderAgent:
    """Connected while the context lasts."""

    def __init__(self, url: str, name: str, key: Ed25519PrivateKey) -> None:
        self.name = name
        self._agent = ScriptedAgent(url, name, key)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._card: VirtualCard | None = None
        self._visit: str | None = None
        self._hand: CardInHand | None = None
        self._conversation = ""
        self._left: int | None = None
        self.commands = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="encoder agent")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._agent.socket.close(), self._loop).result(LIMIT_S)
        self._thread.join(LIMIT_S)

    def lay(self, card: VirtualCard, *, pull_after: int | None = None) -> None:
        """Lay a card on; after so many commands it is taken away."""
        self._do(self._laid(card, pull_after))

    def take(self) -> None:
        """Take away whatever lies there."""
        self._do(self._taken())

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(LIMIT_S)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._agent.join()
        await self._say()
        self._ready.set()
        with suppress(ConnectionClosed):
            while True:
                message = decode_from_centre(await self._agent.socket.recv())
                if isinstance(message, EncoderApdus):
                    await self._transmit(message)
                elif isinstance(message, EncoderRelease) and message.visit == self._visit:
                    self._conversation = ""

    async def _laid(self, card: VirtualCard, pull_after: int | None) -> None:
        self._card, self._left, self._visit = card, pull_after, f"{next(_VISITS):032x}"
        await self._say()

    async def _taken(self) -> None:
        self._card, self._visit, self._conversation = None, None, ""
        await self._say()

    async def _say(self) -> None:
        await self._agent.send(EncoderState(reader=READER, usable=True, visit=self._visit))

    async def _transmit(self, message: EncoderApdus) -> None:
        answers: tuple[str, ...] = ()
        if self._card is not None and message.visit == self._visit:
            if message.conversation != self._conversation:
                self._card.power_off()
                self._hand, self._conversation = CardInHand(self._card), message.conversation
            assert self._hand is not None
            here = message.apdus if self._left is None else message.apdus[: self._left]
            answers = self._hand.answers(here)
            self.commands += len(answers)
            if self._left is not None:
                self._left -= len(answers)
        gone = "pulled" if len(answers) < len(message.apdus) else None
        place = {"reader": READER, "conversation": message.conversation, "n": message.n}
        await self._agent.send(EncoderResponses(**place, responses=answers, took_us=900, gone=gone))
        if gone:
            await self._taken()
