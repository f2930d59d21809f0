# SPDX-License-Identifier: EUPL-1.2
"""A point with a screen: its lights as everywhere, its answers in words, and a terminal that forgets by itself."""

import asyncio

import pytest
from unit.readers.fakes import FakeClock, NotingDoor

from cardservice.agents.messages import (
    DecisionMessage,
    EventId,
    PlaceAnswer,
    PointCommand,
    PointSetup,
    Prompt,
    Sentence,
)
from cardservice.doors.ports import OutputFault, Shown
from readers import texts
from readers.clock import SystemClock
from readers.kiosk import screen as timing
from readers.kiosk.point import ScreenPoint
from readers.kiosk.terminals import MAX_WATCHERS, Terminals
from readers.ports import PointOutput

SETUP = PointSetup(point="till-1", reader="R", use="canteen", name="Kasse 1")
PAID = ("Bezahlt.", "Paid.")


def decision(*, done: bool = True) -> DecisionMessage:
    return DecisionMessage(
        event=EventId(agent="agent-1", epoch=5, sequence=1),
        decision="d1",
        permit=True,
        reason="granted",
        level="card",
        text=Sentence(de="Bitte", en="Please"),
        answer=PlaceAnswer(done=done, code="paid", text=Sentence(de=PAID[0], en=PAID[1]), facts={"balance_cents": 42}),
        receipt="ee",
    )


class Desk:
    def __init__(self, setup: PointSetup = SETUP) -> None:
        self.clock = FakeClock()
        self.terminals = Terminals(self.clock)
        self.door = NotingDoor()
        self.point: PointOutput = ScreenPoint(setup, self.door, kiosk=self.terminals)
        self.point.centre(connected=True)

    @property
    def state(self):
        return self.terminals.of("till-1").screen.state()


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_an_answer_is_on_the_screen_and_at_the_reader(desk):
    """The words the tap shows, with the figures of the place's answer; the lights are forwarded as they are."""
    shown = Shown("green", "ok", PAID)
    await desk.point.act(decision())
    desk.point.show(shown, decision())
    answer = desk.state["answer"]
    assert (answer["tone"], answer["text"], answer["facts"]) == (
        "ok",
        {"de": "Bezahlt.", "en": "Paid."},
        {"balance_cents": 42},
    )
    assert (desk.door.shows, desk.door.pulses) == ([shown], [])


@pytest.mark.parametrize(("led", "tone", "facts"), [("red", "refused", {"balance_cents": 42}), ("amber", "fault", {})])
async def test_a_refusal_keeps_its_figures_and_a_fault_shows_none(desk, led, tone, facts):
    """What was permitted but went wrong must not look as if it had been done."""
    desk.point.show(Shown(led, "refused", texts.READER_FAULT), decision(done=False))
    assert (desk.state["answer"]["tone"], desk.state["answer"]["facts"]) == (tone, facts)


async def test_lights_without_words_leave_the_screen_alone(desk):
    desk.point.show(Shown("off", "silent"))
    desk.point.show(Shown("green", "ok"))
    assert desk.state["view"] == "idle"
    assert len(desk.door.shows) == 2


async def test_the_screen_answers_even_when_the_lights_do_not(desk):
    """A broken indicator is told to the tap, and the person reads the answer all the same."""
    desk.door.broken.add("display")
    with pytest.raises(OutputFault):
        desk.point.show(Shown("green", "ok", PAID), decision())
    assert desk.state["view"] == "answer"


async def test_prompt_and_connection_reach_the_screen(desk):
    desk.point.prompt(Prompt(point="till-1", text=Sentence(de="Karte", en="Card"), facts={"amount_cents": 1}))
    assert desk.state["view"] == "prompt"
    desk.point.card_left()
    assert desk.state["view"] == "prompt"
    desk.point.centre(connected=False)
    assert desk.state["view"] == "away"


async def test_a_terminal_opens_nothing(desk):
    with pytest.raises(OutputFault, match="nothing to open"):
        desk.point.command(PointCommand(id="ab", point="till-1", action="open_once", by_ms=1))


async def test_the_key_is_handed_out_once():
    desk = Desk(SETUP.model_copy(update={"use": "timeclock"}))
    desk.terminals.of("till-1").screen.choose("in")
    assert (desk.point.card_came(), desk.point.card_came()) == ("in", None)


async def test_a_closed_point_takes_its_screen_down_and_ends_its_feeds(desk):
    terminal = desk.terminals.of("till-1")
    feed = terminal.watch()
    await anext(feed)
    desk.point.close()
    assert [state async for state in feed] == []
    assert desk.terminals.of("till-1") is None
    desk.point.close()


async def test_the_answer_is_forgotten_although_nobody_looks(monkeypatch):
    """The terminal's own timer drops it, and a page that watches is told."""
    monkeypatch.setattr(timing, "ANSWER_MS", 30)
    terminals = Terminals(SystemClock())
    point = ScreenPoint(SETUP, NotingDoor(), kiosk=terminals)
    terminal = terminals.of("till-1")
    feed = terminal.watch()
    await anext(feed)
    point.show(Shown("green", "ok", PAID), decision())
    assert (await anext(feed))["view"] == "answer"
    async with asyncio.timeout(5):
        assert (await anext(feed))["view"] == "away"
    assert terminal.screen._answer is None
    await feed.aclose()
    terminals.remove("till-1")


async def test_a_page_is_told_the_newest_state_only(desk):
    """However much happens while it does not read, one state waits for it; and there are only so many pages."""
    terminal = desk.terminals.of("till-1")
    feeds = [terminal.watch() for _ in range(MAX_WATCHERS)]
    for feed in feeds:
        assert not terminal.is_full
        await anext(feed)
    assert terminal.is_full
    for amount in range(1_000):
        desk.point.prompt(
            Prompt(point="till-1", text=Sentence(de="Karte", en="Card"), facts={"amount_cents": amount}, for_ms=0)
        )
    assert (await anext(feeds[0]))["prompt"]["facts"] == {"amount_cents": 999}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await anext(feeds[0])
    for feed in feeds:
        await feed.aclose()
    assert not terminal.is_full
