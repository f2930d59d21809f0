# SPDX-License-Identifier: EUPL-1.2
"""The reference clients, over the public API only: a facility management system and a till's command line."""

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from support.scripted_agent import ScriptedAgent
from support.service import CALLERS

from cardservice.agents.messages import PointCommand
from cardservice.demo.seeding import PLACES_AGENT
from integrations.facility import Facility, FacilityError
from integrations.facility.__main__ import main as facility_main
from integrations.till.__main__ import main as till_main

DOOR = "bauamt.aussen"
TERMINAL = "kantine.kasse-1"


def facility(city) -> Facility:
    return Facility(city.service.url, CALLERS["facility"][0])


async def test_facilities_list_doors_open_one_once_and_follow_what_happens(city):
    """The same request again opens no second time; a refused card shows up as an event that names nobody."""
    told: list[PointCommand] = []
    with facility(city) as desk:
        before = desk._checked("GET", "/api/v1/doors/events?limit=500")["events"]
    start = before[-1]["cursor"] if before else None
    async with city.agent() as agent:
        obeying = asyncio.create_task(agent.obey(told))
        with facility(city) as desk:
            doors = {door["code"]: door for door in await asyncio.to_thread(desk.doors)}
            assert doors[DOOR]["online"]
            assert {door["zone"] for door in doors.values()} >= {"bauamt", "technik"}
            for _ in range(2):
                answer = await asyncio.to_thread(desk.open_once, DOOR, "Lieferung", key="delivery-of-today")
                assert answer["outcome"] == "opened"
            assert [command.point for command in told] == [DOOR]
            obeying.cancel()
            await asyncio.gather(obeying, return_exceptions=True)
            assert (await agent.tap(city.card("sabine"), DOOR)).reason == "no_grant"
            city.service.recorded()
            events = await asyncio.to_thread(lambda: list(itertools.islice(desk.follow(start), 3)))
    assert [event["door"] for event in events] == [DOOR] * 3
    assert events[-1]["facts"]["reason"] == "no_grant"
    assert not {"person", "card", "pseudonym", "caller"} & set().union(*(event["facts"] for event in events))
    with facility(city) as desk:
        last = await asyncio.to_thread(lambda: next(desk.follow(events[1]["cursor"])))
    assert last == events[2]


async def test_a_lockdown_shuts_every_door_of_its_zone_and_ends(city):
    async with city.agent() as agent:
        with facility(city) as desk:
            await asyncio.to_thread(desk.lock_down, "bauamt", "Übung")
            city.service.wait_health(lambda state: state["status"] in {"ready", "degraded"})
            assert (await agent.welcomed()).points
            assert (await agent.tap(city.card("anna"), DOOR)).reason == "locked_down"
            with pytest.raises(FacilityError) as refused:
                await asyncio.to_thread(desk.open_once, DOOR, "Test")
            assert refused.value.code == "conflict"
            await asyncio.to_thread(desk.end_lock_down, "bauamt")
            await agent.welcomed()
            assert (await agent.tap(city.card("anna"), DOOR)).permit


async def test_one_group_may_enter_in_a_lockdown_and_is_named_in_the_list(city):
    """Its members where they have a grant, nobody else; a group nobody knows is refused and nothing is locked down."""
    async with city.agent() as agent:
        with facility(city) as desk:
            with pytest.raises(FacilityError) as refused:
                await asyncio.to_thread(desk.lock_down, "rathaus", "Brand", "Feuerwehr")
            assert (refused.value.code, "Feuerwehr" in str(refused.value)) == ("not_found", True)
            assert not await asyncio.to_thread(desk.lockdowns)
            await asyncio.to_thread(desk.lock_down, "rathaus", "Brand", "Bauamt")
            try:
                (standing,) = await asyncio.to_thread(desk.lockdowns)
                assert (standing["zone"], standing["passing"]) == ("rathaus", "Bauamt")
                await agent.welcomed()
                permitted = await agent.tap(city.card("anna"), DOOR)
                assert (permitted.permit, permitted.in_lockdown) == (True, True)
                assert (await agent.tap(city.card("sabine"), DOOR)).reason == "locked_down"
            finally:
                await asyncio.to_thread(desk.end_lock_down, "rathaus")
            await agent.welcomed()
            assert (await agent.tap(city.card("anna"), DOOR)).in_lockdown is None


