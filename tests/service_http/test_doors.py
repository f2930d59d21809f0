# SPDX-License-Identifier: EUPL-1.2
"""Doors over the wire: opened once from the desk, locked down, and what they say of themselves."""

import asyncio
import hashlib
import json
import secrets
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from support.doors import DoorsDesk
from support.scripted_agent import CardInHand
from support.service import AGENT, CALLERS, OTHER_AGENT
from support.waiting import LIMIT_S, wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointSetup, apply
from cardservice.agents.events import Sender
from cardservice.agents.messages import DoorState, OutputState, PointCommand, PointDone, Welcome
from cardservice.agents.session import MAX_COMMANDS, AgentSession
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.openings import KEPT_REQUESTS_MS, OPEN_WITHIN_MS, Opening
from cardservice.doors.record import REMEMBERED_LINES
from cardservice.doors.rules import check_options
from cardservice.doors.service import MAX_EVENTS
from cardservice.errors import AgentAway, AgentSilent, Conflict, NotFound, Overloaded
from cardservice.journal.rules import Place
from cardservice.journal.service import Entry, verify
from cardservice.journal.store import journal_entry
from integrations.facility import Facility, FacilityError

DOOR, ZONE = "bauamt.aussen", "bauamt"
COMMAND = PointCommand(id="aa", point=DOOR, action="open_once", open_ms=1_000, by_ms=1)


@pytest.fixture
def desk(city):
    made = DoorsDesk(city.service.service)
    yield made
    for lockdown in made.doors.lockdowns.standing():
        made.doors.lockdowns.end(lockdown.zone, by="test")


def fresh():
    return secrets.token_hex(8)


def lines(city, **wanted):
    """The journal's lines of doors that hold all of `wanted`."""
    city.service.recorded()
    rows = [row for row in city.files.rows(journal_entry) if row.stream == "door"]
    return [(row, json.loads(row.payload)) for row in rows if wanted.items() <= json.loads(row.payload).items()]


def record(desk, *facts):
    """Have these lines in the journal, as whatever happens at doors leaves them."""
    journal, at_ms = desk.service._journal, desk.service._clock.now_ms()
    entries = [Entry(store.STREAM, at_ms, line) for line in facts]

    def append(connection):
        for entry in entries:
            journal.append(connection, entry)

    desk.service.recorder.submit(append).result(LIMIT_S)


def calling(city, caller):
    return Facility(city.service.url, CALLERS[caller][0])


def done(command, **changes):
    return PointDone(**({"id": command.id, "point": command.point, "done": True} | changes))


def state(contact="closed", alarm="none", at_ms=5_000, point=DOOR):
    return DoorState(point=point, contact=contact, alarm=alarm, at_ms=at_ms)


async def seen(desk, wanted):
    """Wait until the door's view is `wanted`; return it."""

    def view():
        (found,) = [one for one in desk.doors.list() if one.code == DOOR]
        return found if wanted(found) else None

    return await asyncio.to_thread(wait_until, view)


@asynccontextmanager
async def at_the_door(city):
    async with city.agent() as agent:
        yield agent


async def test_open_once_is_written_down_before_and_after(city, desk):
    """The command leaves with the line on disk, the answer comes with the second; who asked is sealed."""
    request, now_ms = fresh(), desk.service._clock.now_ms
    async with at_the_door(city) as agent:
        from_ms = now_ms()
        opening = asyncio.create_task(desk.open(DOOR, request, caller="ute.klein", reason="Möbel für Herrn Krüger"))
        command = await agent.expect(PointCommand)
        assert (command.point, command.action, command.open_ms) == (DOOR, "open_once", 3_000)
        assert from_ms <= command.by_ms - OPEN_WITHIN_MS <= now_ms()
        (asked,) = [found for found in lines(city, kind="open_once") if found[1]["request"].startswith(command.id)]
        key = asked[1]["request"]
        assert lines(city, kind="open_once_done", request=key) == []
        await agent.send(done(command))
        assert await opening == Opening(DOOR, "opened", "")
    (answered,) = lines(city, kind="open_once_done", request=key)
    assert answered[1] == {"kind": "open_once_done", "point": DOOR, "request": key, "outcome": "opened"}
    assert "ute.klein" not in asked[0].payload + answered[0].payload
    assert "Krüger" not in asked[0].payload
    place = Place("door", asked[0].epoch, asked[0].sequence)
    with city.files.stores() as stores, stores.record.connect() as connection:
        sealed = desk.service._journal.open_sealed(connection, place)
        verify(stores.record)
    assert sealed == {"caller": "ute.klein", "reason": "Möbel für Herrn Krüger"}


