# SPDX-License-Identifier: EUPL-1.2
"""An employee's own pages: their own hours, money, doors and PCs after signing in with the directory's password."""

import asyncio
import csv
import html
import io
import re
import threading
import uuid
from urllib.parse import quote

import httpx2
import pytest
import sqlalchemy as sa
from support.scripted_agent import CardInHand
from support.service import CALLERS, OTHER_AGENT
from support.waiting import wait_until

from cardservice import changes
from cardservice.access.rules import Reason, Use
from cardservice.access.sentences import SENTENCES
from cardservice.access.setup import AccessSetup, PointSetup, RuleSetup, apply
from cardservice.cards.store import card
from cardservice.database import write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.people.store import person
from cardservice.places import OPTION_RULES
from cardservice.web.signin import Checked
from city.people import password_of

PAGES = ("/my/time", "/my/time.csv", "/my/canteen", "/my/doors", "/my/pc")
# More than the service has threads for anything but signing in.
HANGING = 12


def ask(city, path: str, login: str = "schmidt", **options) -> httpx2.Response:
    visitor = city.visitor(login)
    # Each asks as if for the first time: in German, unless it says otherwise.
    visitor.cookies.pop("language", None)
    return visitor.get(path, **options)


async def book(city) -> None:
    async with city.agent(PLACES_AGENT) as agent:
        assert (await agent.tap(city.card("anna"), "zeit.eingang")).answer.done


@pytest.fixture(scope="module")
def used(city):
    """Anna has booked and has money; Sabine has neither."""
    city.enrol(PLACES_AGENT)
    asyncio.run(book(city))
    headers = {"Authorization": f"Bearer {CALLERS['payroll'][0]}", "Idempotency-Key": uuid.uuid4().hex}
    body = {"personnel_number": "10017", "amount_cents": 2_345, "source": "payroll"}
    with httpx2.Client(base_url=city.service.url) as client:
        assert client.post("/api/v1/canteen/top-ups", json=body, headers=headers).status_code == 200
    return city


def test_the_month_shows_ones_own_bookings_in_both_languages(used):
    """Booked a moment ago: there, with no script of another's."""
    german = ask(used, "/my/time")
    assert (german.status_code, german.headers["cache-control"]) == (200, "no-store")
    assert "script-src 'self';" in german.headers["content-security-policy"]
    assert "Meine Zeiten" in german.text
    assert "Kommen " in german.text
    english = ask(used, "/my/time", params={"lang": "en"})
    assert "My times" in english.text
    assert '<html lang="en">' in english.text
    assert "keine Buchungen" in ask(used, "/my/time", "krueger").text
    assert "keine Buchungen" in ask(used, "/my/time", params={"month": "2020-02"}).text


