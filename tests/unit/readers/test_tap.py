# SPDX-License-Identifier: EUPL-1.2
"""One tap under a clock that the test moves: what acts, what never acts, and what is reported."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from unit.readers.fakes import BrokenDriver, FakeCard, FakeClock, FakeDriver, NotingDoor

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
)
from readers import texts
from readers.card import CardSide
from readers.errors import OutboxFault
from readers.metrics import Metrics
from readers.outputs import PlainPoint
from readers.router import Router
from readers.tap import Arrival, Tap, TapTools
from readers.worker import Worker

SETUP = PointSetup(point="door-1", reader="R", use="door", answer_budget_ms=300, tap_budget_ms=3_000)
EVENT = EventId(agent="agent-1", epoch=5, sequence=1)


def decision(*, permit: bool = True, event: EventId = EVENT, open_ms: int = 3_000) -> DecisionMessage:
    return DecisionMessage(
        event=event,
        decision="d1",
        permit=permit,
        reason="permitted" if permit else "not_granted",
        level="card",
        text=Sentence(de="Bitte", en="Please"),
        open_ms=open_ms,
        receipt="ee",
    )


def opening(event: EventId = EVENT, conversation: str = "c1") -> CardOpen:
    return CardOpen(event=event, conversation=conversation, applications=("desfire",))


def apdus(n: int, *commands: str, conversation: str = "c1") -> CardApdus:
    return CardApdus(conversation=conversation, n=n, apdus=commands or ("905a0000",))


class MemoryOutbox:
    def __init__(self) -> None:
        self.opened: list[str] = []
        self.finished: list[TapEvent] = []
        self.failures = 0

    async def open_tap(self, point: str, at_ms: int) -> EventId:
        self._fail_if_told()
        self.opened.append(point)
        return EVENT

    async def finish(self, event: TapEvent) -> bool:
        self._fail_if_told()
        self.finished.append(event)
        return True

    def _fail_if_told(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OutboxFault("disk full")


class Bench:
    """A tap with everything around it; `sent` is what the centre got."""

    def __init__(self, driver: FakeDriver | None = None, setup: PointSetup = SETUP, atr: bytes = b"\x3b") -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.router = Router(self.metrics)
        self.outbox = MemoryOutbox()
        self.door = NotingDoor()
        self.sent: asyncio.Queue[object] = asyncio.Queue()
        self.connected = True
        self.driver = driver or FakeDriver()
        self.card = FakeCard()
        self.driver.cards["R"] = self.card
        self.worker = Worker("reader R")
        tools = TapTools(
            clock=self.clock,
            metrics=self.metrics,
            outbox=self.outbox,
            registry=self.router,
            send=self._send,
            late_grace_ms=50,
            store_retry_s=0,
        )
        arrival = Arrival(atr, self.clock.wall_ms(), self.clock.monotonic_us())
        side = CardSide(self.driver, self.worker, self.clock, "R", exclusive=True)
        self.tap = Tap(tools, setup, arrival, card=side, output=PlainPoint(setup, self.door))
        self.running = asyncio.create_task(self.tap.run())

    def _send(self, message: object) -> bool:
        if self.connected:
            self.sent.put_nowait(message)
        return self.connected

    def tell(self, *messages: CardOpen | CardApdus | DecisionMessage) -> None:
        for message in messages:
            self.router.deliver(message, self.clock.monotonic_us())

    async def heard(self, kind: type) -> object:
        message = await self.sent.get()
        assert isinstance(message, kind)
        return message

    async def begun(self) -> "Bench":
        await self.heard(CardPresent)
        return self

    async def report(self) -> TapEvent:
        """End the tap and return what went into the outbox."""
        await self.running
        await self.tap.settle()
        (event,) = self.outbox.finished
        return event

    def ignored(self) -> dict[str, float]:
        samples = [sample for metric in self.metrics.ignored.collect() for sample in metric.samples]
        return {sample.labels["why"]: sample.value for sample in samples if sample.name.endswith("_total")}


async def test_a_permit_opens_and_a_refusal_shows():
    """A permit pulses the strike for the time it names, then shows green; a refusal only shows red."""
    bench = await Bench().begun()
    bench.tell(decision(open_ms=4_000))
    event = await bench.report()
    assert (event.outcome, event.permit, event.decision, event.receipt) == ("acted", True, "d1", "ee")
    assert (bench.door.pulses, bench.door.leds) == ([4_000], ["green"])
    bench = await Bench().begun()
    bench.tell(decision(permit=False))
    event = await bench.report()
    assert (event.outcome, event.permit) == ("shown", False)
    assert (bench.door.pulses, bench.door.leds) == ([], ["red"])


async def test_a_permit_without_open_time_moves_nothing():
    """Time clocks and tills permit without a strike."""
    bench = await Bench().begun()
    bench.tell(decision(open_ms=0))
    assert (await bench.report()).outcome == "acted"
    assert (bench.door.pulses, bench.door.leds) == ([], ["green"])


async def test_the_conversation_is_relayed_in_order_and_the_card_is_reset_after():
    """Batches are transmitted whole and in order, times reported, the card let go with a reset."""
    bench = await Bench().begun()
    bench.tell(opening(), apdus(0, "905a0000", "90710000"))
    first = await bench.heard(CardResponses)
    assert (first.n, first.responses, first.gone) == (0, ("905a00009000", "907100009000"), None)
    bench.tell(apdus(1, "90af0000"))
    assert (await bench.heard(CardResponses)).responses == ("90af00009000",)
    bench.tell(decision())
    event = await bench.report()
    await bench.worker.call(lambda: None)
    assert bench.card.resets == 1
    assert bench.card.exclusive is True
    assert event.stages_us.keys() == {"pcsc_connect", "store", "card", "centre", "output", "total"}


async def test_what_the_card_holds_back_is_fetched_beside_it():
    """Each part would cost a round trip; the centre gets one answer to one command."""
    bench = await Bench().begun()
    parts = iter([b"one\x61\x03", b"two\x90\x00", b"\x6a\x82"])
    bench.card.answer = lambda _apdu: next(parts)
    bench.tell(opening(), apdus(0, "00cb3fff00", "00a40400"))
    assert (await bench.heard(CardResponses)).responses == (b"onetwo\x90\x00".hex(), "6a82")
    assert [apdu.hex() for apdu in bench.card.apdus] == ["00cb3fff00", "00c0000003", "00a40400"]


async def test_a_tap_that_ended_fetches_nothing_more():
    """A card that holds something back for ever is let go with the tap."""
    bench = await Bench().begun()

    def answer(_apdu: bytes) -> bytes:
        bench.tap.card_lost("pulled")
        return b"one\x61\x03"

    bench.card.answer = answer
    bench.tell(opening(), apdus(0, "00cb3fff00"))
    answered = await bench.heard(CardResponses)
    assert (answered.responses, answered.gone) == ((), "pulled")
    assert len(bench.card.apdus) == 1


@pytest.mark.parametrize("late_ms", [300, 301, 5_000])
async def test_a_decision_read_after_its_deadline_never_acts(late_ms):
    """Not even if the timer has not fired: the monotonic clock decides. The report says `late`, with the receipt."""
    bench = await Bench().begun()
    bench.clock.advance_ms(late_ms)
    bench.clock.now_us += 1
    bench.tell(decision())
    event = await bench.report()
    assert (event.outcome, event.permit, event.receipt) == ("late", True, "ee")
    assert (bench.door.pulses, bench.door.leds) == ([], ["amber"])


async def test_a_decision_just_in_time_acts():
    """The last microsecond of the budget is still inside it."""
    bench = await Bench().begun()
    bench.clock.advance_ms(300)
    bench.tell(decision())
    assert (await bench.report()).outcome == "acted"


async def test_the_whole_tap_has_a_budget_however_quick_each_answer_is():
    """Answers within their own budget do not stretch the tap beyond its own."""
    bench = await Bench().begun()
    bench.tell(opening())
    for n in range(11):
        bench.clock.advance_ms(290)
        bench.tell(apdus(n))
        if n < 10:
            await bench.heard(CardResponses)
    bench.tell(decision())
    event = await bench.report()
    assert event.outcome in {"late", "no_answer"}
    assert bench.door.pulses == []


async def test_silence_is_no_answer_and_the_reader_is_free_before_the_late_decision_is_noted():
    """The holder sees amber after the budget; a decision that comes later changes the report, never the door."""
    bench = await Bench(setup=SETUP.model_copy(update={"answer_budget_ms": 50})).begun()
    await bench.running
    assert bench.door.shows[-1].text == texts.CENTRE_UNREACHABLE
    bench.tell(decision())
    event = await bench.report()
    assert (event.outcome, event.decision) == ("late", "d1")
    assert (bench.door.pulses, bench.door.leds) == ([], ["amber"])
    silent = await Bench(setup=SETUP.model_copy(update={"answer_budget_ms": 50})).begun()
    event = await silent.report()
    assert (event.outcome, event.decision, event.permit) == ("no_answer", None, None)


async def test_without_a_connection_nothing_is_asked_and_nothing_opens():
    """The tap is still reported, when the centre is back."""
    bench = Bench()
    bench.connected = False
    assert (await bench.report()).outcome == "no_answer"
    assert (bench.door.pulses, bench.door.shows[-1].text) == ([], texts.CENTRE_UNREACHABLE)


async def test_a_connection_lost_in_mid_conversation_ends_the_tap():
    """An answer can only come on the connection on which the card was reported."""
    bench = await Bench().begun()
    bench.tell(opening(), apdus(0))
    await bench.heard(CardResponses)
    bench.router.disconnected()
    assert (await bench.report()).outcome == "no_answer"
    bench.tell(decision())
    assert bench.door.pulses == []
    assert bench.ignored() == {"foreign_event": 1}


async def test_what_is_not_for_this_tap_is_ignored_and_counted():
    """Foreign events, foreign conversations, wrong exchange numbers, batches before the opening, second openings."""
    foreign = EventId(agent="agent-1", epoch=5, sequence=2)
    bench = await Bench().begun()
    bench.tell(decision(event=foreign), opening(event=foreign), apdus(0))
    assert bench.ignored() == {"foreign_event": 2, "unknown_conversation": 1}
    bench.tell(opening(), opening(), opening(conversation="c2"), apdus(1), apdus(0, conversation="c2"))
    assert bench.ignored() == {
        "foreign_event": 2,
        "unknown_conversation": 2,
        "conversation_reused": 1,
        "out_of_turn": 2,
    }
    bench.tell(apdus(0), apdus(0))
    await bench.heard(CardResponses)
    bench.tell(apdus(0))
    assert bench.ignored()["out_of_turn"] == 4
    bench.tell(decision(), decision(permit=False))
    assert bench.ignored()["replay"] == 1
    assert (await bench.report()).outcome == "acted"
    assert bench.card.apdus == [bytes.fromhex("905a0000")]


async def test_a_command_too_short_for_an_apdu_never_reaches_the_reader():
    """One byte alone is a control frame to some drivers."""
    bench = await Bench().begun()
    bench.tell(opening(), apdus(0, "60"))
    assert bench.ignored() == {"bad_apdu": 1}
    bench.tell(decision(permit=False))
    await bench.report()
    assert bench.card.apdus == []


async def test_a_card_pulled_in_mid_batch_opens_nothing_even_if_the_centre_permits():
    """The answers so far and `pulled` are reported; a permit for a card that is gone is not acted on."""
    bench = await Bench().begun()
    bench.card.answer = lambda apdu: apdu + b"\x90\x00" if apdu[1] == 0x5A else b""
    bench.tell(opening(), apdus(0, "905a0000", "90710000"))
    answered = await bench.heard(CardResponses)
    assert (answered.responses, answered.gone) == (("905a00009000",), "pulled")
    bench.tell(decision())
    event = await bench.report()
    assert (event.outcome, event.permit) == ("card_gone", True)
    assert (bench.door.pulses, bench.door.shows[-1].text) == ([], texts.CARD_GONE)


async def test_the_centre_may_say_why_a_pulled_card_was_refused():
    """With the card gone the centre's own sentence is shown, and the outcome stays `card_gone`."""
    bench = await Bench().begun()
    bench.tap.card_lost("pulled")
    bench.tell(opening(), apdus(0))
    answered = await bench.heard(CardResponses)
    assert (answered.responses, answered.gone) == ((), "pulled")
    assert bench.card.apdus == []
    bench.tell(decision(permit=False))
    assert (await bench.report()).outcome == "card_gone"
    assert bench.door.shows[-1].text == ("Bitte", "Please")


