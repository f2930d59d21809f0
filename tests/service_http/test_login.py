# SPDX-License-Identifier: EUPL-1.2
"""Signing in, out and confirming through the pages, in both languages; what of it is kept, and what it takes."""

import hashlib
import html
import json
import re
from collections.abc import Iterator

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from structlog.testing import capture_logs
from support.canaries import found_in, personal
from support.service import directory_in_thread
from support.signing_in import Visitor, cookies_of
from support.waiting import wait_until

from cardservice.database import read, write
from cardservice.journal.service import Place
from cardservice.journal.sign_ins import STREAM
from cardservice.journal.store import journal_entry, journal_subject
from cardservice.people import web_sessions
from cardservice.people.store import person
from cardservice.people.web_sessions import web_session
from cardservice.web.login_devices import DEVICE_COOKIE
from cardservice.web.session import COOKIE
from city import people
from city.people import password_of

ANNA = people.ANNA.login
HSTS = "strict-transport-security"
# Wrong passwords are what these tests are made of; the limits have tests of their own.
MANY = {"wrong_passwords": 100, "wrong_passwords_address": 10_000}


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("office"), database_url, sign_in=MANY)
        yield made
        made.close()


@pytest.fixture
def visitor(office: City) -> Iterator[Visitor]:
    with Visitor(office.service.url) as made:
        yield made


def sessions_of(city: City, login: str = ANNA) -> list[sa.Row]:
    wanted = sa.select(web_session).join(person).where(person.c.login == login).order_by(web_session.c.id)
    with city.files.stores() as databases, read(databases.state) as connection:
        return list(connection.execute(wanted))


def change(city: City, statement: sa.Update) -> None:
    with city.files.stores() as databases, write(databases.state) as connection:
        assert connection.execute(statement).rowcount


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


SAID = {
    "de": ("Anmelden", "Anmeldename oder Kennwort stimmt nicht.", "Sie sind abgemeldet.", "Kennwort bestätigen"),
    "en": ("Sign in", "Login or password is wrong.", "You are signed out.", "Confirm your password"),
}


@pytest.mark.parametrize("lang", SAID)
def test_in_out_and_what_is_said(visitor: Visitor, lang: str) -> None:
    """A page asked for, the form, a wrong password, the page; signed out, it is asked for in vain."""
    title, wrong, out, confirm = SAID[lang]
    sent = visitor.get(f"/my/pc?lang={lang}", headers={"Accept": "text/html"})
    form = visitor.get(sent.headers["location"] + f"&lang={lang}")
    assert f"<h1>{title}</h1>" in form.text
    assert f'<html lang="{lang}"' in form.text
    wanted = html.unescape(re.findall(r'name="next" value="([^"]*)"', form.text)[0])
    refused = visitor.try_to_sign_in(ANNA, "wrong", next=wanted)
    assert (refused.status_code, wrong in refused.text, f'value="{wanted}"' in refused.text) == (403, True, True)
    assert (f'value="{ANNA}"' in refused.text, ">wrong<" in refused.text, visitor.session) == (True, False, None)
    done = visitor.try_to_sign_in(ANNA, password_of(ANNA), next=wanted)
    assert (done.status_code, done.headers["location"], done.headers["cache-control"]) == (303, wanted, "no-store")
    assert visitor.get(wanted).status_code == 200
    assert f"<h1>{confirm}</h1>" in visitor.get("/confirm").text
    left = visitor.post("/logout", data={"form_token": visitor.form_token()})
    assert (left.status_code, left.headers["location"], visitor.session) == (303, "/login?out=1", None)
    assert out in visitor.get("/login?out=1").text
    assert visitor.get(wanted).status_code == 401


