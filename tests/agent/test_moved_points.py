# SPDX-License-Identifier: EUPL-1.2
"""A whole agent whose points change, or whose orders come late: what was begun still ends as it must."""

import asyncio

import pytest
from agent.conftest import QUICK
from agent.scripted_centre import DOOR, permit
from support.waiting import wait_until
from unit.readers.fakes import FakeCard

from cardservice.agents.messages import (
    CardPresent,
    Health,
    PlaceAnswer,
    PointCommand,
    PointDone,
    PointSetup,
    Sentence,
    TapEvent,
    Welcome,
)
from integrations.simulated_io.sessions import SimulatedSessions
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector

PC = PointSetup(point="pc-1", reader="Reader A", use="workstation", answer_budget_ms=2_000, tap_budget_ms=5_000)
UNLOCK = PlaceAnswer(done=True, code="unlock", text=Sentence(de="Ja.", en="Yes."), facts={"user": "berger"})


def order(rig, *, point="door-1", after_ms=60_000) -> PointCommand:
    by_ms = rig.centre.centre_time_ms + after_ms
    return PointCommand(id="aa", point=point, action="open_once", open_ms=1_000, by_ms=by_ms)


@pytest.mark.parametrize("reader", ["Reader B", None])
async def test_a_card_taken_from_a_reader_that_is_another_s_by_now_locks_its_pc(make_rig, reader):
    """Its point has another reader since the card came, or is gone: the session it unlocked is locked all the same."""
    rig = await make_rig("Reader A", "Reader B", points=(PC,))
    sessions = SimulatedSessions(["berger"])
    settings = rig.settings()
    surroundings = Surroundings(websocket_connector(settings), sessions=lambda: sessions)
    rig.agent = Agent(settings, rig.driver, rig._door, times=QUICK, surroundings=surroundings)
    rig._task = asyncio.create_task(rig.agent.run())
    link = await rig.centre.link()
    rig.driver.insert("Reader A", FakeCard())
    present = await link.expect(CardPresent)
    await link.send(permit(present.event).model_copy(update={"answer": UNLOCK}))
    assert (await link.expect(TapEvent)).outcome == "acted"
    assert await sessions.locked("berger") is False
    moved = (DOOR, *([PC.model_copy(update={"reader": reader})] if reader else []))
    await link.send(Welcome(points=moved, centre_time_ms=rig.centre.centre_time_ms), order(rig))
    await link.expect(PointDone, skip=(Health, TapEvent))
    rig.driver.remove("Reader A")
    await asyncio.to_thread(wait_until, lambda: asyncio.run(sessions.locked("berger")))


async def test_an_order_that_comes_too_late_is_answered_and_not_carried_out(make_rig):
    """By the centre's own clock, of which this machine's is months away; a later welcome does not move it."""
    rig = await make_rig()
    rig.start()
    link = await rig.centre.link()
    await link.send(order(rig), Welcome(points=(DOOR,), centre_time_ms=0), order(rig, after_ms=-1))
    first, second = [await link.expect(PointDone) for _ in range(2)]
    assert (first.done, second.done, second.message) == (True, False, "too late")
    assert rig.door().pulses == [1_000]
