# SPDX-License-Identifier: EUPL-1.2
"""The directory hangs or is gone: taps go on from the copy, within each point's bound, and it heals by itself."""

import asyncio
import time

import pytest
from service_http.conftest import City
from support.service import AGENT

from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply

DOOR = "bauamt.aussen"
STRICT = "tresor.aussen"
LIVE = "tresor.innen"
FRESHNESS_MS = 700
TAP_LIMIT_S = 2.0

TROUBLES = {
    "hangs": (lambda switches: switches.pause(), lambda switches: switches.resume()),
    "is gone": (
        lambda switches: (switches.refuse(), switches.drop_connections()),
        lambda switches: switches.accept(),
    ),
}


def add_strict_point(city: City) -> None:
    """A point that takes only a copy proved current a moment ago."""
    setup = AccessSetup(
        point_classes=[PointClassSetup("tresor", "Tresor", freshness_ms=FRESHNESS_MS, tap_budget_ms=5_000)],
        points=[PointSetup(STRICT, "Tresor", "technik", "tresor", AGENT, "Vault")],
        rules=[RuleSetup(group="Bauamt", point=STRICT)],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup)
    city.service.wait_health(lambda _: STRICT in city.service.service.city.snapshot.points)


def add_live_point(city: City) -> None:
    """A point that has the directory itself asked before each permit, whatever the age of the copy."""
    setup = AccessSetup(
        point_classes=[PointClassSetup("asking", "Tresor", directory_check="live", tap_budget_ms=5_000)],
        points=[PointSetup(LIVE, "Tresor", "technik", "asking", AGENT, "Asking")],
        rules=[RuleSetup(group="Bauamt", point=LIVE)],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup)
    city.service.wait_health(lambda _: LIVE in city.service.service.city.snapshot.points)


async def quick_tap(agent, card, point: str) -> str:
    """The reason of one tap, which does not wait for anything but the card; at the pace of people, not of a flood."""
    await asyncio.sleep(0.1)
    began_s = time.monotonic()
    decision = await agent.tap(card, point)
    assert time.monotonic() - began_s < TAP_LIMIT_S
    return decision.reason


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_no_tap_waits_for_the_directory(make_city, trouble):
    """Ordinary doors answer from the copy, strict ones say that it is too old; both again as before afterwards."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(add_strict_point, city)
    begin, end = TROUBLES[trouble]
    async with city.agent() as agent:
        assert await quick_tap(agent, city.card("anna"), STRICT) == "granted"
        begin(city.directory.switches)
        strict, ordinary = [], []
        while "directory_stale" not in strict:
            strict.append(await quick_tap(agent, city.card("anna"), STRICT))
            ordinary.append(await quick_tap(agent, city.card("anna"), DOOR))
        assert set(strict) == {"granted", "directory_stale"}
        assert set(ordinary) == {"granted"}
        state = await asyncio.to_thread(
            city.service.wait_health, lambda state: not state["directories"][0]["connected"]
        )
        assert state["status"] == "degraded"
        (sentence,) = state["degraded"]
        assert sentence.startswith("directory city: ")
        assert "taps are decided from the copy" in sentence
        assert city.service.get("/health/ready")[0] == 200
        assert 'cardservice_directory_connected{directory="city"} 0.0' in city.service.get("/metrics")[1]
        end(city.directory.switches)
        await asyncio.to_thread(city.service.wait_health, lambda state: state["status"] == "ready")
        assert await quick_tap(agent, city.card("anna"), STRICT) == "granted"


async def test_what_changed_meanwhile_counts_as_soon_as_the_directory_is_back(make_city):
    """Somebody disabled while the service could not see it is let in from the copy, and refused once it can."""
    city = await asyncio.to_thread(make_city)
    async with city.agent() as agent:
        city.directory.switches.pause()
        await asyncio.to_thread(city.service.wait_health, lambda state: not state["directories"][0]["connected"])
        assert await quick_tap(agent, city.card("anna"), DOOR) == "granted"
        city.directory.switches.resume()
        await asyncio.to_thread(city.directory.set_disabled, "schmidt", disabled=True)
        while await quick_tap(agent, city.card("anna"), DOOR) != "person_disabled":
            pass


async def test_a_restart_while_the_directory_is_away_does_not_lock_out_the_city(make_city):
    """The stored copy and its age are taken over; strict points see that it is old."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(add_strict_point, city)
    city.directory.switches.refuse()
    city.directory.switches.drop_connections()
    await asyncio.to_thread(city.service.stop)
    await asyncio.to_thread(city.service.start)
    async with city.agent() as agent:
        assert await quick_tap(agent, city.card("anna"), DOOR) == "granted"
        while await quick_tap(agent, city.card("anna"), STRICT) != "directory_stale":
            pass
    assert city.service.health()["status"] == "degraded"
    city.directory.switches.accept()
    await asyncio.to_thread(city.service.wait_health, lambda state: state["status"] == "ready")


async def test_a_service_that_has_never_seen_its_directory_is_not_ready(make_city):
    """503 with a sentence, and every card refused: without people nobody can be let in."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(city.service.stop)
    city.directory.switches.refuse()
    city.directory.switches.drop_connections()
    city.files.configure({"database": {"url": f"sqlite:///{city.files.folder / 'empty'}"}})
    city.files.database_url = f"sqlite:///{city.files.folder / 'empty'}"
    city.files.upgrade()
    await asyncio.to_thread(city.service.start)
    status, _ = city.service.get("/health/ready")
    state = city.service.health()
    assert (status, state["status"]) == (503, "not_ready")
    assert state["degraded"][0].startswith("directory city: never read completely")
    assert city.service.get("/health/live")[0] == 200
    city.directory.switches.accept()
    await asyncio.to_thread(city.service.wait_health, lambda state: state["status"] == "ready")


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_point_that_asks_the_directory_itself_permits_nobody_while_it_is_silent(make_city, trouble):
    """Other points go on from the copy; whoever is refused anyway is told that; it heals with the directory."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(add_live_point, city)
    begin, end = TROUBLES[trouble]
    async with city.agent() as agent:
        reasons = [await quick_tap(agent, city.card("anna"), LIVE) for _ in range(5)]
        assert reasons[1:] == ["granted"] * 4
        begin(city.directory.switches)
        assert await quick_tap(agent, city.card("anna"), LIVE) == "directory_silent"
        assert await quick_tap(agent, city.card("sabine"), LIVE) == "no_grant"
        assert await quick_tap(agent, city.card("anna"), DOOR) == "granted"
        end(city.directory.switches)
        reason = "directory_silent"
        async with asyncio.timeout(20):
            while reason == "directory_silent":
                reason = await quick_tap(agent, city.card("anna"), LIVE)
        assert reason == "granted"
