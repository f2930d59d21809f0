# SPDX-License-Identifier: EUPL-1.2
"""Events handed over: stored once, acknowledged when on disk, and never believed without the centre's receipt."""

import asyncio
import json
from unittest import mock

import pytest
import sqlalchemy as sa
from support.scripted_agent import report
from support.service import OTHER_AGENT
from support.waiting import wait_until

from cardservice.access.store import point as points
from cardservice.agents.messages import EventAck, EventId, EventRefused, TapEvent
from cardservice.agents.receipts import Decided, seal_receipt
from cardservice.agents.store import agent_event
from cardservice.errors import DatabaseUnavailable
from cardservice.journal.store import journal_entry

DOOR = "bauamt.aussen"


def rows_of(city, event: EventId) -> list:
    """The stored rows of one event."""
    same = (event.agent, event.epoch, event.sequence)
    return [row for row in city.files.rows(agent_event) if (row.agent, row.epoch, row.sequence) == same]


def kept_of(city, event: EventId) -> list[dict]:
    """What the journal holds of one event, without the decision itself."""
    name = f"{event.agent}/{event.epoch}/{event.sequence}"
    payloads = [json.loads(row.payload) for row in city.files.rows(journal_entry)]
    return [payload for payload in payloads if payload["event"] == name and payload["kind"] != "tap"]


async def refused(agent, event: TapEvent, code: str) -> None:
    answer = await agent.upload(event)
    assert isinstance(answer, EventRefused), answer
    assert (answer.event, answer.code) == (event.event, code)


async def still_works(city, agent) -> None:
    """The channel goes on: a tap is decided and its event taken."""
    decision = await agent.tap(city.card("anna"), DOOR)
    assert decision.permit
    assert isinstance(await agent.upload(report(decision, DOOR)), EventAck)


async def test_an_acknowledged_event_is_on_disk(city):
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        assert isinstance(await agent.upload(report(decision, DOOR)), EventAck)
        # Read over a connection of its own, at the moment the acknowledgement is here.
        (row,) = rows_of(city, decision.event)
    assert row.received_ms > 0
    assert kept_of(city, decision.event) == []


async def test_the_same_event_again_is_one_row_and_acknowledged_again(city):
    """Also over another connection; nothing new is written."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        event = report(decision, DOOR)
        for _ in range(3):
            assert isinstance(await agent.upload(event), EventAck)
    async with city.agent() as again:
        assert isinstance(await again.upload(event), EventAck)
    assert len(rows_of(city, event.event)) == 1
    assert kept_of(city, event.event) == []


async def test_many_copies_at_once_are_one_row(city):
    """Sent without waiting for the answers: as many acknowledgements, one row."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        event = report(decision, DOOR)
        await agent.send(*[event] * 100)
        for _ in range(100):
            assert isinstance(await agent.receive(), EventAck)
    assert len(rows_of(city, event.event)) == 1


async def test_the_same_id_with_other_content_is_refused_and_alarmed(city):
    """Whoever rewrites what was acknowledged is noticed; what was stored stays."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        event = report(decision, DOOR)
        await agent.upload(event)
        (before,) = rows_of(city, event.event)
        for _ in range(3):
            await refused(agent, event.model_copy(update={"outcome": "late"}), "different_content")
        (after,) = rows_of(city, event.event)
        assert after._asdict() == before._asdict() | {"alarmed": True}
        (alarm,) = kept_of(city, event.event)
        assert (alarm["kind"], alarm["reason"]) == ("alarm", "event_changed")
        await still_works(city, agent)


@pytest.mark.parametrize(
    "claim",
    [
        {"decision": "ab" * 12, "permit": True, "receipt": None},
        {"decision": "ab" * 12, "permit": True, "receipt": "cd" * 16},
        {"decision": None, "permit": True, "receipt": None},
        {"decision": None, "permit": None, "receipt": None},
        {"decision": "ab" * 12, "permit": False, "receipt": "cd" * 16, "outcome": "shown"},
        {"decision": "ab" * 12, "permit": True, "receipt": None, "outcome": "late"},
        {"decision": "ab" * 12, "permit": True, "receipt": None, "outcome": "no_answer"},
        {"decision": None, "permit": True, "receipt": None, "outcome": "no_answer"},
    ],
)
async def test_a_tap_the_centre_never_saw_is_refused_and_alarmed(city, claim):
    """An agent that was taken over cannot invent a tap: refused, alarmed once however often it comes."""
    async with city.agent() as agent:
        invented = TapEvent(event=agent.event_id(), point=DOOR, at_ms=5, **({"outcome": "acted"} | claim))
        for _ in range(3):
            await refused(agent, invented, "unseen_tap")
        (row,) = rows_of(city, invented.event)
        assert row.refused == "unseen_tap"
        (alarm,) = kept_of(city, invented.event)
        assert (alarm["kind"], alarm["reason"], alarm["point"]) == ("alarm", "unseen_tap", DOOR)
        await still_works(city, agent)


async def test_a_refusal_cannot_be_handed_in_as_a_permit(city):
    async with city.agent() as agent:
        decision = await agent.tap(city.card("sabine"), DOOR)
        assert not decision.permit
        await refused(agent, report(decision, DOOR, "acted", permit=True), "unseen_tap")


async def test_a_receipt_of_one_point_is_no_good_at_another(city):
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        await refused(agent, report(decision, "serverraum.aussen"), "unseen_tap")


async def test_a_receipt_of_one_event_is_no_good_for_another(city):
    """One permitted tap is one opening."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        await refused(agent, report(decision, DOOR, event=agent.event_id()), "unseen_tap")


