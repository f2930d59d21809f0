# SPDX-License-Identifier: EUPL-1.2
"""Zones, points, schedules and grants over the API: read, changed, refused, and never beyond whom they belong to."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, Desk, account, desks
from support.service import directory_in_thread
from support.waiting import wait_until

from cardservice.access.model.territory import Holder, Target, Territory
from cardservice.access.plan.service import Plans
from cardservice.access.record import STREAM
from cardservice.clock import SystemClock
from cardservice.database import read
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from cardservice.places import OPTION_RULES
from cardservice.web.reach import EVERYWHERE, Reach

KINDS = ("zones", "points", "point-classes", "schedules", "special-days")


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("office")
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", database_url, **desks(folder))
        yield made
        made.close()


@pytest.fixture
def planner(office: City) -> Iterator[httpx2.Client]:
    with account(office, "planner") as client:
        yield client


@pytest.fixture
def anna(office: City) -> Desk:
    return Desk(office.visitor(ANNA))


def exported(office: City) -> str:
    with office.files.stores() as stores:
        return Plans(stores.state, SystemClock(), OPTION_RULES).export()


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def all_of(client: httpx2.Client, path: str, name: str, limit: int, **wanted: Any) -> list[Any]:
    """Return what pages of this length hold together."""
    found: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(path, params={"limit": limit, **wanted, **after}).json()
        assert len(page[name]) <= limit
        found += page[name]
        if page["cursor"] is None:
            return found
        after = {"after": page["cursor"]}


@pytest.mark.parametrize("kind", KINDS)
def test_pages_hold_each_entry_once_and_one_entry_is_what_the_list_says(office, planner, kind):
    """Whatever the length of a page; with an ETag that stays while nothing changes."""
    name = kind.replace("-", "_")
    whole = all_of(planner, f"/{kind}", name, 500)
    assert all_of(planner, f"/{kind}", name, 3) == whole
    assert [one["code"] for one in whole] == sorted(one["code"] for one in whole)
    for one in whole[:3]:
        answer = planner.get(f"/{kind}/{one['code']}")
        assert answer.json() == one
        assert planner.get(f"/{kind}/{one['code']}").headers["etag"] == answer.headers["etag"]
    assert code_of(planner.get(f"/{kind}/nowhere")) == (404, "not_found")


def test_what_is_read_can_be_stored_again_and_changes_nothing(office, planner):
    """Every entry of the city, body for body: the exported file stays the same bytes, and no tap sees a new city."""
    before, revision = exported(office), office.service.health()["snapshot_revision"]
    for kind in KINDS:
        for one in planner.get(f"/{kind}", params={"limit": 500}).json()[kind.replace("-", "_")]:
            path = f"/{kind}/{one.pop('code')}"
            answer = planner.put(path, json=one, headers={"If-Match": planner.get(path).headers["etag"]})
            assert answer.status_code == 200, answer.text
    assert exported(office) == before
    assert office.service.health()["snapshot_revision"] == revision


def test_an_annexe_from_nothing_to_its_first_grant_and_back(office, planner):
    """New entries of each kind, one on the other; used ones cannot go; in the end all is as before, line by line."""
    before = exported(office)
    hours = ["08:00-12:00", "13:00-16:30"]
    made = {
        "/special-days/anbau-tage": {"name": "Halbe Tage", "days": ["2026-12-24", "2026-12-31"]},
        "/schedules/anbau-zeit": {
            "name": "Anbau",
            "land": "NW",
            "monday": hours,
            "holiday": [],
            "special": [{"days": "anbau-tage", "hours": ["08:00-12:00"]}],
        },
        "/zones/anbau": {"name": "Anbau", "parent": "rathaus", "level": "card"},
        "/point-classes/anbau-tuer": {
            "name": "Tür im Anbau",
            "demands": [{"schedule": "anbau-zeit", "level": "card_pin", "people": 2}],
        },
        "/points/anbau.aussen": {
            "name": "Anbau, außen",
            "use": "door",
            "zone": "anbau",
            "point_class": "anbau-tuer",
            "options": {"escape_route": True},
        },
    }
    for path, body in made.items():
        answer = planner.put(path, json=body)
        assert answer.status_code == 201, (path, answer.text)
        assert answer.headers["etag"] == planner.get(path).headers["etag"]
        assert body.items() <= answer.json().items()
    wait_until(lambda: office.service.service.city.snapshot.point("anbau.aussen"))
    body = {"group": "Bauamt", "point": "anbau.aussen", "schedule": "anbau-zeit"}
    twice = key()
    grant = planner.post("/grants", json=body, headers=twice)
    assert grant.status_code == 201, grant.text
    assert planner.post("/grants", json=body, headers=twice).json() == grant.json()
    assert code_of(planner.post("/grants", json=body | {"schedule": None}, headers=twice)) == (409, "key_reused")
    (found,) = planner.get("/grants", params={"point": "anbau.aussen"}).json()["grants"]
    assert found == grant.json()
    for path in reversed(made):
        tag = {"If-Match": planner.get(path).headers["etag"]}
        assert code_of(planner.delete(path, headers=tag)) == (409, "conflict"), path
    path = f"/grants/{found['grant']}"
    assert planner.delete(path, headers={"If-Match": planner.get(path).headers["etag"]}).status_code == 204
    for path in reversed(made):
        assert planner.delete(path, headers={"If-Match": planner.get(path).headers["etag"]}).status_code == 204, path
    assert exported(office) == before
    lines = [json.loads(row.payload) for row in _lines(office) if "anbau" in row.payload]
    assert [line["done"] for line in lines] == ["added"] * 6 + ["removed"] * 6
    assert all(line["request"] for line in lines)
    assert not any("planner" in row.payload for row in _lines(office))
    with office.files.stores() as stores:
        verify(stores.record)


def _lines(office: City) -> list[Any]:
    office.service.recorded()
    return [row for row in office.files.rows(journal_entry) if row.stream == STREAM and "model_changed" in row.payload]


def test_nobodys_change_is_lost(office, planner):
    """Without the ETag, with an old one, or for what is gone: refused. A key is needed for what is new and unnamed."""
    path = "/zones/technik"
    seen = planner.get(path)
    body = {"name": "Technikräume", "parent": "rathaus"}
    assert code_of(planner.put(path, json=body)) == (428, "match_needed")
    assert code_of(planner.delete(path)) == (428, "match_needed")
    changed = planner.put(path, json=body, headers={"If-Match": seen.headers["etag"]})
    assert (changed.status_code, changed.json()["name"]) == (200, "Technikräume")
    assert code_of(planner.put(path, json=body, headers={"If-Match": seen.headers["etag"]})) == (
        412,
        "changed_meanwhile",
    )
    assert code_of(planner.put("/zones/neu", json=body, headers={"If-Match": '"x"'})) == (412, "changed_meanwhile")
    back = seen.json()
    back.pop("code")
    assert planner.put(path, json=back, headers={"If-Match": changed.headers["etag"]}).json() == seen.json()
    assert code_of(planner.post("/grants", json={"group": "IT", "zone": "technik"})) == (422, "invalid")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/zones/neu", {"name": "x", "parent": "nowhere"}, 404),
        ("/zones/neu", {"name": "x", "parent": "neu"}, 409),
        ("/zones/neu", {"name": "x", "level": "strong"}, 422),
        ("/zones/neu", {"name": "x\n"}, 409),
        ("/zones/neu", {"name": "x", "owner": "me"}, 422),
        ("/zones/Neu", {"name": "x"}, 422),
        ("/schedules/neu", {"name": "x", "land": "XX"}, 409),
        ("/schedules/neu", {"name": "x", "monday": ["18:00-07:00"]}, 409),
        ("/schedules/neu", {"name": "x", "special": [{"days": "nowhere", "hours": []}]}, 404),
        ("/special-days/neu", {"name": "x", "days": ["2026-02-30"]}, 422),
        ("/point-classes/neu", {"name": "x", "people": 3}, 409),
        ("/point-classes/neu", {"name": "x", "methods": ["desfire", "desfire"]}, 409),
        ("/points/neu", {"name": "x", "use": "door", "zone": "nowhere", "point_class": "office"}, 404),
        ("/points/neu", {"name": "x", "use": "door", "zone": "rathaus", "point_class": "nowhere"}, 404),
        ("/points/neu", {"name": "x", "use": "lift", "zone": "rathaus", "point_class": "office"}, 422),
        (
            "/points/neu",
            {"name": "x", "use": "door", "zone": "rathaus", "point_class": "office", "options": {"melody": 1}},
            409,
        ),
        (
            "/points/neu",
            {"name": "x", "use": "door", "zone": "rathaus", "point_class": "office", "time_zone": "Mars"},
            409,
        ),
        ("/grants", {"zone": "rathaus"}, 409),
        ("/grants", {"group": "IT"}, 409),
        ("/grants", {"group": "IT", "login": "weber", "zone": "rathaus"}, 409),
        ("/grants", {"group": "Nobody", "zone": "rathaus"}, 404),
        ("/grants", {"login": "no\u0000body", "zone": "rathaus"}, (404, 409)),
        ("/grants", {"group": "IT", "zone": "nowhere"}, 404),
        ("/grants", {"group": "IT", "zone": "rathaus", "valid_until_ms": -1}, 422),
        ("/grants", {"group": "IT", "zone": "rathaus", "schedule": "nowhere"}, 404),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_stored(office, planner, path, body, status):
    """As in a file: by name, with what is allowed, and all or nothing."""
    before = exported(office)
    method = "POST" if path == "/grants" else "PUT"
    answer = planner.request(method, path, json=body, headers=key())
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert exported(office) == before


def test_a_zone_never_lies_in_itself_and_its_level_holds_for_every_point(office, planner):
    """Neither by the way around, nor by raising the level over points that cannot give it."""
    tag = {"If-Match": planner.get("/zones/rathaus").headers["etag"]}
    circle = planner.put("/zones/rathaus", json={"name": "Rathaus", "parent": "bauamt"}, headers=tag)
    assert code_of(circle) == (409, "conflict")
    strict = planner.put(
        "/zones/rathaus", json={"name": "Rathaus", "parent": "stadt", "level": "card_pin"}, headers=tag
    )
    assert code_of(strict) == (409, "conflict")
    assert "demands" in strict.json()["detail"]


def test_a_grant_keeps_its_number_when_its_hours_change(office, planner):
    """Whom and what it is about cannot change; a block is a block."""
    body = {"login": "weber", "zone": "technik", "effect": "block", "valid_until_ms": 2_000_000_000_000}
    block = planner.post("/grants", json=body, headers=key())
    assert block.status_code == 201, block.text
    path = f"/grants/{block.json()['grant']}"
    assert block.json().items() >= body.items()
    times = {"schedule": "buerozeit", "valid_from_ms": 1_900_000_000_000}
    changed = planner.put(path, json=times, headers={"If-Match": block.headers["etag"]})
    assert changed.json() == block.json() | times | {"valid_until_ms": None}
    assert code_of(planner.put(path, json={"zone": "rathaus"}, headers={"If-Match": "*"})) == (422, "invalid")
    for wanted in ({"effect": "block"}, {"login": "weber"}, {"zone": "technik"}):
        assert changed.json() in planner.get("/grants", params=wanted).json()["grants"]
    assert changed.json() not in planner.get("/grants", params={"group": "IT"}).json()["grants"]
    assert planner.delete(path, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    assert code_of(planner.get(path)) == (404, "not_found")


def test_whoever_is_bound_to_a_building_sees_that_and_nothing_else(office, planner, anna):
    """Zones, points and grants of it; of one point alone the same. Everything else is not there for them."""
    assert {one["code"] for one in anna.get("/zones")["zones"]} == {"bauamt"}
    points = {one["code"] for one in anna.get("/points", limit=500)["points"]}
    assert points == {"bauamt.aussen", "bauamt.innen"}
    grants = anna.get("/grants", limit=500)["grants"]
    assert grants
    assert {one["point"] or one["zone"] for one in grants} <= points | {"bauamt"}
    for whole, name in (("zones", "code"), ("points", "code"), ("grants", "grant")):
        mine = {one[name] for one in anna.get(f"/{whole}", limit=500)[whole]}
        for one in all_of(planner, f"/{whole}", whole, 500):
            if one[name] not in mine:
                assert code_of(anna.ask("GET", f"/{whole}/{one[name]}")) == (404, "not_found")
    with account(office, "annexe-planner") as annexe:
        assert [one["code"] for one in annexe.get("/points").json()["points"]] == ["bauamt.aussen"]
        assert annexe.get("/zones").json() == {"zones": [], "cursor": None}
        assert {one["point"] for one in annexe.get("/grants").json()["grants"]} == {"bauamt.aussen"}


FOREIGN = [
    ("PUT", "/zones/technik", {"name": "Meins", "parent": "bauamt"}),
    ("PUT", "/zones/neu", {"name": "Neu"}),
    ("PUT", "/zones/neu", {"name": "Neu", "parent": "rathaus"}),
    ("PUT", "/zones/bauamt", {"name": "Bauamt", "parent": "technik"}),
    ("DELETE", "/zones/technik", None),
    (
        "PUT",
        "/points/serverraum.aussen",
        {"name": "x", "use": "door", "zone": "bauamt", "point_class": "office"},
    ),
    (
        "PUT",
        "/points/bauamt.aussen",
        {"name": "x", "use": "door", "zone": "technik", "point_class": "office", "agent": "rathaus"},
    ),
    (
        "PUT",
        "/points/bauamt.neu",
        {"name": "x", "use": "door", "zone": "bauamt", "point_class": "office", "agent": "rathaus"},
    ),
    ("DELETE", "/points/serverraum.aussen", None),
    ("PUT", "/schedules/buerozeit", {"name": "Immer"}),
    ("PUT", "/point-classes/high", {"name": "Offen", "level": "none"}),
    ("PUT", "/special-days/neu", {"name": "Frei", "days": []}),
    ("POST", "/grants", {"group": "Bauamt", "zone": "technik"}),
    ("POST", "/grants", {"group": "Bauamt", "zone": "rathaus"}),
    ("POST", "/grants", {"group": "Bauamt", "use": "door"}),
    ("POST", "/grants", {"group": "Bauamt", "point": "serverraum.aussen"}),
]


@pytest.mark.parametrize(("method", "path", "body"), FOREIGN)
def test_whoever_is_bound_to_a_building_changes_nothing_else(office, anna, method, path, body):
    """Nothing that lies elsewhere, that moves there, or that points everywhere use; the same for a bound account."""
    before = exported(office)
    options = {"headers": {"If-Match": "*"} | key()} | ({} if body is None else {"json": body})
    assert code_of(anna.ask(method, path, **options)) == (403, "foreign_point")
    with account(office, "annexe-planner") as annexe:
        assert code_of(annexe.request(method, path, **options)) == (403, "foreign_point")
    assert exported(office) == before


def test_whoever_is_bound_to_a_building_changes_that(office, planner, anna):
    """A point's name, a zone inside, a grant at its door; what is foreign stays theirs who have it."""
    before = exported(office)
    seen = anna.ask("GET", "/points/bauamt.innen")
    renamed = seen.json() | {"name": "Bauamt, drinnen"}
    code = renamed.pop("code")
    tag = {"If-Match": seen.headers["etag"]}
    changed = anna.ask("PUT", f"/points/{code}", json=renamed, headers=tag)
    assert (changed.status_code, changed.json()["name"]) == (200, "Bauamt, drinnen")
    inner = anna.ask("PUT", "/zones/bauamt-archiv", json={"name": "Archiv", "parent": "bauamt"})
    assert inner.status_code == 201, inner.text
    grant = anna.ask("POST", "/grants", json={"group": "IT", "point": "bauamt.aussen"}, headers=key())
    assert grant.status_code == 201, grant.text
    foreign = planner.get("/grants", params={"point": "serverraum.aussen"}).json()["grants"][0]
    assert code_of(anna.ask("DELETE", f"/grants/{foreign['grant']}", headers={"If-Match": "*"})) == (404, "not_found")
    path = f"/grants/{grant.json()['grant']}"
    assert anna.ask("DELETE", path, headers={"If-Match": grant.headers["etag"]}).status_code == 204
    assert anna.ask("DELETE", "/zones/bauamt-archiv", headers={"If-Match": inner.headers["etag"]}).status_code == 204
    renamed["name"] = seen.json()["name"]
    tag = {"If-Match": changed.headers["etag"]}
    assert anna.ask("PUT", f"/points/{code}", json=renamed, headers=tag).json() == seen.json()
    assert exported(office) == before


