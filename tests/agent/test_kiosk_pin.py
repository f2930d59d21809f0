# SPDX-License-Identifier: EUPL-1.2
"""A whole agent whose terminal takes PINs: when it offers to, what it sends, and how a question ends."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from agent.scripted_centre import DOOR, Link, permit
from support.waiting import wait_until
from unit.readers.fakes import FakeCard

from cardservice.agents.messages import (
    CardPresent,
    DoorState,
    Health,
    OutputState,
    PinAsk,
    PinEntered,
    PointSetup,
    TapEvent,
)

PIN = "70428153"
LEFT_OUT = (Health, OutputState, DoorState)
CLOCK = PointSetup(point="clock-1", reader="Reader A", use="timeclock", answer_budget_ms=2_000, tap_budget_ms=5_000)


class Terminal:
    """An agent with a time clock, the centre that plays with it, and the terminal's open page."""

    def __init__(self, rig: Any, link: Link, client: httpx2.AsyncClient, feed: httpx2.Response) -> None:
        self.rig, self.link = rig, link
        self._client = client
        self._lines = feed.aiter_lines()

    async def view(self, wanted: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("data: ") and (state := json.loads(line.removeprefix("data: ")))["view"] == wanted:
                    return state
        raise AssertionError("the feed ended")

    async def tap(self) -> CardPresent:
        """A card comes, is asked one thing, and goes."""
        self.rig.driver.insert("Reader A", FakeCard())
        present = await self.link.expect(CardPresent)
        await self.link.open_card(present)
        await self.link.relay(0, "905a0000")
        return present

    async def asked(self, *, for_ms: int = 10_000, within_ms: int = 5_000) -> tuple[PinAsk, int]:
        """A tap whose PIN is asked for; the question, and the number it has on the page."""
        present = await self.tap()
        assert present.pin_pad is True
        ask = PinAsk(event=present.event, ask="aa" * 16, for_ms=for_ms, decided_within_ms=within_ms)
        await self.link.send(ask)
        return ask, (await self.view("pin"))["pin"]["ask"]

    async def type(self, number: int, pin: str | None = PIN) -> int:
        return (await self._client.post("/clock-1/pin", json={"ask": number, "pin": pin})).status_code


@contextlib.asynccontextmanager
async def opened(rig: Any) -> AsyncIterator[Terminal]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    rig.start(kiosk_port=port)
    link = await rig.centre.link()
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        await asyncio.to_thread(wait_until, lambda: _answers(f"http://127.0.0.1:{port}/clock-1"))
        async with client.stream("GET", "/clock-1/events") as feed:
            terminal = Terminal(rig, link, client, feed)
            await terminal.view("idle")
            yield terminal


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(url).status_code == 200
    return False


@pytest.fixture
async def terminal(make_rig) -> AsyncIterator[Terminal]:
    async with opened(await make_rig("Reader A", points=(CLOCK,))) as one:
        yield one


async def test_a_pin_is_typed_after_the_card_has_gone_and_the_permit_acts(terminal):
    """The card is let go as soon as the PIN is asked for; what is typed goes to the centre under the tap's event."""
    ask, number = await terminal.asked()
    await asyncio.to_thread(wait_until, lambda: terminal.rig.driver.cards["Reader A"].resets)
    terminal.rig.driver.remove("Reader A")
    assert await terminal.type(number) == 204
    entered = await terminal.link.expect(PinEntered)
    assert (entered.event, entered.ask, entered.pin) == (ask.event, ask.ask, PIN)
    await terminal.link.send(permit(ask.event, open_ms=0))
    assert (await terminal.link.expect(TapEvent)).outcome == "acted"
    await terminal.view("answer")


async def test_breaking_off_and_silence_are_told_without_digits(terminal):
    ask, number = await terminal.asked()
    await terminal.type(number, None)
    assert (await terminal.link.expect(PinEntered)).pin is None
    await terminal.link.send(permit(ask.event, permitted=False))
    assert (await terminal.link.expect(TapEvent)).outcome == "shown"
    terminal.rig.driver.remove("Reader A")
    await terminal.asked(for_ms=100)
    assert (await terminal.link.expect(PinEntered)).pin is None


async def test_a_decision_ends_the_question(terminal):
    """The centre waits no longer: the page says what was decided, and what is typed then is refused."""
    ask, number = await terminal.asked()
    await terminal.link.send(permit(ask.event, permitted=False))
    assert (await terminal.link.expect(TapEvent)).outcome == "shown"
    await terminal.view("answer")
    assert await terminal.type(number) == 409


async def test_no_digits_go_out_on_another_connection(terminal):
    """The question ends with the connection it came by; what is typed then is refused and sent nowhere."""
    _, number = await terminal.asked()
    await terminal.link.close()
    again = await terminal.rig.centre.link()
    assert await terminal.type(number) == 409
    event = await again.expect(TapEvent)
    assert (event.outcome, event.permit) == ("no_answer", None)


async def test_a_permit_that_comes_too_late_after_the_pin_does_not_act(terminal):
    ask, number = await terminal.asked(within_ms=100)
    await terminal.type(number)
    await terminal.link.expect(PinEntered)
    await terminal.view("answer")
    await terminal.link.send(permit(ask.event, open_ms=0))
    assert (await terminal.link.expect(TapEvent)).outcome == "late"


async def test_after_the_question_the_centre_may_say_nothing_but_the_decision(terminal):
    """A second question, or more for a card that was let go, is ignored and counted."""
    ask, number = await terminal.asked()
    await terminal.link.send(ask.model_copy(update={"ask": "bb" * 16}))
    await terminal.link.send('{"v":1,"type":"card.apdus","conversation":"c0","n":1,"apdus":["905a0000"]}')
    await terminal.type(number)
    entered = await terminal.link.expect(PinEntered)
    assert entered.ask == ask.ask
    await terminal.link.send(permit(ask.event, open_ms=0))
    assert (await terminal.link.expect(TapEvent)).outcome == "acted"
    assert terminal.rig.count("ignored_messages_total", why="out_of_turn") == 2


async def test_where_no_page_is_open_or_none_can_be_no_pad_is_offered(make_rig):
    """A question that comes all the same is ignored: the tap goes on as any other."""
    rig = await make_rig("Reader A", points=(DOOR,))
    rig.start()
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent, skip=LEFT_OUT)
    assert present.pin_pad is None
    await link.send(PinAsk(event=present.event, ask="aa", for_ms=10_000, decided_within_ms=1_000))
    await link.send(permit(present.event))
    assert (await link.expect(TapEvent, skip=LEFT_OUT)).outcome == "acted"
