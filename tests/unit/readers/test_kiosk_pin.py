# SPDX-License-Identifier: EUPL-1.2
"""The PIN pad of a terminal: asked for once, answered once, and nothing typed is ever part of what a page is told."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from structlog.testing import capture_logs
from support.waiting import wait_until
from unit.readers.fakes import FakeClock, NotingDoor

from cardservice.agents.messages import (
    DecisionMessage,
    EventId,
    MessageRefused,
    PointSetup,
    Sentence,
    decode_from_agent,
)
from cardservice.cards.pin.rules import MAX_DIGITS, MIN_DIGITS, fault_of
from cardservice.doors.ports import OutputFault, Shown
from readers.clock import SystemClock
from readers.kiosk import app as kiosk_app
from readers.kiosk.door import DoorWithPage
from readers.kiosk.point import ScreenPoint
from readers.kiosk.server import KioskServer
from readers.kiosk.terminals import Terminal, Terminals
from readers.outputs import PlainPoint
from readers.settings import AgentSettings

PIN = "70428153"
CLOCK = PointSetup(point="clock-1", reader="R", use="timeclock", name="Eingang")
DOOR = PointSetup(point="safe", reader="S", use="door", name="Tresor", options={"pin_pad": True})
WELCOME = DecisionMessage(
    event=EventId(agent="agent-1", epoch=5, sequence=1),
    decision="d1",
    permit=True,
    reason="granted",
    level="card_pin",
    text=Sentence(de="Bitte eintreten.", en="Please come in."),
    open_ms=3_000,
    receipt="ee",
)


class Desk:
    """A time clock with a screen under a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.terminals = Terminals(self.clock)
        self.point = ScreenPoint(CLOCK, NotingDoor(), kiosk=self.terminals)
        self.point.centre(connected=True)
        self.screen = self.terminal.screen
        self.answers: list[str | None] = []

    @property
    def terminal(self) -> Terminal:
        found = self.terminals.of("clock-1")
        assert found is not None
        return found

    def ask(self, for_ms: int = 19_000) -> int:
        return self.screen.ask_pin(for_ms, self.answers.append)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_a_pin_is_asked_for_and_handed_on_once(desk):
    """While it is asked no key can be chosen; afterwards it is being looked at, until the answer comes."""
    desk.point.card_came()
    ask = desk.ask()
    assert desk.screen.state()["view"] == "pin"
    assert desk.screen.state()["pin"] == {"ask": ask, "of_ms": 19_000, "left_ms": 19_000}
    assert not desk.screen.choose("in")
    assert desk.screen.enter_pin(ask, PIN)
    assert desk.answers == [PIN]
    assert (desk.screen.state()["view"], desk.screen.state()["pin"]) == ("checking", None)
    assert not desk.screen.enter_pin(ask, PIN)
    desk.screen.answer("ok", ("Gebucht.", "Booked."), {})
    assert desk.screen.state()["view"] == "answer"
    assert desk.answers == [PIN]


async def test_digits_for_an_earlier_question_reach_nobody(desk):
    """Whoever typed too slowly did not type the next person's PIN."""
    first = desk.ask()
    desk.screen.end_pin(first)
    second = desk.ask()
    assert second != first
    assert not desk.screen.enter_pin(first, PIN)
    desk.clock.advance_ms(19_000)
    assert not desk.screen.enter_pin(second, PIN)
    assert desk.screen.state()["view"] == "idle"
    assert desk.answers == []


async def test_an_absent_centre_is_in_front_of_the_pad(desk):
    desk.ask()
    desk.point.centre(connected=False)
    assert desk.screen.state()["view"] == "away"


async def test_there_is_a_pad_while_somebody_can_see_it(desk):
    """No page open: no pad. The question ends with whoever asked it, and then it is not on the page either."""
    assert desk.point.pad is None
    async with contextlib.aclosing(desk.terminal.watch()) as states:
        await anext(states)
        pad = desk.point.pad
        assert pad is not None
        typed = pad.ask(19_000)
        assert desk.screen.state()["view"] == "pin"
        typed.cancel()
        await asyncio.sleep(0)
        assert desk.screen.state()["view"] == "idle"
        typed = pad.ask(19_000)
        assert desk.screen.enter_pin(desk.screen.state()["pin"]["ask"], None)
        assert await typed is None
    assert desk.point.pad is None


class Served:
    """The page of a time clock, served."""

    def __init__(self, client: httpx2.AsyncClient, terminal: Terminal) -> None:
        self.client, self.terminal = client, terminal
        self.answers: list[str | None] = []

    async def enter(self, **body: object) -> int:
        return (await self.client.post("/clock-1/pin", json=body)).status_code


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    terminals = Terminals(SystemClock())
    terminals.add(CLOCK).centre(connected=True)
    server = KioskServer(terminals, "127.0.0.1", 0, first_pause_s=0.01)
    task = asyncio.create_task(server.run())
    url = await asyncio.to_thread(wait_until, lambda: server.url)
    terminal = terminals.of("clock-1")
    assert terminal is not None
    async with httpx2.AsyncClient(base_url=url, timeout=10) as client:
        yield Served(client, terminal)
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(
    "body",
    [
        *(
            {},
            {"pin": PIN},
            {"ask": 1},
            {"ask": "1", "pin": PIN},
            {"ask": True, "pin": PIN},
            {"ask": 1, "pin": 70428153},
        ),
        *(
            {"ask": 1, "pin": pin}
            for pin in ("", "704", "7042815370428", "70428a", "\uff17\uff10\uff14\uff12", PIN + "\n", [PIN])
        ),
    ],
)
async def test_what_is_no_pin_is_refused(served, body):
    """Whatever is sent instead of digits: refused, not handed on, not repeated."""
    served.terminal.screen.ask_pin(19_000, served.answers.append)
    answer = await served.client.post("/clock-1/pin", json=body)
    assert answer.status_code == 422
    assert PIN not in answer.text
    assert served.answers == []


