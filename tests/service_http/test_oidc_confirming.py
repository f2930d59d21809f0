# SPDX-License-Identifier: EUPL-1.2
"""Whoever signed in at a provider confirms there who they are: asked anew, as the same person, in the same session."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import build
from service_http.test_oidc import ANNA, BACK, OWN_URL, Office
from support.oidc_provider import CLIENT, SECRET, OidcProvider, running_provider
from support.service import directory_in_thread
from support.signing_in import Visitor

from cardservice.database import write
from cardservice.journal import store as journal
from cardservice.people.web_sessions import web_session
from city.people import password_of

FORM = "/accounts"
CONFIRM = "/confirm/oidc"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("confirm")
    secret = folder / "oidc.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    roles = {"": {"roles": [{"role": "administrator", "group": "Rathaus"}]}}
    with directory_in_thread() as directory, running_provider() as provider:
        section = {"issuer": provider.issuer, "client_id": CLIENT, "secret_file": str(secret), "own_url": OWN_URL}
        city = build(directory, folder / "city", None, **{"sign_in.oidc": section}, **roles)
        yield Office(city, provider)
        city.close()


@pytest.fixture
def office(built: Office) -> Iterator[Office]:
    built.provider.login = ANNA
    honest = OidcProvider(issuer=built.provider.issuer)
    yield built
    for name in ("change_claims", "sign", "broken", "sub", "asks_again"):
        setattr(built.provider, name, getattr(honest, name))
    for visitor in built.visitors:
        visitor.client.close()
    built.visitors.clear()


@pytest.fixture
def anna(office: Office) -> Visitor:
    """Somebody who signed in at the provider."""
    visitor = office.browser()
    assert office.sign_in(visitor, next=FORM).status_code == 303
    return visitor


def change(visitor: Visitor) -> tuple[int, str]:
    """Send a form that changes something, with nothing in it: what was it answered."""
    headers = {"X-Form-Token": visitor.form_token()}
    answer = visitor.post(FORM, data={"name": ""}, headers=headers)
    return answer.status_code, answer.headers["content-type"].partition(";")[0]


NEEDED, TAKEN = (403, "application/problem+json"), (200, "text/html")


def go(visitor: Visitor, **query: str) -> dict[str, str]:
    """Go to the provider to confirm; return the answer it sends back through the browser."""
    there = visitor.get(CONFIRM, params=query)
    assert there.status_code == 303, there.text
    asked = parse_qs(urlsplit(there.headers["location"]).query)
    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    back = httpx2.get(there.headers["location"]).headers["location"]
    return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}


def come_back(visitor: Visitor, answer: dict[str, str]) -> httpx2.Response:
    return visitor.get(f"{BACK}?{urlencode(answer)}")


def kept(office: Office) -> dict[str, Any]:
    found = [
        json.loads(row.payload) for row in office.city.files.rows(journal.journal_entry) if row.stream == "sign_in"
    ]
    return found[-1]


def test_a_change_waits_until_they_signed_in_there_once_more(office: Office, anna: Visitor) -> None:
    """A browser is sent there and back to its form, as with a password; the session's token is another one then."""
    assert change(anna) == NEEDED
    sent = anna.post(
        FORM,
        data={"form_token": anna.form_token()},
        headers={"Accept": "text/html", "Referer": f"{anna.url}/accounts?lang=de"},
    )
    page = anna.get(sent.headers["location"])
    assert f'href="{CONFIRM}?next=/accounts%3Flang%3Dde"' in page.text
    assert 'name="password"' not in page.text
    before = anna.session
    done = come_back(anna, go(anna, next="/accounts?lang=de"))
    assert (done.status_code, done.headers["location"]) == (303, "/accounts?lang=de")
    assert anna.session not in {before, None}
    assert change(anna) == TAKEN
    assert (kept(office)["how"], kept(office)["outcome"]) == ("oidc", "confirmed")


def refused(office: Office, visitor: Visitor, answer: httpx2.Response, status: int = 403) -> None:
    """Nothing is confirmed, the session stays, and the page says what to do."""
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert f'href="{CONFIRM}' in answer.text
    assert "__Host-onecard-oidc" not in visitor.cookies
    assert change(visitor) == NEEDED
    assert status == 503 or kept(office)["outcome"] == "not_confirmed"


