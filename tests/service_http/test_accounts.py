# SPDX-License-Identifier: EUPL-1.2
"""Service accounts over HTTP: added, used, rotated, bounded, paced and ended, by API, pages and command line."""

import json
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from structlog.testing import capture_logs
from support.command import run_cli
from support.service import CALLERS, directory_in_thread
from support.signing_in import Visitor
from support.waiting import wait_until

from cardservice.clock import SystemClock
from cardservice.database import read, write
from cardservice.web.accounts.store import service_account, service_key
from cardservice.web.once import api_answer
from city import people

API = "/api/v1/accounts"
DOORS = "/api/v1/doors"
# In IT, and in Bauamt.
EVERYWHERE, BOUNDED = "yilmaz", people.ANNA.login
ROLES = [
    {"role": "administrator", "group": "IT"},
    {"role": "administrator", "group": "Bauamt", "organisations": ["musterstadt"], "zones": ["bauamt"]},
]
TOKEN = re.compile(r"oc_[0-9a-f]{8}_[0-9a-f]{64}")
DAY_MS = 86_400_000


@dataclass
class Desk:
    """An administrator at the API."""

    visitor: Visitor

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        named = {"X-Form-Token": self.visitor.form_token(), "Idempotency-Key": uuid.uuid4().hex}
        named |= {"Content-Type": "application/json"} | headers
        # Written here: a client would refuse to send half a letter.
        return self.visitor.request(method, path, content="" if body is None else json.dumps(body), headers=named)

    def add(self, name: str, **terms: Any) -> dict[str, Any]:
        added = self.send("POST", API, {"name": name, "scopes": ["door"], "reason": "ticket 4711", **terms})
        assert added.status_code == 201, added.text
        return added.json()

    def key(self, name: str, days: int = 365) -> str:
        made = self.send("POST", f"{API}/{name}/keys", {"days": days})
        assert made.status_code == 201, made.text
        return made.json()["token"]


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("office"), database_url, **{"": {"roles": ROLES}})
        yield made
        made.close()


@pytest.fixture
def desk(office: City) -> Desk:
    return Desk(office.visitor(EVERYWHERE))


