# SPDX-License-Identifier: EUPL-1.2
"""A tap and its router in the hands of a centre that says anything at any time, while cards, doors and time misbehave.

The machine keeps its own note of what may open: a permit for this very event, taken before its deadline.
"""

import asyncio
import contextlib
import itertools
import threading
import time

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.readers.fakes import FakeCard, FakeClock, FakeDriver, NotingDoor

from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardResponses,
    DecisionMessage,
    EventId,
    PointSetup,
    Sentence,
    TapEvent,
    encode,
)
from readers.card import CardSide
from readers.errors import OutboxFault
from readers.metrics import Metrics
from readers.outputs import PlainPoint
from readers.router import Router
from readers.tap import Arrival, Tap, TapState, TapTools
from readers.worker import Worker

# Long by the machine's clock, so that only the clock a rule moves can make anything late.
SETUP = PointSetup(point="door-1", reader="R", use="door", answer_budget_ms=60_000, tap_budget_ms=120_000)
EVENT = EventId(agent="agent-1", epoch=5, sequence=1)
FOREIGN = tuple(
    EVENT.model_copy(update=change)
    for change in ({"sequence": 2}, {"epoch": 4}, {"agent": "agent-2"}, {"sequence": 2**53 - 1})
)
LIMIT_S = 5.0
# An opening, one batch and the decision; and the news that the connection is gone, which comes once for each.
MAX_WAITING = 4
OUTCOMES = {"acted", "shown", "late", "no_answer", "card_gone", "output_failed"}
APDUS = {
    "none": "",
    "one byte": "00",
    "three bytes": "905a00",
    "four bytes": "905a0000",
    "many bytes": "90" * 260,
    "as many as can be": "00" * 65_544,
}
ANSWERS = {
    "echo": lambda apdu: apdu + b"\x90\x00",
    "nothing": lambda _apdu: b"",
    "one byte": lambda _apdu: b"\x90",
    "most": lambda _apdu: bytes(65_538),
    "too much": lambda _apdu: bytes(65_539),
}
conversations = st.sampled_from(("c1", "c2", "c3"))
events = st.sampled_from((EVENT, EVENT, EVENT, *FOREIGN))


class _Outbox:
    """Keeps reports in memory and fails as often as it is told to."""

    def __init__(self) -> None:
        self.finished: list[TapEvent] = []
        self.failures = 0

    async def open_tap(self, point: str, at_ms: int) -> EventId:
        del point, at_ms
        return EVENT

    async def finish(self, event: TapEvent) -> bool:
        if self.failures:
            self.failures -= 1
            raise OutboxFault("disk full")
        self.finished.append(event)
        return True