async def test_a_request_id_opens_once_however_often_it_comes(city, desk):
    """Twice at the same time, and again later; another caller's id of the same name is another request."""
    request = fresh()
    async with at_the_door(city) as agent:
        both = [asyncio.create_task(desk.open(DOOR, request)) for _ in range(2)]
        await agent.send(done(await agent.expect(PointCommand)))
        assert {(await one).outcome for one in both} == {"opened"}
        again = await desk.open(DOOR, request)
        assert again == Opening(DOOR, "opened", "", repeated=True)
        other = asyncio.create_task(desk.open(DOOR, request, caller="nachts"))
        # The very next thing the agent hears: nothing was sent in between.
        command = await agent.expect(PointCommand)
        await agent.send(done(command, done=False, message="strike wire cut"))
        assert await other == Opening(DOOR, "failed", "strike wire cut")
        with pytest.raises(Conflict, match="used for point"):
            await desk.open("bauamt.innen", request)
    again = await desk.open(DOOR, request)
    assert (again.outcome, again.repeated) == ("opened", True)


async def test_who_asks_may_go_away_the_door_s_answer_is_kept(city, desk):
    request = fresh()
    async with at_the_door(city) as agent:
        opening = asyncio.create_task(desk.open(DOOR, request))
        command = await agent.expect(PointCommand)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await agent.send(done(command))
        await asyncio.to_thread(wait_until, lambda: lines(city, kind="open_once_done", outcome="opened"))
        assert (await desk.open(DOOR, request)).outcome == "opened"


async def test_an_agent_that_goes_away_in_the_middle_leaves_it_unknown(city, desk):
    """It may have opened: the answer says so, and the same request is not sent again."""
    request = fresh()
    async with at_the_door(city) as agent:
        opening = asyncio.create_task(desk.open(DOOR, request))
        await agent.expect(PointCommand)
    assert (await opening).outcome == "unknown"
    async with at_the_door(city) as agent:
        again = await desk.open(DOOR, request)
        assert (again.outcome, again.repeated) == ("unknown", True)
        await agent.send(agent.present(DOOR))
        await agent.converse(CardInHand(city.card("anna")))


async def test_what_cannot_be_opened_is_refused_and_costs_no_request(city, desk):
    """No point, no door, agent away, locked down: nothing is written down; afterwards the same id opens."""
    clock = f"terminal-{fresh()}"
    with city.files.stores() as stores:
        point = PointSetup(clock, "Terminal", ZONE, "office", agent=AGENT, reader=clock, use=Use.TIMECLOCK)
        apply(stores.state, 1, AccessSetup(points=[point]))
    await asyncio.to_thread(wait_until, lambda: city.service.service.city.snapshot.point(clock))
    before, request = len(lines(city)), fresh()
    for where, error in (("nowhere", NotFound), (clock, Conflict), (DOOR, AgentAway)):
        with pytest.raises(error):
            await desk.open(where, request)
    async with at_the_door(city) as agent:
        assert await desk.blocking(desk.doors.lockdowns.begin, ZONE, by="pforte", reason="Alarm")
        await agent.welcomed()
        with pytest.raises(Conflict, match="locked down"):
            await desk.open(DOOR, request)
        assert await desk.blocking(desk.doors.lockdowns.end, ZONE, by="pforte")
        await agent.welcomed()
        assert len(lines(city)) == before + 2
        opening = asyncio.create_task(desk.open(DOOR, request))
        await agent.send(done(await agent.expect(PointCommand)))
        assert (await opening).outcome == "opened"


@pytest.mark.parametrize("wrong", [{"caller": ""}, {"reason": " "}, {"reason": "x" * 201}, {"caller": "a\nb"}])
async def test_who_and_why_must_be_said(city, desk, wrong):
    with pytest.raises(Conflict, match="printable"):
        await desk.open(DOOR, fresh(), **wrong)


