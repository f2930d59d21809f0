# SPDX-License-Identifier: EUPL-1.2
"""Pages of zones, points, schedules and grants: what a clerk may see and change, what is refused, what is undone."""

import html
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, SABINE, Desk, desks
from support.postgres import PostgresServer
from support.service import directory_in_thread
from support.signing_in import Visitor

from cardservice.access.model.refusals import faults_of
from cardservice.access.plan.rules import in_order, require_whole
from cardservice.access.plan.service import Plans
from cardservice.access.setup_parts import AccessSetup, ZoneSetup
from cardservice.access.store import MAX_ZONE_DEPTH
from cardservice.clock import SystemClock
from cardservice.errors import Conflict
from cardservice.journal.store import journal_entry
from cardservice.places import OPTION_RULES

# Sabine helps people of the building office, and here she looks after the buildings too.
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
FORMS = re.compile(r'<form method="(?:get|post)" action="([^"]+)">(.*?)</form>', re.DOTALL)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with running(tmp_path_factory.mktemp("office")) as made:
        yield made


@contextmanager
def running(folder: Path, database_url: str | None = None) -> Iterator[City]:
    settings = {name: dict(section) for name, section in desks(folder).items()}
    settings[""]["roles"] = [*settings[""]["roles"], {"role": "facility", "group": "Bürgerbüro"}]
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", database_url, **settings)
        yield made
        made.close()


@pytest.fixture
def mehmet(office: City) -> Visitor:
    """He administers everything."""
    return office.visitor(MEHMET)


@pytest.fixture
def anna(office: City) -> Visitor:
    """She administers the zone `bauamt`."""
    return office.visitor(ANNA)


def exported(office: City) -> str:
    with office.files.stores() as stores:
        return Plans(stores.state, SystemClock(), OPTION_RULES).export()


def lines_of_changes(office: City) -> int:
    return sum("model_changed" in row.payload for row in office.files.rows(journal_entry))


def page(visitor: Visitor, path: str, **fields: str) -> str:
    """Return what a page says in English."""
    answer = visitor.get(f"{path}?{urlencode(fields)}" if fields else path, headers={"Accept-Language": "en"})
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


def form_in(text: str, action: str) -> dict[str, str]:
    """Return the hidden fields of the last form of a page that goes there."""
    found = [inside for address, inside in FORMS.findall(text) if address == action]
    assert found, (action, text)
    return {name: html.unescape(value) for name, value in HIDDEN.findall(found[-1])}


def saved(visitor: Visitor, path: str, text: str) -> httpx2.Response:
    """Press "Save" on a page with a preview."""
    found = [inside for address, inside in FORMS.findall(text) if address == path and "form_token" in inside]
    assert found, text
    fields = {name: html.unescape(value) for name, value in HIDDEN.findall(found[0])}
    return visitor.post(path, data=fields, headers={"Accept-Language": "en"})


def previewed(visitor: Visitor, path: str, **fields: str) -> str:
    """Type into a form as it stands and look at the effect."""
    marks = form_in(page(visitor, path), path).get("marks")
    rest = {} if marks is None else {"marks": marks}
    return page(visitor, path, step="preview", **rest, **fields)


GRANT = {"effect": "grant", "group": "IT", "point": "bauamt.aussen", "schedule": "buerozeit"}


def granted(visitor: Visitor, **fields: str) -> str:
    """Add a grant by the pages; return the address of its page."""
    answer = saved(visitor, "/access/new/grant", previewed(visitor, "/access/new/grant", **GRANT, **fields))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"].partition("?")[0])


def removed(visitor: Visitor, address: str) -> str:
    """Remove a grant by the pages; return where that leads."""
    answer = saved(visitor, f"{address}/remove", page(visitor, f"{address}/remove"))
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_a_preview_counts_people_and_stores_nothing(office, mehmet):
    """What is shown is what the change does: no row, no line in the journal, no new city before it is saved."""
    before, lines = exported(office), lines_of_changes(office)
    text = previewed(mehmet, "/access/new/grant", **GRANT)
    assert "May pass who could not before: <strong>1 person</strong>" in text
    assert "Nobody gains or loses" in previewed(mehmet, "/access/zones/bauamt/change", name="Anders", parent="rathaus")
    assert "May no longer pass" in page(mehmet, "/access/grants/1/end")
    assert (exported(office), lines_of_changes(office)) == (before, lines)


