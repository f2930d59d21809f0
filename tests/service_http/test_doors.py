# SPDX-License-Identifier: EUPL-1.2
"""Doors over the wire: opened once from the desk, and locked down."""

import asyncio
import hashlib

import pytest
import sqlalchemy as sa
from support.doors import DOOR, ZONE, DoorsDesk, calling, done, fresh, lines
from support.scripted_agent import CardInHand
from support.service import AGENT, CALLER_POINTS, OTHER_AGENT
from support.waiting import wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointSetup, apply
from cardservice.agents.events import Sender
from cardservice.agents.messages import PointCommand, Welcome
from cardservice.agents.session import MAX_COMMANDS, AgentSession
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.openings import KEPT_REQUESTS_MS, OPEN_WITHIN_MS, Opening
from cardservice.doors.rules import check_options
from cardservice.errors import AgentAway, AgentSilent, Conflict, NotFound, Overloaded
from cardservice.journal.rules import Place
from cardservice.journal.service import verify
from integrations.facility import FacilityError

FOREIGN_DOOR = "serverraum.aussen"
COMMAND = PointCommand(id="aa", point=DOOR, action="open_once", open_ms=1_000, by_ms=1)


@pytest.fixture
def desk(city):
    made = DoorsDesk(city.service.service)
    yield made
    for lockdown in made.doors.lockdowns.standing():
        made.doors.lockdowns.end(lockdown.zone, by="test")


async def test_open_once_is_written_down_before_and_after(city, desk):
    """The command leaves with the line on disk, the answer comes with the second; who asked is sealed."""
    request, now_ms = fresh(), desk.service._clock.now_ms
    async with city.agent() as agent:
        from_ms = now_ms()
        opening = asyncio.create_task(desk.open(DOOR, request, caller="ute.klein", reason="Möbel für Herrn Krüger"))
        command = await agent.expect(PointCommand)
        assert (command.point, command.action, command.open_ms) == (DOOR, "open_once", 3_000)
        assert from_ms <= command.by_ms - OPEN_WITHIN_MS <= now_ms()
        written = lines(city.service, kind="open_once")
        (asked,) = [found for found in written if found[1]["request"].startswith(command.id)]
        key = asked[1]["request"]
        assert lines(city.service, kind="open_once_done", request=key) == []
        await agent.send(done(command))
        assert await opening == Opening(DOOR, "opened", "")
    (answered,) = lines(city.service, kind="open_once_done", request=key)
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
    async with city.agent() as agent:
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
    async with city.agent() as agent:
        opening = asyncio.create_task(desk.open(DOOR, request))
        command = await agent.expect(PointCommand)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await agent.send(done(command))
        await asyncio.to_thread(wait_until, lambda: lines(city.service, kind="open_once_done", outcome="opened"))
        assert (await desk.open(DOOR, request)).outcome == "opened"


async def test_an_agent_that_goes_away_in_the_middle_leaves_it_unknown(city, desk):
    """It may have opened: the answer says so, and the same request is not sent again."""
    request = fresh()
    async with city.agent() as agent:
        opening = asyncio.create_task(desk.open(DOOR, request))
        await agent.expect(PointCommand)
    assert (await opening).outcome == "unknown"
    async with city.agent() as agent:
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
    before, request = len(lines(city.service)), fresh()
    for where, error in (("nowhere", NotFound), (clock, Conflict), (DOOR, AgentAway)):
        with pytest.raises(error):
            await desk.open(where, request)
    async with city.agent() as agent:
        assert await desk.blocking(desk.doors.lockdowns.begin, ZONE, by="pforte", reason="Alarm")
        await agent.welcomed()
        with pytest.raises(Conflict, match="locked down"):
            await desk.open(DOOR, request)
        assert await desk.blocking(desk.doors.lockdowns.end, ZONE, by="pforte")
        await agent.welcomed()
        assert len(lines(city.service)) == before + 2
        opening = asyncio.create_task(desk.open(DOOR, request))
        await agent.send(done(await agent.expect(PointCommand)))
        assert (await opening).outcome == "opened"


@pytest.mark.parametrize("wrong", [{"caller": ""}, {"reason": " "}, {"reason": "x" * 201}, {"caller": "a\nb"}])
async def test_who_and_why_must_be_said(city, desk, wrong):
    with pytest.raises(Conflict, match="printable"):
        await desk.open(DOOR, fresh(), **wrong)