def test_the_cookies_are_for_this_host_alone(visitor: Visitor) -> None:
    """Over TLS or loopback, out of reach of scripts and foreign pages; the session's ends with the browser."""
    done = visitor.try_to_sign_in(ANNA, password_of(ANNA))
    cookies = cookies_of(done)
    # Nobody speaks TLS here.
    assert HSTS not in done.headers
    assert {COOKIE, DEVICE_COOKIE} == cookies.keys()
    for cookie in cookies.values():
        named = (cookie["path"], cookie["domain"], cookie["secure"], cookie["httponly"], cookie["samesite"].lower())
        assert named == ("/", "", True, True, "lax")
    assert (cookies[COOKIE]["max-age"], cookies[COOKIE]["expires"]) == ("", "")
    assert ANNA not in cookies[DEVICE_COOKIE].value
    assert COOKIE.startswith("__Host-")


def test_the_store_knows_tokens_by_their_digest_and_forgets_at_the_end(office: City, visitor: Visitor) -> None:
    visitor.sign_in(ANNA)
    token = visitor.session
    (row,) = [one for one in sessions_of(office) if one.token_digest == digest(token)]
    assert (row.how, row.ends_ms - row.created_ms, row.confirmed_ms) == ("password", 36_000_000, row.created_ms)
    visitor.post("/logout", data={"form_token": visitor.form_token()})
    assert digest(token) not in [one.token_digest for one in sessions_of(office)]
    visitor.cookies[COOKIE] = token
    assert visitor.get("/my/doors").status_code == 401


def test_signing_out_twice_hurts_nobody(visitor: Visitor) -> None:
    assert visitor.post("/logout").headers["location"] == "/login?out=1"


def test_confirming_gives_another_token(office: City, visitor: Visitor) -> None:
    """The old one and its pages' token are worth nothing any more; a wrong password changes nothing."""
    visitor.sign_in(ANNA)
    before, form_token = visitor.session, visitor.form_token()
    wrong = visitor.post("/confirm", data={"form_token": form_token, "password": password_of("yilmaz")})
    assert (wrong.status_code, "Das Kennwort stimmt nicht." in wrong.text, visitor.session) == (403, True, before)
    form = {"form_token": form_token, "password": password_of(ANNA), "next": "/my/time?month=2026-11"}
    right = visitor.post("/confirm", data=form)
    assert (right.status_code, right.headers["location"]) == (303, "/my/time?month=2026-11")
    assert visitor.session not in {None, before}
    assert visitor.get("/my/doors").status_code == 200
    refused = visitor.post("/logout", data={"form_token": form_token})
    assert (refused.status_code, refused.json()["code"]) == (403, "form_token")
    visitor.cookies[COOKIE] = before
    assert visitor.get("/my/doors").status_code == 401


def test_whoever_is_not_signed_in_confirms_nothing(visitor: Visitor) -> None:
    for answer in (visitor.get("/confirm?next=/my/pc"), visitor.post("/confirm", data={"next": "/my/pc"})):
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fmy%2Fpc")


def test_sessions_survive_a_restart_and_browsers_come_back_by_tls_alone(make_city) -> None:
    """The latter where the service or a proxy before it speaks TLS; elsewhere nothing is said of it."""
    city = make_city(sign_in={"behind_tls_proxy": True}, service={"trusted_proxies": ["127.0.0.1"]})
    with Visitor(city.service.url).sign_in(ANNA) as visitor:
        city.service.stop()
        city.service.start()
        with Visitor(city.service.url) as again:
            again.cookies = visitor.cookies
            assert again.get("/my/doors").status_code == 200
    for path in ("/login", "/health/live", "/nowhere", "/static/service.css"):
        assert httpx2.get(city.service.url + path).headers[HSTS] == "max-age=31536000"