def test_a_grant_is_added_ended_and_had_back_as_it_was(office, mehmet):
    """End and undo, remove and undo: each by one button, and in the end the city is the one before, line by line."""
    before = exported(office)
    address = granted(mehmet)
    with_grant = exported(office)
    assert with_grant != before
    ended = saved(mehmet, f"{address}/end", page(mehmet, f"{address}/end")).headers["location"]
    assert exported(office) != with_grant
    undo = form_in(page(mehmet, ended), f"{address}/change")
    back = mehmet.post(f"{address}/change", data=undo)
    assert back.headers["location"] == f"{address}?done=restored"
    assert exported(office) == with_grant
    offer = form_in(page(mehmet, removed(mehmet, address)), "/access/grants/restore")
    assert exported(office) == before
    again = [mehmet.post("/access/grants/restore", data=offer) for _ in range(2)]
    assert len({answer.headers["location"] for answer in again}) == 1
    assert exported(office) == with_grant
    removed(mehmet, again[0].headers["location"].partition("?")[0])
    assert exported(office) == before


def test_what_a_page_offers_to_undo_comes_from_this_session_alone(office, mehmet, anna):
    """A link from elsewhere shows no offer, and nobody else's offer or a changed one is taken."""
    before = exported(office)
    address = granted(mehmet)
    location = removed(mehmet, address)
    offer = form_in(page(mehmet, location), "/access/grants/restore")
    assert "/access/grants/restore" not in page(anna, location)
    assert "/access/grants/restore" not in page(mehmet, location.replace("bauamt", "technik"))
    stolen = offer | {"form_token": anna.form_token()}
    assert anna.post("/access/grants/restore", data=stolen).status_code == 422
    forged = offer | {"offer": offer["offer"].replace("IT", "Rathaus")}
    assert mehmet.post("/access/grants/restore", data=forged).status_code == 422
    assert exported(office) == before


def test_a_day_is_meant_with_its_end_and_an_unchanged_one_keeps_its_hour(office, mehmet):
    """Until and including a day: the grant ends when the day does in Germany; looking at the form moves nothing."""
    address = granted(mehmet, valid_from="2026-12-01", valid_until="24.12.2026")
    number = int(address.rpartition("/")[2])
    marks = form_in(page(mehmet, f"{address}/change"), f"{address}/change")
    api = mehmet.get(f"/api/v1/grants/{number}").json()
    assert (api["valid_from_ms"], api["valid_until_ms"]) == (1_796_079_600_000, 1_798_153_200_000)
    fields = {"schedule": "buerozeit", "valid_from": "2026-12-01", "valid_until": "2026-12-24"}
    text = page(mehmet, f"{address}/change", step="preview", marks=marks["marks"], **fields)
    assert "The form says what is stored already." in text
    removed(mehmet, address)


def test_a_form_that_rests_on_what_somebody_changed_meanwhile_says_what_it_is_now(office, mehmet, anna):
    """Nothing is stored over somebody else's change; what was typed stays; the same form twice is one change."""
    path = "/access/zones/bauamt/change"
    hers = previewed(anna, path, name="Bauverwaltung", parent="rathaus")
    his = previewed(mehmet, path, name="Bauordnung", parent="rathaus")
    assert [saved(anna, path, hers).status_code for _ in range(2)] == [303, 303]
    refused = saved(mehmet, path, his)
    assert refused.status_code == 200
    told = refused.text
    assert "Somebody changed it meanwhile. Nothing was stored." in told
    assert re.search(r"<th scope=\"row\">Name</th><td>Bauverwaltung</td><td>Bauordnung</td>", told)
    marks = form_in(told, path)["marks"]
    again = page(mehmet, path, step="preview", marks=marks, name="Bauamt", parent="rathaus")
    assert saved(mehmet, path, again).status_code == 303
    stale = mehmet.post(
        "/access/grants/1/end", data={"form_token": mehmet.form_token()}, headers={"Accept-Language": "en"}
    )
    assert "Somebody changed it meanwhile" in stale.text


