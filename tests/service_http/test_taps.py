# SPDX-License-Identifier: EUPL-1.2
"""Taps over the wire: decided by the centre alone, whatever the agent says or leaves out."""

import asyncio
import json

import pytest
from support.scripted_agent import CardInHand, report, response
from support.service import AGENT, OTHER_AGENT
from support.waiting import wait_until

from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from cardservice.agents.limits import TokenBucket
from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    DecisionMessage,
    EventAck,
    EventId,
    OutputState,
)
from cardservice.agents.store import agent_event
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

DOOR = "bauamt.aussen"


def journalled(city, **wanted):
    """The payloads of the journal that hold all of `wanted`."""
    city.service.recorded()
    payloads = [json.loads(row.payload) for row in city.files.rows(journal_entry)]
    return [payload for payload in payloads if wanted.items() <= payload.items()]


@pytest.mark.parametrize(
    ("card", "point", "reason"),
    [
        ("anna", DOOR, "granted"),
        ("anna", "bauamt.innen", "granted"),
        ("mehmet", "serverraum.aussen", "granted"),
        ("ute", "besuchereingang.aussen", "granted"),
        ("sabine", DOOR, "no_grant"),
        ("petra", "haupteingang.aussen", "person_disabled"),
        ("karl", "haupteingang.aussen", "person_expired"),
        ("jonas", "haupteingang.aussen", "card_suspended"),
        ("tomasz", "haupteingang.aussen", "card_revoked"),
        ("unbekannt", "haupteingang.aussen", "card_unknown"),
        ("ute", DOOR, "card_unsupported"),
        ("ute-alt", "besuchereingang.aussen", "certificate_refused"),
        ("kopie", DOOR, "card_not_genuine"),
        ("uid", DOOR, "card_unsupported"),
        ("kurz", DOOR, "card_gone"),
    ],
)
async def test_every_card_of_the_city_gets_its_answer(city, card, point, reason):
    """A refusal is in the journal under its event, with the revision it was decided on; a permit need not be."""
    async with city.agent() as agent:
        decision = await agent.tap(city.card(card), point)
        assert (decision.permit, decision.reason) == (reason == "granted", reason)
        outcome = "card_gone" if reason == "card_gone" else None
        answer = await agent.upload(report(decision, point, outcome))
    assert isinstance(answer, EventAck)
    if reason != "granted":
        event = f"{decision.event.agent}/{decision.event.epoch}/{decision.event.sequence}"
        (kept,) = journalled(city, event=event)
        assert (kept["permit"], kept["reason"], kept["decision"]) == (False, reason, decision.decision)
        assert kept["revision"] > 0


async def test_taps_at_many_points_at_once_do_not_disturb_each_other(city):
    """Sixteen conversations interleave on one channel; each card gets its own answer."""
    async with city.agent() as agent:
        hands, presents = {}, {}
        for point in sorted(agent.points):
            present = agent.present(point)
            presents[present.event.sequence] = point
            hands[point] = CardInHand(city.card("anna"))
        conversations: dict[str, str] = {}
        decided: dict[str, str] = {}
        for sequence, point in presents.items():
            event = EventId(agent=agent.name, epoch=agent.epoch, sequence=sequence)
            await agent.send(agent.present(point, event=event))
        while len(decided) < len(presents):
            message = await agent.receive()
            if isinstance(message, CardOpen):
                conversations[message.conversation] = presents[message.event.sequence]
            elif isinstance(message, CardApdus):
                hand = hands[conversations[message.conversation]]
                await agent.send(response(message, hand.answers(message.apdus)))
            else:
                decided[presents[message.event.sequence]] = message.reason
    opened = {point for point, reason in decided.items() if reason == "granted"}
    assert {DOOR, "bauamt.innen", "haupteingang.aussen"} <= opened
    assert {decided["serverraum.aussen"], decided["buergerbuero.innen"]} == {"no_grant"}


