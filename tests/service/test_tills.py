# SPDX-License-Identifier: EUPL-1.2
"""Tills and taps at one terminal, on both databases: who pays what, and who is told what."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from service.fake_clock import MONDAY_MS, FakeClock
from support.points import a_point
from support.waiting import wait_until

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.messages import Prompt
from cardservice.agents.places import Answer, PermittedTap
from cardservice.canteen.service import Canteen, Source, TopUp
from cardservice.canteen.tills import CanteenPlace, Charge, Outcome, TerminalAway, TerminalBusy
from cardservice.database import Databases
from cardservice.errors import Conflict, NotFound
from cardservice.ledger.service import Ledger
from cardservice.recorder import Recorder

ANNA, BERT = 11, 12
TERMINAL, OTHER = (a_point(f"kantine.kasse-{n}", Use.CANTEEN, agent="kantine") for n in (1, 2))
_EVENTS = count(1)


@dataclass
class Counter:
    """A canteen with its recorder, and everything its terminals were asked to show."""

    recorder: Recorder
    place: CanteenPlace = field(init=False)
    prompts: list[Prompt] = field(default_factory=list)
    reachable: bool = True

    def ask(self, _point: PointRecord, prompt: Prompt) -> bool:
        self.prompts.append(prompt)
        return self.reachable

    async def tap(self, person: int = ANNA, point: PointRecord = TERMINAL, **more: Any) -> Answer:
        """A permitted tap, as the desk plays it: kept, then acted upon."""
        event = f"kantine/1/{next(_EVENTS)}"
        tap = PermittedTap(**({"event": event, "point": point, "at_ms": MONDAY_MS, "person": person} | more))
        kept = await self.recorder.submit_here(lambda connection: self.place.record(connection, tap))
        answer = await self.place.act(tap, kept)
        assert answer is not None
        return answer

    async def waits(self, charge: Charge, point: PointRecord = TERMINAL) -> "asyncio.Task[Outcome]":
        """A till asks; return once the terminal shows it."""
        before = len(self.prompts)
        task = asyncio.ensure_future(self.place.charge(point, charge))
        await asyncio.to_thread(wait_until, lambda: len(self.prompts) > before or task.done())
        return task


@pytest.fixture
def counter(databases: Databases, clock: FakeClock) -> Iterator[Counter]:
    """A canteen in which Anna has 20 EUR and Bert nothing."""
    ledger = Ledger(clock)
    canteen = Canteen(ledger)
    recorder = Recorder(databases.record, (ledger,))
    counter = Counter(recorder)
    counter.place = CanteenPlace(canteen, recorder, clock, secret=lambda: b"s" * 32, ask=counter.ask)
    recorder.start()
    top_up = TopUp(counter.place.wallet_of(ANNA), 2_000, Source.PAYROLL, MONDAY_MS)
    recorder.submit(lambda connection: canteen.top_up(connection, top_up)).result(10)
    yield counter
    recorder.stop()


def meal(key: str = "key-1", amount_cents: int = 980, **more: Any) -> Charge:
    return Charge("till-1", key, TERMINAL.code, amount_cents, **more)


async def test_the_card_that_comes_pays_what_stands_on_the_screen(counter):
    """The screen shows the amount for as long as the till waits, and is cleared when it is paid."""
    till = await counter.waits(meal(patience_ms=20_000))
    (prompt,) = counter.prompts
    assert (prompt.point, prompt.facts) == (TERMINAL.code, {"amount_cents": 980})
    assert 19_000 < prompt.for_ms <= 20_000
    answer = await counter.tap(choice=prompt.asks)
    assert (answer.code, answer.facts["balance_cents"]) == ("paid", 1_020)
    assert (await till)["status"] == "paid"
    assert counter.prompts[-1] == Prompt(point=TERMINAL.code)


async def test_a_card_that_came_for_another_amount_pays_nothing(counter):
    """The till replaced its charge while the card was on its way: the holder is told to look again, then pays."""
    first = await counter.waits(meal())
    seen = counter.prompts[-1].asks
    counter.place.cancel(TERMINAL, "till-1")
    assert (await first)["status"] == "cancelled"
    second = await counter.waits(meal("key-2", 1_500))
    answer = await counter.tap(choice=seen)
    assert (answer.done, answer.code) == (False, "amount_changed")
    assert not second.done()
    paid = await counter.tap(choice=counter.prompts[-1].asks)
    assert (paid.code, paid.facts["balance_cents"]) == ("paid", 500)
    assert (await second)["status"] == "paid"


async def test_a_terminal_without_a_screen_pays_what_waits(counter):
    till = await counter.waits(meal())
    assert (await counter.tap(choice=None)).code == "paid"
    assert (await till)["status"] == "paid"


async def test_a_tap_that_paid_before_leaves_the_next_charge_alone(counter):
    """A repeated event is told so; the till goes on waiting for the next guest."""
    till = await counter.waits(meal())
    assert (await counter.tap(event="kantine/1/900000")).code == "paid"
    await till
    waiting = await counter.waits(meal("key-2"))
    again = await counter.tap(event="kantine/1/900000")
    assert (again.done, again.code) == (False, "already_settled")
    assert not waiting.done()
    assert (await counter.tap()).code == "paid"
    assert (await waiting)["status"] == "paid"


async def test_one_key_waits_at_one_terminal_only(counter):
    """The second terminal refuses; a card at the first one pays as if nothing had been."""
    till = await counter.waits(meal())
    with pytest.raises(Conflict, match="another terminal"):
        await counter.place.charge(OTHER, replace(meal(), terminal=OTHER.code))
    with pytest.raises(TerminalBusy):
        await counter.place.charge(TERMINAL, meal("key-2"))
    assert (await counter.tap()).code == "paid"
    assert (await till)["status"] == "paid"


async def test_a_key_settled_in_the_meantime_ends_the_wait_at_the_next_card(counter):
    """The till asked again while its first request was being paid: it is told what came of that, nothing is charged."""
    first = await counter.waits(meal())
    again = counter.place._begin
    assert (await counter.tap()).code == "paid"
    paid = await first
    # What a request finds that was looked up just before the booking of the first.
    waiting = again(TERMINAL, meal())
    answer = await counter.tap()
    assert (answer.done, answer.code) == (False, "already_settled")
    assert await waiting.done == paid
    assert (await counter.tap()).facts == {"balance_cents": 1_020}


async def test_without_money_nothing_is_charged_and_the_words_say_why(counter):
    till = await counter.waits(meal())
    answer = await counter.tap(BERT)
    assert (answer.done, answer.code, answer.text_de) == (
        False,
        "no_funds",
        "Das Guthaben reicht nicht. Es wurde nichts abgebucht.",
    )
    assert {name: (await till)[name] for name in ("status", "reason")} == {"status": "refused", "reason": "no_funds"}


async def test_a_terminal_that_comes_back_shows_what_is_left_of_the_wait(counter):
    """Not the whole patience anew."""
    till = await counter.waits(meal(patience_ms=5_000))
    await asyncio.sleep(0.1)
    prompt = counter.place.prompt_at(TERMINAL.code)
    assert prompt is not None
    assert 0 < prompt.for_ms <= 4_900
    counter.place.cancel(TERMINAL, "till-1")
    await till
    assert counter.place.prompt_at(TERMINAL.code) is None


async def test_a_terminal_that_is_away_is_not_waited_at(counter):
    counter.reachable = False
    with pytest.raises(TerminalAway):
        await counter.place.charge(TERMINAL, meal())
    with pytest.raises(NotFound):
        counter.place.cancel(TERMINAL, "till-1")
    counter.reachable = True
    till = await counter.waits(meal())
    assert (await counter.tap()).code == "paid"
    assert (await till)["status"] == "paid"
