# SPDX-License-Identifier: EUPL-1.2
"""Signing in at a provider: the way there and back, and every answer that proves nobody."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from service_http.conftest import City, build
from support import oidc_provider
from support.oidc_provider import CLIENT, SECRET, OidcProvider, running_provider
from support.service import directory_in_thread
from support.signing_in import Visitor

from cardservice.journal import store as journal
from cardservice.web.login_paths import HOME
from cardservice.web.session import COOKIE
from city import people

OWN_URL = "http://127.0.0.1:9"
BEGIN, BACK = "/login/oidc", "/login/oidc/back"
ANNA = people.ANNA.login


@dataclass
class Office:
    """A city whose people may sign in at a provider."""

    city: City
    provider: OidcProvider
    visitors: list[Visitor] = field(default_factory=list)

    def browser(self) -> Visitor:
        self.visitors.append(Visitor(self.city.service.url))
        return self.visitors[-1]

    def go(self, visitor: Visitor, **query: str) -> dict[str, str]:
        """Go to the provider and sign in there; return the answer it sends back through the browser."""
        there = visitor.get(BEGIN, params=query)
        assert there.status_code == 303, there.text
        back = httpx2.get(there.headers["location"]).headers["location"]
        assert back.startswith(OWN_URL + BACK)
        return {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}

    def sign_in(self, visitor: Visitor, **query: str) -> httpx2.Response:
        return visitor.get(f"{BACK}?{urlencode(self.go(visitor, **query))}")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("oidc")
    secret = folder / "oidc.secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    with directory_in_thread() as directory, running_provider() as provider:
        section = {"issuer": provider.issuer, "client_id": CLIENT, "secret_file": str(secret), "own_url": OWN_URL}
        city = build(directory, folder / "city", None, **{"sign_in.oidc": section})
        yield Office(city, provider)
        city.close()


@pytest.fixture
def office(built: Office) -> Iterator[Office]:
    honest = OidcProvider(issuer=built.provider.issuer)
    built.provider.login = ANNA
    yield built
    for name in ("change_claims", "sign", "broken", "sub", "asks_again"):
        setattr(built.provider, name, getattr(honest, name))
    for visitor in built.visitors:
        visitor.client.close()
    built.visitors.clear()


def refused(answer: httpx2.Response, visitor: Visitor) -> None:
    """Nobody is in; the page says so and offers both ways again."""
    assert answer.status_code == 403
    assert 'id="message"' in answer.text
    assert 'name="password"' in answer.text
    assert COOKIE not in visitor.cookies
    assert "__Host-onecard-oidc" not in visitor.cookies


def test_whoever_the_provider_names_is_signed_in(office):
    """Into the same session as with a password, where they wanted to go; changes still want the password."""
    visitor = office.browser()
    assert BEGIN in visitor.get("/login", params={"next": "/my/time"}).text
    done = office.sign_in(visitor, next="/my/time")
    assert (done.status_code, done.headers["location"]) == (303, "/my/time")
    assert visitor.get("/my/time").status_code == 200
    assert "__Host-onecard-oidc" not in visitor.cookies
    kept = [json.loads(row.payload) for row in office.city.files.rows(journal.journal_entry) if row.stream == "sign_in"]
    assert kept[-1]["how"] == "oidc"
    assert kept[-1]["outcome"] == "signed_in"
    token = visitor.form_token()
    assert visitor.post("/logout", headers={"X-Form-Token": token}).status_code == 303
    assert visitor.get("/my/time", headers={"Accept": "text/html"}).status_code == 303


def lie(name: str, value: Any) -> Any:
    def change(claims: dict[str, Any]) -> None:
        if value is None:
            del claims[name]
        else:
            claims[name] = value

    return change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonce", "of another attempt"),
        ("nonce", None),
        ("aud", "another-client"),
        ("aud", ["another-client", CLIENT]),
        ("aud", None),
        ("iss", "https://evil.example"),
        ("iss", None),
        ("exp", 1_000_000_000),
        ("exp", None),
        ("exp", "never"),
        ("iat", 4_000_000_000),
        ("azp", "another-client"),
        ("sub", None),
        ("preferred_username", None),
        ("preferred_username", ""),
        ("preferred_username", ["schmidt"]),
        ("preferred_username", "niemand"),
        ("preferred_username", "*"),
        ("preferred_username", "schmidt\x00"),
        ("preferred_username", "\ud800"),
        ("preferred_username", "s" * 100_000),
        ("sub", 7),
        ("sub", ""),
        # Disabled, and whose time is over.
        ("preferred_username", "vogt"),
        ("preferred_username", "lange"),
    ],
)
def test_a_token_that_does_not_hold_signs_nobody_in(office, name: str, value: Any):
    """Each claim that is wrong or missing, although the signature is right; and people who may not sign in."""
    office.provider.change_claims = lie(name, value)
    visitor = office.browser()
    refused(office.sign_in(visitor), visitor)


@pytest.mark.parametrize("sign", ["unsigned", "with_the_public_key", "with_the_clients_secret", "with_another_key"])
def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(office, sign: str):
    """No signature, one with a shared secret that is none, one with a key of somebody else."""
    office.provider.sign = getattr(oidc_provider, sign)
    visitor = office.browser()
    refused(office.sign_in(visitor), visitor)


def test_an_answer_counts_in_the_browser_that_asked_and_once(office):
    """Planted in another browser, sent again, with another state, without one: nobody is signed in by it."""
    mine, theirs = office.browser(), office.browser()
    planted = office.go(theirs)
    refused(mine.get(f"{BACK}?{urlencode(planted)}"), mine)
    office.go(mine)
    refused(mine.get(f"{BACK}?{urlencode(planted)}"), mine)
    answer = office.go(mine)
    cookies = dict(mine.cookies)
    assert mine.get(f"{BACK}?{urlencode(answer)}").status_code == 303
    # Even with the cookie of the attempt: the provider takes a code once.
    replaying = office.browser()
    replaying.cookies = {name: value for name, value in cookies.items() if name != COOKIE}
    refused(replaying.get(f"{BACK}?{urlencode(answer)}"), replaying)
    for missing in ("state", "code", "iss"):
        fresh = office.browser()
        rest = {name: value for name, value in office.go(fresh).items() if name != missing}
        refused(fresh.get(f"{BACK}?{urlencode(rest)}"), fresh)


def test_the_answer_of_another_provider_is_refused(office):
    """Mix-up (RFC 9207): an answer that says it is from another issuer is not taken to this one."""
    visitor = office.browser()
    answer = office.go(visitor) | {"iss": "https://evil.example"}
    before = office.provider.asked.count("/token")
    refused(visitor.get(f"{BACK}?{urlencode(answer)}"), visitor)
    assert office.provider.asked.count("/token") == before


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/\\evil.example", "/login/oidc"])
def test_nobody_is_sent_elsewhere(office, wanted: str):
    """Where one goes afterwards is a page of ours, whatever the address said."""
    done = office.sign_in(office.browser(), next=wanted)
    assert (done.status_code, done.headers["location"]) == (303, HOME)


def test_a_provider_that_is_away_is_said_to_be(office):
    """A clear page with the way by password; nobody is signed in."""
    visitor = office.browser()
    answer = office.go(visitor)
    office.provider.broken = True
    away = visitor.get(f"{BACK}?{urlencode(answer)}")
    assert away.status_code == 503
    assert 'id="message"' in away.text
    assert 'name="password"' in away.text
    assert COOKIE not in visitor.cookies


def test_without_a_provider_there_is_no_way(city):
    """Nothing is offered, and the addresses are not there."""
    visitor = Visitor(city.service.url)
    assert BEGIN not in visitor.get("/login").text
    assert visitor.get(BEGIN).status_code == 404
    assert visitor.get(BACK).status_code == 404
    visitor.client.close()
