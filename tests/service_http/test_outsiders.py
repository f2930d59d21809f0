# SPDX-License-Identifier: EUPL-1.2
"""People outside the directory over the API, for desks that reach differently far, and their taps at a real agent."""

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.desks import ANNA, MEHMET, SABINE, Desk, account, desks
from support.scripted_agent import ScriptedAgent
from support.service import directory_in_thread
from support.waiting import LIMIT_S, wait_until

from cardservice import changes
from cardservice.access.setup import AccessSetup, RuleSetup, apply
from cardservice.cards.store import card
from cardservice.database import read, write
from cardservice.journal.store import journal_entry
from cardservice.people.store import person
from cardservice.people.web_sessions import web_session

UNIT, DOOR, GROUP = "Bauamt", "bauamt.aussen", "Handwerker"
OFFICE = ("schmidt", "nowak")
# Of the building office, and nobody's here: she answers for outsiders, and leaves in these tests.
SPONSOR = "nowak"
DAY_MS = 86_400_000
NAME = "Erika Kanarienvogel"


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    folder = tmp_path_factory.mktemp("office")
    with directory_in_thread() as directory:
        made = build(directory, folder / "city", database_url, **desks(folder))
        yield made
        made.close()


@pytest.fixture
def mehmet(office: City) -> Desk:
    return Desk(office.visitor(MEHMET))


@pytest.fixture
def sabine(office: City) -> Desk:
    # The city's directory says nothing of departments, each time it tells of somebody.
    with office.files.stores() as stores, write(stores.state) as connection:
        connection.execute(sa.update(person).where(person.c.login.in_(OFFICE)).values(department=UNIT))
    return Desk(office.visitor(SABINE))


@pytest.fixture(scope="module")
def group(office: City) -> int:
    """The group of the craftsmen, who may pass the office's door."""
    made = Desk(office.visitor(MEHMET)).ask("POST", "/outsider-groups", json={"name": GROUP}, headers=key())
    assert made.status_code == 201, made.text
    with office.files.stores() as stores:
        apply(stores.state, 1, AccessSetup(rules=[RuleSetup(group=GROUP, point=DOOR)]))
    return int(made.json()["group"])


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid.uuid4().hex}


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def number_of(city: City, login: str) -> int:
    with city.files.stores() as stores, read(stores.state) as connection:
        return int(connection.execute(sa.select(person.c.id).where(person.c.login == login)).scalar_one())


def body(city: City, sponsor: str = SPONSOR, **changed: Any) -> dict[str, Any]:
    usual = {"name": NAME, "kind": "external", "sponsor": number_of(city, sponsor), "reason": "ticket 4711"}
    return {**usual, "until_ms": now_ms() + 10 * DAY_MS, "groups": [], **changed}


def add(desk: Desk, sent: dict[str, Any]) -> dict[str, Any]:
    made = desk.ask("POST", "/outsiders", json=sent, headers=key())
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


def test_somebody_is_added_once_changed_as_read_and_ended_once(office: City, mehmet: Desk, group: int) -> None:
    """The same key again is the same answer, another content under it a conflict; a change names what it saw."""
    sent, once = body(office, groups=[group]), key()
    first = mehmet.ask("POST", "/outsiders", json=sent, headers=once)
    again = mehmet.ask("POST", "/outsiders", json=sent, headers=once)
    assert (first.status_code, again.json(), again.headers["etag"]) == (201, first.json(), first.headers["etag"])
    assert code_of(mehmet.ask("POST", "/outsiders", json=sent | {"name": "Otto"}, headers=once)) == (409, "key_reused")
    made, path = first.json(), f"/outsiders/{first.json()['person']}"
    shown = mehmet.ask("GET", path)
    assert (shown.json(), shown.headers["etag"]) == (made, first.headers["etag"])
    assert (made["state"], made["sponsor"]["login"], made["groups"]) == (
        *("current", SPONSOR),
        [{"group": group, "name": GROUP}],
    )
    new = sent | {"until_ms": sent["until_ms"] + DAY_MS, "company": "Dach AG"}
    assert code_of(mehmet.ask("PUT", path, json=new)) == (428, "match_needed")
    changed = mehmet.ask("PUT", path, json=new, headers={"If-Match": shown.headers["etag"]})
    assert (changed.status_code, changed.json()["company"]) == (200, "Dach AG")
    late = mehmet.ask("PUT", path, json=new, headers={"If-Match": shown.headers["etag"]})
    assert code_of(late) == (412, "changed_meanwhile")
    ending = key()
    ended = [mehmet.ask("POST", path + "/end", json={"reason": "done"}, headers=ending) for _ in range(2)]
    assert [(one.status_code, one.json()["state"]) for one in ended] == [(200, "ended")] * 2
    assert ended[0].json() == ended[1].json()
    assert made["person"] in {one["person"] for one in mehmet.get("/outsiders", which="ended")["outsiders"]}


