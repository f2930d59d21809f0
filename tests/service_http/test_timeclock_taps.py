# SPDX-License-Identifier: EUPL-1.2
"""The time clock through the real service: a card books once, whatever gets lost; what is not booked says so."""

import itertools
import json

import pytest
from support.scripted_agent import CardInHand, report, response
from support.service import AGENT
from support.waiting import wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from cardservice.agents.messages import CardApdus, DecisionMessage, EventAck
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from cardservice.timeclock.rules import check_options
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked

GATE, KEYS, QUIET = "uhr.pforte", "uhr.tasten", "uhr.still"
_NAMES = itertools.count(1)


@pytest.fixture(scope="module")
def clocks(city):
    """The city with a clock that alternates, one with keys, and one whose class journals refusals only."""
    budgets = {"answer_budget_ms": 5_000, "tap_budget_ms": 20_000}
    setup = AccessSetup(
        point_classes=[
            PointClassSetup("uhr", "Zeiterfassung", journal_mode="full", **budgets),
            PointClassSetup("uhr-still", "Zeiterfassung", journal_mode="refusals", **budgets),
        ],
        points=[
            PointSetup(GATE, "Pforte", "rathaus", "uhr", AGENT, "Clock 1", Use.TIMECLOCK),
            PointSetup(
                KEYS,
                "Tasten",
                "rathaus",
                "uhr",
                AGENT,
                "Clock 2",
                Use.TIMECLOCK,
                options={"mode": "keys", "guard_s": 0},
            ),
            PointSetup(QUIET, "Still", "rathaus", "uhr-still", AGENT, "Clock 3", Use.TIMECLOCK),
        ],
        rules=[RuleSetup(group="Rathaus", use=Use.TIMECLOCK)],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup, {Use.TIMECLOCK: check_options})
    known = city.service.service.city
    wait_until(lambda: {GATE, KEYS, QUIET} <= known.snapshot.points.keys())
    return city


@pytest.fixture(autouse=True)
def nothing_booked_before(clocks):
    """Every test begins with people who have booked nothing."""
    with clocks.files.stores() as databases, databases.record.begin() as connection:
        connection.execute(timeclock_booking.delete())
        connection.execute(timeclock_unbooked.delete())


def kept(city, table=timeclock_booking):
    city.service.recorded()
    return city.files.rows(table)


def name_of(event) -> str:
    return f"{event.agent}/{event.epoch}/{event.sequence}"


async def test_a_tap_books_and_tells(clocks):
    """One booking with the tap's event, on disk before the answer, which has words, time and total for the screen."""
    async with clocks.agent() as agent:
        decision = await agent.tap(clocks.card("anna"), GATE)
        assert decision.permit
        assert (decision.answer.done, decision.answer.code) == (True, "booked_in")
        assert "gekommen um " in decision.answer.text.de
        (row,) = clocks.files.rows(timeclock_booking)
        assert isinstance(await agent.upload(report(decision, GATE)), EventAck)
    assert (row.event, row.kind, row.point, row.source) == (name_of(decision.event), "in", GATE, "terminal")
    facts = {"kind": "in", "at_ms": row.at_ms, "today_ms": 0, "working": True}
    assert decision.answer.facts == facts
    assert len(kept(clocks)) == 1


async def test_holding_the_card_twice_books_once(clocks):
    async with clocks.agent() as agent:
        first = await agent.tap(clocks.card("anna"), GATE)
        second = await agent.tap(clocks.card("anna"), GATE)
        colleague = await agent.tap(clocks.card("mehmet"), GATE)
    codes = [decision.answer.code for decision in (first, second, colleague)]
    assert codes == ["booked_in", "already_booked", "booked_in"]
    assert second.permit
    assert not second.answer.done
    assert second.answer.text.de.startswith("Bereits gebucht um ")
    assert [row.event for row in kept(clocks)] == [name_of(first.event), name_of(colleague.event)]
    assert [row.event for row in kept(clocks, timeclock_unbooked)] == [name_of(second.event)]


async def test_a_choice_at_the_terminal_is_what_is_booked(clocks):
    async with clocks.agent() as agent:
        choices = ("in", "break_start", "break_end", "out", None, "in", "in")
        codes = [(await agent.tap(clocks.card("anna"), KEYS, choice=choice)).answer.code for choice in choices]
    assert codes == [
        "booked_in",
        "break_begun",
        "break_ended",
        "booked_out",
        "choice_missing",
        "booked_in",
        "already_in",
    ]
    assert [row.kind for row in kept(clocks)] == ["in", "break_start", "break_end", "out", "in"]