def call(city: City, token: str, path: str = DOORS) -> httpx2.Response:
    return httpx2.get(city.service.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


@contextmanager
def changing(city: City) -> Iterator[sa.Connection]:
    with city.files.stores() as databases, write(databases.state) as connection:
        yield connection


def rows(city: City, table: sa.Table) -> list[sa.Row[Any]]:
    with city.files.stores() as databases, read(databases.state) as connection:
        return list(connection.execute(sa.select(table)))


def test_a_new_key_opens_what_its_account_is_for_and_nothing_else(office: City, desk: Desk) -> None:
    """At once, without a restart: its scope, within its points; the answer says who it is about."""
    account = desk.add("panel-1", points=["bauamt.aussen"])
    assert (account["keys"], account["created_by"], account["source"]) == ([], EVERYWHERE, "database")
    token = desk.key("panel-1")
    assert TOKEN.fullmatch(token)
    doors = call(office, token)
    assert [door["code"] for door in doors.json()["doors"]] == ["bauamt.aussen"]
    assert call(office, token, "/api/v1/doors/lockdowns").json() == {"lockdowns": []}
    assert code(call(office, token, "/api/v1/directory/holds")) == (403, "foreign_use")
    assert code(call(office, token, API)) == (403, "foreign_use")


def test_an_account_is_bound_to_zones_and_to_an_organisation(office: City, desk: Desk) -> None:
    desk.add("annexe-2", zones=["bauamt"])
    assert {door["zone"] for door in call(office, desk.key("annexe-2")).json()["doors"]} == {"bauamt"}
    desk.add("strangers", organisation="elsewhere")
    assert call(office, desk.key("strangers")).json()["doors"] == []


def test_keys_are_rotated_without_a_gap_and_revoked_at_once(office: City, desk: Desk) -> None:
    """Two count at a time, a third is refused; the one that is revoked is worth nothing with the answer."""
    desk.add("rotating")
    old, new = desk.key("rotating"), desk.key("rotating")
    assert [call(office, token).status_code for token in (old, new)] == [200, 200]
    assert code(desk.send("POST", f"{API}/rotating/keys", {"days": 1})) == (409, "too_many_keys")
    revoked = desk.send("POST", f"{API}/rotating/keys/{old.split('_')[1]}/revoke")
    assert [key["state"] for key in revoked.json()["keys"]] == ["valid", "revoked"]
    assert code(call(office, old)) == (401, "not_authenticated")
    assert call(office, new).status_code == 200
    # Again changes nothing; there is room for the next one.
    again = desk.send("POST", f"{API}/rotating/keys/{old.split('_')[1]}/revoke").json()
    assert again["keys"][1]["revoked_ms"] == revoked.json()["keys"][1]["revoked_ms"]
    assert call(office, desk.key("rotating")).status_code == 200


@pytest.mark.parametrize("change", [{"begins_ms": DAY_MS}, {"expires_ms": 0}], ids=["not yet", "expired"])
def test_a_key_counts_in_its_time_alone(office: City, desk: Desk, change: dict[str, int]) -> None:
    """Compared when a request comes, by the clock of the service."""
    name = f"timed-{next(iter(change)).replace('_', '-')}"
    desk.add(name)
    token = desk.key(name)
    now_ms = SystemClock().now_ms()
    with changing(office) as connection:
        moved = {column: now_ms + by for column, by in change.items()}
        its = sa.update(service_key).where(service_key.c.key == token.split("_")[1])
        connection.execute(its.values(**moved))
    # The service looks again when something of an account is changed by itself.
    desk.key(name)
    assert code(call(office, token)) == (401, "not_authenticated")


def test_a_key_is_told_once(office: City, desk: Desk) -> None:
    """Not when the same request comes again, not in lists; the store has its digest, also with the kept answer."""
    desk.add("secretive")
    idempotency = {"Idempotency-Key": "make-a-key-once"}
    first = desk.send("POST", f"{API}/secretive/keys", {"days": 30}, **idempotency)
    token = first.json()["token"]
    again = desk.send("POST", f"{API}/secretive/keys", {"days": 30}, **idempotency)
    assert again.json() == first.json() | {"token": None}
    other = desk.send("POST", f"{API}/secretive/keys", {"days": 31}, **idempotency)
    assert code(other) == (409, "key_reused")
    secret = token.split("_")[2]
    for path in (API, f"{API}/secretive", "/accounts", "/accounts/secretive", "/metrics", "/health/ready"):
        assert secret not in desk.visitor.get(path).text
    for table in (service_account, service_key, api_answer):
        assert secret not in repr(rows(office, table))
    assert call(office, token).status_code == 200


def test_keys_and_what_is_mistaken_for_them_are_in_no_log_and_no_error(office: City, desk: Desk) -> None:
    """Right, wrong and foreign ones, through API and page: neither logs at any level nor answers repeat them."""
    desk.add("canary")
    with capture_logs() as logged:
        token = desk.key("canary")
        wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
        answers = [call(office, one, path) for one in (token, wrong) for path in (DOORS, "/api/v1/directory/holds")]
        page = desk.visitor.post("/accounts/canary/keys", data={"form_token": desk.visitor.form_token(), "days": "9"})
    assert [answer.status_code for answer in answers] == [200, 403, 401, 401]
    shown = TOKEN.findall(page.text)[0]
    for secret in (token.split("_")[2], wrong.split("_")[2], shown.split("_")[2]):
        assert secret not in json.dumps(logged, default=repr)
        assert not any(secret in answer.text for answer in answers)
    assert "canary" in json.dumps(logged, default=repr)


def test_a_change_rests_on_what_was_read(office: City, desk: Desk) -> None:
    """Its ETag: none is refused, another one too; keys that are made or used meanwhile change nothing of it."""
    desk.add("changing")
    token = desk.key("changing")
    body = {"scopes": ["access"], "reason": "another use"}
    tag = desk.visitor.get(f"{API}/changing").headers["etag"]
    assert call(office, token).status_code == 200
    assert code(desk.send("PUT", f"{API}/changing", body)) == (428, "match_needed")
    stale = desk.send("PUT", f"{API}/changing", body, **{"If-Match": '"something else"'})
    assert code(stale) == (412, "changed_meanwhile")
    changed = desk.send("PUT", f"{API}/changing", body, **{"If-Match": tag})
    assert (changed.status_code, changed.json()["scopes"]) == (200, ["access"])
    assert code(call(office, token)) == (403, "foreign_use")
    assert code(desk.send("PUT", f"{API}/changing", body, **{"If-Match": tag})) == (412, "changed_meanwhile")
    assert desk.visitor.get(f"{API}/changing").headers["etag"] == changed.headers["etag"]


def test_an_administrator_manages_what_is_theirs(office: City, desk: Desk) -> None:
    """Bound to a zone of an organisation: other accounts are not there for them, none they make goes further."""
    mine = Desk(office.visitor(BOUNDED))
    bounds = {"organisation": "musterstadt", "zones": ["bauamt"]}
    desk.add("house-wide")
    assert mine.add("bauamt-1", **bounds)["zones"] == ["bauamt"]
    assert [one["name"] for one in mine.visitor.get(API).json()["accounts"]] == ["bauamt-1"]
    assert code(mine.visitor.get(f"{API}/house-wide")) == (404, "not_found")
    assert code(mine.send("POST", f"{API}/house-wide/keys", {})) == (404, "not_found")
    two_zones = bounds | {"zones": ["bauamt", "serverraum"]}
    for terms in ({}, {"zones": ["bauamt"]}, {"organisation": "musterstadt"}, two_zones):
        refused = mine.send("POST", API, {"name": "too-far", "scopes": ["door"], "reason": "x", **terms})
        assert code(refused) == (409, "foreign_reach"), terms
    wider = {"scopes": ["door"], "reason": "x", "organisation": "musterstadt"}
    assert code(mine.send("PUT", f"{API}/bauamt-1", wider, **{"If-Match": "*"})) == (409, "foreign_reach")


def test_whoever_asks_too_fast_waits_and_nobody_else(office: City, desk: Desk) -> None:
    """429 with Retry-After, for all keys of the account together; another account is answered as ever."""
    desk.add("hasty", requests_per_s=1, burst=3)
    desk.add("calm")
    keys, calm = [desk.key("hasty"), desk.key("hasty")], desk.key("calm")
    answers = [call(office, keys[number % 2]) for number in range(8)]
    late = [answer for answer in answers if answer.status_code == 429]
    assert answers[0].status_code == 200
    assert late
    assert {(code(answer)[1], answer.headers["retry-after"]) for answer in late} == {("too_many", "1")}
    assert call(office, calm).status_code == 200
    wait_until(lambda: call(office, keys[0]).status_code == 200)


def test_the_last_use_is_known_and_written_once_an_hour(office: City, desk: Desk) -> None:
    desk.add("seen")
    token = desk.key("seen")

    def used_ms() -> int | None:
        return desk.visitor.get(f"{API}/seen").json()["keys"][0]["last_used_ms"]

    assert used_ms() is None
    call(office, token)
    first = wait_until(used_ms)
    call(office, token)
    # Whatever is to be written is, once a later use of another key is.
    desk.add("seen-later")
    call(office, desk.key("seen-later"))
    wait_until(lambda: desk.visitor.get(f"{API}/seen-later").json()["keys"][0]["last_used_ms"])
    assert used_ms() == first


def test_accounts_of_the_settings_stand_beside_them(office: City, desk: Desk) -> None:
    """They are listed with where they are from, work as before, and their names are taken."""
    listed: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = desk.visitor.get(f"{API}?limit=3&after={cursor}").json()
        assert len(page["accounts"]) <= 3
        listed, cursor = listed + page["accounts"], page["cursor"]
    settled = {one["name"]: one for one in listed if one["source"] == "settings"}
    assert settled.keys() == CALLERS.keys()
    assert [one["name"] for one in listed] == sorted({one["name"] for one in listed})
    assert settled["annexe"]["points"] == ["bauamt.aussen"]
    assert call(office, CALLERS["facility"][0]).status_code == 200
    taken = desk.send("POST", API, {"name": "till-1", "scopes": ["canteen"], "reason": "x"})
    assert code(taken) == (409, "conflict")
    assert code(desk.send("POST", f"{API}/till-1/keys", {})) == (404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Till 1", "scopes": ["door"], "reason": "x"},
        {"name": "bad", "scopes": [], "reason": "x"},
        {"name": "bad", "scopes": ["everything"], "reason": "x"},
        {"name": "bad", "scopes": ["door"], "reason": ""},
        {"name": "bad", "scopes": ["door"], "reason": "x", "burst": 0},
        {"name": "bad", "scopes": ["door"], "reason": "x", "points": ["Not a code"]},
        {"name": "bad", "scopes": ["door"], "reason": "x", "token": "mine"},
        {"name": "bad", "scopes": ["door"], "reason": "x", "units": ["with\x00nothing"]},
        {"name": "bad", "scopes": ["door"], "reason": "half \ud800 a letter"},
    ],
)
def test_what_is_no_account_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    assert code(desk.send("POST", API, body)) == (422, "invalid")


