# SPDX-License-Identifier: EUPL-1.2
"""One tap, from the card's arrival to its entry in the outbox.

    STORING ──stored──▶ WAITING ◀──answered── TRANSMITTING
                          │  └──card.apdus──────▲
                 decision │  └─silence─▶ LINGERING ──▶ CLOSED
                          ▼
                        CLOSED

Where the card is not enough, `pin.ask` comes instead of the decision: from WAITING to TYPING, where the card is let go
and nothing but the decision is heard any more.

Nothing acts unless the centre's decision for this very event arrived on the connection on which the card was
reported, before its deadline by the monotonic clock. Everything else is ignored and counted. Where a point may one
day decide by itself (`offline proof`), that decision takes the place of `_without_centre`.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardResponses,
    DecisionMessage,
    EventId,
    Outcome,
    PinAsk,
    PinEntered,
    PointSetup,
    TapEvent,
)
from cardservice.doors.ports import OutputFault, Shown
from readers import texts
from readers.card import MIN_APDU_BYTES, CardSide, Gone
from readers.clock import Clock
from readers.errors import OutboxFault
from readers.logs import is_worth_a_line
from readers.metrics import Metrics
from readers.ports import PinPad, PointOutput

# ISO/IEC 7816-3; a driver that gives more must not cost a tap.
_MAX_ATR_BYTES = 33

# What the centre says to one tap.
ForTap = CardOpen | CardApdus | PinAsk | DecisionMessage

_log = structlog.get_logger("readers.tap")


class TapState(Enum):
    """Where a tap is; the module's docstring draws the ways between them."""

    STORING = auto()
    WAITING = auto()
    TRANSMITTING = auto()
    TYPING = auto()
    LINGERING = auto()
    CLOSED = auto()


class TapOutbox(Protocol):
    """The two writes a tap makes."""

    async def open_tap(self, point: str, at_ms: int) -> EventId:
        """Give a tap its id and store it as open; raises OutboxFault."""
        ...

    async def finish(self, event: TapEvent) -> bool:
        """Store what came of a tap; raises OutboxFault."""
        ...


class TapRegistry(Protocol):
    """Where the centre's messages find the tap they are for."""

    def add(self, tap: "Tap") -> None:
        """From now on messages for `tap` reach it."""
        ...

    def remove(self, tap: "Tap") -> None:
        """Messages for `tap` are ignored from now on."""
        ...


@dataclass(frozen=True, slots=True)
class TapTools:
    """What every tap of an agent shares; `late_grace_ms` is how long a decision that is late is still waited for.

    `may_send_pins`: nobody between here and the centre can read them.
    """

    clock: Clock
    metrics: Metrics
    outbox: TapOutbox
    registry: TapRegistry
    send: Callable[[BaseModel], bool]
    late_grace_ms: int = 2_000
    store_retry_s: float = 0.5
    store_longest_pause: int = 4
    may_send_pins: bool = True


@dataclass(frozen=True, slots=True)
class Arrival:
    """A card arrived: its answer to reset, wall clock (ms) and monotonic clock (us) of that moment."""

    atr: bytes
    at_ms: int
    at_us: int


class _CentreSilent(Exception):
    """No usable answer within the budget."""


class _CentreLost(Exception):
    """The connection on which the answer would come is gone."""