def test_what_does_not_fit_is_refused_with_its_reason(office: City, mehmet: Desk) -> None:
    """Each by a code of its own; nothing is added."""
    before = mehmet.get("/outsiders", which="all")
    past = body(office, until_ms=now_ms() - 1)
    far = body(office, until_ms=now_ms() + 366 * DAY_MS)
    disabled, oneself = body(office, "vogt"), body(office, MEHMET)
    wrong = {
        (409, "time_unfit"): [past, far],
        (409, "sponsor_unfit"): [disabled, body(office, sponsor=SPONSOR) | {"sponsor": 999_999}],
        (409, "own_sponsor"): [oneself],
        (404, "not_found"): [body(office, groups=[999_999])],
        (422, "invalid"): [
            body(office, name=" "),
            body(office, name="a\u0000b"),
            body(office, mail="nobody"),
            body(office, kind="king"),
            body(office, reason=""),
            body(office, extra=1),
        ],
    }
    for expected, bodies in wrong.items():
        for sent in bodies:
            assert code_of(mehmet.ask("POST", "/outsiders", json=sent, headers=key())) == expected, sent
    assert mehmet.get("/outsiders", which="all") == before
    assert code_of(mehmet.ask("POST", "/outsider-groups", json={"name": "Bauamt"}, headers=key())) == (
        409,
        "name_taken",
    )


def test_a_helpdesk_of_one_department_keeps_the_outsiders_of_its_people_alone(
    office: City, mehmet: Desk, sabine: Desk
) -> None:
    """Whoever is answered for elsewhere is not listed, shown, changed or ended, and nobody elsewhere is a sponsor."""
    mine = add(sabine, body(office))
    foreign = add(mehmet, body(office, "krueger", name="Otto"))
    path = f"/outsiders/{foreign['person']}"
    seen = {one["person"] for one in sabine.get("/outsiders", limit=500)["outsiders"]}
    assert (mine["person"] in seen, foreign["person"] in seen) == (True, False)
    assert foreign["person"] in {one["person"] for one in mehmet.get("/outsiders", limit=500)["outsiders"]}
    for answer in (
        sabine.ask("GET", path),
        sabine.ask("PUT", path, json=body(office), headers={"If-Match": "*"}),
        sabine.ask("POST", path + "/end", json={"reason": "x"}, headers=key()),
    ):
        assert code_of(answer) == (404, "not_found")
    assert code_of(sabine.ask("POST", "/outsiders", json=body(office, "yilmaz"), headers=key())) == (
        *(409, "sponsor_unfit"),
    )
    handed = sabine.ask("PUT", f"/outsiders/{mine['person']}", json=body(office, "yilmaz"), headers={"If-Match": "*"})
    assert code_of(handed) == (409, "sponsor_unfit")
    assert code_of(sabine.ask("POST", "/outsider-groups", json={"name": "Neu"}, headers=key())) == (403, "foreign_role")
    # Of a building: nobody lies in it.
    assert Desk(office.visitor(ANNA)).get("/outsiders")["outsiders"] == []


def test_systems_may_read_them_and_add_nobody(office: City, mehmet: Desk) -> None:
    """Among people too, with whoever answers for them; who comes and goes is a person's word."""
    made = add(mehmet, body(office, name="Rita Gast", kind="visitor"))
    with account(office, "identity") as client:
        assert client.get(f"/outsiders/{made['person']}").json() == made
        among = client.get(f"/people/{made['person']}").json()
        assert (among["directory"], among["login"], among["valid_until_ms"]) == ("outside", None, made["until_ms"])
        assert among["sponsor"] == made["sponsor"]["name"]
        assert [one["person"] for one in client.get("/people", params={"text": "rita"}).json()["people"]] == [
            made["person"]
        ]
        added = client.post("/outsiders", json=body(office), headers=key())
        assert code_of(added) == (403, "foreign_use")
    with account(office, "till") as client:
        assert code_of(client.get("/outsiders")) == (403, "foreign_use")


def test_changes_need_a_password_typed_shortly_before(office: City, mehmet: Desk) -> None:
    """Else nobody is added."""
    with office.files.stores() as stores, write(stores.state) as connection:
        connection.execute(sa.update(web_session).values(confirmed_ms=web_session.c.confirmed_ms - 300_000))
    try:
        refused = mehmet.ask("POST", "/outsiders", json=body(office), headers=key())
        assert code_of(refused) == (403, "confirmation_needed")
    finally:
        with office.files.stores() as stores, write(stores.state) as connection:
            connection.execute(sa.update(web_session).values(confirmed_ms=web_session.c.confirmed_ms + 300_000))


def give_card(city: City, number: int) -> None:
    """Give Anna's card to somebody outside the directory."""
    with city.files.stores() as stores, write(stores.state) as connection:
        held = sa.select(card.c.id).join(person, card.c.person_id == person.c.id)
        ids = connection.execute(held.where(sa.or_(person.c.login == ANNA, person.c.name == NAME))).scalars().all()
        connection.execute(sa.update(card).where(card.c.id.in_(ids)).values(person_id=number))
        changes.append(connection, "card", ids)
    city.service.service.city.catch_up()


