# SPDX-License-Identifier: EUPL-1.2
"""People, cards, agents, taps and directories over the API, for desks that reach differently far."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, SABINE, Desk, account, desks
from support.service import AGENT, OTHER_AGENT, directory_in_thread
from support.waiting import wait_until

from cardservice.cards.store import card, credential
from cardservice.database import read, write
from cardservice.people.register import within
from cardservice.people.store import organisation, person
from cardservice.web.reach import EVERYWHERE, Reach
from city import people

UNIT = "Bauamt"
OFFICE = ("schmidt", "nowak")
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("office")
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", database_url, **desks(folder))
        # The city's directory says nothing of departments.
        with made.files.stores() as stores, write(stores.state) as connection:
            connection.execute(sa.update(person).where(person.c.login.in_(OFFICE)).values(department=UNIT))
        yield made
        made.close()


@pytest.fixture
def identity(office: City) -> Iterator[httpx2.Client]:
    with account(office, "identity") as client:
        yield client


@pytest.fixture
def sabine(office: City) -> Desk:
    return Desk(office.visitor(SABINE))


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def found_by(client: httpx2.Client, **wanted: Any) -> set[str]:
    return {one["login"] for one in client.get("/people", params=wanted).json()["people"]}


def person_called(client: httpx2.Client, login: str) -> dict[str, Any]:
    return next(one for one in client.get("/people", params={"text": login}).json()["people"] if one["login"] == login)


def cards_of(client: httpx2.Client, login: str) -> list[dict[str, Any]]:
    cards: list[dict[str, Any]] = client.get(f"/people/{person_called(client, login)['person']}/cards").json()["cards"]
    return cards


def test_people_are_found_by_what_is_known_of_them(identity):
    """Name in small letters or capitals, login, personnel number, department, state; by pages, each once."""
    everybody = {citizen.login for citizen in people.CITIZENS}
    assert found_by(identity) == everybody
    assert found_by(identity, text="KRÜGER") == found_by(identity, text="krüger") == {"krueger"}
    assert found_by(identity, text="10017") == {"schmidt"}
    assert found_by(identity, text="%") == found_by(identity, text="_") == set()
    assert found_by(identity, department=UNIT) == set(OFFICE)
    assert found_by(identity, enabled=False) == {"vogt"}
    assert found_by(identity, organisation="elsewhere") == set()
    assert found_by(identity, present=False) == set()
    pages, after = [], "0"
    while after is not None:
        page = identity.get("/people", params={"limit": 3, "after": after}).json()
        pages += [one["login"] for one in page["people"]]
        after = page["cursor"]
    assert len(pages) == len(everybody)
    assert set(pages) == everybody


def test_one_person_and_the_groups_they_count_in(identity):
    """Through other groups too."""
    anna = person_called(identity, ANNA)
    assert identity.get(f"/people/{anna['person']}").json() == anna
    assert {one["name"] for one in identity.get(f"/people/{anna['person']}/groups").json()["groups"]} == {
        "Bauamt",
        "Rathaus",
    }
    for path in ("/people/999999", "/people/999999/groups"):
        assert code_of(identity.get(path)) == (404, "not_found")
    assert identity.get("/people/999999/cards").json() == {"cards": [], "cursor": None}
    for wrong in ("/people/0", "/people?limit=501", "/people?after=x", "/people?text=%00", "/cards?state=lost"):
        assert code_of(identity.get(wrong)) == (422, "invalid"), wrong


def test_a_helpdesk_of_one_department_sees_its_people_and_their_cards_alone(office, identity, sabine):
    """Whatever is asked for: a list, one person, their groups, their cards, a card by its reference, a change."""
    seen = {one["person"]: one["login"] for one in sabine.get("/people", limit=500)["people"]}
    assert set(seen.values()) == set(OFFICE)
    assert {one["person"] for one in sabine.get("/cards", limit=500)["cards"]} == set(seen)
    for one in identity.get("/people", params={"limit": 500}).json()["people"]:
        if one["person"] in seen:
            continue
        assert sabine.get("/people", text=one["login"])["people"] == []
        assert code_of(sabine.ask("GET", f"/people/{one['person']}")) == (404, "not_found")
        assert code_of(sabine.ask("GET", f"/people/{one['person']}/groups")) == (404, "not_found")
        assert sabine.get(f"/people/{one['person']}/cards")["cards"] == []
        for foreign in identity.get(f"/people/{one['person']}/cards").json()["cards"]:
            assert code_of(sabine.ask("GET", f"/cards/{foreign['card']}")) == (404, "not_found")
            refused = sabine.ask("POST", f"/cards/{foreign['card']}/state", json=lost(), headers=key())
            assert code_of(refused) == (404, "not_found")
    assert found_by(identity) == {citizen.login for citizen in people.CITIZENS}


def test_whoever_is_bound_to_places_sees_nobody_and_no_card(office, identity):
    """A building has doors, not people: a role or an account of a building lists none of either."""
    anna = Desk(office.visitor(ANNA))
    with account(office, "annexe-identity") as annexe:
        assert anna.get("/people")["people"] == annexe.get("/people").json()["people"] == []
        assert anna.get("/cards")["cards"] == annexe.get("/cards").json()["cards"] == []
        (own,) = cards_of(identity, ANNA)
        assert code_of(anna.ask("GET", f"/cards/{own['card']}")) == (404, "not_found")
        assert code_of(change(annexe, own["card"], lost())) == (404, "not_found")


@pytest.mark.parametrize(
    "reaches",
    [
        (),
        (EVERYWHERE,),
        (Reach(units=frozenset({UNIT})),),
        (Reach(organisations=frozenset({"elsewhere"})),),
        (Reach(organisations=frozenset({"elsewhere"})), Reach(units=frozenset({UNIT, "IT"}))),
        (Reach(organisations=frozenset({"musterstadt"}), units=frozenset()),),
        (Reach(zones=frozenset({"bauamt"})), Reach(points=frozenset({"bauamt.aussen"}))),
        (Reach(zones=frozenset({"bauamt"}), units=frozenset({UNIT})),),
        (Reach(zones=frozenset({"bauamt"}), organisations=frozenset({"musterstadt"})),),
    ],
)
def test_the_store_understands_a_reach_as_it_is_meant(office, reaches):
    """Person by person, as `Reach.holds_person` says; what is bound to places lists nobody."""
    lists = [reach for reach in reaches if not reach.of_places]
    chosen = sa.select(person.c.id, person.c.department, organisation.c.code).join(organisation)
    with office.files.stores() as stores, read(stores.state) as connection:
        found = set(connection.execute(chosen.where(within(reaches))).scalars())
        rows = connection.execute(chosen).all()
    assert found == {row.id for row in rows if any(reach.holds_person(row.code, row.department) for reach in lists)}


def lost() -> dict[str, str]:
    return {"state": "revoked", "reason": "lost"}


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def change(client: httpx2.Client, reference: str, body: dict[str, Any], **headers: str) -> httpx2.Response:
    return client.post(f"/cards/{reference}/state", json=body, headers=headers or key())


def test_a_card_is_suspended_for_a_time_activated_and_told_what_comes_next(office, identity):
    """Once for each key; the running service sees it at once; what a card is known by is never told."""
    (own,) = cards_of(identity, ANNA)
    path = f"/cards/{own['card']}"
    whole = identity.get(path).json()
    assert whole["line"] == own
    assert whole["known_as"] == ["canteen", "door", "piv", "printer", "timeclock"]
    assert set(whole["next_states"]) == {"suspended", "revoked", "expired"}
    until_ms = int(time.time() * 1_000) + DAY_MS
    body = {"state": "suspended", "reason": "forgotten", "suspended_until_ms": until_ms}
    twice = key()
    revision = office.service.health()["snapshot_revision"]
    answer = change(identity, own["card"], body, **twice)
    assert answer.status_code == 200, answer.text
    assert answer.json()["line"].items() >= body.items()
    assert answer.json()["next_states"] == {"active": [], "revoked": ["lost", "stolen", "damaged", "left", "replaced"]}
    assert office.service.health()["snapshot_revision"] > revision
    assert [one["card"] for one in identity.get("/cards", params={"state": "suspended"}).json()["cards"]].count(
        own["card"]
    ) == 1
    assert change(identity, own["card"], {"state": "active"}).json()["line"] == own
    # The key's answer is what it was; the card is not suspended again.
    assert change(identity, own["card"], body, **twice).json() == answer.json()
    assert identity.get(path).json() == whole
    assert code_of(change(identity, own["card"], lost(), **twice)) == (409, "key_reused")
    with office.files.stores() as stores, read(stores.state) as connection:
        numbers = [bytes(number).hex() for number in connection.execute(sa.select(credential.c.key)).scalars()]
    assert not any(number in identity.get("/cards").text + identity.get(path).text for number in numbers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"state": "revoked"}, 409),
        ({"state": "revoked", "reason": "forgotten"}, 409),
        ({"state": "active"}, 409),
        ({"state": "destroyed"}, 409),
        ({"state": "suspended", "reason": "missing", "suspended_until_ms": 1}, 409),
        ({"state": "revoked", "reason": "lost", "suspended_until_ms": 2_000_000_000_000}, 409),
        ({"state": "burnt"}, 422),
        ({"state": "suspended", "reason": "missing", "by": "me"}, 422),
    ],
)
def test_a_step_that_no_card_takes_is_refused(identity, body, status):
    """By the life cycle, the reasons and the end; the card stays."""
    (own,) = cards_of(identity, ANNA)
    assert change(identity, own["card"], body).status_code == status
    assert identity.get(f"/cards/{own['card']}").json()["line"] == own


def test_a_change_needs_a_key_and_a_card(identity):
    """Without a key nothing is done; there is no card of another name."""
    (own,) = cards_of(identity, ANNA)
    assert code_of(identity.post(f"/cards/{own['card']}/state", json=lost())) == (422, "invalid")
    assert code_of(change(identity, str(uuid.uuid4()), lost())) == (404, "not_found")


def test_cards_are_listed_by_what_they_are_now(office, identity):
    """A suspension that has ended is none; pages hold each card once."""
    (missing,) = cards_of(identity, "weber")

    def references(**wanted: Any) -> list[str]:
        return [one["card"] for one in identity.get("/cards", params=wanted).json()["cards"]]

    assert missing["card"] in references(state="suspended")
    assert missing["card"] not in references(state="active")
    with office.files.stores() as stores, write(stores.state) as connection:
        ended = sa.update(card).where(card.c.reference == missing["card"])
        connection.execute(ended.values(suspended_until_ms=1_000))
    assert missing["card"] in references(state="active")
    assert missing["card"] not in references(state="suspended")
    assert identity.get(f"/cards/{missing['card']}").json()["line"]["state"] == "active"
    with office.files.stores() as stores, write(stores.state) as connection:
        connection.execute(ended.values(suspended_until_ms=None))
    first = identity.get("/cards", params={"limit": 2}).json()
    rest = identity.get("/cards", params={"after": first["cursor"], "limit": 500}).json()
    assert [one["card"] for one in first["cards"] + rest["cards"]] == references(limit=500)
    assert references(person=missing["person"]) == [missing["card"]]


async def test_agents_are_seen_and_locked_where_they_serve(office):
    """Online or not, with their points; a building's administrator locks no agent that serves other buildings."""
    mehmet, anna = Desk(office.visitor(MEHMET)), Desk(office.visitor(ANNA))
    async with office.agent():
        wait_until(lambda: {one["agent"]: one for one in mehmet.get("/agents")["agents"]}[AGENT]["online"])
        agents = {one["agent"]: one for one in mehmet.get("/agents")["agents"]}
        assert set(agents) == {AGENT, OTHER_AGENT}
        assert not agents[OTHER_AGENT]["online"]
        assert {"bauamt.aussen", "serverraum.aussen"} <= set(agents[AGENT]["points"])
        (mine,) = anna.get("/agents")["agents"]
        assert (mine["agent"], mine["points"]) == (AGENT, ["bauamt.aussen", "bauamt.innen"])
        body = {"reason": "Probe"}
        assert code_of(anna.ask("POST", f"/agents/{AGENT}/lock", json=body)) == (403, "foreign_point")
        assert code_of(anna.ask("POST", f"/agents/{OTHER_AGENT}/lock", json=body)) == (404, "not_found")
        assert code_of(mehmet.ask("POST", "/agents/nobody/lock", json=body)) == (404, "not_found")
        assert code_of(mehmet.ask("POST", f"/agents/{AGENT}/lock", json={})) == (422, "invalid")
        locked = mehmet.ask("POST", f"/agents/{AGENT}/lock", json=body)
        assert (locked.status_code, locked.json()["locked"]) == (200, True)
        wait_until(lambda: AGENT not in office.service.health()["agents_online"])
        assert mehmet.ask("POST", f"/agents/{AGENT}/unlock", json=body).json()["locked"] is False