class Tap:
    """One tap at one point; `run` while the card is needed, then `settle` until it is in the outbox."""

    def __init__(
        self, tools: TapTools, setup: PointSetup, arrival: Arrival, *, card: CardSide, output: PointOutput
    ) -> None:
        self._tools = tools
        self._setup = setup
        self._arrival = arrival
        self._card = card
        self._output = output
        self._state = TapState.STORING
        self._inbox: asyncio.Queue[tuple[ForTap, int] | None] = asyncio.Queue()
        # What is typed at the point, while it is asked for.
        self._typing: asyncio.Future[str | None] | None = None
        self._next_n = 0
        # From now, not from the arrival: a card that waited for the tap before it gets its whole time.
        self._deadline_us = tools.clock.monotonic_us() + setup.tap_budget_ms * 1_000
        self._answer_by_us = self._deadline_us
        self._patience_ms = setup.answer_budget_ms
        self._decision: DecisionMessage | None = None
        self._pad: PinPad | None = None
        self._gone: Gone | None = None
        self._stages_us = {"store": 0, "card": 0, "centre": 0, "output": 0}
        self.event: EventId | None = None
        self.conversation: str | None = None
        self.outcome: Outcome | None = None

    @property
    def point(self) -> str:
        """The code of the tap's point."""
        return self._setup.point

    def deliver(self, message: ForTap, at_us: int) -> str | None:
        """Take a message of the centre, received at `at_us`; return why it is ignored, or None if it counts."""
        if self._decision is not None or self._state is TapState.CLOSED:
            return "replay"
        refused = self._refuses(message)
        if refused is not None:
            return refused
        if isinstance(message, CardOpen):
            self.conversation = message.conversation
        elif isinstance(message, CardApdus):
            self._next_n += 1
            self._state = TapState.TRANSMITTING
        elif isinstance(message, PinAsk):
            self._state = TapState.TYPING
        else:
            self._decision = message
            self._stop_typing()
        # At most three at a time: an opening, one batch, the one decision.
        self._inbox.put_nowait((message, at_us))
        return None

    def centre_lost(self) -> None:
        """The connection on which this tap was reported is gone."""
        self._inbox.put_nowait(None)
        self._stop_typing()

    def card_lost(self, why: Gone) -> None:
        """The reader reported that the card left; the rest of the conversation cannot happen."""
        self._card.lost(why)

    def another_card_came(self) -> None:
        """Somebody holds a card to the reader: whoever was to type a PIN is not waited for any more."""
        self._stop_typing()

    async def run(self) -> None:
        """Report the card, relay the conversation, act on the decision, let the card go. Never raises."""
        self._card.connect()
        try:
            if not await self._store():
                return
            self._tools.registry.add(self)
            try:
                await self._ask_centre()
            except (_CentreSilent, _CentreLost) as reason:
                self._without_centre(silent=isinstance(reason, _CentreSilent))
        finally:
            self._card.release()

    async def settle(self) -> None:
        """Wait for a decision that is only late, then store what came of the tap; the reader is free meanwhile."""
        if self.event is None:
            return
        if self._state is TapState.LINGERING:
            await self._linger()
        self._state = TapState.CLOSED
        self._tools.registry.remove(self)
        await self._finish(self._report(self.event))

    def _refuses(self, message: ForTap) -> str | None:
        if isinstance(message, DecisionMessage):
            return None if message.event == self.event else "foreign_event"
        if self._state is not TapState.WAITING:
            return "out_of_turn"
        if isinstance(message, PinAsk | CardOpen):
            in_turn = self.conversation is None if isinstance(message, CardOpen) else self._pad is not None
            return None if in_turn else "out_of_turn"
        if message.conversation != self.conversation or message.n != self._next_n:
            return "out_of_turn"
        if any(len(apdu) < 2 * MIN_APDU_BYTES for apdu in message.apdus):
            return "bad_apdu"
        return None

    async def _store(self) -> bool:
        began_us = self._tools.clock.monotonic_us()
        try:
            self.event = await self._tools.outbox.open_tap(self.point, self._arrival.at_ms)
        except OutboxFault as fault:
            # Stored before it is sent: what cannot be stored is not sent, and the point stays shut.
            self._tools.metrics.faults.labels("outbox").inc()
            _log.error("tap_not_stored", point=self.point, reason=str(fault))
            self._show(Shown("amber", "refused", texts.READER_FAULT))
            return False
        self._stages_us["store"] = self._tools.clock.monotonic_us() - began_us
        return True

    async def _ask_centre(self) -> None:
        assert self.event is not None  # noqa: S101  # _store has run
        self._state = TapState.WAITING
        choice, self._pad = self._output.card_came(), self._output.pad if self._tools.may_send_pins else None
        if self._card.gone is not None:
            # It left before the point heard of it.
            self._output.card_left()
        detected_us = max(0, self._tools.clock.monotonic_us() - self._arrival.at_us)
        present = CardPresent(
            event=self.event,
            point=self.point,
            atr=self._arrival.atr[:_MAX_ATR_BYTES].hex(),
            at_ms=self._arrival.at_ms,
            detected_us=detected_us,
            choice=choice,
            pin_pad=True if self._pad is not None else None,
        )
        if not self._tools.send(present):
            raise _CentreLost
        while True:
            message = await self._next_message()
            if isinstance(message, CardApdus):
                await self._relay(message)
            elif isinstance(message, PinAsk):
                await self._have_pin_typed(message)
            elif isinstance(message, DecisionMessage):
                await self._act(message)
                return

    async def _next_message(self) -> ForTap:
        began_us = self._tools.clock.monotonic_us()
        by_us = began_us + self._patience_ms * 1_000
        # Once the card is gone nothing can be opened any more: the whole answer budget is left for the reason.
        self._answer_by_us = by_us if self._gone else min(by_us, self._deadline_us)
        try:
            async with asyncio.timeout(max(0, self._answer_by_us - began_us) / 1_000_000):
                item = await self._inbox.get()
        except TimeoutError:
            raise _CentreSilent from None
        finally:
            self._stages_us["centre"] += self._tools.clock.monotonic_us() - began_us
        if item is None:
            raise _CentreLost
        message, at_us = item
        if at_us > self._answer_by_us:
            raise _CentreSilent
        return message

    async def _relay(self, message: CardApdus) -> None:
        left_us = self._deadline_us - self._tools.clock.monotonic_us()
        apdus = [bytes.fromhex(apdu) for apdu in message.apdus]
        batch = await self._card.transmit(apdus, timeout_s=max(0, left_us) / 1_000_000)
        self._stages_us["card"] += batch.took_us
        self._gone = batch.gone
        if self._state is TapState.TRANSMITTING:
            self._state = TapState.WAITING
        answered = CardResponses(
            conversation=message.conversation,
            n=message.n,
            responses=tuple(response.hex() for response in batch.responses),
            took_us=batch.took_us,
            gone=batch.gone,
        )
        if not self._tools.send(answered):
            raise _CentreLost

    async def _have_pin_typed(self, question: PinAsk) -> None:
        """Have the PIN typed and hand it to the centre; the card may go meanwhile, and the tap's time begins anew."""
        assert self._pad is not None  # noqa: S101  # `_refuses` let no question through without one
        self._card.release()
        pin = None
        # What has come already is the decision, or that none can come.
        if self._inbox.empty():
            self._typing = self._pad.ask(question.for_ms)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(question.for_ms / 1_000):
                    pin = await self._typing
            self._typing = None
        self._patience_ms = question.decided_within_ms
        self._deadline_us = self._tools.clock.monotonic_us() + self._patience_ms * 1_000
        if self._inbox.empty() and not self._tools.send(PinEntered(event=question.event, ask=question.ask, pin=pin)):
            raise _CentreLost

    def _stop_typing(self) -> None:
        if self._typing is not None and not self._typing.done():
            self._typing.set_result(None)

    async def _act(self, decision: DecisionMessage) -> None:
        began_us = self._tools.clock.monotonic_us()
        if began_us > self._answer_by_us:
            raise _CentreSilent
        answer = decision.answer
        told = (decision.text.de, decision.text.en) if answer is None else (answer.text.de, answer.text.en)
        if self._gone is not None:
            # A permit for a card that was not there to the end is never acted on.
            self._show(Shown("amber", "refused", _gone_text(self._gone)) if decision.permit else _refusal(told))
            self.outcome = "card_gone"
        elif decision.permit and (answer is None or answer.done):
            acted = await self._do(decision)
            self.outcome = "acted" if acted else "output_failed"
            self._show(Shown("green", "ok", told) if acted else Shown("amber", "refused", texts.READER_FAULT), decision)
        else:
            self.outcome = "shown" if self._show(_refusal(told), decision) else "output_failed"
        ended_us = self._tools.clock.monotonic_us()
        self._stages_us["output"] = ended_us - began_us
        self._close(ended_us)

    def _without_centre(self, *, silent: bool) -> None:
        if self._gone is not None:
            self.outcome = "card_gone"
            self._show(Shown("amber", "refused", _gone_text(self._gone)))
        else:
            self.outcome = "no_answer" if self._decision is None else "late"
            self._show(Shown("amber", "refused", texts.CENTRE_UNREACHABLE))
        self._close(self._tools.clock.monotonic_us())
        if silent and self._decision is None:
            self._state = TapState.LINGERING

    def _close(self, ended_us: int) -> None:
        self._state = TapState.CLOSED
        self._stages_us["total"] = max(0, ended_us - self._arrival.at_us)

    async def _linger(self) -> None:
        """Note a decision that comes after all, so that the centre's record and the door's agree."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._tools.late_grace_ms / 1_000):
                await self._inbox.get()
        if self._decision is not None and self.outcome == "no_answer":
            self.outcome = "late"

    async def _do(self, decision: DecisionMessage) -> bool:
        try:
            await self._output.act(decision)
        except OutputFault as fault:
            self._tools.metrics.faults.labels("output").inc()
            _log.error("output_failed", point=self.point, reason=str(fault))
            return False
        return True

    def _show(self, shown: Shown, decision: DecisionMessage | None = None) -> bool:
        try:
            self._output.show(shown, decision)
        except OutputFault as fault:
            self._tools.metrics.faults.labels("indicator").inc()
            _log.error("indicator_failed", point=self.point, reason=str(fault))
            return False
        return True

    def _report(self, event: EventId) -> TapEvent:
        decision = self._decision
        return TapEvent(
            event=event,
            point=self.point,
            at_ms=self._arrival.at_ms,
            outcome=self.outcome or "abandoned",
            decision=decision.decision if decision else None,
            permit=decision.permit if decision else None,
            receipt=decision.receipt if decision else None,
            stages_us={"pcsc_connect": self._card.connect_us, **self._stages_us},
        )

    async def _finish(self, report: TapEvent) -> None:
        self._tools.metrics.taps.labels(self.point, report.outcome).inc()
        for attempt in itertools.count(1):
            try:
                kept = await self._tools.outbox.finish(report)
            except OutboxFault as fault:
                self._tools.metrics.faults.labels("outbox").inc()
                # A disk that stays full does not fill the log.
                if is_worth_a_line(attempt):
                    _log.error("tap_not_finished", point=self.point, attempt=attempt, reason=str(fault))
                await asyncio.sleep(self._tools.store_retry_s * min(attempt, self._tools.store_longest_pause))
            else:
                level = _log.info if kept else _log.error
                level("tap", point=self.point, outcome=report.outcome, permit=report.permit, kept=kept)
                return


def _refusal(text: tuple[str, str]) -> Shown:
    return Shown("red", "refused", text)


def _gone_text(gone: Gone) -> tuple[str, str]:
    return texts.CARD_GONE if gone == "pulled" else texts.CARD_UNREADABLE