async def test_another_agent_s_point_is_not_served(city):
    """Neither its point nor its event ids: nothing is asked, nothing decided, and the channel goes on."""
    async with city.agent(OTHER_AGENT) as other:
        await other.send(other.present(DOOR))
        await other.send(other.present("nowhere"))
        foreign = EventId(agent="rathaus", epoch=1, sequence=1)
        await other.send(other.present("besuch.eigene-karte", event=foreign))
        await other.send(other.present("besuch.eigene-karte"))
        opening = await other.expect(CardOpen)
    assert opening.event.agent == OTHER_AGENT


async def test_the_same_tap_is_asked_for_once(city):
    """A repeated `card.present` is a replay, and so is one of another boot: nothing is asked for either."""
    async with city.agent() as agent:
        present = agent.present(DOOR)
        await agent.send(present)
        hand = CardInHand(city.card("sabine"))
        first = await agent.converse(hand)
        other_boot = present.event.model_copy(update={"epoch": agent.epoch + 1, "sequence": 99})
        await agent.send(present, present.model_copy(update={"event": other_boot}))
        second = await agent.tap(city.card("sabine"), DOOR)
    assert (first.event, second.event) == (present.event, present.event.model_copy(update={"sequence": 2}))


async def test_a_flood_of_taps_is_cut_down(city, monkeypatch):
    """An agent gone wild gets a burst, then its pace; nobody else waits for it."""
    slow = "cardservice.agents.session.TokenBucket"
    monkeypatch.setattr(slow, lambda _per_s, _burst, clock: TokenBucket(1, 5, clock))
    async with city.agent() as agent, city.agent(OTHER_AGENT) as other:
        await agent.send(*(agent.present(point) for point in sorted(agent.points)[:12]))
        opened = set()
        for _ in range(5):
            opened.add((await agent.expect(CardOpen)).event.sequence)
            await agent.expect(CardApdus)
        assert opened == {1, 2, 3, 4, 5}
        await other.send(other.present("besuch.eigene-karte"))
        await other.expect(CardOpen)
        with pytest.raises(TimeoutError):
            await agent.receive(limit_s=0.1)


async def first_exchange(agent, point=DOOR):
    """A card is there; the centre has asked its first question."""
    await agent.send(agent.present(point))
    await agent.expect(CardOpen)
    return await agent.expect(CardApdus)


async def test_answers_to_other_questions_are_ignored(city):
    """Another conversation, an exchange that was, one to come, twice the same: the tap goes on undisturbed."""
    async with city.agent() as agent:
        hand = CardInHand(city.card("anna"))
        question = await first_exchange(agent)
        good = response(question, hand.answers(question.apdus))
        nonsense = ("6f00", "6f00")
        await agent.send(
            response(question, nonsense, conversation="ab" * 16),
            response(question, nonsense, n=1),
            response(question, nonsense, n=63),
            good,
            response(question, nonsense),
            good,
        )
        decision = await agent.converse(hand)
        assert decision.permit
        await agent.send(good, response(question, nonsense, n=3))
        assert (await agent.tap(city.card("anna"), DOOR)).permit


async def test_an_answer_belongs_to_the_connection_it_was_asked_on(city):
    """Another agent cannot answer for a card that is not at its reader."""
    async with city.agent() as agent, city.agent(OTHER_AGENT) as other:
        hand = CardInHand(city.card("anna"))
        question = await first_exchange(agent)
        await other.send(response(question, ("6f00", "6f00")))
        await other.send(other.present("besuch.eigene-karte"))
        await other.expect(CardOpen)
        await agent.send(response(question, hand.answers(question.apdus)))
        assert (await agent.converse(hand)).permit


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((), "card_gone"),
        (("9100",), "card_gone"),
        (("9100", "9100", "9100"), "card_garbled"),
        (("", ""), "card_gone"),
        (("91a0", "91ae"), "card_unsupported"),
        (("6d00", "6d00"), "card_unsupported"),
    ],
)
async def test_too_few_too_many_or_empty_answers_never_open(city, answers, reason):
    async with city.agent() as agent:
        question = await first_exchange(agent)
        await agent.send(response(question, answers))
        decision = await agent.expect(DecisionMessage)
    assert (decision.permit, decision.reason) == (False, reason)