def test_the_facility_command_lists_and_says_why_it_is_refused(city, tmp_path, capsys):
    token = tmp_path / "token"
    token.write_text(CALLERS["facility"][0])
    assert facility_main(["--url", city.service.url, "--token-file", str(token), "list"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"code"')]
    assert DOOR in [json.loads(line)["code"] for line in lines]
    command = ["--url", city.service.url, "--token-file", str(token), "open", "no.such-door", "Test"]
    assert facility_main(command) == 2
    assert "not_found" in capsys.readouterr().err


def said(capsys) -> dict:
    """Return the document a command printed; the service in this process writes its log beside it."""
    (document,) = (json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"'))
    return document


class TillCommand:
    """The till's command line at one terminal, in this process."""

    def __init__(self, city, folder: Path) -> None:
        (folder / "token").write_text(CALLERS["till-1"][0])
        self.open_file = folder / "open.json"
        self._where = ["--url", city.service.url, "--token-file", str(folder / "token"), "--terminal", TERMINAL]
        self._where += ["--open-file", str(self.open_file)]

    async def run(self, *arguments: str) -> int:
        return await asyncio.to_thread(till_main, [*self._where, *arguments])

    async def pay(self, agent: ScriptedAgent, card, amount: str) -> int:
        """Ask for the amount, and hold a card to the terminal once its screen asks for one."""
        asked = asyncio.create_task(self.run("pay", amount, "--wait", "10"))
        await agent.prompted()
        await agent.tap(card, TERMINAL)
        return await asked


@pytest.fixture(scope="module")
def places(city):
    """The city with the agent of its terminals enrolled."""
    city.enrol(PLACES_AGENT)
    return city


@pytest.fixture
def till(places, tmp_path: Path) -> TillCommand:
    return TillCommand(places, tmp_path)


async def test_the_till_command_says_what_it_was_refused(places, till, capsys):
    """A wallet without money, a terminal that is away, an unknown payment; nothing open stays on the till's disk."""
    assert await till.run("settle") == 0
    assert "nothing is open" in capsys.readouterr().out
    async with places.agent(PLACES_AGENT) as agent:
        assert await till.pay(agent, places.card("mehmet"), "1,30") == 1
    refused = said(capsys)
    assert (refused["status"], refused["reason"]) == ("refused", "no_funds")
    assert not till.open_file.exists()
    assert await till.run("pay", "1.30") == 2
    assert "terminal_away" in capsys.readouterr().err
    assert await till.run("void", "0" * 32) == 1
    assert said(capsys)["reason"] == "payment_unknown"


async def test_the_till_command_is_paid_and_takes_back(places, till, capsys):
    """Paid by the card that is held there; a refund asked for twice is given once; only a whole payment is voided."""
    places.service.top_up("10017", 1_000)
    async with places.agent(PLACES_AGENT) as agent:
        assert await till.pay(agent, places.card("anna"), "1,30") == 0
        paid = said(capsys)
        assert (paid["status"], paid["amount_cents"]) == ("paid", 130)
        assert not till.open_file.exists()
        refund = ("refund", paid["payment"], "0,50", "--key", "first-refund")
        assert await till.run(*refund) == 0
        refunded = said(capsys)
        assert (refunded["status"], refunded["amount_cents"], refunded["rest_cents"]) == ("refunded", 50, 80)
        assert await till.run(*refund) == 0
        assert said(capsys) == refunded
        assert await till.run("refund", paid["payment"], "0,40", "--key", "first-refund") == 2
        assert "conflict" in capsys.readouterr().err
        assert await till.run("void", paid["payment"]) == 1
        assert said(capsys)["reason"] == "partly_refunded"
        assert await till.pay(agent, places.card("anna"), "2,00") == 0
        assert await till.run("void", said(capsys)["payment"]) == 0
        voided = said(capsys)
        assert (voided["status"], voided["rest_cents"]) == ("refunded", 0)
        balance = await agent.tap(places.card("anna"), TERMINAL)
    assert balance.answer.facts == {"balance_cents": 1_000 - 130 + 50}