def test_a_provider_that_does_not_ask_again_confirms_nobody(office: Office, anna: Visitor) -> None:
    """Who is signed in there may have left the room an hour ago."""
    office.provider.asks_again = False
    refused(office, anna, come_back(anna, go(anna)))


@pytest.mark.parametrize("at", [None, "now", True, 1e300, -1, 4_000_000_000, float("nan"), [1]])
def test_when_it_asked_has_to_be_said(office: Office, anna: Visitor, at: Any) -> None:
    """No time, none that can be, one that has not come."""

    def lie(claims: dict[str, Any]) -> None:
        del claims["auth_time"]
        claims |= {} if at is None else {"auth_time": at}

    office.provider.change_claims = lie
    refused(office, anna, come_back(anna, go(anna)))


@pytest.mark.parametrize("other", [{"login": "yilmaz"}, {"sub": "8"}, {"login": "yilmaz", "sub": "8"}])
def test_somebody_else_confirms_nothing(office: Office, anna: Visitor, other: dict[str, str]) -> None:
    """Another person of ours, or another one of theirs under the same name."""
    answer = None
    for name, value in other.items():
        setattr(office.provider, name, value)
    answer = come_back(anna, go(anna))
    refused(office, anna, answer)


def test_an_answer_counts_once_in_its_own_session(office: Office, anna: Visitor) -> None:
    """Sent again with its cookie, in another session of the same person, or in nobody's: nothing is confirmed."""
    answer = go(anna)
    cookies = dict(anna.cookies)
    assert come_back(anna, answer).status_code == 303
    with office.city.files.stores() as stores, write(stores.state) as connection:
        connection.execute(sa.update(web_session).values(confirmed_ms=0))
    anna.cookies["__Host-onecard-oidc"] = cookies["__Host-onecard-oidc"]
    refused(office, anna, come_back(anna, answer))
    again, other = go(anna), office.browser()
    office.sign_in(other)
    other.cookies["__Host-onecard-oidc"] = anna.cookies["__Host-onecard-oidc"]
    refused(office, other, come_back(other, again))
    nobody = office.browser()
    nobody.cookies = {"__Host-onecard-oidc": anna.cookies["__Host-onecard-oidc"]}
    assert come_back(nobody, go(anna)).status_code in {303, 403}
    assert nobody.session is None


def test_signing_in_there_is_not_confirming(office: Office, anna: Visitor) -> None:
    """The answer to an ordinary attempt opens another session, which may change nothing yet."""
    before = anna.session
    assert office.sign_in(anna).status_code == 303
    assert anna.session != before
    assert change(anna) == NEEDED


def test_a_provider_that_is_away_is_said_to_be(office: Office, anna: Visitor) -> None:
    answer = go(anna)
    office.provider.broken = True
    refused(office, anna, come_back(anna, answer), 503)


def test_each_confirms_the_way_they_came(office: Office, anna: Visitor) -> None:
    """No password of the directory confirms somebody of the provider, who may be asked for more there; nor back."""
    sent = anna.post("/confirm", data={"form_token": anna.form_token(), "password": password_of(ANNA)})
    assert (sent.status_code, change(anna)) == (403, NEEDED)
    by_password = office.browser().sign_in(ANNA)
    assert 'name="password"' in by_password.get("/confirm").text
    assert 'name="password"' in by_password.get(CONFIRM).text
    nobody = office.browser()
    assert nobody.get(CONFIRM, headers={"Accept": "text/html"}).headers["location"].startswith("/login?next=")


def test_who_signed_in_by_password_meanwhile_is_told(office: Office, anna: Visitor) -> None:
    """In another tab, while the provider asked: the page of the session they have now, not an error."""
    answer = go(anna)
    anna.sign_in(ANNA)
    done = come_back(anna, answer)
    assert done.status_code == 403
    assert 'role="alert"' in done.text
    assert 'name="password"' in done.text


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", CONFIRM, "/confirm"])
def test_nobody_is_sent_elsewhere(anna: Visitor, wanted: str) -> None:
    done = come_back(anna, go(anna, next=wanted))
    assert (done.status_code, done.headers["location"]) == (303, "/")