def test_the_same_as_csv(used):
    rows = list(csv.reader(io.StringIO(ask(used, "/my/time.csv").text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0][0] == "Arbeitstag"
    assert [row[4] for row in rows[1:-1]] == ["Kommen"]
    assert rows[-1][0] == "Summe"


def test_the_wallet_shows_ones_own_money(used):
    assert "23,45\N{NO-BREAK SPACE}€" in ask(used, "/my/canteen").text
    assert "€23.45" in ask(used, "/my/canteen", params={"lang": "en"}).text
    assert "Noch keine Bewegungen" in ask(used, "/my/canteen", "krueger").text


@pytest.mark.parametrize("path", PAGES)
def test_nobody_sees_a_page_without_signing_in(used, path):
    """Name and password in the request are no way in; a browser is sent to the sign-in page, and comes back here."""
    for auth in (None, ("schmidt", password_of("schmidt"))):
        refused = httpx2.get(used.service.url + path, auth=auth)
        assert (refused.status_code, refused.json()["code"]) == (401, "not_authenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
    sent = httpx2.get(used.service.url + path, params={"lang": "en"}, headers={"Accept": "text/html,*/*"})
    assert (sent.status_code, sent.headers["cache-control"]) == (303, "no-store")
    assert sent.headers["location"] == f"/login?next={quote(path, safe='')}%3Flang%3Den"


async def test_a_directory_that_hangs_holds_up_no_tap_at_a_pc(make_city):
    """Many sign in and nobody answers: the PC's tap is decided, its login looked up, while all of them still wait."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(city.enrol, PLACES_AGENT)
    sign_in, let_go = city.service.service._sign_in, threading.Event()
    sign_in._check = lambda _name, _password: Checked(1, fits=not let_go.wait())
    names = [f"name{number}" for number in range(HANGING)]
    async with city.agent(PLACES_AGENT) as agent, httpx2.AsyncClient(base_url=city.service.url, timeout=60) as client:
        own = {"Origin": city.service.url}
        forms = [{"name": name, "password": "x"} for name in names]
        waiting = [asyncio.create_task(client.post("/login", data=form, headers=own)) for form in forms]
        try:
            await asyncio.to_thread(wait_until, lambda: sign_in._asking == HANGING)
            await agent.send(agent.present("pc.bauamt"))
            decision = await agent.converse(CardInHand(city.card("anna"), "contact"))
            assert decision.reason == "granted"
            assert (decision.answer.code, decision.answer.facts) == ("unlock", {"user": "schmidt"})
            doors = {"Authorization": f"Bearer {CALLERS['facility'][0]}"}
            assert (await client.get("/api/v1/doors", headers=doors)).status_code == 200
            assert not any(task.done() for task in waiting)
        finally:
            let_go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {403}


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "1999-01", "x", "2026-1", "' OR 1=1"])
def test_a_month_that_is_none_is_refused(used, month):
    refused = ask(used, "/my/time", params={"month": month})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


ROW = re.compile(r'<tr><th scope="row">(.*?)<br><span class="soft">(.*?)</span></th><td>(.*?)</td></tr>')
OPENS = {"de": "offen für Sie", "en": "open for you"}


def rows_of(city, path: str, login: str, lang: str = "de") -> tuple[dict[str, str], dict[str, str]]:
    """Return name -> remark of the points that work now, and of those that are folded away."""
    answered = ask(city, path, login, params={"lang": lang})
    assert (answered.status_code, answered.headers["cache-control"]) == (200, "no-store")
    assert f'<html lang="{lang}">' in answered.text
    now, _, later = answered.text[answered.text.index("<main") :].partition("<details")
    return tuple(
        {html.unescape(name): html.unescape(remark) for name, _, remark in ROW.findall(part)} for part in (now, later)
    )


def both_languages(city, login: str) -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    return {lang: rows_of(city, "/my/doors", login, lang) for lang in OPENS}


async def reasons_at_doors(city, name: str) -> dict[str, str]:
    """Hold a card to every door there is; return the door's name -> the reason."""
    points = [point for point in city.service.service.city.snapshot.points.values() if point.use is Use.DOOR]
    found = {}
    for agent in (city.agent(), city.agent(OTHER_AGENT)):
        async with agent:
            for point in points:
                if point.agent == agent.name:
                    found[point.name] = (await agent.tap(city.card(name), point.code)).reason
    return found


def say(reason: str, lang: str) -> str:
    sentences = SENTENCES[Reason(reason)]
    return sentences.holder_de if lang == "de" else sentences.holder_en


def add_times(city) -> None:
    """Doors of Anna's whose grant holds no more, or not yet: whatever the time of day."""
    points = [PointSetup(f"t{n}.aussen", f"Tresor {n} <a>", "technik", "office", "rathaus", f"T{n}") for n in (1, 2)]
    bounds = ({"valid_until_ms": 1}, {"valid_from_ms": 2**45})
    rules = [RuleSetup(login="schmidt", point=point.code, **bound) for point, bound in zip(points, bounds, strict=True)]
    with city.files.stores() as databases:
        apply(databases.state, 1, AccessSetup(points=points, rules=rules))
    city.service.wait_health(lambda _: "t2.aussen" in city.service.service.city.snapshot.points)


@pytest.fixture(scope="module")
def timed(used):
    add_times(used)
    return used


@pytest.mark.parametrize(
    ("name", "login"), [("anna", "schmidt"), ("mehmet", "yilmaz"), ("sabine", "krueger"), ("ute", "berger")]
)
async def test_the_doors_that_are_open_are_those_that_open(timed, name, login):
    """Every door of the city is tried with the card itself; those out of hours say so, all others are not there."""
    seen, tapped = None, {}
    # An hour may strike between the page and the taps; then both are looked at again.
    while seen != (now := await asyncio.to_thread(both_languages, timed, login)):
        seen, tapped = now, await reasons_at_doors(timed, name)
    assert set(tapped.values()) <= {"granted", "outside_schedule", "no_grant", "card_unsupported"}
    for lang, (opens, later) in seen.items():
        assert opens == {door: OPENS[lang] for door, reason in tapped.items() if reason == "granted"}
        assert later == {door: say(reason, lang) for door, reason in tapped.items() if reason == "outside_schedule"}
        assert opens
        assert ("Tresor 1 <a>" in later) is (login == "schmidt")


def test_no_parameter_shows_anybody_elses(timed):
    """Whatever is asked for beside the language, it is the page of whoever signed in."""
    for path in ("/my/doors", "/my/pc"):
        own = rows_of(timed, path, "schmidt")
        for other in ({"person": 2}, {"login": "yilmaz"}, {"user": "yilmaz", "person_id": "2"}):
            asked = ask(timed, path, params={"lang": "de"} | other)
            assert {name for name, _, _ in ROW.findall(asked.text)} == {html.escape(n) for part in own for n in part}
            assert "yilmaz" not in asked.text
    assert "Serverraum" not in ask(timed, "/my/doors").text
    assert "Serverraum" in ask(timed, "/my/doors", "yilmaz").text


async def test_a_lockdown_is_told_of_ones_own_doors_alone(make_city):
    """The whole city is locked down: Anna reads so of the doors she may pass, and of no other; then it is over."""
    city = await asyncio.to_thread(make_city)
    opens = await asyncio.to_thread(both_languages, city, "schmidt")
    own = {door for part in opens["de"] for door in part}
    bauamt = {f"Bauamt, {side}" for side in ("außen", "innen")}
    assert bauamt <= opens["de"][0].keys()
    lockdowns = city.service.service._doors.lockdowns
    await asyncio.to_thread(lockdowns.begin, "bauamt", by="pforte", reason="Probe")
    for lang, (open_now, later) in (await asyncio.to_thread(both_languages, city, "schmidt")).items():
        assert {door for door, why in later.items() if why == say("locked_down", lang)} == bauamt
        assert "Kantine, außen" in open_now
    await asyncio.to_thread(lockdowns.begin, "stadt", by="pforte", reason="Probe")
    assert set((await reasons_at_doors(city, "anna")).values()) == {"locked_down"}
    for lang, seen in (await asyncio.to_thread(both_languages, city, "schmidt")).items():
        assert seen == ({}, dict.fromkeys(own, say("locked_down", lang)))
    assert not {"Serverraum, außen", "Bürgerbüro, außen"} & own
    for zone in ("stadt", "bauamt"):
        await asyncio.to_thread(lockdowns.end, zone, by="pforte")
    assert bauamt <= (await asyncio.to_thread(rows_of, city, "/my/doors", "schmidt"))[0].keys()


def test_a_card_that_works_nowhere_says_why(make_city):
    """Lost or mislaid: in one sentence, the one at the reader, and no list of points."""
    city = make_city()
    refused = {"nowak": "card_revoked", "weber": "card_suspended"}
    for login, reason in refused.items():
        for path in ("/my/doors", "/my/pc"):
            for lang in ("de", "en"):
                assert rows_of(city, path, login, lang) == ({}, {})
                assert say(reason, lang) in ask(city, path, login, params={"lang": lang}).text


def test_whoever_has_no_card_is_told_so(make_city):
    """As on the day when the card was handed in; another card in order counts more than a lost one."""
    city = make_city()
    with city.files.stores() as databases, write(databases.state) as connection:
        people = {row.login: row.id for row in connection.execute(sa.select(person.c.id, person.c.login))}
        connection.execute(sa.update(card).where(card.c.person_id == people["krueger"]).values(person_id=None))
        annas = sa.update(card).where(card.c.person_id == people["schmidt"])
        connection.execute(annas.values(person_id=people["nowak"]))
        changes.append(connection, "card", [*connection.execute(sa.select(card.c.id)).scalars()])
        revision = changes.latest(connection)
    city.service.wait_health(lambda state: state["snapshot_revision"] >= revision)
    for login in ("krueger", "schmidt"):
        assert "keine Karte für Türen" in ask(city, "/my/doors", login).text
        assert "No card for PCs" in ask(city, "/my/pc", login, params={"lang": "en"}).text
        assert rows_of(city, "/my/doors", login) == ({}, {})
    assert "Bauamt, außen" in rows_of(city, "/my/doors", "nowak")[0]


async def test_the_pcs_are_those_that_the_card_unlocks(make_city):
    """As the tap there answers, with the same login; what taking the card away does is the point's own options."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(city.enrol, PLACES_AGENT)
    options = {"pc.archiv": {"removal": "none"}, "pc.zaehler": {"grace_ms": 2_500}, "pc.amt": {}, "pc.fremd": {}}
    points = [
        PointSetup(code, code.upper(), "bauamt", "pc", PLACES_AGENT, code, Use.WORKSTATION, options=said)
        for code, said in options.items()
    ]
    rules = [RuleSetup(group="Bauamt", point=code) for code in ("pc.archiv", "pc.zaehler")]
    rules.append(RuleSetup(group="Bauamt", point="pc.amt", valid_until_ms=1))
    with city.files.stores() as databases:
        await asyncio.to_thread(apply, databases.state, 1, AccessSetup(points=points, rules=rules), OPTION_RULES)
    await asyncio.to_thread(city.service.wait_health, lambda _: "pc.amt" in city.service.service.city.snapshot.points)
    tapped = {}
    async with city.agent(PLACES_AGENT) as agent:
        for code in ("pc.bauamt", *options):
            await agent.send(agent.present(code))
            tapped[code] = await agent.converse(CardInHand(city.card("anna"), "contact"))
    names = {code: city.service.service.city.snapshot.points[code].name for code in tapped}
    german = await asyncio.to_thread(rows_of, city, "/my/pc", "schmidt")
    english = await asyncio.to_thread(rows_of, city, "/my/pc", "schmidt", "en")
    unlocked = {names[code] for code, decision in tapped.items() if decision.permit}
    assert german[0].keys() == english[0].keys() == unlocked
    assert german[0] == {
        "PC von Anna Schmidt": "wird sofort gesperrt",
        "PC.ARCHIV": "bleibt offen, bis der Bildschirmschoner sperrt",
        "PC.ZAEHLER": "wird gesperrt, wenn dieselbe Karte nicht innerhalb von 2,5 s zurück ist",
    }
    assert english[0]["PC.ZAEHLER"] == "is locked unless the same card is back within 2.5 s"
    assert german[1] == {"PC.AMT": say("outside_schedule", "de")}
    assert english[1] == {"PC.AMT": say(tapped["pc.amt"].reason, "en")}
    assert tapped["pc.fremd"].reason == "no_grant"
    assert tapped["pc.bauamt"].answer.facts == {"user": "schmidt"}
    assert "Ihr Anmeldename: schmidt<" in (await asyncio.to_thread(ask, city, "/my/pc")).text
