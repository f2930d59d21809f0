# SPDX-License-Identifier: EUPL-1.2
"""A whole agent with terminals: keys travel with the card, answers appear and go, and an absent centre is said."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
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
    PlaceAnswer,
    PointSetup,
    Prompt,
    Refused,
    Sentence,
    TapEvent,
)
from readers.agent import Agent
from readers.kiosk import screen as timing

CLOCK = PointSetup(point="clock-1", reader="Reader A", use="timeclock", answer_budget_ms=2_000, tap_budget_ms=5_000)
TILL = PointSetup(point="till-1", reader="Reader B", use="canteen", answer_budget_ms=2_000, tap_budget_ms=5_000)
BOOKED = PlaceAnswer(
    done=True,
    code="booked",
    text=Sentence(de="Kommen gebucht.", en="Arrival booked."),
    facts={"kind": "in", "at_ms": 1_760_000_000_000, "today_ms": 0, "working": True, "unknown": "x"},
)
AWAY = Refused(code="overloaded", message="later")


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Page:
    """One terminal's page as its script sees it."""

    def __init__(self, client: httpx2.AsyncClient, point: str, feed: httpx2.Response) -> None:
        self._client = client
        self._point = point
        self._lines = feed.aiter_lines()

    async def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first state of the feed of which this is true."""
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("data: ") and is_it(state := json.loads(line.removeprefix("data: "))):
                    return state
        raise AssertionError("the feed ended")

    async def until_view(self, view: str) -> dict[str, Any]:
        return await self.until(lambda state: state["view"] == view)

    async def press(self, key: str) -> int:
        return (await self._client.post(f"/{self._point}/choice", json={"key": key})).status_code


@contextlib.asynccontextmanager
async def page_of(port: int, point: str) -> AsyncIterator[Page]:
    """The page as a kiosk browser opens it: again until the agent serves it."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        await asyncio.to_thread(wait_until, lambda: _answers(port, point))
        async with client.stream("GET", f"/{point}/events") as feed:
            yield Page(client, point, feed)


def _answers(port: int, point: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"http://127.0.0.1:{port}/{point}").status_code == 200
    return False


async def decide(link: Link, rig: Any, reader: str, answer: PlaceAnswer) -> CardPresent:
    """One tap, permitted and answered by the place; returns how it was reported."""
    rig.driver.insert(reader, FakeCard())
    present = await link.expect(CardPresent)
    await link.send(permit(present.event, open_ms=0).model_copy(update={"answer": answer}))
    event = await link.expect(TapEvent)
    assert (event.event, event.outcome) == (present.event, "acted")
    rig.driver.remove(reader)
    return present


async def test_a_key_travels_with_one_card_and_the_answer_appears_and_goes(make_rig, port, monkeypatch):
    """Pressed once, sent once; the figures are on the screen for their time and private again after it."""
    monkeypatch.setattr(timing, "ANSWER_MS", 300)
    monkeypatch.setattr(timing, "SETTLE_MS", 0)
    rig = await make_rig("Reader A", points=(CLOCK,))
    rig.start(kiosk_port=port)
    link = await rig.centre.link()
    async with page_of(port, "clock-1") as page:
        await page.until_view("idle")
        assert await page.press("in") == 204
        assert (await page.until(lambda state: state["choice"] is not None))["choice"]["key"] == "in"
        assert (await decide(link, rig, "Reader A", BOOKED)).choice == "in"
        answer = (await page.until_view("answer"))["answer"]
        assert answer["text"]["de"] == "Kommen gebucht."
        assert sorted(answer["facts"]) == ["at_ms", "kind", "today_ms", "working"]
        idle = await page.until_view("idle")
        assert (idle["answer"], idle["choice"]) == (None, None)
        assert (await decide(link, rig, "Reader A", BOOKED)).choice is None
    assert [shown.led for shown in rig.door("clock-1").shows] == ["green", "green"]


