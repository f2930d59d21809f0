# SPDX-License-Identifier: EUPL-1.2
"""A point that demands the PIN: who is asked for it, what is decided with it, and what is said of it afterwards."""

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from unit.agents.desk import DOOR, EVENT, STORE, STRANGER, City, Exchange, desfire_card, present

from cardservice.access.rules import Level, Reason
from cardservice.access.sentences import SENTENCES
from cardservice.access.snapshot import Snapshot
from cardservice.agents import pins as pinning
from cardservice.agents.messages import DecisionMessage, EventId, PinAsk, PinEntered, encode
from cardservice.agents.pins import PinDesk, PinQuestions
from cardservice.agents.receipts import open_receipt
from cardservice.cards.pin.rules import Verdict
from cardservice.errors import DatabaseUnavailable, Overloaded

PIN_DOOR = dataclasses.replace(DOOR, level=Level.CARD_PIN)
PIN = "70428153"


@dataclass
class KnownPins:
    """Holder 1 has a PIN; notes who was asked about."""

    verdict: Verdict | None = None
    error: Exception | None = None
    tried: list[tuple[int, int, str]] = field(default_factory=list)

    def check(self, card: int, person: int, pin: str) -> Verdict:
        self.tried.append((card, person, pin))
        if self.error is not None:
            raise self.error
        return self.verdict or (Verdict.RIGHT if (person, pin) == (1, PIN) else Verdict.WRONG)


@contextmanager
def city_with(pins: KnownPins, point=PIN_DOOR, **changes) -> Iterator[City]:
    desk = PinDesk(pins)
    yield City(point=point, pins=desk, **changes)
    desk.close()


def typed(pin: str | None, meanwhile: Callable[[], None] = lambda: None) -> Callable[[], Awaitable[str | None]]:
    async def ask() -> str | None:
        await asyncio.sleep(0)
        meanwhile()
        return pin

    return ask


async def tap(
    city: City, ask: Callable[[], Awaitable[str | None]] | None, number: bytes | None = None
) -> DecisionMessage:
    card = desfire_card() if number is None else desfire_card(number)
    return await city.desk().answer(present(), Exchange(card), ask)


async def test_the_right_pin_makes_the_card_enough():
    """The level of answer, receipt and journal is the one that was proved; card and person are the tap's own."""
    pins = KnownPins()
    with city_with(pins) as city:
        answer = await tap(city, typed(PIN))
    assert (answer.permit, answer.reason, answer.level, answer.open_ms) == (True, "granted", "card_pin", 5_000)
    assert pins.tried == [(101, 1, PIN)]
    sealed = open_receipt(answer.receipt, STORE.secret("receipts"), EVENT, point="door-1", decision=answer.decision)
    assert (sealed.permit, sealed.level) == (True, Level.CARD_PIN)
    (entry,) = city.journal.entries
    assert (entry.payload["permit"], entry.payload["level"]) == (True, "card_pin")
    assert "pin" in answer.stages_us


@pytest.mark.parametrize(
    ("pin", "verdict", "reason"),
    [
        ("70428154", None, Reason.PIN_WRONG),
        (PIN, Verdict.LOCKED, Reason.PIN_LOCKED),
        (None, None, Reason.PIN_NEEDED),
    ],
)
async def test_anything_else_is_refused_with_its_own_reason(pin, verdict, reason):
    """Wrong, locked, or nothing typed: said in the holder's words, journalled, counted; the level stays the card's."""
    pins = KnownPins(verdict)
    with city_with(pins) as city:
        answer = await tap(city, typed(pin))
    assert (answer.permit, answer.reason, answer.level, answer.open_ms) == (False, reason.value, "card", 0)
    assert answer.text.de == SENTENCES[reason].holder_de
    assert len(pins.tried) == (pin is not None)
    (entry,) = city.journal.entries
    assert (entry.payload["reason"], entry.personal) == (reason.value, {"person": 1, "card": 101})
    assert city.taps_counted() == {("refused", reason.value): 1}


async def test_where_no_pin_can_be_typed_the_card_alone_stays_too_little():
    with city_with(KnownPins()) as city:
        assert (await tap(city, None)).reason == "level_too_low"
    assert (await tap(City(point=PIN_DOOR), typed(PIN))).reason == "level_too_low"


async def test_nobody_is_asked_who_may_not_pass_anyway_or_needs_no_pin():
    """Guessing where one has no business is not possible, and an ordinary door asks nobody."""
    asked = []
    with city_with(KnownPins()) as city:
        refused = await tap(city, typed(PIN, lambda: asked.append("stranger")), STRANGER)
        city.point = DOOR
        plain = await tap(city, typed(PIN, lambda: asked.append("plain door")))
    assert (refused.reason, plain.reason, plain.level) == ("no_grant", "granted", "card")
    assert asked == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda city: setattr(city, "point", dataclasses.replace(PIN_DOOR, always=frozenset())), "no_grant"),
        (lambda city: setattr(city, "point", dataclasses.replace(PIN_DOOR, agent="another")), "point_foreign"),
        (lambda city: setattr(city.directory, "age", DOOR.freshness_ms + 1), "directory_stale"),
    ],
)
async def test_what_changed_while_it_was_typed_counts(change, reason):
    """The decision is of the moment after the PIN: whoever lost the right meanwhile stays outside."""
    with city_with(KnownPins()) as city:
        answer = await tap(city, typed(PIN, lambda: change(city)))
    assert (answer.permit, answer.reason) == (False, reason)


