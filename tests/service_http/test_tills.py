# SPDX-License-Identifier: EUPL-1.2
"""A till asks, a card pays: over HTTP and an agent's channel, once, whatever is repeated."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from support.scripted_agent import ScriptedAgent
from support.service import CALLERS

from cardservice.agents.messages import DecisionMessage
from cardservice.demo.seeding import PLACES_AGENT

TERMINAL = "kantine.kasse-1"
PAYMENTS = f"/api/v1/canteen/terminals/{TERMINAL}/payments"


def key() -> str:
    return uuid.uuid4().hex


@asynccontextmanager
async def http(city, caller: str = "till-1") -> AsyncIterator[httpx2.AsyncClient]:
    token = CALLERS[caller][0]
    async with httpx2.AsyncClient(
        base_url=city.service.url, headers={"Authorization": f"Bearer {token}"}, timeout=20
    ) as client:
        yield client


async def post(client, path: str, body: Any, idempotency_key: str | None = None) -> httpx2.Response:
    return await client.post(path, json=body, headers={"Idempotency-Key": idempotency_key or key()})


async def top_up(city, number: str, cents: int, idempotency_key: str | None = None) -> httpx2.Response:
    return await asyncio.to_thread(city.service.top_up, number, cents, idempotency_key)


@pytest.fixture(scope="module")
def agent_key(city):
    city.enrol(PLACES_AGENT)
    return city.keys[PLACES_AGENT]


async def tap(agent: ScriptedAgent, city, card: str) -> DecisionMessage:
    return await agent.tap(city.card(card), TERMINAL)


async def test_a_till_is_paid_by_the_next_card_and_never_twice(city, agent_key):
    """The amount appears at the terminal, the card pays it, the till learns so; the same key again books nothing."""
    assert (await top_up(city, "10017", 2_000)).json() == {"status": "booked", "amount_cents": 2_000}
    async with city.agent(PLACES_AGENT) as agent, http(city) as till:
        before_cents = (await tap(agent, city, "anna")).answer.facts["balance_cents"]
        mine = key()
        asked = asyncio.create_task(post(till, PAYMENTS, {"amount_cents": 980}, mine))
        prompt = await agent.prompted()
        assert (prompt.facts["amount_cents"], prompt.text.de) == (980, "Bitte Karte auflegen.")
        decision = await tap(agent, city, "anna")
        assert (decision.answer.code, decision.answer.facts["balance_cents"]) == ("paid", before_cents - 980)
        paid = (await asked).json()
        assert (paid["status"], paid["own_share_cents"], paid["subsidy_cents"]) == ("paid", 980, 0)
        assert paid["vat"] == [{"rate_bp": 700, "gross_cents": 980, "vat_cents": 64}]
        assert "event" not in paid
        assert (await post(till, PAYMENTS, {"amount_cents": 980}, mine)).json() == paid
        changed = await post(till, PAYMENTS, {"amount_cents": 981}, mine)
        assert (changed.status_code, changed.json()["code"]) == (409, "conflict")
        void = f"/api/v1/canteen/payments/{paid['payment']}/void"
        assert (await post(till, void, None, mine + "-void")).json()["rest_cents"] == 0
        assert (await post(till, void, None, mine + "-void")).json()["status"] == "refunded"
        assert (await post(till, void, None)).json()["reason"] == "nothing_left"
        balance = await tap(agent, city, "anna")
        assert (balance.answer.code, balance.answer.facts) == ("balance", {"balance_cents": before_cents})


async def test_too_little_money_is_refused_and_the_till_learns_nothing_else(city, agent_key):
    """The holder sees what they have; the till sees that it was refused."""
    async with city.agent(PLACES_AGENT) as agent, http(city) as till:
        asked = asyncio.create_task(post(till, PAYMENTS, {"amount_cents": 980}))
        await agent.prompted()
        decision = await tap(agent, city, "mehmet")
        assert (decision.permit, decision.answer.done, decision.answer.code) == (True, False, "no_funds")
        refused = (await asked).json()
        booked = {"payment": None, "own_share_cents": None, "subsidy_cents": None, "vat": []}
        assert refused == {"status": "refused", "reason": "no_funds", "amount_cents": 980} | booked


async def test_a_card_that_may_not_pay_leaves_the_till_waiting_for_another(city, agent_key):
    """A lost card is refused by the centre; the next good one pays."""
    await top_up(city, "10042", 1_000)
    async with city.agent(PLACES_AGENT) as agent, http(city) as till:
        asked = asyncio.create_task(post(till, PAYMENTS, {"amount_cents": 300, "price_class": "drinks"}))
        await agent.prompted()
        assert (await tap(agent, city, "tomasz")).reason == "card_revoked"
        assert not asked.done()
        assert (await tap(agent, city, "sabine")).answer.code == "paid"
        assert (await asked).json()["vat"] == [{"rate_bp": 1_900, "gross_cents": 300, "vat_cents": 48}]


async def test_nobody_comes_and_the_key_never_pays_any_more(city, agent_key):
    """A wait that timed out is over for good: its key keeps its answer, and the next card pays nothing."""
    await top_up(city, "10017", 5_000)
    async with city.agent(PLACES_AGENT) as agent, http(city) as till:
        mine, body = key(), {"amount_cents": 100, "timeout_s": 1}
        assert (await post(till, PAYMENTS, body, mine)).json()["status"] == "timed_out"
        assert (await tap(agent, city, "anna")).answer.code == "balance"
        assert (await post(till, PAYMENTS, body, mine)).json()["status"] == "timed_out"


async def test_a_till_can_stop_waiting(city, agent_key):
    """Cancelled is an answer of its own, and another till's wait cannot be cancelled or joined."""
    async with city.agent(PLACES_AGENT) as agent, http(city) as till:
        asked = asyncio.create_task(post(till, PAYMENTS, {"amount_cents": 100}))
        await agent.prompted()
        busy = await post(till, PAYMENTS, {"amount_cents": 200})
        assert (busy.status_code, busy.json()["code"]) == (409, "terminal_busy")
        assert (await till.delete(PAYMENTS)).status_code == 202
        assert (await asked).json()["status"] == "cancelled"
        assert (await till.delete(PAYMENTS)).status_code == 404