@pytest.mark.parametrize(
    ("target", "holder", "held"),
    [
        (Target("bauamt.aussen", "musterstadt", "bauamt"), None, True),
        (Target("bauamt.aussen", "musterstadt", "bauamt"), Holder("musterstadt", "Bauamt"), True),
        (Target("bauamt.aussen", "musterstadt", "bauamt"), Holder("elsewhere", "IT"), False),
        (Target("bauamt.aussen", "musterstadt", "bauamt"), Holder("elsewhere", None), False),
        (Target(None, "musterstadt", "rathaus"), None, False),
        (Target("serverraum.aussen", "musterstadt", "technik"), Holder("musterstadt", "IT"), False),
        (Target(), None, False),
    ],
)
def test_one_right_has_to_hold_both_the_place_and_the_person(office, target, holder, held):
    """A right to a building of one organisation, and another elsewhere, are not together one to both."""
    reaches = (
        Reach(organisations=frozenset({"musterstadt"}), zones=frozenset({"bauamt"})),
        Reach(organisations=frozenset({"elsewhere"})),
    )
    with office.files.stores() as stores, read(stores.state) as connection:
        assert Territory(connection, reaches).holds_rule(target, holder) is held
        assert Territory(connection, (*reaches, EVERYWHERE)).holds_rule(target, holder)