async def reason_at(agent: ScriptedAgent, city: City) -> str:
    # No agent may tap more than twenty times a second.
    await asyncio.sleep(0.06)
    return (await agent.tap(city.card("anna"), DOOR)).reason


async def answers_soon(agent: ScriptedAgent, city: City, reason: str) -> None:
    """Tap until the answer is this one: what is stored of the directory is published a moment later."""
    async with asyncio.timeout(LIMIT_S):
        while await reason_at(agent, city) != reason:
            pass


async def test_a_tap_is_refused_from_the_very_millisecond_of_the_end(office: City, mehmet: Desk, group: int) -> None:
    """The record of many taps around it: each before the end was permitted, each from it on refused."""
    made = add(mehmet, body(office, groups=[group], until_ms=now_ms() + 60_000))
    give_card(office, made["person"])
    path = f"/outsiders/{made['person']}"
    async with office.agent() as agent:
        assert await reason_at(agent, office) == "granted"
        end_ms = now_ms() + 700
        sent = body(office, groups=[group], until_ms=end_ms)
        changed = mehmet.ask("PUT", path, json=sent, headers={"If-Match": "*"})
        assert changed.status_code == 200, changed.text
        answers = [await reason_at(agent, office)]
        while answers[-1] == "granted":
            answers.append(await reason_at(agent, office))
        assert now_ms() >= end_ms
        assert answers[-1] == "person_expired"
        # Extended, she passes again at the next tap; ended by hand, no more.
        mehmet.ask("PUT", path, json=body(office, groups=[group]), headers={"If-Match": "*"})
        assert await reason_at(agent, office) == "granted"
        mehmet.ask("POST", path + "/end", json={"reason": "done"}, headers=key())
        assert await reason_at(agent, office) == "person_expired"
    office.service.recorded()
    taps = [(row.at_ms, json.loads(row.payload)) for row in office.files.rows(journal_entry)]
    expired = [at_ms for at_ms, facts in taps if facts.get("reason") == "person_expired"]
    assert min(expired) >= end_ms
    assert all(facts["directory_age_ms"] < 5_000 for _, facts in taps if facts.get("reason") == "person_expired")


async def test_who_answers_leaves_and_comes_back(office: City, mehmet: Desk, group: int) -> None:
    """Disabled in the directory, the outsider is refused; enabled again, or with somebody else, they pass."""
    made = add(mehmet, body(office, groups=[group]))
    give_card(office, made["person"])
    directory = office.directory
    async with office.agent() as agent:
        assert await reason_at(agent, office) == "granted"
        directory.set_disabled(SPONSOR, disabled=True)
        try:
            await answers_soon(agent, office, "no_sponsor")
            assert state_of(mehmet, made) == "no_sponsor"
            assert made["person"] in {
                one["person"] for one in mehmet.get("/outsiders", which="no_sponsor", limit=500)["outsiders"]
            }
            directory.set_disabled(SPONSOR, disabled=False)
            await answers_soon(agent, office, "granted")
            assert state_of(mehmet, made) == "current"
            directory.set_disabled(SPONSOR, disabled=True)
            await answers_soon(agent, office, "no_sponsor")
            sent = body(office, "krueger", groups=[group])
            over = mehmet.ask("PUT", f"/outsiders/{made['person']}", json=sent, headers={"If-Match": "*"})
            assert over.status_code == 200, over.text
            assert await reason_at(agent, office) == "granted"
        finally:
            directory.set_disabled(SPONSOR, disabled=False)
            wait_until(lambda: number_enabled(office))


def state_of(desk: Desk, made: dict[str, Any]) -> str:
    return str(desk.get(f"/outsiders/{made['person']}")["state"])


def number_enabled(city: City) -> bool:
    with city.files.stores() as stores, read(stores.state) as connection:
        return bool(connection.execute(sa.select(person.c.enabled).where(person.c.login == SPONSOR)).scalar_one())


async def test_a_directory_that_hangs_refuses_no_outsider(office: City, mehmet: Desk, group: int) -> None:
    """What they are decided by is the service's own; what the directory says of others may be old meanwhile."""
    made = add(mehmet, body(office, groups=[group]))
    give_card(office, made["person"])
    service = office.service.service
    office.directory.switches.pause()
    try:
        wait_until(lambda: service.directory.age_ms() > 1_500)
        assert service.directory.age_ms_of(made["person"]) == 0
        async with office.agent() as agent:
            assert await reason_at(agent, office) == "granted"
    finally:
        office.directory.switches.resume()
        wait_until(lambda: service.directory.age_ms() < 1_000)


def test_no_name_stands_in_open_records(office: City) -> None:
    """What is kept of changes and taps names nobody in the open part."""
    office.service.recorded()
    assert [row for row in office.files.rows(journal_entry) if "Kanarienvogel" in row.payload] == []