@pytest.mark.parametrize(
    "case",
    [
        ("/access/new/zone", {"code": "Ä", "name": "x"}, "code", "code of small letters"),
        ("/access/new/zone", {"code": "bauamt", "name": "x"}, "code", "taken already"),
        ("/access/new/zone", {"code": "neu", "name": ""}, "name", "a name of up to 200"),
        ("/access/new/zone", {"code": "neu", "name": "x", "parent": "nirgends"}, "parent", "nothing of this name"),
        ("/access/zones/rathaus/change", {"name": "x", "parent": "bauamt"}, "parent", "cannot lie in itself"),
        ("/access/zones/rathaus/change", {"name": "x", "level": "card_pin"}, "level", "accepts less than zone rathaus"),
        ("/access/points/bauamt.aussen/change", {"point_class": "keine"}, "point_class", "nothing of this name"),
        ("/access/points/bauamt.aussen/change", {"options": "escape_route = 3"}, "options", "refuses the options"),
        ("/access/points/bauamt.aussen/change", {"options": "a = b"}, "options", "one option in a line"),
        ("/access/points/bauamt.aussen/change", {"time_zone": "Mars/Nord"}, "time_zone", "Europe/Berlin"),
        ("/access/points/bauamt.aussen/change", {"exception_until": "2027-01-01"}, "exception_reason", "Please give a"),
        ("/access/schedules/buerozeit/change", {"name": "x", "monday": "18:00-07:00"}, "monday", "write hours as"),
        ("/access/schedules/buerozeit/change", {"name": "x", "monday": "spät"}, "monday", "write hours as"),
        ("/access/schedules/buerozeit/change", {"name": "x", "land": "XX"}, "land", "choose a Land"),
        ("/access/new/special-days", {"code": "neu", "name": "x", "days": "bald"}, "days", "one day in a line"),
        ("/access/new/grant", {"group": "IT"}, "where", "choose one place"),
        ("/access/new/grant", {"group": "IT", "point": "bauamt.aussen", "zone": "stadt"}, "where", "choose one place"),
        ("/access/new/grant", {"point": "bauamt.aussen"}, "group", "name of one group"),
        ("/access/new/grant", {"group": "Niemand", "zone": "stadt"}, "group", "nothing of this name"),
        ("/access/new/grant", {"group": "IT", "point": "nirgends"}, "point", "nothing of this name"),
        ("/access/new/grant", {"group": "IT", "zone": "stadt", "schedule": "nie"}, "schedule", "nothing of this name"),
        ("/access/new/grant", {"person": "999999", "zone": "stadt"}, "person", "nobody of this number"),
        (
            "/access/new/grant",
            {"group": "IT", "zone": "stadt", "valid_until": "31.2.2027"},
            "valid_until",
            "give a day",
        ),
        (
            "/access/new/grant",
            {"group": "IT", "zone": "stadt", "valid_from": "2027-02-01", "valid_until": "2027-01-01"},
            *("valid_until", "not before the first"),
        ),
    ],
)
def test_a_refused_entry_says_why_at_its_field(office, mehmet, case):
    """Each sentence of the service arrives at the field it is about, and nothing is stored by saving all the same."""
    path, fields, place, sentence = case
    usual = {}
    if path.startswith("/access/points"):
        usual = {"name": "Bauamt, außen", "use": "door", "zone": "bauamt", "point_class": "office"}
    before = exported(office)
    text = previewed(mehmet, path, **(usual | fields))
    found = re.search(rf'<a href="#{place}">[^<]+</a>: ([^<]+)', text)
    assert found is not None, text
    assert sentence in found[1]
    assert 'id="preview"' not in text
    sent = usual | fields | {"form_token": mehmet.form_token(), "key": "0" * 32}
    sent |= {"marks": form_in(page(mehmet, path), path).get("marks", "")} if "/change" in path else {}
    assert mehmet.post(path, data=sent).status_code == 200
    assert exported(office) == before


