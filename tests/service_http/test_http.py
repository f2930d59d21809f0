# SPDX-License-Identifier: EUPL-1.2
"""What the service shows over HTTP: to operations, to who holds the token, to nobody else."""

import asyncio
import json

import pytest
from support.canaries import found_in, identifiers, personal, secrets
from support.scripted_agent import report
from support.service import ADMIN_PASSWORD, LIVE_TOKEN, PASSPHRASE, SERVICE_PASSWORD

from city import building

DOOR = "bauamt.aussen"


def everything_private(city) -> set[str]:
    """Whatever must not be seen."""
    passwords = {ADMIN_PASSWORD, SERVICE_PASSWORD, PASSPHRASE, LIVE_TOKEN}
    return personal() | identifiers() | secrets(city.files.deck_file) | passwords


async def tap_all(city) -> None:
    """One tap of every card of the deck."""
    async with city.agent() as agent:
        for card in city.files.cards().values():
            decision = await agent.tap(card, "besuchereingang.aussen")
            outcome = "card_gone" if decision.reason == "card_gone" else None
            await agent.upload(report(decision, "besuchereingang.aussen", outcome))


async def test_metrics_and_health_name_nobody_and_no_card(city):
    """After taps of every card of the deck: counts, reasons and durations, and not one name, login or number."""
    await tap_all(city)
    status, page = city.service.get("/metrics")
    assert status == 200
    for expected in (
        'cardservice_taps_total{outcome="permitted",reason="granted",use="door"}',
        'cardservice_taps_total{outcome="refused",reason="card_unknown",use="door"}',
        'cardservice_agent_events_total{result="stored"}',
        'cardservice_tap_stage_seconds_bucket{le="0.001",stage="decide"}',
        'cardservice_directory_people{directory="city"} 8.0',
        "cardservice_snapshot_credentials",
    ):
        assert expected in page
    assert found_in(page, everything_private(city)) == set()
    assert found_in(json.dumps(city.service.health()), everything_private(city)) == set()


async def test_the_live_feed_shows_taps_and_nobody_s_name(city):
    """Point, decision, reason, sentence, stages, outcome; enough to follow along, not to follow anybody."""
    with city.service.watching() as live:
        async with city.agent() as agent:
            decision = await agent.tap(city.card("sabine"), DOOR)
            await agent.upload(report(decision, DOOR))
            seen: dict[str, dict] = {}
            text = ""
            while seen.keys() != {"tap", "event"}:
                line = (await asyncio.to_thread(live.readline)).decode()
                text += line
                event = json.loads(line[6:]) if line.startswith("data: ") else {}
                if event.get("event") == decision.event.model_dump():
                    seen[event["kind"]] = event
    assert (seen["tap"]["point"], seen["tap"]["permit"], seen["tap"]["reason"]) == (DOOR, False, "no_grant")
    assert seen["tap"]["text"]["en"] == "You have no permission here."
    assert seen["event"]["outcome"] == "shown"
    assert found_in(text, everything_private(city)) == set()
    assert decision.receipt not in text


@pytest.mark.parametrize("path", ["/redoc", "/admin", "/api", "/api/v1", "/metrics/", "/agents/v1"])
def test_there_is_nothing_else_to_see(city, path):
    status, body = city.service.get(path)
    assert status in {404, 307, 426}
    assert "Traceback" not in body


def test_health_is_complete(city):
    """What an operator needs, with plain values."""
    state = city.service.health()
    assert state["status"] == "ready"
    assert state["degraded"] == []
    assert state["points"] == 2 * len(building.DOORS) + len(building.PLACES) + 1
    assert state["credentials"] == 7 * 5 + 1
    (directory,) = state["directories"]
    assert (directory["people"], directory["groups"], directory["connected"]) == (8, 5, True)
    assert directory["age_ms"] < 10_000
    assert city.service.get("/health/live") == (200, '{"status":"live"}')