async def test_a_card_is_seen_to_be_read_until_it_is_answered(make_rig, port):
    rig = await make_rig("Reader A", points=(CLOCK,))
    rig.start(kiosk_port=port)
    link = await rig.centre.link()
    async with page_of(port, "clock-1") as page:
        await page.until_view("idle")
        rig.driver.insert("Reader A", FakeCard())
        present = await link.expect(CardPresent)
        await page.until_view("reading")
        assert await page.press("out") == 409
        await link.send(permit(present.event, permitted=False))
        answer = (await page.until_view("answer"))["answer"]
        assert (answer["tone"], answer["text"]["en"], answer["facts"]) == ("refused", "No access", {})


async def test_the_centre_asks_for_a_card_and_takes_it_back(make_rig, port):
    """The amount is on the till's screen and on no other, until it is paid or withdrawn."""
    rig = await make_rig("Reader A", "Reader B", points=(CLOCK, TILL))
    rig.start(kiosk_port=port)
    link = await rig.centre.link()
    async with page_of(port, "till-1") as till, page_of(port, "clock-1") as clock:
        await till.until_view("idle")
        text = Sentence(de="Bitte Karte vorhalten", en="Card, please")
        await link.send(Prompt(point="till-1", text=text, facts={"amount_cents": 545}, for_ms=60_000))
        assert (await till.until_view("prompt"))["prompt"]["facts"] == {"amount_cents": 545}
        assert (await clock.until_view("idle"))["prompt"] is None
        await link.send(Prompt(point="till-1"))
        assert (await till.until_view("idle"))["prompt"] is None


async def test_an_absent_centre_is_said_and_its_return_too(make_rig, port):
    """The page stays, takes no key and forgets what the centre had asked for; it comes back by itself."""
    rig = await make_rig("Reader A", points=(CLOCK,))
    rig.start(kiosk_port=port)
    link = await rig.centre.link()
    async with page_of(port, "clock-1") as page:
        await page.until_view("idle")
        rig.centre.instead_of_challenge = [AWAY] * 1_000
        await link.close()
        state = await page.until_view("away")
        assert (state["connected"], state["prompt"]) == (False, None)
        assert await page.press("in") == 409
        rig.centre.instead_of_challenge = []
        link = await rig.centre.link()
        await page.until_view("idle")
        assert await page.press("in") == 204
        assert (await decide(link, rig, "Reader A", BOOKED)).choice == "in"


async def test_the_page_answers_from_the_start_although_the_centre_is_away(make_rig, port):
    """After a restart without the centre the remembered terminals have their pages, and say so."""
    rig = await make_rig("Reader A", points=(CLOCK,))
    rig.start(kiosk_port=port)
    await rig.centre.link()
    async with page_of(port, "clock-1") as page:
        await page.until_view("idle")
    await rig.stop()
    rig.centre.instead_of_challenge = [AWAY] * 1_000
    rig.start(kiosk_port=port)
    async with page_of(port, "clock-1") as page:
        await page.until_view("away")


async def test_a_page_that_watches_does_not_hold_up_the_agents_end(make_rig, port):
    rig = await make_rig("Reader A", points=(CLOCK,))
    rig.start(kiosk_port=port)
    await rig.centre.link()
    async with page_of(port, "clock-1") as page:
        await page.until_view("idle")
        async with asyncio.timeout(5):
            await rig.stop()


async def test_doors_open_although_the_pages_cannot_be_served(make_rig):
    """A port that another program has costs the pages and nothing else."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        rig = await make_rig("Reader A", points=(DOOR,))
        agent = rig.start(kiosk_port=other.getsockname()[1])
        assert isinstance(agent, Agent)
        link = await rig.centre.link()
        rig.driver.insert("Reader A", FakeCard())
        skip = (Health, OutputState, DoorState)
        present = await link.expect(CardPresent, skip=skip)
        await link.send(permit(present.event))
        assert (await link.expect(TapEvent, skip=skip)).outcome == "acted"
        assert rig.door().pulses == [3_000]