async def test_a_lockdown_reaches_doors_and_decisions_at_once_and_its_end_too(city, desk):
    """The zone and those inside it, nothing beside it; the journal says what, and sealed who and why."""
    async with at_the_door(city) as agent:
        assert (await agent.tap(city.card("anna"), DOOR)).permit
        assert await desk.blocking(desk.doors.lockdowns.begin, "rathaus", by="pforte", reason="Amok")
        assert not await desk.blocking(desk.doors.lockdowns.begin, "rathaus", by="nachts", reason="noch einmal")
        await agent.welcomed()
        locked = {code for code, setup in agent.points.items() if setup.locked_down}
        assert DOOR in locked
        assert "haupteingang.aussen" in locked
        assert "tiefgarage.aussen" not in locked
        refused = await agent.tap(city.card("anna"), DOOR)
        assert (refused.permit, refused.reason) == (False, "locked_down")
        views = {view.code: view.locked_down for view in desk.doors.list()}
        assert {code for code, shut in views.items() if shut} >= locked
        (standing,) = desk.doors.lockdowns.standing()
        assert (standing.zone, standing.by, standing.reason) == ("rathaus", "pforte", "Amok")
        assert await desk.blocking(desk.doors.lockdowns.end, "rathaus", by="leitung")
        await agent.welcomed()
        assert not any(setup.locked_down for setup in agent.points.values())
        assert (await agent.tap(city.card("anna"), DOOR)).permit
        assert not await desk.blocking(desk.doors.lockdowns.end, "rathaus", by="leitung")
    assert lines(city, kind="lockdown_begun", zone="rathaus")
    (ended, payload) = lines(city, kind="lockdown_ended", zone="rathaus")[-1]
    assert payload["since_ms"] == standing.since_ms
    with city.files.stores() as stores, stores.record.connect() as connection:
        sealed = desk.service._journal.open_sealed(connection, Place("door", ended.epoch, ended.sequence))
    assert sealed == {"by": "leitung", "begun_by": "pforte", "reason": "Amok"}
    for work, more in ((desk.doors.lockdowns.begin, {"reason": "x"}), (desk.doors.lockdowns.end, {})):
        with pytest.raises(NotFound, match="no zone"):
            await desk.blocking(work, "mond", by="pforte", **more)


async def test_an_escape_route_is_not_locked_down(city, desk):
    """Name and options of a point come with its setup; an escape route in a locked zone opens as ever."""
    point = f"fluchtweg-{fresh()}"
    options = {"escape_route": True, "contact": True, "held_open_ms": 60_000}
    async with at_the_door(city) as agent:
        with city.files.stores() as stores:
            setup = PointSetup(point, "Fluchtweg", ZONE, "office", agent=AGENT, reader=point, options=options)
            apply(stores.state, 1, AccessSetup(points=[setup]), {Use.DOOR: check_options})
        await agent.welcomed()
        assert (agent.points[point].name, agent.points[point].options) == ("Fluchtweg", options)
        assert await desk.blocking(desk.doors.lockdowns.begin, ZONE, by="pforte", reason="Amok")
        await agent.welcomed()
        assert (agent.points[point].options, agent.points[point].locked_down) == (options, False)
        opening = asyncio.create_task(desk.open(point, fresh()))
        await agent.send(done(await agent.expect(PointCommand)))
        assert (await opening).outcome == "opened"


async def test_a_door_that_tells_is_seen(city, desk):
    """Strike, contact and alarm of the newest word, on the live feed too; nothing of an agent that is away."""
    with city.service.watching() as feed:
        async with at_the_door(city) as agent:
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
        told = lines(city, point=DOOR)
        return [(p["kind"], p["alarm"], p["door_ms"]) for _, p in told if p["kind"].startswith("alarm_")]

    async with at_the_door(city) as agent:
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
        async with at_the_door(city) as agent:
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
    told = [payload for _, payload in lines(city, point=DOOR) if payload["kind"].startswith("alarm_")]
    return [(one["kind"], one["alarm"]) for one in told if one["door_ms"] >= since_ms]


