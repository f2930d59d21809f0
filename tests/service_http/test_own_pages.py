# SPDX-License-Identifier: EUPL-1.2
"""An employee's own pages: their own hours and money after signing in with the directory's password, nobody else's."""

import asyncio
import csv
import io
import threading
import time
import uuid

import httpx2
import pytest
import sqlalchemy as sa
from support.scripted_agent import CardInHand
from support.service import CALLERS
from support.waiting import wait_until

from cardservice.database import write
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.people.store import person
from city.people import password_of

PAGES = ("/my/time", "/my/time.csv", "/my/canteen")
# More than the service has threads for anything but signing in.
HANGING = 12
TAP_LIMIT_S = 2.0


def ask(city, path: str, login: str | None = "schmidt", password: str | None = None, **options) -> httpx2.Response:
    auth = None if login is None else (login, password if password is not None else password_of(login))
    with httpx2.Client(base_url=city.service.url, timeout=15) as client:
        return client.get(path, auth=auth, **options)


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
    """Booked a moment ago: there, with nothing that could run in the page."""
    german = ask(used, "/my/time")
    assert (german.status_code, german.headers["cache-control"]) == (200, "no-store")
    assert "script" not in german.headers["content-security-policy"]
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
@pytest.mark.parametrize(
    ("login", "password"),
    [(None, None), ("nowak", ""), ("weber", "wrong"), ("niemand", "x"), ("vogt", None), ("*", "x"), ("", "x")],
    ids=["nobody", "no password", "wrong password", "unknown", "disabled", "wildcard", "no name"],
)
def test_nobody_else_gets_in_and_learns_why_not(used, path, login, password):
    """The same answer, whether the name or the password is wrong, or the account disabled."""
    refused = ask(used, path, login, password)
    assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")
    assert refused.headers["www-authenticate"].startswith("Basic ")
    if login:
        assert refused.json()["detail"] == "name or password is wrong"


def test_guessing_is_slowed_down_for_that_name_alone(make_city):
    """After five wrong guesses that name waits; everybody else goes on."""
    city = make_city()
    answers = [ask(city, "/my/time", "schmidt", f"guess {number}").status_code for number in range(7)]
    assert answers == [401] * 5 + [429] * 2
    assert ask(city, "/my/time", "schmidt").status_code == 429
    assert ask(city, "/my/time", "krueger").status_code == 200


def test_a_login_that_two_have_is_nobodys(make_city):
    """The same answer as for a wrong password, whichever of the two it is."""
    city = make_city()
    with city.files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(person).where(person.c.login == "krueger").values(login="schmidt"))
    refused = ask(city, "/my/time", "schmidt")
    assert (refused.status_code, refused.json()["code"]) == (401, "not_signed_in")


async def test_a_directory_that_hangs_holds_up_no_tap_at_a_pc(make_city):
    """Many sign in and nobody answers: the PC's tap is decided, its login looked up, as if nothing was."""
    city = await asyncio.to_thread(make_city)
    await asyncio.to_thread(city.enrol, PLACES_AGENT)
    sign_in, let_go = city.service.service._sign_in, threading.Event()
    sign_in._check = lambda _name, _password: None if let_go.wait(30) else 1
    names = [f"name{number}" for number in range(HANGING)]
    async with city.agent(PLACES_AGENT) as agent, httpx2.AsyncClient(base_url=city.service.url, timeout=30) as client:
        waiting = [asyncio.create_task(client.get("/my/time", auth=(name, "x"))) for name in names]
        try:
            await asyncio.to_thread(wait_until, lambda: sign_in._asking == HANGING)
            began_s = time.monotonic()
            await agent.send(agent.present("pc.bauamt"))
            decision = await agent.converse(CardInHand(city.card("anna"), "contact"))
            assert time.monotonic() - began_s < TAP_LIMIT_S
            assert (decision.answer.code, decision.answer.facts) == ("unlock", {"user": "schmidt"})
            doors = {"Authorization": f"Bearer {CALLERS['facility'][0]}"}
            assert (await client.get("/api/v1/doors", headers=doors, timeout=TAP_LIMIT_S)).status_code == 200
            assert not any(task.done() for task in waiting)
        finally:
            let_go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {401}


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "1999-01", "x", "2026-1", "' OR 1=1"])
def test_a_month_that_is_none_is_refused(used, month):
    refused = ask(used, "/my/time", params={"month": month})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