async def test_an_auditor_reads_what_came_of_taps_and_not_whose_card_it_was(office):
    """One use at a time, by pages, of the points within reach."""
    mehmet, anna = Desk(office.visitor(MEHMET)), Desk(office.visitor(ANNA))
    async with office.agent() as agent:
        for point in ("serverraum.aussen", "bauamt.aussen"):
            for _ in range(2):
                await agent.tap(office.card("uid"), point)
    office.service.recorded()
    taps = mehmet.get("/taps", use="door", limit=500)["taps"]
    assert [tap["point"] for tap in taps][-4:] == ["serverraum.aussen"] * 2 + ["bauamt.aussen"] * 2
    assert {name for tap in taps for name in tap} == {
        *("cursor", "at_ms", "point", "permit", "reason", "level", "method", "detail"),
    }
    assert {(tap["reason"], tap["detail"]) for tap in taps[-4:]} == {("card_unsupported", "class_not_supported")}
    page = mehmet.get("/taps", use="door", limit=1)
    assert mehmet.get("/taps", use="door", after=page["cursor"], limit=500)["taps"] == taps[1:]
    assert mehmet.get("/taps", use="door", permit=True)["taps"] == [tap for tap in taps if tap["permit"]]
    assert {tap["point"] for tap in anna.get("/taps", use="door")["taps"]} == {"bauamt.aussen"}
    assert mehmet.get("/taps", use="canteen")["taps"] == []
    assert code_of(mehmet.ask("GET", "/taps")) == (422, "invalid")


def test_the_directories_are_told_as_operations_see_them(office):
    """Connected, proved current, with as many people as there are."""
    (directory,) = Desk(office.visitor(MEHMET)).get("/directories")["directories"]
    assert directory["connected"]
    assert directory["people"] == len(people.CITIZENS)
    assert directory["age_ms"] is not None


def test_what_is_described_is_what_is_there(office):
    """Each resource stands in the description, its bodies closed to what is not asked for."""
    described = httpx2.get(office.service.url + "/openapi.json", timeout=20).json()
    for path in (
        "people",
        "cards",
        "points",
        "zones",
        "schedules",
        "special-days",
        "point-classes",
        "grants",
        "agents",
    ):
        assert f"/api/v1/{path}" in described["paths"]
    for name in ("StateBody", "ZoneBody", "PointBody", "ScheduleBody", "GrantBody", "TimesBody", "PointClassBody"):
        assert described["components"]["schemas"][name]["additionalProperties"] is False
