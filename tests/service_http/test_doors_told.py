# SPDX-License-Identifier: EUPL-1.2
"""What doors say of themselves over the wire: contacts, alarms, events."""

import asyncio
import json

import pytest
from support.doors import DOOR, DoorsDesk, calling, done, fresh, lines, record, seen, state
from support.service import AGENT, OTHER_AGENT
from support.waiting import wait_until

from cardservice.agents.messages import OutputState, PointCommand
from cardservice.doors.record import REMEMBERED_LINES
from cardservice.doors.service import MAX_EVENTS
from cardservice.errors import Conflict


@pytest.fixture
def desk(city):
    return DoorsDesk(city.service.service)


async def test_a_door_that_tells_is_seen(city, desk):
    """Strike, contact and alarm of the newest word, on the live feed too; nothing of an agent that is away."""
    with city.service.watching() as feed:
        async with city.agent() as agent:
            await agent.send(OutputState(point=DOOR, state="locked", led="off", buzzer="silent", at_ms=1))
            now_ms = desk.service._clock.now_ms()
            await agent.send(state(), state("open", at_ms=now_ms))
            view = await seen(desk, lambda view: view.contact == "open")
            assert (view.online, view.strike, view.alarm, view.since_ms) == (True, "locked", "none", now_ms)
            assert (view.name, view.zone, view.locked_down) == ("Bauamt, außen", "bauamt", False)
        for line in feed:
            told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if told.get("kind") == "door" and told["at_ms"] == now_ms:
                break
    assert (told["agent"], told["point"], told["contact"], told["alarm"]) == (AGENT, DOOR, "open", "none")
    view = await seen(desk, lambda view: not view.online)
    assert (view.strike, view.contact, view.since_ms) == ("unknown", "unknown", None)


async def test_alarms_are_journalled_when_they_begin_and_end(city, desk):
    """Once each, whatever is told again after a reconnect or a restart; a lost agent ends no alarm."""

    def alarms():
        told = lines(city.service, point=DOOR)
        return [(p["kind"], p["alarm"], p["door_ms"]) for _, p in told if p["kind"].startswith("alarm_")]

    async with city.agent() as agent:
        # Whatever was before is over.
        await agent.send(state(at_ms=1_234))
        await seen(desk, lambda view: view.since_ms == 1_234)
        before = len(alarms())
        await agent.send(state("open", "forced", 6_000))
        await seen(desk, lambda view: view.alarm == "forced")
    view = await seen(desk, lambda view: not view.online)
    assert view.alarm == "forced"
    city.service.recorded()
    # What the journal says still lasts.
    with desk.restarted() as later:
        assert (await seen(later, lambda view: True)).alarm == "forced"
        async with city.agent() as agent:
            await agent.send(state("open", "forced", 6_000), state("open", "held_open", 8_000), state(at_ms=9_000))
            await seen(later, lambda view: view.since_ms == 9_000)
    assert alarms()[before:] == [
        ("alarm_begun", "forced", 6_000),
        ("alarm_ended", "forced", 8_000),
        ("alarm_begun", "held_open", 8_000),
        ("alarm_ended", "held_open", 9_000),
    ]


def alarm_lines(city, *, since_ms):
    """The alarms of the door from one moment of its clock on."""
    told = [payload for _, payload in lines(city.service, point=DOOR) if payload["kind"].startswith("alarm_")]
    return [(one["kind"], one["alarm"]) for one in told if one["door_ms"] >= since_ms]


async def test_an_alarm_is_known_after_a_restart_however_many_taps_came_since(city, desk):
    """Told again by the door that still has it, it is one line in the journal."""
    begun_ms = desk.service._clock.now_ms()
    forced = state("open", "forced", begun_ms)
    async with city.agent() as agent:
        await agent.send(state(at_ms=begun_ms - 1), forced)
        await seen(desk, lambda view: view.alarm == "forced")
        city.service.recorded()
        record(desk, *({"kind": "tap", "point": "tiefgarage.aussen"} for _ in range(REMEMBERED_LINES + 1)))
        with desk.restarted() as later:
            await agent.send(state("open", "forced", begun_ms + 1), state("closed", at_ms=begun_ms + 2))
            await seen(later, lambda view: view.since_ms == begun_ms + 2)
            city.service.recorded()
    assert alarm_lines(city, since_ms=begun_ms) == [("alarm_begun", "forced"), ("alarm_ended", "forced")]