def test_special_days_and_holidays_that_contradict_each_other_are_told_at_their_field(office, mehmet):
    """A day in two groups of one schedule, or a public holiday too; what is still in use does not go."""
    made: list[str] = []
    for code, day in (("tag-a", "2026-12-24"), ("tag-b", "2026-12-24"), ("tag-c", "2026-12-25")):
        fields = {"code": code, "name": code, "days": day}
        answer = saved(mehmet, "/access/new/special-days", previewed(mehmet, "/access/new/special-days", **fields))
        assert answer.status_code == 303
        made.append(f"/access/special-days/{code}")
    path, hours = "/access/schedules/buerozeit/change", {"name": "Bürozeit", "land": "NW", "monday": "07:00-18:00"}
    text = previewed(mehmet, path, **hours, **{"special.tag-a": "-", "special.tag-b": "08:00-12:00"})
    assert "a day may be in one group of a schedule only" in text
    text = previewed(mehmet, path, **hours, **{"special.tag-c": "-"})
    assert "2026-12-25 is one of tag-c and a public holiday there" in text
    fields = {"code": "mit-tagen", "name": "Mit Tagen", "special.tag-a": "-", "monday": "07:00-12:00, 13:00-18:00"}
    answer = saved(mehmet, "/access/new/schedule", previewed(mehmet, "/access/new/schedule", **fields))
    assert answer.headers["location"] == "/access/schedules/mit-tagen?done=saved"
    shown = page(mehmet, "/access/schedules/mit-tagen")
    assert "07:00–12:00, 13:00–18:00" in shown
    assert "It is still in use." in page(mehmet, f"{made[0]}/remove")
    for address in ("/access/schedules/mit-tagen", *made):
        assert saved(mehmet, f"{address}/remove", page(mehmet, f"{address}/remove")).status_code == 303


def test_a_delegated_administrator_sees_their_territory_alone(office, anna, mehmet):
    """Anna's zone and its points, the grants there; of everything else neither a line nor a page nor a form."""
    assert 'href="/access/zones/rathaus"' in page(mehmet, "/access/zones")
    zones, points, grants = (page(anna, f"/access/{name}") for name in ("zones", "points", "grants"))
    assert set(re.findall(r'href="/access/zones/([\w.-]+)"', zones)) == {"bauamt"}
    assert set(re.findall(r'href="/access/points/([\w.-]+)"', points)) == {"bauamt.aussen", "bauamt.innen"}
    assert set(re.findall(r'href="/access/points/([\w.-]+)"', grants)) == {"bauamt.aussen", "bauamt.innen"}
    assert "beyond what you may see, may count here too" in page(anna, "/access/grants", passing="bauamt.aussen")
    searched = anna.post("/access/grants/search", data={"form_token": anna.form_token(), "text": "serverraum"})
    assert "/access/grants/" not in searched.text.partition('id="rules"')[2].replace("/access/grants/search", "")
    foreign = re.findall(r'href="/access/grants/(\d+)"', page(mehmet, "/access/grants", point="technik.aussen"))
    foreign = foreign or re.findall(r'href="/access/grants/(\d+)"', page(mehmet, "/access/grants", group="IT"))
    addresses = ["/access/zones/rathaus", "/access/points/haupteingang.aussen", f"/access/grants/{foreign[0]}"]
    for address in addresses:
        for step in ("", "/change", "/remove"):
            assert anna.get(f"{address}{step}").status_code == 404, address + step
    assert "/access/points/haupteingang" not in anna.get("/access/choose/points?point=haupt").text


def test_a_delegated_administrator_changes_their_territory_alone(office, anna):
    """Moved out of it, granted beyond it, hours that others use: refused on the page and when saved all the same."""
    before, token = exported(office), {"form_token": anna.form_token()}
    path = "/access/points/bauamt.aussen/change"
    point = {"name": "Bauamt, außen", "use": "door", "zone": "rathaus", "point_class": "office", "agent": "rathaus"}
    tried = [(path, point), ("/access/new/grant", {"group": "IT", "zone": "rathaus"})]
    tried += [("/access/new/grant", {"group": "IT", "use": "door"}), ("/access/new/zone", {"code": "neu", "name": "N"})]
    for address, fields in tried:
        text = previewed(anna, address, **fields)
        assert "beyond what you may change" in text, address
        marks = form_in(page(anna, address), address).get("marks", "")
        held = fields | token | {"key": "1" * 32} | ({"marks": marks} if marks else {})
        sent = anna.post(address, data=held, headers={"Accept-Language": "en"})
        assert "beyond what you may change" in sent.text, address
    assert anna.post("/access/schedules/buerozeit/change", data=token | {"name": "x"}).status_code == 403
    assert anna.post("/access/zones/rathaus/remove", data=token).status_code in {200, 403, 404}
    assert exported(office) == before
    address = granted(anna)
    removed(anna, address)
    assert exported(office) == before