async def test_a_new_card_at_a_point_ends_the_tap_before(city):
    """The old conversation is over: its answers change nothing, only the new card is decided on."""
    async with city.agent() as agent:
        old_hand, new_hand = CardInHand(city.card("anna")), CardInHand(city.card("sabine"))
        old_question = await first_exchange(agent)
        new_question = await first_exchange(agent)
        await agent.send(response(old_question, old_hand.answers(old_question.apdus)))
        await agent.send(response(new_question, new_hand.answers(new_question.apdus)))
        assert (await agent.converse(new_hand)).reason == "no_grant"


async def test_a_relay_cannot_turn_one_person_s_card_into_another_s_right(city):
    """The answers of two cards mixed in one conversation prove neither."""
    async with city.agent() as agent:
        anna, sabine = CardInHand(city.card("anna")), CardInHand(city.card("sabine"))
        question = await first_exchange(agent)
        await agent.send(response(question, anna.answers(question.apdus)))
        sabine.answers(question.apdus)
        decision = await agent.converse(sabine)
    assert (decision.permit, decision.reason, decision.level) == (False, "card_not_genuine", "none")


async def test_a_conversation_nobody_answers_ends_with_its_budget(make_city):
    """Nothing is decided for it, nothing of it stays behind, and the point is free for the next card."""
    city = await asyncio.to_thread(make_city)
    setup = AccessSetup(
        point_classes=[PointClassSetup("hasty", "Eilig", tap_budget_ms=300)],
        points=[PointSetup("eilig.aussen", "Eilig", "bauamt", "hasty", AGENT, "Hasty")],
        rules=[RuleSetup(group="Bauamt", point="eilig.aussen")],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup)
    known = city.service.service.city
    await asyncio.to_thread(wait_until, lambda: "eilig.aussen" in known.snapshot.points)
    async with city.agent() as agent:
        session = city.service.service._hub._sessions[AGENT][0]
        hand = CardInHand(city.card("anna"))
        question = await first_exchange(agent, "eilig.aussen")
        await asyncio.to_thread(wait_until, lambda: not session._running)
        assert session._conversations == {}
        await agent.send(response(question, hand.answers(question.apdus)))
        assert (await agent.tap(city.card("anna"), "eilig.aussen")).permit


async def test_what_the_outputs_do_is_shown_live_for_own_points_only(city):
    """A strike's state from the agent of the door, nobody else's."""
    state = {"state": "released", "led": "green", "buzzer": "ok", "at_ms": 1}
    with city.service.watching() as live:
        async with city.agent() as agent, city.agent(OTHER_AGENT) as other:
            await other.send(OutputState(point=DOOR, **{**state, "state": "fault"}))
            await other.send(OutputState(point="besuch.eigene-karte", **state))
            await agent.send(OutputState(point=DOOR, **state))
            shown = []
            while len(shown) < 2:
                line = (await asyncio.to_thread(live.readline)).decode()
                event = json.loads(line[6:]) if line.startswith("data: ") else {}
                shown += [event] if event.get("kind") == "output" and event["at_ms"] == 1 else []
    assert {(event["point"], event["state"]) for event in shown} == {
        ("besuch.eigene-karte", "released"),
        (DOOR, "released"),
    }


async def test_the_journal_of_all_this_verifies(city):
    async with city.agent() as agent:
        await agent.tap(city.card("sabine"), DOOR)
    city.service.recorded()
    with city.files.stores() as databases:
        assert {report.stream for report in verify(databases.record)} >= {"door"}
    assert all(len(bytes(row.digest)) == 32 for row in city.files.rows(agent_event))