def test_a_request_costs_one_query(office: City, visitor: Visitor) -> None:
    """And a write at most once a minute."""
    visitor.sign_in(ANNA)
    engine, statements = office.service.service._databases.state, []

    def note(_connection, _cursor, statement, *_) -> None:
        if "web_session" in statement:
            statements.append(statement.split()[0])

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        assert visitor.get("/my/canteen").status_code == 200
        assert statements == ["SELECT"]
        ours = web_session.c.token_digest == digest(visitor.session)
        change(office, sa.update(web_session).where(ours).values(seen_ms=web_session.c.seen_ms - 60_000))
        assert [visitor.get("/my/canteen").status_code for _ in range(2)] == [200, 200]
        assert statements == ["SELECT", "SELECT", "UPDATE", "SELECT"]
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_nobody_has_more_sessions_than_devices(office: City, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was unused the longest ends."""
    monkeypatch.setattr(web_sessions, "MAX_PER_PERSON", 3)
    with Visitor(office.service.url) as first:
        first.sign_in("krueger")
        for _ in range(3):
            with Visitor(office.service.url) as other:
                other.sign_in("krueger")
        assert len(sessions_of(office, "krueger")) == 3
        assert first.get("/my/doors").status_code == 401


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"content": b"name=a&password=b"}, 415, "wrong_media_type"),
        ({"json": {"name": "a"}}, 415, "wrong_media_type"),
        ({"data": {"name": "a" * 20_000, "password": "b"}}, 413, "too_long"),
        ({"content": lambda: iter([b"name=" + b"a" * 10_000, b"&b=" + b"a" * 10_000])}, 413, "too_long"),
        ({"content": b"name=a&name=b&password=c"}, 400, "bad_request"),
        ({"content": b"name=%ff&password=c"}, 400, "bad_request"),
        ({"content": b"name=\xff&password=c"}, 400, "bad_request"),
        ({"content": b"&".join(b"a%d=1" % number for number in range(101))}, 400, "bad_request"),
    ],
    ids=["no type", "json", "long", "long in parts", "twice", "not UTF-8", "not UTF-8 either", "many fields"],
)
def test_what_is_no_form_is_refused(visitor: Visitor, options: dict, status: int, code: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if code != "wrong_media_type" else {}
    made = {name: value() if callable(value) else value for name, value in options.items()}
    refused = visitor.request("POST", "/login", headers=headers, **made)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_what_is_kept_of_it(office: City, visitor: Visitor) -> None:
    """Outcome and how; whose it was is sealed for that person; of a name that nobody has, nothing at all."""
    entries = lambda: [row for row in office.files.rows(journal_entry) if row.stream == STREAM]  # noqa: E731
    before = len(entries())
    with capture_logs() as logs:
        visitor.try_to_sign_in(ANNA, "wrong")
        visitor.try_to_sign_in("mueller-lüdenscheidt", "wrong")
        visitor.sign_in(ANNA)
        visitor.post("/confirm", data={"form_token": visitor.form_token(), "password": password_of(ANNA)})
        visitor.post("/logout", data={"form_token": visitor.form_token()})
    office.service.recorded()
    new = sorted(entries(), key=lambda row: (row.epoch, row.sequence))[before:]
    outcomes = [json.loads(row.payload)["outcome"] for row in new]
    assert outcomes == ["refused", "refused", "signed_in", "confirmed", "signed_out"]
    assert {json.loads(row.payload)["how"] for row in new} == {"password"}
    service = office.service.service
    with office.files.stores() as databases, read(databases.record) as connection:
        opened = [service._journal.open_sealed(connection, Place(row.stream, row.epoch, row.sequence)) for row in new]
    assert opened == [{"login": ANNA}, None, {"login": ANNA}, {"login": ANNA}, {"login": ANNA}]
    subjects = {row.pseudonym for row in office.files.rows(journal_subject) if row.stream == STREAM}
    assert len(subjects) >= 1
    metrics = office.service.get("/metrics")[1]
    for outcome in set(outcomes):
        assert f'cardservice_sign_ins_total{{outcome="{outcome}"}}' in metrics
    told = json.dumps([*logs, *(row.payload for row in new)]) + metrics
    canaries = personal() | {"mueller-lüdenscheidt", password_of(ANNA), visitor.device}
    assert found_in(told, canaries) == set()


def test_while_the_record_cannot_be_written_nobody_gets_in(make_city) -> None:
    """Nobody is in whose coming is not on record; the answer says that it is not their password."""
    city = make_city()
    city.service.service.recorder.stop()
    with Visitor(city.service.url) as visitor:
        refused = visitor.try_to_sign_in(ANNA, password_of(ANNA))
        assert (refused.status_code, visitor.session) == (503, None)
        assert sessions_of(city) == []


def test_a_directory_that_is_away_is_told(make_city) -> None:
    """The same for names that nobody has; whoever is signed in goes on."""
    city = make_city()
    with Visitor(city.service.url).sign_in(ANNA) as visitor:
        city.directory.switches.refuse()
        said = {"de": "Das Verzeichnis antwortet gerade nicht.", "en": "The directory does not answer at the moment."}
        for login, lang in ((ANNA, "de"), ("niemand", "en")):
            visitor.get(f"/login?lang={lang}")
            away = visitor.try_to_sign_in(login, password_of(ANNA))
            assert (away.status_code, said[lang] in away.text) == (503, True)
        assert visitor.get("/my/doors").status_code == 200


def test_who_leaves_is_out_at_once(make_city) -> None:
    """Disabled in the directory: the next request is nobody's, and the session does not come back with the account."""
    city = make_city()
    with Visitor(city.service.url).sign_in(ANNA) as visitor, Visitor(city.service.url).sign_in("yilmaz") as other:
        city.directory.set_disabled(ANNA, disabled=True)
        wait_until(lambda: visitor.get("/my/doors").status_code == 401)
        assert sessions_of(city) == []
        assert visitor.try_to_sign_in(ANNA, password_of(ANNA)).status_code == 403
        city.directory.set_disabled(ANNA, disabled=False)
        wait_until(lambda: visitor.try_to_sign_in(ANNA, password_of(ANNA)).status_code == 303)
        assert other.get("/my/doors").status_code == 200


@pytest.mark.parametrize(
    "values",
    [
        {"present": False},
        {"enabled": False},
        {"valid_until_ms": 1},
        {"valid_from_ms": 2**50},
        {"stable_id": "somebody-else"},
        {"directory": "another"},
    ],
    ids=["left", "disabled", "expired", "not yet", "another identity", "another directory"],
)
def test_a_session_ends_with_its_person(office: City, visitor: Visitor, values: dict) -> None:
    """Deleted in the store: what is put back afterwards opens nothing."""
    visitor.sign_in("nowak")
    theirs = person.c.login == "nowak"
    with office.files.stores() as databases, read(databases.state) as connection:
        before = connection.execute(sa.select(person).where(theirs)).one()
    change(office, sa.update(person).where(theirs).values(values))
    with capture_logs() as logs:
        assert visitor.get("/my/doors").status_code == 401
    assert "session.ended" in [line["event"] for line in logs]
    change(office, sa.update(person).where(theirs).values({name: getattr(before, name) for name in values}))
    assert visitor.get("/my/doors").status_code == 401
    assert sessions_of(office, "nowak") == []


@pytest.mark.parametrize(
    ("column", "limit_ms"), [("seen_ms", 30 * 60_000), ("ends_ms", 10 * 3_600_000)], ids=["idle", "too long"]
)
def test_a_session_ends_by_itself(office: City, visitor: Visitor, column: str, limit_ms: int) -> None:
    """A minute before it does not; then it is gone."""
    visitor.sign_in("weber")
    ours = sa.update(web_session).where(web_session.c.token_digest == digest(visitor.session))
    change(office, ours.values({column: web_session.c[column] - limit_ms + 60_000}))
    assert visitor.get("/my/doors").status_code == 200
    if column == "seen_ms":
        change(office, ours.values(seen_ms=web_session.c.seen_ms - limit_ms))
    else:
        change(office, ours.values(ends_ms=web_session.c.ends_ms - 60_000))
    assert visitor.get("/my/doors").status_code == 401
