# SPDX-License-Identifier: EUPL-1.2
"""Approvals, the record and its sealed part over HTTP: what needs two people, and every way around it that fails."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from support.office import EVERYTHING, login_of, running_office, token_of
from support.service import CityFiles, ServiceThread
from support.signing_in import Visitor

from cardservice.approvals.store import approval
from cardservice.audit.rules import READABLE_MS
from cardservice.database import read, write
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry, journal_subject_key
from cardservice.people.store import person
from cardservice.web.i18n import ZONE
from cardservice.web.operations import Role

ANNA = "schmidt"
REASON = "Beschwerde vom 12. Mai"


class Office:
    """A running city with somebody for each role."""

    def __init__(self, service: ServiceThread, files: CityFiles) -> None:
        self.service, self.files = service, files
        self.visitors: dict[str, Visitor] = {}
        self.keys = 0

    def close(self) -> None:
        for visitor in self.visitors.values():
            visitor.client.close()

    def visitor(self, login: str) -> Visitor:
        if login not in self.visitors:
            self.visitors[login] = Visitor(self.service.url).sign_in(login)
        return self.visitors[login]

    def ask(self, role: str, method: str, path: str, body: Any = None) -> httpx2.Response:
        """Send a request of whoever has this role alone, from a page of ours."""
        visitor = self.visitor(login_of(role))
        self.keys += 1
        headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": f"approvals-{self.keys:08}"}
        return visitor.request(method, f"/api/v1{path}", headers=headers, json=body)

    def open_wish(self, role: str, **content: Any) -> httpx2.Response:
        body = {"kind": "journal.open", "content": content, "reason": REASON}
        return self.ask(role, "POST", "/approvals", body)

    def asked(self, role: str = Role.AUDITOR, **content: Any) -> dict[str, Any]:
        answer = self.open_wish(role, **(content or {"entries": [self.line_about_anna()["entry"]]}))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def approve(self, role: str, request: dict[str, Any]) -> httpx2.Response:
        return self.ask(role, "POST", f"/approvals/{request['number']}/approve", {"digest": request["digest"]})

    def person(self, login: str) -> int:
        with self.files.stores() as stores, read(stores.state) as connection:
            return int(connection.execute(sa.select(person.c.id).where(person.c.login == login)).scalar_one())

    def line_about_anna(self) -> dict[str, Any]:
        """Have the help desk look at Anna's entry; return the line it leaves."""
        assert self.ask(Role.HELPDESK, "GET", f"/people/{self.person(ANNA)}").status_code == 200
        found = self.ask(Role.AUDITOR, "GET", "/audit?stream=access&operation=person_read&limit=1").json()
        line: dict[str, Any] = found["lines"][0]
        return line

    def state_of(self, number: int) -> str:
        with self.files.stores() as stores, read(stores.state) as connection:
            return connection.execute(sa.select(approval.c.state).where(approval.c.id == number)).scalar_one()

    def change(self, number: int, **values: Any) -> None:
        """Change a request behind the service's back."""
        with self.files.stores() as stores, write(stores.state) as connection:
            connection.execute(sa.update(approval).where(approval.c.id == number).values(**values))

    def facts(self, stream: str) -> list[dict[str, Any]]:
        rows = [row for row in self.files.rows(journal_entry) if row.stream == stream]
        return [json.loads(row.payload) for row in rows]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("approvals")) as (service, files):
        made = Office(service, files)
        yield made
        made.close()


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_two_people_open_a_line_and_everybody_named_in_it_is_told(office: Office) -> None:
    """The open part names nobody; after somebody else's approval the asker reads it, and both named see who did."""
    line = office.line_about_anna()
    assert line["facts"] == {"kind": "person_read", "by": "person"}
    request = office.asked(entries=[line["entry"]])
    assert (request["own"], request["may_decide"], request["state"]) == (True, False, "open")
    path = f"/audit/opened/{request['number']}"
    assert code_of(office.ask(Role.AUDITOR, "POST", path)) == (409, "not_open")
    (waiting,) = [
        one
        for one in office.ask(Role.STAFF_COUNCIL, "GET", "/approvals?state=open").json()["approvals"]
        if one["number"] == request["number"]
    ]
    assert (waiting["may_decide"], waiting["content"]) == (True, {"entries": [line["entry"]], "lines": 1})
    assert office.approve(Role.STAFF_COUNCIL, waiting).json()["state"] == "approved"
    opened = office.ask(Role.AUDITOR, "POST", path)
    assert opened.status_code == 200, opened.text
    (one,) = opened.json()["lines"]
    desk, anna = login_of(Role.HELPDESK), office.visitor(ANNA).get("/my", params={"lang": "en"}).text
    assert (one["who"], one["about"], one["erased"]) == (f"{desk} ({desk})", f"Anna Schmidt ({ANNA})", False)
    theirs = office.visitor(desk).get("/my", params={"lang": "en"}).text
    for page in (anna, theirs):
        assert "Lines of the record that name you were opened" in page
        assert login_of(Role.AUDITOR) in page
    assert "Lines of the record that name you" not in office.visitor("krueger").get("/my?lang=en").text
    office.service.recorded()
    read_lines = [facts for facts in office.facts("access") if facts.get("approval") == request["number"]]
    assert sorted((facts["kind"], facts["lines"]) for facts in read_lines) == [
        ("journal_opened", 1),
        ("journal_opened", 1),
        ("journal_read", 1),
    ]
    steps = [facts for facts in office.facts("audit") if facts.get("approval") == request["number"]]
    assert [(facts["step"], facts["by"]) for facts in steps] == [("asked", "person"), ("approved", "person")]
    assert not any(login in json.dumps(steps + read_lines) for login in (desk, ANNA, login_of(Role.AUDITOR)))
    with office.files.stores() as stores:
        verify(stores.record)