async def test_what_an_agent_tells_twice_is_journalled_once(city, desk):
    """After a broken connection it tells its last minute again: what arrived the first time, and what did not."""
    begun_ms = desk.service._clock.now_ms()
    story = [state("open", "forced", begun_ms), state(at_ms=begun_ms + 1)]
    async with city.agent() as agent:
        await agent.send(state(at_ms=begun_ms - 1), *story)
        await seen(desk, lambda view: view.since_ms == begun_ms + 1)
    lost = [state("open", "forced", begun_ms + 2), state(at_ms=begun_ms + 3)]
    async with city.agent() as agent:
        await agent.send(*story, *lost)
        await seen(desk, lambda view: view.since_ms == begun_ms + 3)
    city.service.recorded()
    with desk.restarted() as later:
        async with city.agent() as agent:
            await agent.send(*story, *lost, state(at_ms=begun_ms + 4))
            await seen(later, lambda view: view.since_ms == begun_ms + 4)
    assert alarm_lines(city, since_ms=begun_ms) == [("alarm_begun", "forced"), ("alarm_ended", "forced")] * 2


async def test_another_agent_s_door_is_none_of_its_business(city, desk):
    """What it says of it is not believed, and its answer to a command it never got is not heard."""
    async with city.agent() as agent, city.agent(OTHER_AGENT) as other:
        await agent.send(state())
        await seen(desk, lambda view: view.contact == "closed")
        opening = asyncio.create_task(desk.open(DOOR, fresh()))
        command = await agent.expect(PointCommand)
        await other.send(state("open", "forced"), done(command, done=False))
        await other.send(other.present("besuch.eigene-karte"))
        await other.receive()
        await agent.send(done(command, done=False, point="bauamt.innen"), done(command))
        assert (await opening).outcome == "opened"
        assert (await seen(desk, lambda view: True)).contact == "closed"


async def test_a_door_that_flickers_without_end_is_held_back(city, desk):
    """A flood of alarms from one agent fills no journal: what it may say is bounded."""
    before = len(lines(city.service))
    async with city.agent() as agent:
        flood = [state("open", "forced" if n % 2 else "none", n) for n in range(1_000)]
        await agent.send(*flood)
        decision = await agent.tap(city.card("anna"), DOOR)
        assert decision.permit
        await agent.send(state())
        await asyncio.to_thread(wait_until, lambda: len(lines(city.service)) > before)
    assert len(lines(city.service)) - before < 400


async def test_events_can_be_read_on_from_any_of_them(city, desk):
    """In order, without gaps or repeats, bounded; what somebody did at a desk names nobody."""
    async with city.agent() as agent:
        await agent.tap(city.card("sabine"), DOOR)
        opening = asyncio.create_task(desk.open(DOOR, fresh(), caller="ute.klein", reason="Krüger"))
        await agent.send(done(await agent.expect(PointCommand)))
        await opening
    newest = desk.doors.events(limit=3)
    assert [event.kind for event in newest] == ["tap", "open_once", "open_once_done"]
    assert newest[0].facts["reason"] == "no_grant"
    assert (newest[2].point, newest[2].facts) == (DOOR, {"outcome": "opened"})
    assert "ute.klein" not in repr(newest)
    assert "Krüger" not in repr(newest)
    assert desk.doors.events(newest[0].cursor, limit=1) == newest[1:2]
    assert desk.doors.events(newest[0].cursor) == newest[1:]
    assert desk.doors.events(newest[2].cursor) == ()
    everything, cursor = [], "0.0"
    while some := desk.doors.events(cursor, limit=7):
        everything += some
        cursor = some[-1].cursor
    assert len({event.cursor for event in everything}) == len(everything) == len(lines(city.service))
    assert len(desk.doors.events(limit=10**9)) <= MAX_EVENTS


def test_a_caller_of_one_door_reads_on_past_whatever_happens_at_others(city, desk):
    """More foreign events than a page holds: its own follow all the same, and none of the others with them."""
    record(desk, {"kind": "tap", "point": DOOR})
    (newest,) = desk.doors.events(limit=1)
    foreign = ({"kind": "tap", "point": point} for point in ("bauamt.innen", "bauamt_aussen") for _ in range(60))
    record(desk, *foreign, {"kind": "lockdown_begun", "zone": DOOR}, {"kind": "tap", "point": DOOR, "permit": True})
    with calling(city.service, "annexe") as facility:
        page = facility._checked("GET", f"/api/v1/doors/events?after={newest.cursor}")["events"]
        assert [(event["door"], event["facts"]) for event in page] == [(DOOR, {"permit": True})]
        latest = facility._checked("GET", "/api/v1/doors/events?limit=2")["events"]
    assert [event["cursor"] for event in latest] == [newest.cursor, page[0]["cursor"]]


@pytest.mark.parametrize("cursor", ["", "1", "a.b", "-1.1", "1.1.1", "9" * 50 + ".1", "²-1", "²."])
async def test_a_cursor_of_nobody_s_making_is_refused(desk, cursor):
    with pytest.raises(Conflict, match="cursor"):
        desk.doors.events(cursor)