def test_who_looks_after_buildings_reads_and_is_offered_no_change(office):
    """Facility: zones, points and schedules, but neither grants nor a form; their links are not there either."""
    visitor = office.visitor(SABINE)
    for path in ("/access/zones", "/access/points", "/access/points/bauamt.aussen", "/access/schedules/buerozeit"):
        text = page(visitor, path)
        assert "/change" not in text
        assert "/access/new/" not in text
        assert 'href="/access/grants' not in text
    for path in ("/access/grants", "/access/new/grant", "/access/zones/bauamt/change", "/access/choose/person"):
        assert visitor.get(path).status_code == 403, path


def test_a_person_is_chosen_by_name_and_stands_in_no_address_by_it(office, mehmet, anna):
    """A number leads on; the journal has the login sealed; who may list nobody finds nobody."""
    before = exported(office)
    text = {"form_token": mehmet.form_token(), "text": "schmidt"}
    found = mehmet.post("/access/choose/person?point=bauamt.aussen", data=text).text
    address = html.unescape(str(re.findall(r'href="(/access/new/grant\?[^"]*person=\d+)"', found)[0]))
    assert "schmidt" not in address
    fields = dict(one.split("=") for one in address.partition("?")[2].split("&"))
    shown = previewed(mehmet, "/access/new/grant", **fields)
    answer = saved(mehmet, "/access/new/grant", shown)
    assert answer.status_code == 303, answer.text
    gone = removed(mehmet, answer.headers["location"].partition("?")[0])
    offer = form_in(page(mehmet, gone), "/access/grants/restore")
    assert "schmidt" not in json.dumps(offer)
    back = mehmet.post("/access/grants/restore", data=offer).headers["location"].partition("?")[0]
    assert "schmidt" in page(mehmet, back)
    removed(mehmet, back)
    assert exported(office) == before
    lines = [row.payload for row in office.files.rows(journal_entry) if "model_changed" in row.payload]
    assert lines
    assert not any("schmidt" in line for line in lines)
    hers = anna.post("/access/choose/person", data=text | {"form_token": anna.form_token()})
    assert "person=" not in hers.text


def test_a_point_says_where_each_demand_comes_from(office, mehmet):
    """Class, zone and exception: which counts, and that an exception spares the zones until it ends."""
    path, zone = "/access/points/bauamt.aussen/change", "/access/zones/bauamt/change"
    before = exported(office)
    fields = {"name": "Bauamt, außen", "use": "door", "zone": "bauamt", "point_class": "office", "agent": "rathaus"}
    fields |= {"reader": form_reader(mehmet, path)}
    exception = {"exception_until": "2030-01-01", "exception_reason": "Umbau"}
    other = "/access/points/bauamt.innen/change"
    inner = fields | {"name": "Bauamt, innen", "reader": form_reader(mehmet, other)}
    changed(mehmet, path, **fields, **exception)
    changed(mehmet, other, **inner, **exception)
    changed(mehmet, zone, name="Bauamt", parent="rathaus", level="card_pin")
    text = page(mehmet, "/access/points/bauamt.aussen")
    assert "not during the exception" in text
    assert "Umbau" in text
    changed(mehmet, zone, name="Bauamt", parent="rathaus")
    changed(mehmet, path, **fields)
    changed(mehmet, other, **inner)
    assert exported(office) == before


def changed(visitor: Visitor, path: str, **fields: str) -> None:
    assert saved(visitor, path, previewed(visitor, path, **fields)).status_code == 303, path


def form_reader(visitor: Visitor, path: str) -> str:
    found = re.search(r'id="reader" name="reader" type="text" value="([^"]*)"', page(visitor, path))
    assert found is not None
    return found[1]


def test_the_whole_model_is_a_file_for_whoever_may_see_all_of_it(office, mehmet, anna):
    """The bytes of the command line, with a line in the journal; nobody has it who sees a part."""
    assert 'href="/access/model.toml"' in page(mehmet, "/access/zones")
    assert 'href="/access/model.toml"' not in page(anna, "/access/zones")
    before = len(office.files.rows(journal_entry))
    assert anna.get("/access/model.toml").status_code == 403
    answer = mehmet.get("/access/model.toml")
    assert answer.text == exported(office)
    (line,) = [row.payload for row in office.files.rows(journal_entry)[before:] if "model_exported" in row.payload]
    assert MEHMET not in line