async def test_a_lockdown_reaches_doors_and_decisions_at_once_and_its_end_too(city, desk):
    """The zone and those inside it, nothing beside it; the journal says what, and sealed who and why."""
    async with city.agent() as agent:
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
    assert lines(city.service, kind="lockdown_begun", zone="rathaus")
    (ended, payload) = lines(city.service, kind="lockdown_ended", zone="rathaus")[-1]
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
    async with city.agent() as agent:
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


async def test_a_command_waits_for_its_answer_within_bounds(city, desk):
    """Away, silent, too many: a typed error each; an answer that comes too late is not strange."""
    hub = city.service.service._hub
    with pytest.raises(AgentAway):
        await desk.there(hub.command(AGENT, COMMAND))
    async with city.agent() as agent:
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


def test_a_door_whose_agent_is_away_is_refused_as_such(city, desk):
    """Nothing was asked of anybody: the same request may come again."""
    with calling(city.service, "facility") as facility, pytest.raises(FacilityError, match="not connected") as refused:
        facility.open_once(DOOR, "Lieferung")
    assert refused.value.code == "agent_away"


def test_facilities_see_what_is_locked_down(city, desk):
    """Zone, since when and by which caller."""
    with calling(city.service, "facility") as facility:
        assert facility.lockdowns() == []
        from_ms = desk.service._clock.now_ms()
        facility.lock_down(ZONE, "Amok")
        (standing,) = facility.lockdowns()
        assert from_ms <= standing["since_ms"] <= desk.service._clock.now_ms()
        since_ms = standing["since_ms"]
        assert standing == {"zone": ZONE, "door": None, "since_ms": since_ms, "by": "facility", "passing": None}
        facility.end_lock_down(ZONE)
        assert facility.lockdowns() == []


def test_who_is_bound_to_some_doors_sees_the_locks_of_these_alone(city, desk):
    """Its own door's, and neither another door's nor a zone's, not even of the zone around it; all is there for all."""
    assert CALLER_POINTS["annexe"] == [DOOR]
    with calling(city.service, "facility") as facility, calling(city.service, "annexe") as bound:
        facility.lock_down(ZONE, "Probe")
        desk.doors.lockdowns.begin_at_door(FOREIGN_DOOR, by="facility", reason="Probe")
        assert bound.lockdowns() == []
        desk.doors.lockdowns.begin_at_door(DOOR, by="facility", reason="Probe")
        try:
            (seen,) = bound.lockdowns()
            assert (seen["zone"], seen["door"], seen["by"]) == (None, DOOR, "facility")
            every = {(one["zone"], one["door"]) for one in facility.lockdowns()}
            assert every == {(ZONE, None), (None, FOREIGN_DOOR), (None, DOOR)}
        finally:
            facility.end_lock_down(ZONE)
            for door in (FOREIGN_DOOR, DOOR):
                desk.doors.lockdowns.end_at_door(door, by="facility")
        assert bound.lockdowns() == facility.lockdowns() == []


async def test_a_welcome_follows_only_what_changed(city, desk):
    """An agent without a door in the locked zone hears nothing."""
    async with city.agent() as agent, city.agent(OTHER_AGENT) as other:
        await desk.blocking(desk.doors.lockdowns.begin, ZONE, by="pforte", reason="Probe")
        assert isinstance(await agent.receive(), Welcome)
        await other.send(other.present("besuch.eigene-karte"))
        assert not isinstance(await other.receive(), Welcome)


async def test_what_a_service_left_unfinished_gets_its_end_at_the_next_start(city, desk):
    """Unknown where the journal has no answer, and what the journal answered where it has: said when asked again."""
    open_end, answered = fresh(), fresh()
    async with city.agent() as agent:
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
    assert [payload["outcome"] for _, payload in lines(city.service, request=keys[open_end])] == ["unknown"]
    ((_, payload),) = lines(city.service, request=keys[answered], kind="open_once_done")
    assert payload["outcome"] == "opened"


async def test_requests_are_forgotten_after_a_week(city, desk):
    old = "0" * 64
    with city.files.stores() as stores:
        with write(stores.state) as connection:
            store.claim_request(connection, old, DOOR, desk.service._clock.now_ms() - KEPT_REQUESTS_MS - 1)
        async with city.agent() as agent:
            opening = asyncio.create_task(desk.open(DOOR, fresh()))
            await agent.send(done(await agent.expect(PointCommand)))
            await opening
        with read(stores.state) as connection:
            assert store.find_request(connection, old) is None


async def _async(work, *arguments):
    return work(*arguments)


def _is(key):
    return store.door_request.c.key == key
