# SPDX-License-Identifier: EUPL-1.2
"""Attacks on signing in that fail: finding out names, locking others out, forged requests, planted sessions."""

import html
import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import ldap3
import pytest
from e2e.whole_city import add_people
from service_http.conftest import City, build
from support.service import DirectoryAddress, directory_in_thread
from support.signing_in import Visitor
from support.slapd import READER_DN, READER_PASSWORD, SUFFIX, Slapd

from cardservice.web.login import REFUSED_AFTER_S
from cardservice.web.login_paths import HOME
from cardservice.web.session import COOKIE
from city import people
from city.people import password_of

ANNA, MEHMET, UTE = people.ANNA.login, "yilmaz", "berger"
POLICY = f"cn=policy,{SUFFIX}"
LOCKS_AFTER = 5
EVIL = "https://evil.example"
# Nobody's, disabled, expired, and what would mean something elsewhere; then somebody's.
NAMES = ("niemand", "vogt", "lange", "*", "schmidt)(uid=*", "Schmidt ", "s\x00chmidt", "x" * 300, "", ANNA)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city that lets people try as often as they like."""
    often = {"wrong_passwords": 100, "wrong_passwords_address": 10_000}
    with directory_in_thread() as directory:
        made = build(directory, tmp_path_factory.mktemp("office"), None, sign_in=often)
        yield made
        made.close()


@pytest.fixture
def visitor(office: City) -> Iterator[Visitor]:
    with Visitor(office.service.url) as made:
        yield made


def said(answer, name: str) -> str:
    """What the page says, whatever was typed."""
    return answer.text.replace(f'value="{html.escape(name)}"', 'value=""')


def test_nobody_learns_which_names_there_are(visitor: Visitor) -> None:
    """The same status, words and time, whether the name or the password is wrong or the account is closed."""
    answers, took_s = set(), {name: [] for name in NAMES}
    for name in (*NAMES, *["niemand", "vogt", ANNA] * 2):
        began_s = time.monotonic()
        refused = visitor.try_to_sign_in(name, "wrong")
        took_s[name].append(time.monotonic() - began_s)
        answers.add((refused.status_code, said(refused, name)))
        assert (visitor.session, visitor.device) == (None, None)
    assert len(answers) == 1
    assert min(min(times) for times in took_s.values()) >= REFUSED_AFTER_S
    usual_s = [statistics.median(times) for times in took_s.values()]
    assert max(usual_s) - min(usual_s) < 0.2


@pytest.mark.parametrize("password", ["", " ", "\x00", "\x01abc", "x" * 257, "a\ud7ff", "\u0627a"])
def test_what_is_no_password_is_a_wrong_one(visitor: Visitor, password: str) -> None:
    """Empty above all: a directory would take it for a question and say yes."""
    assert visitor.try_to_sign_in(ANNA, password).status_code == 403


def test_one_persons_password_is_not_anothers(visitor: Visitor) -> None:
    assert visitor.try_to_sign_in(ANNA, password_of(MEHMET)).status_code == 403


FOREIGN = {
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "another host of ours": {"Sec-Fetch-Site": "same-site"},
    "typed": {"Sec-Fetch-Site": "none"},
    "another origin": {"Origin": EVIL},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "no origin to tell": {"Origin": "null"},
    "our name inside": {"Origin": "http://127.0.0.1.evil.example"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_no_foreign_page_signs_anybody_in_or_out(visitor: Visitor, headers: dict[str, str]) -> None:
    """Not even with a right password, or the page's token."""
    form = {"name": ANNA, "password": password_of(ANNA)}
    refused = visitor.post("/login", data=form, headers=headers)
    assert (refused.status_code, refused.json()["code"], visitor.session) == (403, "foreign_page", None)
    visitor.sign_in(ANNA)
    form["form_token"] = visitor.form_token()
    for path in ("/logout", "/confirm"):
        refused = visitor.post(path, data=form, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_page")
    assert visitor.get("/my/doors").status_code == 200


def test_without_the_pages_token_nothing_happens(office: City, visitor: Visitor) -> None:
    """None, anybody's, another session's of the same person; in a header it counts as well as in the form."""
    with Visitor(office.service.url).sign_in(ANNA) as other:
        foreign = other.form_token()
    visitor.sign_in(ANNA)
    for token in ({}, {"form_token": ""}, {"form_token": "0" * 64}, {"form_token": foreign}, {"form_token": "ü"}):
        for path in ("/logout", "/confirm"):
            refused = visitor.post(path, data={"password": password_of(ANNA), **token})
            assert (refused.status_code, refused.json()["code"]) == (403, "form_token")
    assert visitor.get("/my/doors").status_code == 200
    headers = {"X-Form-Token": visitor.form_token()}
    assert visitor.post("/logout", headers=headers).status_code == 303
    assert visitor.session is None


def test_a_request_that_says_nothing_of_its_page_is_refused(visitor: Visitor) -> None:
    """Without a session too: the answer to a foreign page would end the one that the browser did not send along."""
    form = {"name": ANNA, "password": password_of(ANNA)}
    for path in ("/login", "/logout"):
        refused = visitor.client.post(path, data=form)
        assert (refused.json()["code"], "set-cookie" in refused.headers) == ("foreign_page", False)


def test_no_address_signs_anybody_out_or_confirms(visitor: Visitor) -> None:
    """A link or a picture changes nothing."""
    visitor.sign_in(ANNA)
    before = visitor.session
    assert visitor.get("/logout").status_code == 405
    assert visitor.get(f"/confirm?password={password_of(ANNA)}").status_code == 200
    assert visitor.session == before


def test_a_planted_session_is_nobodys(office: City, visitor: Visitor) -> None:
    """Whoever signs in gets a token of their own; the one the browser had, planted or real, is worth nothing then."""
    visitor.cookies[COOKIE] = "planted" * 6
    visitor.sign_in(ANNA)
    assert visitor.session not in {None, "planted" * 6}
    with Visitor(office.service.url).sign_in(MEHMET) as attacker:
        planted = attacker.session
        visitor.cookies[COOKIE] = planted
        visitor.sign_in(ANNA)
        assert visitor.session != planted
        assert attacker.get("/my/doors").status_code == 401
    for token in ("", "x", "x" * 5_000, visitor.session[:-1], visitor.session + "x", visitor.session.swapcase()):
        with Visitor(office.service.url) as guessing:
            guessing.cookies[COOKIE] = token
            assert guessing.get("/my/doors").status_code == 401


DETOURS = (
    *("//evil.example", "/\\evil.example", "\\\\evil.example", EVIL, "https:evil.example", "//a@evil.example"),
    *("/%2f/evil.example", "/%5cevil.example", "/\tevil.example", "/\n/evil.example", "javascript:alert(1)"),
    *("/%0d%0aLocation:%20" + EVIL, "///evil.example", "/logout", "/login?next=//evil.example"),
)


@pytest.mark.parametrize("detour", DETOURS)
def test_nobody_is_sent_elsewhere(visitor: Visitor, detour: str) -> None:
    """Neither the form nor what was sent along with it leads away from us, in and after step-up."""
    page = visitor.client.get("/login", params={"next": detour})
    assert 'name="next"' not in page.text
    assert not re.search(r"evil\.example", page.text.replace("%2F", "/"))
    done = visitor.try_to_sign_in(ANNA, password_of(ANNA), next=detour)
    assert (done.status_code, done.headers["location"]) == (303, HOME)
    form = {"form_token": visitor.form_token(), "password": password_of(ANNA), "next": detour}
    assert visitor.post("/confirm", data=form).headers["location"] == HOME


@pytest.mark.parametrize("path", ["//evil.example/..", "/%5cevil.example", "//evil.example", "/my%0d%0aX:1"])
def test_a_strange_address_of_ours_does_not_come_back(visitor: Visitor, path: str) -> None:
    """Whatever was asked for, the sign-in page is ours."""
    answer = visitor.client.get(f"{visitor.url}{path}", headers={"Accept": "text/html"})
    assert "evil" not in answer.headers.get("location", "")


@dataclass
class SlapdDirectory:
    """A real OpenLDAP that locks an account after five wrong passwords."""

    slapd: Slapd
    address: DirectoryAddress

    def wrong(self, login: str) -> tuple[int, bool]:
        """Return how many wrong passwords the directory counts, and whether it locked the account."""
        with self.slapd.admin() as admin:
            wanted = ["pwdFailureTime", "pwdAccountLockedTime"]
            admin.search(f"uid={login},ou=people,{SUFFIX}", "(objectClass=*)", ldap3.BASE, attributes=wanted)
            (entry,) = admin.response
        found = entry["raw_attributes"]
        return len(found.get("pwdFailureTime", ())), bool(found.get("pwdAccountLockedTime"))


@pytest.fixture
def locking(tmp_path) -> Iterator[City]:
    rules = {"pwdAttribute": "userPassword", "pwdLockout": "TRUE", "pwdMaxFailure": str(LOCKS_AFTER)}
    policy = (POLICY, {"objectClass": ["device", "pwdPolicy"], "cn": "policy", **rules})
    slapd = Slapd(tmp_path / "slapd", [policy]).start()
    add_people(slapd)
    with slapd.admin() as admin:
        for login in (ANNA, UTE, MEHMET):
            values = {"userPassword": password_of(login), "pwdPolicySubentry": POLICY}
            changes = {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in values.items()}
            admin.modify(f"uid={login},ou=people,{SUFFIX}", changes)
    people_base, groups_base = (f"ou={branch},{SUFFIX}" for branch in ("people", "groups"))
    address = DirectoryAddress(slapd.url, slapd.ca_file, READER_DN, people_base, groups_base, password=READER_PASSWORD)
    made = build(SlapdDirectory(slapd, address), tmp_path / "city", None)
    yield made
    made.close()
    slapd.stop()


@pytest.mark.slapd
def test_nobody_locks_anybody_out(locking: City) -> None:
    """Guessed at from everywhere, also with a device of one's own: the account stays open, its owner gets in.

    Who guesses learns no more of it than of a name that nobody has.
    """
    url, directory = locking.service.url, locking.directory
    with Visitor(url).sign_in(UTE) as ute, Visitor(url).sign_in(MEHMET) as attacker:
        own = attacker.device
        answers = {}
        for name in (UTE, "niemand"):
            attacker.cookies["__Host-onecard-device"] = own
            refused = [attacker.try_to_sign_in(name, f"guess {number}") for number in range(9)]
            assert [one.status_code for one in refused] == [403] * 3 + [429] * 6
            assert all(0 < int(one.headers["retry-after"]) <= 600 for one in refused[3:])
            answers[name] = {said(one, name) for one in refused}
        assert answers[UTE] == answers["niemand"]
        assert directory.wrong(UTE) == (3, False)
        # On a device that is not hers she waits as well; on hers she gets in, and elsewhere others do.
        with Visitor(url) as strange:
            assert strange.try_to_sign_in(UTE, password_of(UTE)).status_code == 429
            assert strange.try_to_sign_in(ANNA, password_of(ANNA)).status_code == 303
        assert ute.try_to_sign_in(UTE, password_of(UTE)).status_code == 303
        tries = [ute.post("/confirm", data={"form_token": ute.form_token(), "password": "x"}) for _ in range(4)]
        assert [one.status_code for one in tries] == [403, 429, 429, 429]
        wrong, locked = directory.wrong(UTE)
        assert (wrong <= LOCKS_AFTER - 1, locked) == (True, False)
