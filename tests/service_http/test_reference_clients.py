# SPDX-License-Identifier: EUPL-1.2
"""The reference clients, over the public API only: a facility management system and a till's command line."""

import asyncio
import itertools
import json
from pathlib import Path

import pytest
from support.scripted_agent import CardInHand, ScriptedAgent, response
from support.service import CALLERS

from cardservice.agents.messages import CardApdus, DecisionMessage, PointCommand, PointDone, Prompt
from cardservice.demo.seeding import PLACES_AGENT
from integrations.facility import Facility, FacilityError
from integrations.facility.__main__ import main as facility_main
from integrations.till.__main__ import main as till_main

DOOR = "bauamt.aussen"
TERMINAL = "kantine.kasse-1"


def facility(city) -> Facility:
    return Facility(city.service.url, CALLERS["facility"][0])


async def obey(agent: ScriptedAgent, opened: list[str]) -> None:
    """Carry out what the desk asks for."""
    while True:
        message = await agent.receive(60)
        if isinstance(message, PointCommand):
            opened.append(message.point)
            await agent.send(PointDone(id=message.id, point=message.point, done=True))


async def test_facilities_list_doors_open_one_once_and_follow_what_happens(city):
    """The same request again opens no second time; a refused card shows up as an event that names nobody."""
    opened: list[str] = []
    with facility(city) as desk:
        before = desk._checked("GET", "/api/v1/doors/events?limit=500")["events"]
    start = before[-1]["cursor"] if before else None
    async with city.agent() as agent:
        obeying = asyncio.create_task(obey(agent, opened))
        with facility(city) as desk:
            doors = {door["code"]: door for door in await asyncio.to_thread(desk.doors)}
            assert doors[DOOR]["online"]
            assert {door["zone"] for door in doors.values()} >= {"bauamt", "technik"}
            for _ in range(2):
                answer = await asyncio.to_thread(desk.open_once, DOOR, "Lieferung", key="delivery-of-today")
                assert answer["outcome"] == "opened"
            assert opened == [DOOR]
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


async def pay_with(agent: ScriptedAgent, city, card: str) -> None:
    """Hold a card to the terminal once its screen asks for one."""
    hand = CardInHand(city.card(card))
    while True:
        message = await agent.receive(20)
        if isinstance(message, Prompt) and message.text is not None:
            await agent.send(agent.present(TERMINAL))
        elif isinstance(message, CardApdus):
            await agent.send(response(message, hand.answers(message.apdus)))
        elif isinstance(message, DecisionMessage):
            return


async def test_the_till_command_is_paid_and_takes_back(city, tmp_path: Path, capsys):
    """Paid by the card that is held there; nothing open stays on the till's disk; taken back once."""
    city.enrol(PLACES_AGENT)
    tokens = {}
    for name in ("till-1", "payroll"):
        tokens[name] = tmp_path / name
        tokens[name].write_text(CALLERS[name][0])
    till = ["--url", city.service.url, "--token-file", str(tokens["till-1"]), "--terminal", TERMINAL]
    till += ["--open-file", str(tmp_path / "open.json")]
    assert await asyncio.to_thread(till_main, [*till, "settle"]) == 0
    assert "nothing is open" in capsys.readouterr().out
    async with city.agent(PLACES_AGENT) as agent:
        paying = asyncio.create_task(pay_with(agent, city, "mehmet"))
        assert await asyncio.to_thread(till_main, [*till, "pay", "1,30", "--wait", "10"]) == 1
        await paying
    refused = said(capsys)
    assert (refused["status"], refused["reason"]) == ("refused", "no_funds")
    assert not (tmp_path / "open.json").exists()
    assert await asyncio.to_thread(till_main, [*till, "pay", "1.30"]) == 2
    assert "terminal_away" in capsys.readouterr().err
    assert await asyncio.to_thread(till_main, [*till, "void", "0" * 32]) == 1
    assert said(capsys)["reason"] == "payment_unknown"