async def test_an_alarm_is_known_after_a_restart_however_many_taps_came_since(city, desk):
    """Told again by the door that still has it, it is one line in the journal."""
    begun_ms = desk.service._clock.now_ms()
    forced = state("open", "forced", begun_ms)
    async with at_the_door(city) as agent:
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
    async with at_the_door(city) as agent:
        await agent.send(state(at_ms=begun_ms - 1), *story)
        await seen(desk, lambda view: view.since_ms == begun_ms + 1)
    lost = [state("open", "forced", begun_ms + 2), state(at_ms=begun_ms + 3)]
    async with at_the_door(city) as agent:
        await agent.send(*story, *lost)
        await seen(desk, lambda view: view.since_ms == begun_ms + 3)
    city.service.recorded()
    with desk.restarted() as later:
        async with at_the_door(city) as agent:
            await agent.send(*story, *lost, state(at_ms=begun_ms + 4))
            await seen(later, lambda view: view.since_ms == begun_ms + 4)
    assert alarm_lines(city, since_ms=begun_ms) == [("alarm_begun", "forced"), ("alarm_ended", "forced")] * 2


async def test_another_agent_s_door_is_none_of_its_business(city, desk):
    """What it says of it is not believed, and its answer to a command it never got is not heard."""
    async with at_the_door(city) as agent, city.agent(OTHER_AGENT) as other:
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
    before = len(lines(city))
    async with at_the_door(city) as agent:
        flood = [state("open", "forced" if n % 2 else "none", n) for n in range(1_000)]
        await agent.send(*flood)
        decision = await agent.tap(city.card("anna"), DOOR)
        assert decision.permit
        await agent.send(state())
        await asyncio.to_thread(wait_until, lambda: len(lines(city)) > before)
    assert len(lines(city)) - before < 400


async def test_a_command_waits_for_its_answer_within_bounds(city, desk):
    """Away, silent, too many: a typed error each; an answer that comes too late is not strange."""
    hub = city.service.service._hub
    with pytest.raises(AgentAway):
        await desk.there(hub.command(AGENT, COMMAND))
    async with at_the_door(city) as agent:
        # Between its hello and its welcome an agent hears no command: it would not know what to do with it.
        session = AgentSession(Sender(AGENT, 1), hub._desks, lambda _: None)
        with pytest.raises(AgentAway):
            await desk.there(_async(session.command, COMMAND))
        with pytest.raises(AgentSilent, match=r"within 0.2 s"):
            await desk.there(hub.command(AGENT, COMMAND, timeout_s=0.2))
        late = await agent.expect(PointCommand)
        await agent.send(done(late))
        many = [
            asyncio.create_task(desk.there(hub.command(AGENT, COMMAND.model_copy(update={"id": f"{n:02x}"}))))
            for n in range(MAX_COMMANDS)
        ]
        commands = [await agent.expect(PointCommand) for _ in many]
        with pytest.raises(Overloaded):
            await desk.there(hub.command(AGENT, COMMAND))
        await agent.send(*(done(command) for command in commands))
        assert all([(await one).done for one in many])


async def test_events_can_be_read_on_from_any_of_them(city, desk):
    """In order, without gaps or repeats, bounded; what somebody did at a desk names nobody."""
    async with at_the_door(city) as agent:
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
    assert len({event.cursor for event in everything}) == len(everything) == len(lines(city))
    assert len(desk.doors.events(limit=10**9)) <= MAX_EVENTS


def test_a_caller_of_one_door_reads_on_past_whatever_happens_at_others(city, desk):
    """More foreign events than a page holds: its own follow all the same, and none of the others with them."""
    record(desk, {"kind": "tap", "point": DOOR})
    (newest,) = desk.doors.events(limit=1)
    foreign = ({"kind": "tap", "point": point} for point in ("bauamt.innen", "bauamt_aussen") for _ in range(60))
    record(desk, *foreign, {"kind": "lockdown_begun", "zone": DOOR}, {"kind": "tap", "point": DOOR, "permit": True})
    with calling(city, "annexe") as facility:
        page = facility._checked("GET", f"/api/v1/doors/events?after={newest.cursor}")["events"]
        assert [(event["door"], event["facts"]) for event in page] == [(DOOR, {"permit": True})]
        latest = facility._checked("GET", "/api/v1/doors/events?limit=2")["events"]
    assert [event["cursor"] for event in latest] == [newest.cursor, page[0]["cursor"]]