@pytest.mark.parametrize("role", [Role.EMPLOYEE, Role.APPROVER, Role.AUDITOR, Role.ADMINISTRATOR, Role.HELPDESK])
def test_no_other_role_decides_or_reads(office: Office, role: Role) -> None:
    """Neither decides on what the auditor asked for nor reads it once it is approved; the answers betray nothing."""
    request = office.asked()
    assert office.approve(role, request).status_code in {403, 404}
    rejection = {"digest": request["digest"], "reason": "no"}
    assert office.ask(role, "POST", f"/approvals/{request['number']}/reject", rejection).status_code in {403, 404}
    assert office.state_of(request["number"]) == "open"
    assert office.approve(Role.DATA_PROTECTION, request).status_code == 200
    if role is not Role.AUDITOR:
        assert office.ask(role, "POST", f"/audit/opened/{request['number']}").status_code in {403, 404}
        assert office.ask(role, "GET", f"/approvals/{request['number']}").status_code in {403, 404}


def test_nobody_approves_their_own(office: Office) -> None:
    """Not over the API, not by the page's form, whatever other roles they have; and nothing is opened."""
    for role in (EVERYTHING, Role.DATA_PROTECTION):
        request = office.asked(role)
        assert code_of(office.approve(role, request)) == (409, "own_request")
        visitor = office.visitor(login_of(role))
        form = {"form_token": visitor.form_token(), "key": "0" * 32, "digest": request["digest"]}
        page = visitor.post(f"/approvals/{request['number']}/approve", data=form, headers={"Accept-Language": "en"})
        assert "Somebody else has to decide on it" in page.text
        assert "Your decision" not in visitor.get(f"/approvals/{request['number']}?lang=en").text
        assert office.state_of(request["number"]) == "open"
        assert code_of(office.ask(role, "POST", f"/audit/opened/{request['number']}")) == (409, "not_open")


def test_an_account_of_a_system_neither_asks_nor_approves(office: Office) -> None:
    request = office.asked()
    headers = {"Authorization": f"Bearer {token_of(EVERYTHING)}", "Idempotency-Key": "system-0001"}
    for path, body in (
        ("approvals", {"kind": "journal.open", "content": {"entries": ["audit.1.1"]}, "reason": REASON}),
        (f"approvals/{request['number']}/approve", {"digest": request["digest"]}),
        (f"audit/opened/{request['number']}", None),
    ):
        refused = httpx2.post(f"{office.service.url}/api/v1/{path}", json=body, headers=headers)
        assert code_of(refused) == (403, "foreign_use")
    assert office.state_of(request["number"]) == "open"


def test_what_has_expired_or_was_swapped_is_not_approved(office: Office) -> None:
    """After its end; another request's digest; content that was changed after it was shown."""
    expired, swapped, other = office.asked(), office.asked(), office.asked()
    office.change(expired["number"], expires_ms=expired["asked_ms"])
    shown = office.ask(Role.STAFF_COUNCIL, "GET", f"/approvals/{expired['number']}").json()
    assert (shown["state"], shown["may_decide"]) == ("expired", False)
    assert code_of(office.approve(Role.STAFF_COUNCIL, shown)) == (409, "expired")
    wrong = {**swapped, "digest": other["digest"]}
    assert code_of(office.approve(Role.STAFF_COUNCIL, wrong)) == (409, "changed_meanwhile")
    office.change(swapped["number"], content=json.dumps({"from_ms": 0, "until_ms": 2**50, "lines": 1}))
    assert code_of(office.approve(Role.STAFF_COUNCIL, swapped)) == (409, "changed_meanwhile")
    assert {office.state_of(one["number"]) for one in (expired, swapped)} == {"open"}