async def test_an_unknown_choice_is_refused_in_words(clocks):
    """The card was good, so the decision is a permit; the answer says that nothing is booked, and why."""
    async with clocks.agent() as agent:
        decision = await agent.tap(clocks.card("anna"), GATE, choice="lunch")
    assert decision.permit
    assert (decision.answer.done, decision.answer.code) == (False, "choice_unknown")
    assert decision.answer.text.de == "Nicht gebucht: Diese Auswahl gibt es hier nicht."
    assert kept(clocks) == []


async def test_a_card_that_may_not_books_nothing(clocks):
    async with clocks.agent() as agent:
        for card in ("petra", "tomasz", "unbekannt", "kopie", "uid", "kurz"):
            decision = await agent.tap(clocks.card(card), GATE)
            assert (decision.permit, decision.answer) == (False, None)
    assert kept(clocks) == kept(clocks, timeclock_unbooked) == []


@pytest.fixture(scope="module")
def lone(clocks):
    """An agent that nobody else connects as, at a clock of its own."""
    agent = clocks.enrol(f"uhr{next(_NAMES)}")
    point = PointSetup(f"{agent.name}.p", "Uhr", "rathaus", "uhr", agent.name, "Clock", Use.TIMECLOCK)
    with clocks.files.stores() as databases:
        apply(databases.state, 1, AccessSetup(points=[point]), {Use.TIMECLOCK: check_options})
    known = clocks.service.service.city
    wait_until(lambda: point.code in known.snapshot.points)
    return agent


@pytest.mark.parametrize("heard", range(7))
async def test_a_lost_answer_and_the_same_event_again_book_nothing_twice(clocks, lone, heard):
    """The connection breaks after so many of the centre's messages; the agent comes back with the same event."""
    await lone.join()
    present, hand = lone.present(f"{lone.name}.p", choice="in"), CardInHand(clocks.card("anna"))
    await lone.send(present)
    for _ in range(heard):
        if isinstance(message := await lone.receive(), CardApdus):
            await lone.send(response(message, hand.answers(message.apdus)))
    await lone.socket.close()
    answers = []
    for choice in ("in", "out", None):
        await lone.join()
        await lone.send(present.model_copy(update={"choice": choice}))
        answers.append((await lone.converse(CardInHand(clocks.card("anna")))).answer)
        await lone.socket.close()
    assert {answer.code for answer in answers} == {"booked_in"}
    assert answers[0] == answers[1] == answers[2]
    (row,) = kept(clocks)
    assert (row.event, row.kind) == (name_of(present.event), "in")


async def test_many_at_once_are_each_booked_once(clocks):
    """Three people at three clocks, one after the other at each, all connections at once."""
    async with clocks.agent() as agent:
        await agent.send(*(agent.present(point, choice="in") for point in (GATE, KEYS, QUIET)))
        hands = [CardInHand(clocks.card(card)) for card in ("anna", "mehmet", "sabine")]
        conversations: dict[str, CardInHand] = {}
        decided: list[DecisionMessage] = []
        while len(decided) < 3:
            message = await agent.receive()
            if isinstance(message, CardApdus):
                hand = conversations.setdefault(message.conversation, hands[len(conversations) % 3])
                await agent.send(response(message, hand.answers(message.apdus)))
            elif isinstance(message, DecisionMessage):
                decided.append(message)
    assert [one.answer.code for one in decided] == ["booked_in"] * 3
    assert sorted(row.event for row in kept(clocks)) == sorted(name_of(one.event) for one in decided)
    assert len({row.pseudonym for row in kept(clocks)}) == 3


async def test_the_journal_says_what_became_of_it(clocks):
    """One line a tap in the stream of this use, with the answer's code and without the person; the chain verifies."""
    async with clocks.agent() as agent:
        decisions = [await agent.tap(clocks.card("anna"), GATE) for _ in range(2)]
        quiet = await agent.tap(clocks.card("anna"), QUIET, choice="out")
    clocks.service.recorded()
    lines = {
        payload["event"]: (row.stream, payload["answer"], payload["done"])
        for row in clocks.files.rows(journal_entry)
        if (payload := json.loads(row.payload)).get("kind") == "tap" and "answer" in payload
    }
    assert lines[name_of(decisions[0].event)] == ("timeclock", "booked_in", True)
    assert lines[name_of(decisions[1].event)] == ("timeclock", "already_booked", False)
    assert quiet.answer.code == "booked_out"
    assert name_of(quiet.event) not in lines, "a class that journals refusals only keeps the booking alone"
    pseudonyms = {row.pseudonym for row in kept(clocks)}
    with clocks.files.stores() as databases:
        assert "timeclock" in {report.stream for report in verify(databases.record)}
    assert not any(one in row.payload for one in pseudonyms for row in clocks.files.rows(journal_entry))