class TapMachine(RuleBasedStateMachine):
    """One tap from the card's arrival to its report."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock, self.metrics, self.door, self.outbox = FakeClock(), Metrics(), NotingDoor(), _Outbox()
        self.router = Router(self.metrics)
        self.driver, self.card, self.gate = FakeDriver(), FakeCard(), threading.Event()
        self.driver.cards["R"] = self.card
        self.sent: list[CardPresent | CardResponses] = []
        self.connected = True
        self.open_times = itertools.count(1)
        # What the centre said of this tap, in so far as it counts.
        self.permits: set[int] = set()
        self.accepted: list[bytes] = []
        self.began_at_us = self.asked_at_us = self.clock.monotonic_us()
        self.decided = False

    @initialize()
    def card_arrives(self) -> None:
        self.gate.set()
        self.card.answer = ANSWERS["echo"]
        self.runner.run(self._begin())
        assert isinstance(self.sent[0], CardPresent)

    @rule(event=events, conversation=conversations)
    def centre_opens(self, event: EventId, conversation: str) -> None:
        self._tell(CardOpen(event=event, conversation=conversation, applications=("desfire",)))

    @rule(conversation=conversations)
    @precondition(lambda self: self.tap.conversation is None)
    def centre_opens_as_it_should(self, conversation: str) -> None:
        self.centre_opens(EVENT, conversation)

    @rule(
        conversation=conversations,
        step=st.sampled_from((0, 0, 0, 1, -1, 7)),
        names=st.lists(st.sampled_from(sorted(APDUS)), min_size=1, max_size=8),
    )
    def centre_transmits(self, conversation: str, step: int, names: list[str]) -> None:
        self._transmit(conversation, max(0, self.tap._next_n + step) % 64, [APDUS[name] for name in names])

    @rule(count=st.integers(1, 8))
    @precondition(lambda self: self.tap.conversation is not None)
    def centre_goes_on_as_it_should(self, count: int) -> None:
        self._transmit(self.tap.conversation or "", self.tap._next_n, [APDUS["four bytes"]] * count)

    @rule(permit=st.booleans())
    @precondition(lambda self: self.tap._next_n > 0 and not self.decided)
    def centre_decides_as_it_should(self, permit: bool) -> None:
        self.centre_decides(EVENT, permit, opens=True)

    @rule(event=events, permit=st.booleans(), opens=st.booleans())
    def centre_decides(self, event: EventId, permit: bool, opens: bool) -> None:
        open_ms = next(self.open_times) if permit and opens else 0
        counts = event == EVENT and not self.decided and not self.running.done() and not self._is_late()
        if counts and permit and open_ms:
            self.permits.add(open_ms)
        self.decided |= event == EVENT
        decided = "d1" if permit else "d0"
        text = Sentence(de="Bitte", en="Please")
        values = {"reason": "granted", "level": "card", "text": text, "receipt": "ee", "decision": decided}
        self._tell(DecisionMessage(event=event, permit=permit, open_ms=open_ms, **values))

    @rule(ms=st.sampled_from((1, 1_000, 20_000)))
    def time_passes(self, ms: int) -> None:
        self.clock.advance_ms(ms)

    @rule(ms=st.sampled_from((59_999, 60_000, 60_001, 120_001)))
    @precondition(lambda self: self.tap._next_n > 0)
    def much_time_passes(self, ms: int) -> None:
        self.clock.advance_ms(ms)

    @rule(why=st.sampled_from(("pulled", "reader")))
    def card_leaves(self, why: str) -> None:
        self.driver.cards.pop("R", None)
        self.tap.card_lost(why)

    @rule(name=st.sampled_from(sorted(ANSWERS)))
    def card_answers_otherwise(self, name: str) -> None:
        self.card.answer = ANSWERS[name]

    @rule()
    def card_hesitates(self) -> None:
        self.gate.clear()

    @rule()
    def card_goes_on(self) -> None:
        self.gate.set()
        self.runner.run(self._settle())

    @rule(times=st.integers(1, 3))
    @precondition(lambda self: self.connected and (self.tap._next_n > 2 or self.decided))
    def connection_breaks(self, times: int) -> None:
        self.connected = False
        for _ in range(times):
            self.router.disconnected()
        self.runner.run(self._settle())

    @rule(what=st.sampled_from(("strike", "display")))
    def output_breaks(self, what: str) -> None:
        self.door.broken.add(what)

    @rule(failures=st.integers(0, 3))
    def disk_fails(self, failures: int) -> None:
        self.outbox.failures = failures

    def _transmit(self, conversation: str, n: int, apdus: list[str]) -> None:
        before = self.tap._next_n
        self._tell(CardApdus(conversation=conversation, n=n % 64, apdus=tuple(apdus)))
        if self.tap._next_n > before:
            assert (conversation, n) == (self.tap.conversation, before)
            assert all(len(apdu) >= 8 for apdu in apdus), "too short for an APDU, and sent to the card"
            self.accepted += [bytes.fromhex(apdu) for apdu in apdus]

    @invariant()
    def nothing_opens_without_its_permit(self) -> None:
        assert set(self.door.pulses) <= self.permits
        assert len(self.door.pulses) <= 1
        gone = any(isinstance(message, CardResponses) and message.gone for message in self.sent)
        assert not (gone and self.door.pulses), "opened for a card that was gone"

    @invariant()
    def nothing_piles_up(self) -> None:
        if hasattr(self, "tap"):
            assert self.tap._inbox.qsize() <= MAX_WAITING
            assert len(self.router._by_event) <= 1
            assert len(self.router._by_conversation) <= 1
            assert len(self.sent) <= 1 + self.tap._next_n

    @invariant()
    def the_card_sees_only_what_was_accepted(self) -> None:
        assert self.card.apdus == self.accepted[: len(self.card.apdus)]

    def teardown(self) -> None:
        self.gate.set()
        with contextlib.closing(self.runner):
            if not hasattr(self, "tap"):
                return
            self.connected = False
            self.router.disconnected()
            self.runner.run(asyncio.wait_for(self._end(), LIMIT_S))
            self.worker.stop(timeout_s=LIMIT_S)
        self._check_the_end()

    def _check_the_end(self) -> None:
        self.nothing_opens_without_its_permit()
        (report,) = self.outbox.finished
        assert report.event == EVENT
        assert report.outcome in OUTCOMES
        assert (report.outcome == "acted") <= bool(report.permit), "acted without a permit"
        assert not self.door.pulses or report.outcome == "acted"
        assert not self.router._by_event
        assert not self.router._by_conversation
        assert self.card.connects == self.card.resets, "the card was left powered"
        for message in (*self.sent, report):
            encode(message)

    async def _begin(self) -> None:
        self.worker = Worker("reader R")
        tools = TapTools(
            clock=self.clock,
            metrics=self.metrics,
            outbox=self.outbox,
            registry=self.router,
            send=self._send,
            late_grace_ms=1,
            store_retry_s=0,
        )
        arrival = Arrival(b"\x3b", self.clock.wall_ms(), self.clock.monotonic_us())
        side = CardSide(_Gated(self.driver, self.gate), self.worker, self.clock, "R", exclusive=True)
        self.tap = Tap(tools, SETUP, arrival, card=side, output=PlainPoint(SETUP, self.door))
        self.running = asyncio.ensure_future(self.tap.run())
        await self._settle()

    async def _settle(self) -> None:
        """Return when the tap waits for the centre or a hesitating card, or is over."""
        deadline = time.monotonic() + LIMIT_S
        while self._is_busy():
            assert time.monotonic() < deadline, f"the tap hangs in {self.tap._state}"
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)

    def _is_busy(self) -> bool:
        if self.running.done():
            return False
        if self.tap._state is TapState.TRANSMITTING:
            return self.gate.is_set()
        return not self.sent or self.tap._inbox.qsize() > 0

    async def _end(self) -> None:
        await self.running
        await self.tap.settle()

    def _send(self, message: CardPresent | CardResponses) -> bool:
        if self.connected:
            self.sent.append(message)
            self.asked_at_us = self.clock.monotonic_us()
        return self.connected

    def _is_late(self) -> bool:
        """Tell whether a decision would come too late now, reckoned apart from what the tap itself reckons."""
        now_us = self.clock.monotonic_us()
        if now_us > self.began_at_us + SETUP.tap_budget_ms * 1_000:
            return True
        waits = self.tap._state is not TapState.TRANSMITTING
        return waits and now_us > self.asked_at_us + SETUP.answer_budget_ms * 1_000

    def _tell(self, message: CardOpen | CardApdus | DecisionMessage) -> None:
        async def deliver() -> None:
            self.router.deliver(message, self.clock.monotonic_us())
            await self._settle()

        self.runner.run(deliver())


class _Gated:
    """The driver, with cards that answer only while the gate is open."""

    def __init__(self, driver: FakeDriver, gate: threading.Event) -> None:
        self._driver = driver
        self._gate = gate

    def connect(self, reader: str, *, exclusive: bool) -> "_GatedConnection":
        return _GatedConnection(self._driver.connect(reader, exclusive=exclusive), self._gate)


class _GatedConnection:
    def __init__(self, inner: object, gate: threading.Event) -> None:
        self._inner = inner
        self._gate = gate

    def transmit(self, apdu: bytes) -> bytes:
        assert self._gate.wait(LIMIT_S)
        return self._inner.transmit(apdu)

    def disconnect(self, *, reset: bool) -> None:
        self._inner.disconnect(reset=reset)
