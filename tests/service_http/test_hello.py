# SPDX-License-Identifier: EUPL-1.2
"""Who is let in: the enrolled key and a fresh nonce, nothing else."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.scripted_agent import ScriptedAgent, report
from support.service import AGENT, OTHER_AGENT, short_name
from websockets.exceptions import ConnectionClosed, InvalidStatus

from cardservice.agents import hub
from cardservice.agents.messages import Health, Refused, Welcome, encode

DOOR = "haupteingang.aussen"


async def refused(agent: ScriptedAgent, code: str) -> Refused:
    """The next message is a refusal with `code`, then the connection ends."""
    message = await agent.expect(Refused)
    assert message.code == code
    await agent.closed()
    return message


async def test_an_enrolled_agent_is_told_its_points(city):
    """Its own and no other's, with reader and budgets; the service knows who is online."""
    async with city.agent() as agent:
        assert len(agent.points) == 16
        door = agent.points[DOOR]
        assert (door.reader, door.use, door.answer_budget_ms) == ("Door 1 00 00", "door", 2_000)
        assert "besuch.eigene-karte" not in agent.points
        await asyncio.to_thread(city.service.wait_health, lambda state: state["agents_online"] == [AGENT])
        async with city.agent(OTHER_AGENT) as other:
            assert list(other.points) == ["besuch.eigene-karte"]


async def test_a_signature_with_another_key_is_refused(city):
    agent = city.agent()
    challenge = await agent.connect()
    await agent.send(agent.hello(challenge.nonce, key=Ed25519PrivateKey.generate()))
    await refused(agent, "bad_signature")


async def test_a_signature_over_something_else_is_refused(city):
    """The same key, but another epoch than the one in the message."""
    agent = city.agent()
    challenge = await agent.connect()
    hello = agent.hello(challenge.nonce)
    await agent.send(hello.model_copy(update={"epoch": hello.epoch + 1}))
    await refused(agent, "bad_signature")


async def test_a_hello_for_another_agent_s_name_is_refused(city):
    agent = ScriptedAgent(city.service.agents_url, AGENT, city.keys[OTHER_AGENT])
    challenge = await agent.connect()
    await agent.send(agent.hello(challenge.nonce))
    await refused(agent, "bad_signature")


async def test_a_recorded_hello_is_worth_nothing_on_another_connection(city):
    """Every connection has its own nonce."""
    first, second = city.agent(), city.agent()
    old = (await first.connect()).nonce
    recorded = first.hello(old)
    await first.send(recorded)
    await first.expect(Welcome)
    assert (await second.connect()).nonce != old
    await second.send(recorded)
    await refused(second, "bad_signature")
    await first.socket.close()


async def test_an_agent_nobody_enrolled_is_refused(city):
    agent = ScriptedAgent(city.service.agents_url, "stranger", Ed25519PrivateKey.generate())
    challenge = await agent.connect()
    await agent.send(agent.hello(challenge.nonce))
    await refused(agent, "unknown_agent")


async def test_a_locked_agent_is_refused_until_it_is_unlocked(city):
    agent = await asyncio.to_thread(city.enrol, short_name())
    await asyncio.to_thread(city.files.lock, agent.name)
    challenge = await agent.connect()
    await agent.send(agent.hello(challenge.nonce))
    await refused(agent, "locked")
    await asyncio.to_thread(city.files.lock, agent.name, locked=False)
    assert (await agent.join()).points == ()
    await agent.socket.close()


async def test_another_version_of_the_protocol_is_refused_as_such(city):
    """So that an old agent's log says what to do, not that it is broken."""
    agent = city.agent()
    challenge = await agent.connect()
    await agent.send(json.dumps({**json.loads(encode(agent.hello(challenge.nonce))), "v": 2}))
    await refused(agent, "version")


@pytest.mark.parametrize("first", ["not JSON", Health(pcsc="up", readers=(), outbox_depth=0)])
async def test_anything_but_a_hello_first_is_refused(city, first):
    agent = city.agent()
    await agent.connect()
    await agent.send(first)
    await refused(agent, "protocol")


async def test_who_says_nothing_is_sent_away(city, monkeypatch):
    monkeypatch.setattr(hub, "HELLO_TIMEOUT_S", 0.05)
    agent = city.agent()
    await agent.connect()
    await refused(agent, "protocol")


async def test_nobody_gets_anything_done_before_the_hello(city):
    """A tap sent with the hello's connection but before it ends the connection; nothing is decided."""
    agent = city.agent()
    await agent.connect()
    await agent.send(agent.present(DOOR))
    await refused(agent, "protocol")


async def test_a_second_hello_is_not_taken(city):
    """Who is connected stays who it is; the rest of the channel goes on."""
    async with city.agent() as agent:
        await agent.send(agent.hello("aa" * 32))
        assert (await agent.tap(city.card("anna"), DOOR)).permit


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
async def test_a_browser_is_refused_whatever_page_it_shows(city, origin):
    """Browsers always send an Origin, agents never do; it is refused before the challenge."""
    agent = city.agent()
    with pytest.raises(InvalidStatus) as refusal:
        await agent.connect(origin=origin)
    assert refusal.value.response.status_code == 403


async def test_of_two_connections_of_one_agent_the_newer_one_counts(city):
    """The older is told so and closed; the agent stays online, and taps on the newer one are answered."""
    older, newer = city.agent(), city.agent()
    await older.join()
    await newer.join()
    await refused(older, "replaced")
    decision = await newer.tap(city.card("anna"), DOOR)
    assert decision.permit
    await newer.upload(report(decision, DOOR))
    assert city.service.health()["agents_online"] == [AGENT]
    await newer.socket.close()
    await asyncio.to_thread(city.service.wait_health, lambda state: state["agents_online"] == [])


async def test_a_replaced_connection_can_do_nothing_more(city):
    older, newer = city.agent(), city.agent()
    await older.join()
    present = older.present(DOOR)
    await newer.join()
    with pytest.raises(ConnectionClosed):  # noqa: PT012  # whichever send notices first
        while True:
            await older.send(present)
            await older.receive()
    await newer.socket.close()