def test_of_two_who_decide_at_once_one_does(office: Office) -> None:
    """The other is told that it has its answer, and reads whose; the journal has one step."""
    request, start = office.asked(), Barrier(2)
    roles = (Role.STAFF_COUNCIL, Role.DATA_PROTECTION)
    for role in roles:
        office.visitor(login_of(role))

    def decide(role: Role) -> httpx2.Response:
        start.wait(20)
        return office.approve(role, request)

    with ThreadPoolExecutor(2) as pool:
        answers = dict(zip(roles, pool.map(decide, roles), strict=True))
    assert sorted(answer.status_code for answer in answers.values()) == [200, 409]
    winner = next(role for role, answer in answers.items() if answer.status_code == 200)
    loser = next(role for role in roles if role is not winner)
    assert code_of(answers[loser]) == (409, "already_decided")
    seen = office.ask(loser, "GET", f"/approvals/{request['number']}").json()
    assert (seen["state"], seen["answered_by"]) == ("approved", login_of(winner))
    office.service.recorded()
    steps = [facts["step"] for facts in office.facts("audit") if facts.get("approval") == request["number"]]
    assert steps == ["asked", "approved"]


def test_the_same_request_or_answer_sent_twice_is_one(office: Office) -> None:
    """By its Idempotency-Key; the key with other content is refused."""
    visitor, entry = office.visitor(login_of(Role.AUDITOR)), office.line_about_anna()["entry"]
    headers = {"X-Form-Token": visitor.form_token(), "Idempotency-Key": "approvals-twice"}
    body = {"kind": "journal.open", "content": {"entries": [entry]}, "reason": REASON}
    first, again = (visitor.post("/api/v1/approvals", json=body, headers=headers).json() for _ in range(2))
    assert first == again
    other = visitor.post("/api/v1/approvals", json={**body, "reason": "other"}, headers=headers)
    assert code_of(other) == (409, "key_reused")
    assert office.ask(Role.AUDITOR, "POST", f"/approvals/{first['number']}/withdraw").json()["state"] == "withdrawn"
    assert code_of(office.approve(Role.STAFF_COUNCIL, first)) == (409, "already_decided")


def test_opened_lines_are_the_askers_for_a_day(office: Office) -> None:
    """Nobody else reads them, not even who approved; after 24 hours nobody does; what was erased stays so."""
    request = office.asked()
    office.approve(Role.DATA_PROTECTION, request)
    path = f"/audit/opened/{request['number']}"
    assert code_of(office.ask(Role.DATA_PROTECTION, "POST", path)) == (404, "not_found")
    assert office.ask(Role.STAFF_COUNCIL, "POST", path).status_code == 403
    assert office.ask(Role.AUDITOR, "POST", path).status_code == 200
    with office.files.stores() as stores, write(stores.record) as connection:
        keys = connection.execute(sa.select(journal_subject_key)).all()
        connection.execute(sa.delete(journal_subject_key))
    (line,) = office.ask(Role.AUDITOR, "POST", path).json()["lines"]
    assert (line["who"], line["about"], line["erased"]) == (None, None, True)
    with office.files.stores() as stores, write(stores.record) as connection:
        connection.execute(sa.delete(journal_subject_key))
        connection.execute(sa.insert(journal_subject_key), [dict(row._mapping) for row in keys])
    answered = office.ask(Role.AUDITOR, "GET", f"/approvals/{request['number']}").json()["answered_ms"]
    office.change(request["number"], answered_ms=answered - READABLE_MS)
    assert code_of(office.ask(Role.AUDITOR, "POST", path)) == (409, "not_open")


def test_only_a_bounded_selection_of_these_streams_can_be_asked_for(office: Office) -> None:
    """No stream of a use, no line that is not there, nothing of the future, no more than 500, nothing beside."""
    entry = office.line_about_anna()["entry"]
    now_ms = office.asked(entries=[entry])["asked_ms"]
    for content in (
        {},
        {"entries": []},
        {"entries": ["door.1.1"]},
        {"entries": ["timeclock.1764000000.1"]},
        {"entries": [entry, "audit.1.999999"]},
        {"entries": ["audit.1.1"] * 501},
        {"entries": [7]},
        {"entries": [entry], "stream": "audit"},
        {"stream": "door", "from_ms": 0, "until_ms": 1},
        {"from_ms": 0, "until_ms": now_ms + 3_600_000},
        {"from_ms": now_ms, "until_ms": now_ms},
        {"from_ms": 0, "until_ms": 1},
        {"from_ms": True, "until_ms": now_ms},
        {"from_ms": 0, "until_ms": now_ms, "person": 1},
    ):
        assert code_of(office.open_wish(Role.AUDITOR, **content)) == (409, "content_refused"), content
    # Whoever may not open lines does not ask for it, by whatever name.
    for role in (Role.STAFF_COUNCIL, Role.APPROVER, Role.ADMINISTRATOR):
        assert office.open_wish(role, entries=[entry]).status_code == 403
    ranged = office.asked(stream="access", operation="person_read", from_ms=now_ms - 3_600_000, until_ms=now_ms)
    assert ranged["content"]["lines"] >= 1