def test_the_largest_account_there_can_be_fits(desk: Desk) -> None:
    """With the kept answer, told again; one more of anything is refused."""
    codes = [f"{'p' * 60}{number:04}" for number in range(150)]
    face = "\N{GRINNING FACE}"
    units = [f"{number:02}{face * 98}" for number in range(20)]
    most = {"points": codes, "zones": codes, "attested_points": codes, "units": units, "organisation": "o" * 40}
    body = {"name": "l" * 40, "scopes": ["door"], "reason": face * 200, **most}
    key = {"Idempotency-Key": "the-largest-account"}
    made = desk.send("POST", API, body, **key)
    assert (made.status_code, made.json()["units"]) == (201, units)
    assert desk.send("POST", API, body, **key).json() == made.json()
    for name, values in most.items():
        if name != "organisation":
            refused = desk.send("POST", API, body | {name: [*values, "one-more"]})
            assert code(refused) == (422, "invalid"), name


def test_the_command_line_does_the_same_beside_the_running_service(office: City) -> None:
    """A key it makes is accepted, one it revokes is not, within what the change log takes."""

    def run(*arguments: str) -> Any:
        done = run_cli("accounts", *arguments, "--json", "--config", str(office.files.config))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("add", "by-hand", "--scope", "door", "--point", "bauamt.aussen", "--reason", "ticket 4711")
    made = run("key", "by-hand", "--days", "30")
    wait_until(lambda: call(office, made["token"]).status_code == 200)
    assert made["token"] not in json.dumps([run("list"), run("show", "by-hand")])
    assert run("disable", "by-hand", "--reason", "broken")["disabled"] is True
    wait_until(lambda: call(office, made["token"]).status_code == 401)
    run("disable", "by-hand", "--undo", "--reason", "mended")
    wait_until(lambda: call(office, made["token"]).status_code == 200)
    assert run("revoke", "by-hand", made["key"], "--by", "night shift")["keys"][0]["revoked_by"] == "night shift"
    wait_until(lambda: call(office, made["token"]).status_code == 401)