async def test_a_card_taken_away_after_its_proof_still_opens():
    """Who taps quickly has the card back in the pocket before the decision arrives."""
    bench = await Bench().begun()
    bench.tell(opening(), apdus(0))
    await bench.heard(CardResponses)
    bench.tap.card_lost("pulled")
    bench.tell(decision())
    assert (await bench.report()).outcome == "acted"
    assert bench.door.pulses == [3_000]


async def test_a_reader_that_fails_is_told_apart_from_a_card_that_was_pulled():
    """`reader` is for the administrator, not a reproach to the holder."""
    bench = await Bench(BrokenDriver()).begun()
    bench.tell(opening(), apdus(0))
    assert (await bench.heard(CardResponses)).gone == "reader"
    bench.tell(decision(permit=False))
    assert (await bench.report()).outcome == "card_gone"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


async def test_a_card_that_never_answers_costs_the_tap_budget_and_no_more(gate):
    """`timeout` is reported while the reader still hangs, and the card is let go when it stops hanging."""
    bench = await Bench(setup=SETUP.model_copy(update={"tap_budget_ms": 100})).begun()
    bench.card.answer = lambda _apdu: b"\x90\x00" if gate.wait(30) else b""
    bench.tell(opening(), apdus(0, "905a0000", "90710000"))
    answered = await bench.heard(CardResponses)
    assert (answered.responses, answered.gone) == ((), "timeout")
    bench.tell(decision())
    assert (await bench.report()).outcome == "card_gone"
    assert bench.door.pulses == []
    gate.set()
    await bench.worker.call(lambda: None)
    assert bench.card.resets == 1
    assert len(bench.card.apdus) == 1


