# SPDX-License-Identifier: EUPL-1.2
"""The encoders of the connected agents: which there are, what lies on them, and the exchanges with a card there.

The agent transmits and nothing else. One conversation per encoder; every exchange has a deadline; answers that nobody
waits for are ignored and counted by the session.
"""

import asyncio
import secrets
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease, EncoderResponses, EncoderState
from cardservice.agents.message_words import MAX_BATCH
from cardservice.cards.encoding.rules import EncoderName

# A card that formats itself takes its time; the agent waits a little less.
EXCHANGE_S: Final = 10.0
MAX_ENCODERS: Final = 8
Send = Callable[[BaseModel], None]


class CardVisit:
    """A card on an encoder (`cards.encoding.ports.CardOnEncoder`); it ends when the card, reader or agent goes."""

    def __init__(self, encoder: EncoderName, visit: str, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self.encoder = encoder
        self.id = visit
        self._send = send
        self._loop = loop
        self._conversation = ""
        self._n = 0
        self._gone = False
        self._waiting: Future[tuple[bytes, ...]] | None = None

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent to this card any more."""
        return self._gone

    def begin(self) -> None:
        """Let the next exchange be the first of a new activation of the card."""
        self._conversation, self._n = secrets.token_hex(16), 0

    def exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Transmit in order; return the answers, fewer if somebody went away or did not answer within 10 s."""
        answers: tuple[bytes, ...] = ()
        for start in range(0, len(commands), MAX_BATCH):
            batch = commands[start : start + MAX_BATCH]
            answers += (got := self._exchange(batch))
            if len(got) < len(batch):
                break
        return answers

    def release(self) -> None:
        """Power the card off."""
        message = EncoderRelease(reader=self.encoder.reader, visit=self.id)
        self._in_loop(lambda: None if self._gone else self._send(message))

    def answered(self, message: EncoderResponses) -> bool:
        """Take the answers to the exchange under way, in the event loop; tell whether they were expected."""
        waiting = self._waiting
        if waiting is None or (message.conversation, message.n) != (self._conversation, self._n):
            return False
        self._waiting = None
        if not waiting.done():
            waiting.set_result(tuple(bytes.fromhex(response) for response in message.responses))
        return True

    def left(self) -> None:
        """The card, its reader or its agent went away; in the event loop."""
        self._gone = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(())

    def _exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        waiting: Future[tuple[bytes, ...]] = Future()
        self._in_loop(lambda: self._transmit(commands, waiting))
        try:
            answers = waiting.result(EXCHANGE_S)
        except NoAnswer:
            # Whatever still comes belongs to a conversation that nobody waits for.
            self.begin()
            return ()
        self._n += 1
        return answers

    def _transmit(self, commands: Sequence[bytes], waiting: "Future[tuple[bytes, ...]]") -> None:
        if self._gone:
            waiting.set_result(())
            return
        self._waiting = waiting
        apdus = tuple(command.hex() for command in commands)
        place = {"reader": self.encoder.reader, "visit": self.id, "conversation": self._conversation}
        self._send(EncoderApdus(**place, n=self._n, apdus=apdus))

    def _in_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The service stops: nothing is sent any more.
            self._gone = True
            waiting, self._waiting = self._waiting, None
            if waiting is not None and not waiting.done():
                waiting.set_result(())


@dataclass(frozen=True, slots=True)
class EncoderNow:
    """An encoder as its agent says it is; `visit` is the card that lies there."""

    encoder: EncoderName
    usable: bool
    visit: CardVisit | None


class EncoderRelay:
    """The encoders of the connected agents. Used from the event loop; `changed` is called with every change."""

    def __init__(self) -> None:
        self._known: dict[EncoderName, EncoderNow] = {}
        self._owners: dict[EncoderName, Hashable] = {}
        self.changed: Callable[[], None] = lambda: None

    @property
    def now(self) -> tuple[EncoderNow, ...]:
        """Every encoder, by agent and reader."""
        return tuple(self._known[name] for name in sorted(self._known, key=lambda one: (one.agent, one.reader)))

    def said(self, owner: Hashable, agent: str, state: EncoderState, send: Send) -> bool:
        """Take what a session says of an encoder of its agent; False: it has too many."""
        name = EncoderName(agent, state.reader)
        mine = [one for one, whose in self._owners.items() if whose == owner]
        if name not in mine and len(mine) >= MAX_ENCODERS:
            return False
        before = self._known.get(name)
        visit = None if before is None or self._owners.get(name) != owner else before.visit
        if visit is not None and visit.id != state.visit:
            visit.left()
            visit = None
        if visit is None and state.visit is not None:
            visit = CardVisit(name, state.visit, send, asyncio.get_running_loop())
        self._known[name], self._owners[name] = EncoderNow(name, state.usable, visit), owner
        self.changed()
        return True

    def answered(self, agent: str, message: EncoderResponses) -> bool:
        """Hand answers to whoever waits for them; tell whether anybody did."""
        known = self._known.get(EncoderName(agent, message.reader))
        return known is not None and known.visit is not None and known.visit.answered(message)

    def went(self, owner: Hashable) -> None:
        """A session ended: its encoders are away, and so is what lies on them."""
        for name in [one for one, whose in self._owners.items() if whose == owner]:
            visit = self._known.pop(name).visit
            del self._owners[name]
            if visit is not None:
                visit.left()
        self.changed()
