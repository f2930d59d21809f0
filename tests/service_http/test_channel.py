# SPDX-License-Identifier: EUPL-1.2
"""The channel itself: nonsense, lost connections, points that change, agents that are locked."""

import asyncio
import json
import time

import pytest
import sqlalchemy as sa
from support.scripted_agent import CardInHand, report, response
from support.service import AGENT, short_name
from websockets.exceptions import ConnectionClosed

from cardservice import changes
from cardservice.access.setup import AccessSetup, PointSetup, apply
from cardservice.access.store import point as points
from cardservice.agents.hub import MAX_STRANGE
from cardservice.agents.messages import (
    MAX_MESSAGE_BYTES,
    CardApdus,
    CardOpen,
    Challenge,
    EventAck,
    Health,
    Refused,
    encode,
)
from cardservice.cards.rules import CardState
from cardservice.cards.service import NewState, change_state, list_cards
from cardservice.clock import SystemClock
from cardservice.database import write

DOOR = "bauamt.aussen"
NONSENSE = (
    "x",
    "{}",
    "[]",
    '{"type":"decision"}',
    '{"type":"health","v":9}',
    encode(Challenge(nonce="aa", centre_time_ms=0)),
)


async def test_some_nonsense_is_survived(city):
    """As long as it stays below the bound, the agent's taps are answered."""
    async with city.agent() as agent:
        await agent.send(*(NONSENSE * 4)[: MAX_STRANGE - 1])
        decision = await agent.tap(city.card("anna"), DOOR)
        assert decision.permit
        assert isinstance(await agent.upload(report(decision, DOOR)), EventAck)


async def test_twenty_frames_of_nonsense_end_the_connection(city):
    """With a reason; the agent may come back at once."""
    async with city.agent() as agent:
        await agent.send(*(NONSENSE * 4)[:MAX_STRANGE])
        refusal = await agent.expect(Refused)
        assert refusal.code == "protocol"
        await agent.closed()
        await agent.join()
        assert (await agent.tap(city.card("anna"), DOOR)).permit


@pytest.mark.parametrize("frame", [" " * (MAX_MESSAGE_BYTES + 1), b"\x00binary"], ids=["too long", "binary"])
async def test_a_frame_no_agent_sends_ends_the_connection_and_only_this_one(city, frame):
    async with city.agent() as agent:
        await agent.send(frame)
        await agent.closed()
    async with city.agent() as again:
        assert (await again.tap(city.card("anna"), DOOR)).permit


async def test_a_connection_lost_in_the_middle_of_a_tap_leaves_nothing_behind(city):
    """The agent comes back and the same point works."""
    agent = city.agent()
    await agent.join()
    await agent.send(agent.present(DOOR))
    await agent.expect(CardOpen)
    agent.socket.transport.abort()
    async with city.agent() as again:
        assert (await again.tap(city.card("anna"), DOOR)).permit
    await asyncio.to_thread(city.service.wait_health, lambda state: state["agents_online"] == [])


def _write_state(city, *statements: sa.Executable, setup: AccessSetup | None = None) -> None:
    """Change the state store as another process does."""
    with city.files.stores() as databases:
        if setup is not None:
            apply(databases.state, 1, setup)
        if statements:
            with write(databases.state) as connection:
                for statement in statements:
                    connection.execute(statement)
                changes.append(connection, "access", [0])


async def test_points_changed_by_another_process_reach_the_agent(city):
    """A new point, a moved one, a removed one: each time a new welcome, and what it says holds for taps."""
    agent = await asyncio.to_thread(city.enrol, short_name())
    assert (await agent.join()).points == ()
    code = f"neu.{agent.name}"
    setup = AccessSetup(points=[PointSetup(code, "Neu", "rathaus", "office", agent.name, "Reader X")])
    await asyncio.to_thread(_write_state, city, setup=setup)
    (told,) = (await agent.welcomed()).points
    assert (told.point, told.reader) == (code, "Reader X")
    assert (await agent.tap(city.card("anna"), code)).reason == "no_grant"
    moved = sa.update(points).where(points.c.code == code).values(reader="Reader Y")
    await asyncio.to_thread(_write_state, city, moved)
    assert [setup.reader for setup in (await agent.welcomed()).points] == ["Reader Y"]
    await asyncio.to_thread(_write_state, city, sa.delete(points).where(points.c.code == code))
    assert (await agent.welcomed()).points == ()
    await agent.socket.close()