class HandedOn(City):
    """A city in which every card becomes somebody else's at a moment that the test chooses."""

    handed_on = False

    @property
    def snapshot(self) -> Snapshot:
        before = super().snapshot
        changed = {key: record._replace(holder=record.holder + 50) for key, record in before.items()}
        return before.with_cards(42, changed) if self.handed_on else before


async def test_a_pin_counts_for_whom_it_was_typed_for():
    """A card that was handed on meanwhile is not opened with the PIN of the holder before."""
    pins = PinDesk(KnownPins())
    city = HandedOn(point=PIN_DOOR, pins=pins)
    answer = await tap(city, typed(PIN, lambda: setattr(city, "handed_on", True)))
    pins.close()
    assert (answer.permit, answer.reason, answer.level) == (False, "pin_needed", "card")


@pytest.mark.parametrize("error", [DatabaseUnavailable("locked"), Overloaded("full")])
async def test_a_pin_that_cannot_be_checked_opens_nothing(error):
    with city_with(KnownPins(error=error)) as city, capture_logs() as logs:
        answer = await tap(city, typed(PIN))
    assert (answer.permit, answer.reason, answer.level) == (False, "overloaded", "card")
    assert PIN not in str(logs)


async def test_typing_is_no_stage_of_the_tap():
    """How long somebody took is nobody's business: it is in no figure."""
    ticks = 10_000_000

    with city_with(KnownPins()) as city:
        desk = city.desk()
        clock = desk._services.clock
        answer = await desk.answer(
            present(),
            Exchange(desfire_card()),
            typed(PIN, lambda: setattr(clock, "_ticks", clock._ticks + ticks * 1_000)),
        )
    assert sum(answer.stages_us.values()) < ticks


async def test_only_so_many_are_checked_at_once_and_a_given_up_tap_keeps_its_place(monkeypatch):
    """Whoever comes beyond is told so, uncounted; a tap that was given up frees its place when its thread is done."""
    monkeypatch.setattr(pinning, "MAX_CHECKING", 3)
    go, pins = threading.Event(), KnownPins()
    slow = KnownPins()
    slow.check = lambda *tried: (go.wait(20), pins.check(*tried))[1]
    desk = PinDesk(slow)
    under_way = [asyncio.ensure_future(desk.objection(card=1, person=1, pin=PIN)) for _ in range(3)]
    await asyncio.sleep(0)
    under_way[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await desk.objection(card=1, person=1, pin=PIN)
    go.set()
    assert await asyncio.gather(*under_way[1:]) == [None, None]
    assert await desk.objection(card=1, person=1, pin=PIN) is None
    desk.close()
    with pytest.raises(Overloaded, match="stops"):
        await desk.objection(card=1, person=1, pin=PIN)


async def asked_one() -> tuple[PinQuestions, list[PinAsk], "asyncio.Task[str | None]"]:
    sent: list[PinAsk] = []
    questions = PinQuestions(sent.append)
    waiting = asyncio.ensure_future(questions.ask(EVENT))
    await asyncio.sleep(0)
    return questions, sent, waiting


async def test_digits_count_for_the_tap_they_were_asked_for_and_once():
    """Another event, another question's word, or a second answer change nothing."""
    questions, (ask,), waiting = await asked_one()
    other = EventId(agent=EVENT.agent, epoch=EVENT.epoch, sequence=2)
    assert questions.entered(PinEntered(event=other, ask=ask.ask, pin=PIN)), "late for another tap"
    assert not questions.entered(PinEntered(event=EVENT, ask="00" * 16, pin=PIN))
    assert not waiting.done()
    assert questions.entered(PinEntered(event=EVENT, ask=ask.ask, pin=PIN))
    assert questions.entered(PinEntered(event=EVENT, ask=ask.ask, pin="1470"))
    assert await waiting == PIN
    again, (next_ask,), second = await asked_one()
    assert next_ask.ask != ask.ask
    assert not again.entered(PinEntered(event=EVENT, ask=ask.ask, pin=PIN))
    second.cancel()


async def test_nobody_is_waited_for_longer_than_the_time_to_type(monkeypatch):
    monkeypatch.setattr(pinning, "TYPING_MS", 1_100)
    questions, (ask,), waiting = await asked_one()
    assert ask.for_ms == 100, "the terminal ends sooner, so that its answer is in time"
    assert await waiting is None
    assert questions.entered(PinEntered(event=EVENT, ask=ask.ask, pin=PIN)), "late, not strange"


def test_a_message_with_a_pin_does_not_show_it():
    """What lands in a log or an error by accident holds no digits; only the wire does."""
    message = PinEntered(event=EVENT, ask="00", pin=PIN)
    assert PIN not in repr(message)
    assert PIN not in str(message)
    assert PIN in encode(message)