async def test_the_page_alone_hands_digits_on_and_nobody_is_told_them(served):
    """Another site's page is refused; what the right page sends is in no state, no answer and no log."""
    with capture_logs() as logs:
        ask = served.terminal.screen.ask_pin(19_000, served.answers.append)
        foreign = await served.client.post(
            "/clock-1/pin", json={"ask": ask, "pin": PIN}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        statuses = [await served.enter(ask=ask + 1, pin=PIN), await served.enter(ask=ask, pin=PIN)]
        statuses.append(await served.enter(ask=ask, pin=PIN))
    assert (foreign.status_code, statuses) == (403, [409, 204, 409])
    assert served.answers == [PIN]
    assert PIN not in json.dumps(served.terminal.screen.state())
    assert PIN not in str(logs)


# ---- a door with a page


class BesideADoor:
    """A door whose page follows the option of its point."""

    def __init__(self, setup: PointSetup = DOOR) -> None:
        self.terminals = Terminals(FakeClock())
        self.strike = NotingDoor()
        self.point = DoorWithPage(setup, self.strike, door=PlainPoint, kiosk=self.terminals)
        self.point.centre(connected=True)

    @property
    def view(self) -> str | None:
        terminal = self.terminals.of("safe")
        return None if terminal is None else terminal.screen.state()["view"]


async def test_a_door_that_asks_for_a_pin_has_a_page_and_stays_a_door():
    """Its strike moves and its lights show as without a page; the page shows the same words."""
    door = BesideADoor()
    assert door.view == "idle"
    assert door.point.card_came() is None
    assert door.view == "reading"
    await door.point.act(WELCOME)
    door.point.show(Shown("green", "ok", ("Bitte eintreten.", "Please come in.")), WELCOME)
    assert (door.strike.pulses, door.strike.leds) == ([3_000], ["green"])
    assert door.view == "answer"
    door.point.centre(connected=False)
    door.point.close()
    assert door.view is None


async def test_the_page_comes_and_goes_with_the_option():
    """No other door has one, and one that loses it has no pad any more; the centre's absence is known to a new one."""
    door = BesideADoor(DOOR.model_copy(update={"options": {}}))
    assert (door.view, door.point.pad) == (None, None)
    door.point.set_up(DOOR)
    assert door.view == "idle"
    door.point.set_up(DOOR.model_copy(update={"name": "Archiv"}))
    assert door.terminals.names() == {"safe": "Archiv"}
    door.point.set_up(DOOR.model_copy(update={"options": {"pin_pad": False}}))
    assert (door.view, door.point.pad) == (None, None)
    door.point.show(Shown("red", "refused", ("Nein.", "No.")))
    assert door.strike.leds == ["red"]


async def test_a_page_beside_a_door_opens_nothing_by_itself():
    """A strike that fails is the door's fault to tell, page or no page."""
    door = BesideADoor()
    door.strike.broken.add("strike")
    with pytest.raises(OutputFault):
        await door.point.act(WELCOME)


@pytest.mark.parametrize(
    ("url", "safe"),
    [("wss://karten.example/agents/v1", True), ("ws://127.0.0.1:8443/", True), ("ws://10.1.2.3:8443/", False)],
)
def test_digits_travel_unread_or_not_at_all(tmp_path, url, safe):
    """Plain text to another machine may be allowed for taps; for a PIN it never is."""
    for name in ("key", "outbox"):
        (tmp_path / name).touch()
    settings = AgentSettings(
        agent="a", centre_url=url, allow_plain_ws=True, key_file=tmp_path / "key", outbox_file=tmp_path / "outbox"
    )
    assert settings.is_unreadable_on_the_way is safe


@pytest.mark.parametrize(
    ("digits", "fits"), [(MIN_DIGITS - 1, False), (MIN_DIGITS, True), (MAX_DIGITS, True), (MAX_DIGITS + 1, False)]
)
def test_page_wire_and_rule_agree_how_long_a_pin_is(digits, fits):
    """A PIN that can be set can be typed at the page and sent to the centre, and nothing else can."""
    pin = "2580258025802"[:digits]
    frame = {"v": 1, "type": "pin.entered", "event": {"agent": "a", "epoch": 1, "sequence": 1}, "ask": "aa", "pin": pin}
    try:
        sent = decode_from_agent(json.dumps(frame)) is not None
    except MessageRefused:
        sent = False
    assert (fault_of(pin) is None, kiosk_app._PIN.fullmatch(pin) is not None, sent) == (fits, fits, fits)