async def test_an_agent_whose_points_stay_as_they_are_hears_nothing(city):
    """A change elsewhere is no news: the next message is the answer to its own tap."""
    async with city.agent() as agent:
        other = await asyncio.to_thread(city.enrol, short_name())
        async with other:
            code = f"neu.{other.name}"
            setup = AccessSetup(points=[PointSetup(code, "Neu", "rathaus", "office", other.name, "Reader X")])
            await asyncio.to_thread(_write_state, city, setup=setup)
            await other.welcomed()
            assert (await agent.tap(city.card("anna"), DOOR)).permit
            await asyncio.to_thread(_write_state, city, sa.delete(points).where(points.c.code == code))
            await other.welcomed()


async def test_a_locked_agent_is_cut_off_within_a_second(city):
    """Locked on the command line while it is connected, in the middle of a tap: no decision reaches it."""
    agent = await asyncio.to_thread(city.enrol, short_name())
    code = f"zu.{agent.name}"
    setup = AccessSetup(points=[PointSetup(code, "Zu", "rathaus", "entrance", agent.name, "Reader X")])
    await asyncio.to_thread(_write_state, city, setup=setup)
    await asyncio.to_thread(city.service.wait_health, lambda state: code in city.service.service.city.snapshot.points)
    await agent.join()
    hand = CardInHand(city.card("anna"))
    await agent.send(agent.present(code))
    await agent.expect(CardOpen)
    question = await agent.expect(CardApdus)
    locked_at_s = time.monotonic()
    await asyncio.to_thread(city.files.lock, agent.name)
    assert (await agent.expect(Refused)).code == "locked"
    assert time.monotonic() - locked_at_s < 1.0
    with pytest.raises(ConnectionClosed):  # noqa: PT012  # whichever notices first
        while True:
            await agent.send(response(question, hand.answers(question.apdus)))
            message = await agent.receive()
            assert not hasattr(message, "permit")
    with pytest.raises(AssertionError, match="locked"):
        await agent.join()
    await asyncio.to_thread(_write_state, city, sa.delete(points).where(points.c.code == code))


async def test_locking_one_agent_leaves_the_others_alone(city):
    async with city.agent() as agent:
        other = await asyncio.to_thread(city.enrol, short_name())
        await other.join()
        await asyncio.to_thread(city.files.lock, other.name)
        assert (await other.expect(Refused)).code == "locked"
        assert (await agent.tap(city.card("anna"), DOOR)).permit
        assert AGENT in city.service.health()["agents_online"]


async def test_somebody_disabled_in_the_directory_is_refused_at_the_next_tap(city):
    """And let in again once enabled; the agent's connection stays the same."""
    async with city.agent() as agent:
        assert (await agent.tap(city.card("mehmet"), "serverraum.aussen")).permit
        before = city.service.health()["snapshot_revision"]
        for disabled, reason in ((True, "person_disabled"), (False, "granted")):
            await asyncio.to_thread(city.directory.set_disabled, "yilmaz", disabled=disabled)
            state = await asyncio.to_thread(
                city.service.wait_health, lambda state, seen=before: state["snapshot_revision"] > seen
            )
            before = state["snapshot_revision"]
            assert (await agent.tap(city.card("mehmet"), "serverraum.aussen")).reason == reason


async def test_a_card_suspended_by_another_process_is_refused_at_the_next_tap(city):
    """The command line suspends it, the running service follows."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("sabine"), "buergerbuero.aussen")
        assert decision.permit
        before = city.service.health()["snapshot_revision"]
        with city.files.stores() as databases:
            # Third in the deck, third in the store.
            reference, now_ms = list_cards(databases.state)[2].reference, SystemClock().now_ms()
            change_state(databases.state, reference, NewState(CardState.SUSPENDED, "missing"), now_ms)
            await asyncio.to_thread(city.service.wait_health, lambda state: state["snapshot_revision"] > before)
            suspended = await agent.tap(city.card("sabine"), "buergerbuero.aussen")
            change_state(databases.state, reference, NewState(CardState.ACTIVE), now_ms)
        await asyncio.to_thread(city.service.wait_health, lambda state: state["snapshot_revision"] > before + 1)
    assert suspended.reason == "card_suspended"


async def test_health_says_what_the_agent_says(city):
    """Its outbox is on the metrics page."""
    async with city.agent() as agent:
        await agent.send(Health(pcsc="up", readers=(), outbox_depth=7))
        assert (await agent.tap(city.card("anna"), DOOR)).permit
        page = city.service.get("/metrics")[1]
    assert f'cardservice_agent_outbox_depth{{agent="{AGENT}"}} 7.0' in page
    assert json.loads(city.service.get("/health/live")[1]) == {"status": "live"}