async def test_a_lost_request_joins_the_wait_it_began(city, agent_key):
    """The till's connection breaks while it waits: asking again with the same key gets the same payment."""
    await top_up(city, "10017", 5_000)
    async with city.agent(PLACES_AGENT) as agent, http(city) as till, http(city) as again:
        mine = key()
        lost = asyncio.create_task(post(till, PAYMENTS, {"amount_cents": 150}, mine))
        await agent.prompted()
        lost.cancel()
        asked = asyncio.create_task(post(again, PAYMENTS, {"amount_cents": 150}, mine))
        decision = await tap(agent, city, "anna")
        assert decision.answer.code == "paid"
        assert (await asked).json()["status"] == "paid"


async def test_a_terminal_that_is_away_or_unknown_is_told_at_once(city, agent_key):
    async with http(city) as till:
        away = await post(till, PAYMENTS, {"amount_cents": 100})
        assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, "terminal_away", "5")
        elsewhere = await post(till, PAYMENTS.replace(TERMINAL, "bauamt.aussen"), {"amount_cents": 100})
        assert elsewhere.status_code == 404


@pytest.mark.parametrize(
    ("caller", "status"), [("facility", 403), ("payroll", 403), (None, 401), ("wrong", 401), ("long", 401)]
)
async def test_only_tills_may_ask(city, agent_key, caller, status):
    """A token of another use, none, a wrong one: told apart only as 401 and 403."""
    tokens = {"wrong": "x" * 20, "long": "y" * 5_000} | {name: token for name, (token, _) in CALLERS.items()}
    headers = {"Idempotency-Key": key()} | ({} if caller is None else {"Authorization": f"Bearer {tokens[caller]}"})
    async with httpx2.AsyncClient(base_url=city.service.url) as client:
        response = await client.post(PAYMENTS, json={"amount_cents": 100}, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"amount_cents": 0},
        {"amount_cents": -5},
        {"amount_cents": 9.8},
        {"amount_cents": "980"},
        {"amount_cents": 10**12},
        {"amount_cents": 100, "lines": [{"price_class": "food", "amount_cents": 99}]},
        {"amount_cents": 100, "price_class": "weapons"},
        {"amount_cents": 100, "unknown": 1},
        [],
        "980",
    ],
)
async def test_nonsense_is_refused_with_the_field(city, agent_key, body):
    async with http(city) as till:
        response = await post(till, PAYMENTS, body)
        assert (response.status_code, response.json()["code"]) == (422, "invalid")


async def test_payroll_tops_up_once_and_only_known_people(city, agent_key):
    mine = key()
    first = await top_up(city, "10058", 700, mine)
    assert first.json() == (await top_up(city, "10058", 700, mine)).json()
    assert (await top_up(city, "10058", 701, mine)).status_code == 409
    assert (await top_up(city, "99999", 700)).status_code == 404