def test_why_is_kept_sealed_and_is_no_part_of_what_is_stored(office, planner):
    """The reason of a change goes to the trace that the gate keeps, not into the entry nor into an open line."""
    path, why = "/zones/warum", "Umbau bei Familie Canary"
    new = planner.put(path, json={"name": "Warum", "parent": "rathaus", "reason": why})
    assert new.status_code == 201
    assert "reason" not in new.json()
    assert planner.delete(path, headers={"If-Match": new.headers["etag"]}).status_code == 204
    office.service.recorded()
    rows = [row for row in office.files.rows(journal_entry) if "zones.change" in row.payload]
    assert rows
    assert not any(why in row.payload for row in rows)


def test_two_who_change_at_once_are_one_after_the_other(office, planner):
    """Of changes that rest on the same ETag one comes through, whoever it is."""
    seen = planner.get("/zones/technik")
    body = seen.json()
    body.pop("code")
    tag = {"If-Match": seen.headers["etag"]}
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda n: planner.put("/zones/technik", json=body | {"name": f"T{n}"}, headers=tag), range(4))
        )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]
    last = {"If-Match": planner.get("/zones/technik").headers["etag"]}
    assert planner.put("/zones/technik", json=body, headers=last).json() == seen.json()


def test_a_till_and_a_role_that_is_not_meant_see_nothing_of_it(office):
    """By the table: a till's account, and an administrator who signed in long before a change."""
    with account(office, "till") as till:
        for kind in (*KINDS, "grants", "people", "cards", "agents", "taps", "directories"):
            assert code_of(till.get(f"/{kind}")) == (403, "foreign_use"), kind
    assert Desk(office.visitor(MEHMET)).get("/zones")["zones"]