async def test_a_flood_of_answer_bytes_is_cut():
    """More than fits into one frame is the reader's fault, not a crash."""
    bench = await Bench().begun()
    bench.card.answer = lambda _apdu: bytes(65_000)
    bench.tell(opening(), apdus(0, "905a0000", "905a0000", "905a0000"))
    answered = await bench.heard(CardResponses)
    assert (len(answered.responses), answered.gone) == (1, "reader")


async def test_one_answer_longer_than_iso_7816_allows_is_cut():
    """A card has no such answer: it does not go on the wire, and the tap ends like any other."""
    bench = await Bench().begun()
    bench.card.answer = lambda _apdu: bytes(65_539)
    bench.tell(opening(), apdus(0))
    answered = await bench.heard(CardResponses)
    assert (answered.responses, answered.gone) == ((), "reader")
    bench.tell(decision(permit=False))
    assert (await bench.report()).outcome == "card_gone"


async def test_a_driver_that_gives_a_longer_answer_to_reset_costs_no_tap():
    """The first 33 bytes go on the wire."""
    bench = Bench(atr=bytes(range(40)))
    assert (await bench.heard(CardPresent)).atr == bytes(range(33)).hex()
    bench.tell(decision())
    assert (await bench.report()).outcome == "acted"


async def test_what_cannot_be_stored_is_not_sent():
    """A full or broken disk keeps the door shut and says so."""
    bench = Bench()
    bench.outbox.failures = 1
    await bench.running
    await bench.tap.settle()
    assert bench.sent.empty()
    assert (bench.door.pulses, bench.door.shows[-1].text) == ([], texts.READER_FAULT)
    assert bench.tap.event is None


async def test_a_report_is_stored_again_after_a_fault():
    """The strike has acted; a moment of trouble with the disk must not lose that."""
    bench = await Bench().begun()
    bench.outbox.failures = 2
    bench.tell(decision())
    assert (await bench.report()).outcome == "acted"


@pytest.mark.parametrize(("broken", "permit"), [("strike", True), ("display", False)])
async def test_an_output_that_fails_is_reported(broken, permit):
    """Permitted but not opened, or refused but not shown: `output_failed`."""
    bench = await Bench().begun()
    bench.door.broken = {broken}
    bench.tell(decision(permit=permit))
    event = await bench.report()
    assert (event.outcome, event.permit) == ("output_failed", permit)
    assert bench.door.pulses == []


async def test_a_dark_display_does_not_undo_an_opened_door():
    """The strike did what the decision said."""
    bench = await Bench().begun()
    bench.door.broken = {"display"}
    bench.tell(decision())
    assert (await bench.report()).outcome == "acted"
    assert bench.door.pulses == [3_000]