def test_a_door_whose_agent_is_away_is_refused_as_such(city, desk):
    """Nothing was asked of anybody: the same request may come again."""
    with calling(city, "facility") as facility, pytest.raises(FacilityError, match="not connected") as refused:
        facility.open_once(DOOR, "Lieferung")
    assert refused.value.code == "agent_away"


def test_facilities_see_what_is_locked_down(city, desk):
    """Zone, since when and by which caller; who is bound to some doors is refused, as with lockdowns themselves."""
    with calling(city, "facility") as facility:
        assert facility.lockdowns() == []
        from_ms = desk.service._clock.now_ms()
        facility.lock_down(ZONE, "Amok")
        (standing,) = facility.lockdowns()
        assert from_ms <= standing["since_ms"] <= desk.service._clock.now_ms()
        assert standing == {"zone": ZONE, "since_ms": standing["since_ms"], "by": "facility", "passing": None}
        facility.end_lock_down(ZONE)
        assert facility.lockdowns() == []
    with calling(city, "annexe") as bound, pytest.raises(FacilityError) as refused:
        bound.lockdowns()
    assert refused.value.code == "foreign_point"


@pytest.mark.parametrize("cursor", ["", "1", "a.b", "-1.1", "1.1.1", "9" * 50 + ".1", "²-1", "²."])
async def test_a_cursor_of_nobody_s_making_is_refused(desk, cursor):
    with pytest.raises(Conflict, match="cursor"):
        desk.doors.events(cursor)


async def test_a_welcome_follows_only_what_changed(city, desk):
    """An agent without a door in the locked zone hears nothing."""
    async with at_the_door(city) as agent, city.agent(OTHER_AGENT) as other:
        await desk.blocking(desk.doors.lockdowns.begin, ZONE, by="pforte", reason="Probe")
        assert isinstance(await agent.receive(), Welcome)
        await other.send(other.present("besuch.eigene-karte"))
        assert not isinstance(await other.receive(), Welcome)


async def test_what_a_service_left_unfinished_gets_its_end_at_the_next_start(city, desk):
    """Unknown where the journal has no answer, and what the journal answered where it has: said when asked again."""
    open_end, answered = fresh(), fresh()
    async with at_the_door(city) as agent:
        opening = asyncio.create_task(desk.open(DOOR, answered))
        await agent.send(done(await agent.expect(PointCommand)))
        await opening
        keys = {name: hashlib.sha256(f"pforte\0{name}".encode()).hexdigest() for name in (open_end, answered)}
        with city.files.stores() as stores, write(stores.state) as connection:
            # As if it had died between the two: one before its command was answered, one before it noted the answer.
            store.claim_request(connection, keys[open_end], DOOR, desk.service._clock.now_ms())
            connection.execute(sa.update(store.door_request).values(outcome=None).where(_is(keys[answered])))
        assert (await desk.open(DOOR, open_end)).outcome == "unknown"
        await desk.blocking(desk.doors.start)
        assert (await desk.open(DOOR, answered)).outcome == "opened"
        assert (await desk.open(DOOR, open_end)).outcome == "unknown"
    assert [payload["outcome"] for _, payload in lines(city, request=keys[open_end])] == ["unknown"]
    assert [payload["outcome"] for _, payload in lines(city, request=keys[answered], kind="open_once_done")] == [
        "opened"
    ]


async def test_requests_are_forgotten_after_a_week(city, desk):
    old = "0" * 64
    with city.files.stores() as stores:
        with write(stores.state) as connection:
            store.claim_request(connection, old, DOOR, desk.service._clock.now_ms() - KEPT_REQUESTS_MS - 1)
        async with at_the_door(city) as agent:
            opening = asyncio.create_task(desk.open(DOOR, fresh()))
            await agent.send(done(await agent.expect(PointCommand)))
            await opening
        with read(stores.state) as connection:
            assert store.find_request(connection, old) is None


async def _async(work, *arguments):
    return work(*arguments)


def _is(key):
    return store.door_request.c.key == key