@pytest.mark.parametrize(
    ("arguments", "said", "exit_code"),
    [
        (("add", "Bad Name", "--scope", "door", "--reason", "x"), "name:", 78),
        (("add", "bad", "--scope", "all", "--reason", "x"), "scopes.0:", 78),
        (("add", "till-1", "--scope", "door", "--reason", "x"), "an account till-1 already", 65),
        (("key", "till-1"), "it is one of the settings", 66),
        (("key", "nobody", "--days", "731"), "--days: 731", 78),
    ],
)
def test_the_command_line_says_what_is_wrong(
    office: City, arguments: tuple[str, ...], said: str, exit_code: int
) -> None:
    done = run_cli("accounts", *arguments, "--config", str(office.files.config))
    assert (done.returncode, said in done.stderr) == (exit_code, True), done.stderr


def test_keys_that_end_soon_are_told(office: City, desk: Desk) -> None:
    """In /health/ready from fourteen days before, until another key is there; the metric counts the days."""
    desk.add("ending")
    desk.key("ending", days=14)
    sentence = "account ending: its last key ends in 14 days; make another"
    assert sentence in office.service.health()["degraded"]
    days = re.findall(
        r'cardservice_account_key_days_left\{account="ending"\} ([0-9.]+)', office.service.get("/metrics")[1]
    )
    assert [round(float(one)) for one in days] == [14]
    desk.key("ending", days=15)
    assert sentence not in office.service.health()["degraded"]


