# SPDX-License-Identifier: EUPL-1.2
"""The encoders of this agent: readers whose cards the centre writes. The agent transmits, and knows no key.

A card on an encoder is no tap: nothing of it is stored, and it is told to the centre as a visit that means nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import BaseModel

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease, EncoderResponses, EncoderState
from readers.card import MIN_APDU_BYTES, CardSide, Gone
from readers.clock import Clock
from readers.metrics import Metrics
from readers.ports import ReaderDriver
from readers.worker import Worker

# A little less than the centre waits.
EXCHANGE_S: Final = 8.0
_log = structlog.get_logger("readers.encoder")


@dataclass(frozen=True, slots=True)
class EncoderTools:
    """What all encoders of an agent share; `send` returns False where the centre is away."""

    driver: ReaderDriver
    clock: Clock
    metrics: Metrics
    send: Callable[[BaseModel], bool]


class _Visit:
    """A card from when it is laid on until it leaves, and the conversation with it."""

    def __init__(self, tools: EncoderTools, reader: str, worker: Worker) -> None:
        self.id = secrets.token_hex(16)
        self._tools, self._reader, self._worker = tools, reader, worker
        self._card: CardSide | None = None
        self._conversation = ""
        self._next_n = 0
        self._transmitting = False

    def refuses(self, message: EncoderApdus) -> str | None:
        """Return why a message is ignored, None if it counts."""
        if message.visit != self.id:
            return "another_card"
        if self._transmitting:
            return "out_of_turn"
        if message.n != (self._next_n if message.conversation == self._conversation else 0):
            return "out_of_turn"
        return "bad_apdu" if any(len(apdu) < 2 * MIN_APDU_BYTES for apdu in message.apdus) else None

    async def transmit(self, message: EncoderApdus) -> None:
        """Transmit a message that is not refused, and answer it; a new conversation powers the card up anew."""
        self._transmitting = True
        try:
            if message.conversation != self._conversation:
                self._begin(message.conversation)
            self._next_n = message.n + 1
            await self._answer(message)
        finally:
            self._transmitting = False

    def power_off(self) -> None:
        """Let the card go; it may be powered up again."""
        card, self._card = self._card, None
        self._conversation = ""
        if card is not None:
            card.release()

    def left(self, why: Gone) -> None:
        """The card left: nothing is sent to whatever is in the reader now."""
        if self._card is not None:
            self._card.lost(why)
        self.power_off()

    def _begin(self, conversation: str) -> None:
        self.power_off()
        self._conversation = conversation
        self._card = CardSide(self._tools.driver, self._worker, self._tools.clock, self._reader, exclusive=True)
        self._card.connect()

    async def _answer(self, message: EncoderApdus) -> None:
        card = self._card
        if card is None:
            return
        batch = await card.transmit([bytes.fromhex(apdu) for apdu in message.apdus], timeout_s=EXCHANGE_S)
        self._tools.send(
            EncoderResponses(
                reader=message.reader,
                conversation=message.conversation,
                n=message.n,
                responses=tuple(response.hex() for response in batch.responses),
                took_us=batch.took_us,
                gone=batch.gone,
            )
        )


class Encoders:
    """Every encoder of an agent, by the name of its reader. Used from the event loop."""

    def __init__(self, readers: Collection[str], tools: EncoderTools) -> None:
        self._readers = frozenset(readers)
        self._tools = tools
        self._visits: dict[str, _Visit] = {}
        self._usable: frozenset[str] = frozenset()
        self._told: dict[str, EncoderState] = {}
        self._connected = False
        self._tasks: set[asyncio.Task[None]] = set()

    def __contains__(self, reader: str) -> bool:
        """Tell whether a reader is an encoder."""
        return reader in self._readers

    def arrived(self, reader: str, worker: Worker) -> None:
        """A card was laid on."""
        self._forget(reader, "pulled")
        self._visits[reader] = _Visit(self._tools, reader, worker)
        self._tell()

    def left(self, reader: str) -> None:
        """The card left."""
        self._forget(reader, "pulled")
        self._tell()

    def looked(self, usable: Collection[str]) -> None:
        """These readers can be used now."""
        self._usable = self._readers.intersection(usable)
        self._tell()

    def connected(self) -> None:
        """The centre knows of nothing yet."""
        self._told, self._connected = {}, True
        self._tell()

    def disconnected(self) -> None:
        """Nobody is left who would go on with a card."""
        self._connected = False
        for visit in self._visits.values():
            visit.power_off()

    def received(self, message: EncoderApdus | EncoderRelease) -> None:
        """Do what the centre says; what is for no card that lies here is ignored and counted."""
        visit = self._visits.get(message.reader)
        if visit is None:
            self._tools.metrics.ignore(message.type, "no_card")
        elif isinstance(message, EncoderRelease):
            if visit.id == message.visit:
                visit.power_off()
        elif (refused := visit.refuses(message)) is not None:
            self._tools.metrics.ignore(message.type, refused)
        else:
            task = asyncio.create_task(visit.transmit(message), name=f"encoder {message.reader}")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def close(self) -> None:
        """Let every card go."""
        for reader in tuple(self._visits):
            self._forget(reader, "reader")
        for task in self._tasks:
            task.cancel()

    def _forget(self, reader: str, why: Gone) -> None:
        visit = self._visits.pop(reader, None)
        if visit is not None:
            visit.left(why)

    def _tell(self) -> None:
        """Tell the centre what has changed since it was told last."""
        if not self._connected:
            return
        for reader in sorted(self._readers):
            visit = self._visits.get(reader)
            state = EncoderState(
                reader=reader, usable=reader in self._usable or visit is not None, visit=visit and visit.id
            )
            if self._told.get(reader) != state and self._tools.send(state):
                self._told[reader] = state

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("encoder_failed", reader=task.get_name(), exc_info=task.exception())