def test_owners_and_reviews_stand_beside_grants_and_a_review_is_not_passed_by(office, mehmet):
    """Who answers for a zone answers for its grants; one that a review waits for gets no later end by a form."""
    before, desk = exported(office), Desk(mehmet)
    assert desk.ask("PUT", "/access/zones/bauamt/owner", json={"group": "Bürgerbüro"}).status_code < 300
    (address, *_) = re.findall(r'href="(/access/grants/\d+)"', page(mehmet, "/access/grants", point="bauamt.aussen"))
    assert "Bürgerbüro" in page(mehmet, address)
    assert "named at" not in page(mehmet, "/access/zones/bauamt")
    deadline_ms = int(time.time() * 1_000) + 30 * 86_400_000
    review = {"name": "Probe", "deadline_ms": deadline_ms, "zone": "bauamt"}
    assert desk.ask("PUT", "/access/reviews/probe", json=review).status_code < 300
    assert "review probe waits for an answer" in page(mehmet, address)
    marks = form_in(page(mehmet, f"{address}/change"), f"{address}/change")["marks"]
    later = {"step": "preview", "marks": marks, "schedule": "", "valid_from": "", "valid_until": ""}
    assert "Review probe waits for an answer about it" in page(mehmet, f"{address}/change", **later)
    assert desk.ask("POST", "/access/reviews/probe/abort", json={"reason": "Probe"}).status_code < 300
    assert desk.ask("PUT", "/access/zones/bauamt/owner", json={"group": None}).status_code < 300
    assert exported(office) == before


def test_a_locked_down_zone_says_so_and_stays(office, mehmet):
    """Since when, on its page and in the tree; it does not go before the lockdown does."""
    guard = Desk(office.visitor(SABINE))
    assert guard.ask("PUT", "/zones/bauamt/lockdown", json={"reason": "Probe"}).status_code == 200
    assert "locked down" in page(mehmet, "/access/zones")
    assert "Locked down since" in page(mehmet, "/access/zones/bauamt")
    assert "Please have the lockdown ended first" in page(mehmet, "/access/zones/bauamt/remove")
    assert guard.ask("DELETE", "/zones/bauamt/lockdown").status_code == 200
    assert "Locked down since" not in page(mehmet, "/access/zones/bauamt")


def test_sentences_that_no_small_city_brings_about_are_understood_too() -> None:
    """Zones too deep, and a name that several have: as the service says them, at their fields."""
    deep = [ZoneSetup(f"z{number}", "Z", f"z{number - 1}" if number else None) for number in range(40)]
    with pytest.raises(Conflict) as refused:
        require_whole(in_order(AccessSetup(zones=deep)), MAX_ZONE_DEPTH)
    assert [(one.place, one.message) for one in faults_of(refused.value, "zones")] == [
        ("parent", "The zone would lie too deep.")
    ]
    several = faults_of(Conflict("grant at x: there is more than one directory group 'IT'"), "grants")
    assert [one.place for one in several] == ["group"]
    (unknown,) = faults_of(Conflict("what nobody foresaw"), "zones")
    assert (unknown.place, unknown.detail) == (None, "what nobody foresaw")


def test_nothing_of_these_pages_is_unchecked_text() -> None:
    """Names come from directories and clerks: no template turns escaping off."""
    templates = Path(__file__).parents[2] / "cardservice" / "access" / "model" / "templates"
    found = [file.name for file in templates.iterdir() if "|safe" in file.read_text("utf-8")]
    assert found == []
    assert len(list(templates.iterdir())) > 10


@pytest.mark.postgres
def test_the_same_pages_stand_on_postgresql(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Every list, a preview, a grant and its undo; the uses that have been tried on SQLite are those of both."""
    name = postgres_server.new_database()
    with running(tmp_path, postgres_server.url(name)) as office:
        mehmet = office.visitor(MEHMET)
        for path in ("zones", "zones/bauamt", "points", "points/bauamt.aussen", "schedules/buerozeit", "grants"):
            assert page(mehmet, f"/access/{path}")
        test_a_preview_counts_people_and_stores_nothing(office, mehmet)
        test_a_grant_is_added_ended_and_had_back_as_it_was(office, mehmet)
        test_a_person_is_chosen_by_name_and_stands_in_no_address_by_it(office, mehmet, office.visitor(ANNA))
    postgres_server.drop_database(name)