@pytest.mark.parametrize("outcome", ["no_answer", "card_gone", "abandoned"])
async def test_an_event_that_claims_nothing_needs_no_receipt(city, outcome):
    """The centre was away, or the card: that is worth a line where it says that something did not happen."""
    async with city.agent() as agent:
        event = TapEvent(event=agent.event_id(), point=DOOR, at_ms=5, outcome=outcome)
        assert isinstance(await agent.upload(event), EventAck)
    assert len(rows_of(city, event.event)) == 1
    assert [kept["reason"] for kept in kept_of(city, event.event)] == [outcome] * (outcome != "card_gone")


@pytest.mark.parametrize("outcome", ["late", "output_failed"])
async def test_what_the_door_did_not_do_is_worth_a_line(city, outcome):
    """Even where permitted taps are not kept."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        assert isinstance(await agent.upload(report(decision, DOOR, outcome)), EventAck)
    (kept,) = kept_of(city, decision.event)
    assert (kept["kind"], kept["reason"], kept["decision"]) == ("tap_outcome", outcome, decision.decision)


async def test_an_event_at_another_agent_s_point_is_refused(city):
    async with city.agent(OTHER_AGENT) as other:
        event = TapEvent(event=other.event_id(), point=DOOR, at_ms=5, outcome="no_answer")
        await refused(other, event, "foreign_point")
        own = TapEvent(event=other.event_id(), point="besuch.eigene-karte", at_ms=5, outcome="no_answer")
        assert isinstance(await other.upload(own), EventAck)
    assert rows_of(city, event.event) == []


async def test_an_event_with_another_agent_s_id_is_refused(city):
    """Even one whose receipt is right: nobody hands in for somebody else."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
    async with city.agent(OTHER_AGENT) as other:
        await refused(other, report(decision, DOOR), "foreign_event")
    assert rows_of(city, decision.event) == []


async def test_an_event_of_a_boot_that_is_yet_to_come_is_refused(city):
    """Earlier boots are handed in late, later ones cannot have happened."""
    async with city.agent() as agent:
        values = {"point": DOOR, "at_ms": 5, "outcome": "no_answer"}
        future = EventId(agent=agent.name, epoch=agent.epoch + 1, sequence=1)
        await refused(agent, TapEvent(event=future, **values), "foreign_event")
    async with city.agent() as later:
        past = EventId(agent=agent.name, epoch=agent.epoch, sequence=77)
        assert isinstance(await later.upload(TapEvent(event=past, **values)), EventAck)
    assert rows_of(city, future) == []


async def test_what_cannot_be_stored_is_not_acknowledged(city):
    """Nor refused: the agent keeps it and sends it again, then it is stored."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
        event = report(decision, DOOR)
        recorder = city.service.service.recorder
        with mock.patch.object(recorder, "submit_here", side_effect=DatabaseUnavailable("away")) as submit:
            await agent.send(event)
            await asyncio.to_thread(wait_until, lambda: submit.called)
        assert isinstance(await agent.upload(event), EventAck)
    assert len(rows_of(city, event.event)) == 1


async def test_a_receipt_outlives_the_service(city):
    """Decided before a restart, handed in after it: the centre recognises its decision without having kept it."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card("anna"), DOOR)
    await asyncio.to_thread(city.service.stop)
    await asyncio.to_thread(city.service.start)
    async with city.agent() as again:
        assert isinstance(await again.upload(report(decision, DOOR)), EventAck)
        await still_works(city, again)
    assert len(rows_of(city, decision.event)) == 1


async def test_an_event_of_a_point_that_was_removed_is_still_taken(city):
    """What happened, happened: with its receipt it is stored."""
    async with city.agent() as agent:
        secret = city.service.service._keys.secret("receipts")
        event = agent.event_id()
        decided = Decided(permit=True, level=3, at_ms=5)
        receipt = seal_receipt(secret, event, point="torn-down", decision="ab" * 12, decided=decided)
        with city.files.stores() as databases, databases.state.connect() as connection:
            assert not connection.execute(sa.select(points).where(points.c.code == "torn-down")).first()
        claim = {"outcome": "acted", "decision": "ab" * 12, "permit": True, "receipt": receipt}
        answer = await agent.upload(TapEvent(event=event, point="torn-down", at_ms=5, **claim))
        assert isinstance(answer, EventAck)