def test_the_record_is_read_by_pages_and_filters_and_names_nobody(office: Office) -> None:
    """By stream, operation, request, account and time; each line once; no page of it holds a name."""
    for _ in range(5):
        office.asked()
    with httpx2.Client(
        base_url=office.service.url, headers={"Authorization": f"Bearer {token_of('people')}"}
    ) as system:
        headers = {"X-Request-Id": "identity-0001"}
        assert system.get(f"/api/v1/people/{office.person(ANNA)}", headers=headers).status_code == 200
    (by_account,) = office.ask(Role.AUDITOR, "GET", "/audit?account=only-people&limit=1").json()["lines"]
    assert by_account["facts"] == {"kind": "person_read", "by": "system", "account": "only-people"}
    everything, cursor = [], ""
    while cursor is not None:
        page = office.ask(Role.AUDITOR, "GET", f"/audit?limit=7{cursor and '&after=' + cursor}").json()
        everything += page["lines"]
        cursor = page["cursor"]
    assert len({one["entry"] for one in everything}) == len(everything) > 7
    assert [one["at_ms"] for one in everything] == sorted((one["at_ms"] for one in everything), reverse=True)
    assert {one["stream"] for one in everything} == {"audit", "access", "sign_in"}
    text = json.dumps(everything)
    assert not any(name in text for name in (ANNA, "Anna", login_of(Role.AUDITOR), login_of(Role.HELPDESK), REASON))
    traced = [one for one in everything if one["facts"].get("operation") == "approvals.request"][-1]
    request = traced["facts"]["request"]
    assert traced in office.ask(Role.AUDITOR, "GET", f"/audit?stream=audit&request={request}").json()["lines"]
    at_ms = everything[3]["at_ms"]
    timed = office.ask(Role.AUDITOR, "GET", f"/audit?from_ms={at_ms}&until_ms={at_ms + 1}").json()["lines"]
    assert everything[3] in timed
    assert {one["at_ms"] for one in timed} == {at_ms}
    for wrong in ("stream=door", "after=1.2", "after=1.2.3.door", "from_ms=x", "request=%00"):
        assert office.ask(Role.AUDITOR, "GET", f"/audit?{wrong}").status_code == 422, wrong
    for role in (Role.ADMINISTRATOR, Role.HELPDESK, Role.EMPLOYEE):
        assert office.ask(role, "GET", "/audit").status_code == 403
        assert office.visitor(login_of(role)).get("/audit").status_code == 403


def test_the_pages_form_says_what_is_missing(office: Office) -> None:
    """No line, no reason, no time range, one of the future: nothing is asked for; a range that is over is."""
    entry, visitor = office.line_about_anna()["entry"], office.visitor(login_of(Role.AUDITOR))
    form = {"form_token": visitor.form_token(), "key": "a" * 32, "reason": REASON, "which": "marked"}
    ranged = form | {"which": "range", "operation": "person_read"}
    english = {"Accept-Language": "en"}
    for sent, said in (
        (form, "Please mark the lines"),
        (form | {f"line-{entry}": "1", "reason": " "}, "Please give a reason"),
        (form | {"line-door.1.1": "1"}, "These lines cannot be asked for"),
        (ranged, "from when until when"),
        (ranged | {"from": "2026-01-01T00:00", "until": "2999-01-01T00:00"}, "These lines cannot be asked for"),
        (ranged | {"from": "yesterday", "until": "2026-01-01T00:00"}, "Please write day and time in full"),
    ):
        shown = visitor.post("/audit", data=sent, headers=english)
        assert (shown.status_code, said in shown.text) == (200, True), sent
    assert "Please write day and time" in visitor.get("/audit?lang=en&from=2026-99-01").text
    with office.files.stores() as stores, read(stores.record) as connection:
        newest = connection.execute(sa.select(sa.func.max(journal_entry.c.at_ms))).scalar_one()
    until = datetime.fromtimestamp((newest + 2) / 1_000, ZONE).isoformat(timespec="milliseconds")[:23]
    sent = visitor.post("/audit", data=ranged | {"from": "2026-01-01T00:00", "until": until, "key": "b" * 32})
    assert sent.headers["location"].startswith("/approvals/")
    page = visitor.get(sent.headers["location"], params={"lang": "en"}).text
    assert "person_read" in page
    assert ANNA not in page