SAID = {
    "de": ("Dienstkonten", "aus den Einstellungen", "Der neue Schlüssel.", "widerrufen", "schon zwei Schlüssel"),
    "en": ("Service accounts", "from the settings", "The new key.", "revoked", "two keys already"),
}


@pytest.mark.parametrize("lang", SAID)
def test_the_pages_add_rotate_and_end(office: City, desk: Desk, lang: str) -> None:
    """By forms alone: an account, its key shown once, a second, no third, the first revoked, the account disabled."""
    title, settled, new_key, revoked, full = SAID[lang]
    visitor, name = desk.visitor, f"by-page-{lang}"
    chosen = f"?lang={lang}"

    def post(path: str, **fields: str) -> httpx2.Response:
        return visitor.post(path + chosen, data={"form_token": visitor.form_token(), **fields})

    overview = visitor.get(f"/accounts{chosen}").text
    assert (f"<h1>{title}</h1>" in overview, settled in overview) == (True, True)
    fields = {"name": name, "scope-door": "1", "points": "bauamt.aussen\r\n", "reason": "ticket <b>4711</b>"}
    added = post("/accounts", **fields)
    assert (added.status_code, added.headers["location"]) == (303, f"/accounts/{name}")
    page = post(f"/accounts/{name}/keys", days="30")
    assert (page.status_code, new_key in page.text, page.headers["cache-control"]) == (200, True, "no-store")
    (token,) = set(TOKEN.findall(page.text))
    assert [door["code"] for door in call(office, token).json()["doors"]] == ["bauamt.aussen"]
    assert post(f"/accounts/{name}/keys", days="30").status_code == 200
    refused = post(f"/accounts/{name}/keys", days="30").text
    assert (full in refused, TOKEN.findall(refused)) == (True, [])
    assert post(f"/accounts/{name}/keys/{token.split('_')[1]}/revoke").headers["location"] == f"/accounts/{name}"
    shown = visitor.get(f"/accounts/{name}{chosen}").text
    assert (revoked in shown, "ticket &lt;b&gt;4711" in shown, token in shown) == (True, True, False)
    assert call(office, token).status_code == 401
    post(f"/accounts/{name}/state", disabled="1", reason="gone")
    assert visitor.get(f"{API}/{name}").json()["disabled"] is True


@pytest.mark.parametrize(
    "fields", [{}, {"name": "no-scope", "reason": "x"}, {"name": "till-1", "scope-door": "1", "reason": "x"}]
)
def test_a_form_that_cannot_be_taken_says_so(desk: Desk, fields: dict[str, str]) -> None:
    sent = desk.visitor.post("/accounts?lang=en", data={"form_token": desk.visitor.form_token(), **fields})
    assert (sent.status_code, 'role="alert"' in sent.text) == (200, True)
    # What was typed is still there.
    assert all(f'value="{fields[name]}"' in sent.text for name in fields.keys() & {"name", "reason"})
    assert ("checked" in sent.text) is ("scope-door" in fields)
