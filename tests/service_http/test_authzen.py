# SPDX-License-Identifier: EUPL-1.2
"""AuthZEN over HTTP: the specification's own examples, told about the demonstration city, and what keeps it honest."""

import asyncio
import json
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from support.service import CALLERS

from cardservice.authzen.rules import MAX_EVALUATIONS
from cardservice.cards.service import list_cards
from cardservice.database import read
from cardservice.journal.rules import Place
from cardservice.journal.store import journal_entry
from cardservice.people.store import person
from city import people

VECTORS = Path(__file__).parents[1] / "vectors" / "authzen"
FILES = [json.loads(file.read_text("utf-8")) for file in sorted(VECTORS.glob("*.json"))]
CASES = [
    pytest.param(file["path"], case, id=f"{file['path'][11:]}: {case['name']}")
    for file in FILES
    for case in file["cases"]
]
EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
METADATA = "/.well-known/authzen-configuration"
OPEN, SHUT = "bauamt.aussen", "serverraum.aussen"


def question(point=OPEN, subject=people.ANNA.login, **context):
    subject = {"type": "person", "id": subject}
    asked = {"subject": subject, "action": {"name": "pass"}, "resource": {"type": "point", "id": point}}
    return asked | ({"context": context} if context else {})


def ask(city, path=EVALUATION, caller="auditor", **options):
    """Send one request; `json` or `content` is its body."""
    headers = {"Authorization": f"Bearer {CALLERS[caller][0]}", **options.pop("headers", {})}
    return httpx2.post(city.service.url + path, headers=headers, timeout=20, **options)


@pytest.fixture(scope="module")
def named(city):
    """What vectors call the stable id and the card of the person everybody asks about."""
    with city.files.stores() as stores:
        with read(stores.state) as connection:
            wanted = sa.select(person.c.id, person.c.directory, person.c.stable_id)
            anna = connection.execute(wanted.where(person.c.login == people.ANNA.login)).one()
        card = next(one.reference for one in list_cards(stores.state) if one.person_id == anna.id)
    return {"{stable_id}": f"{anna.directory}:{anna.stable_id}", "{card}": card}


def filled(body, named):
    text = json.dumps(body)
    for word, meant in named.items():
        text = text.replace(word, meant)
    return json.loads(text)


@pytest.mark.parametrize(("path", "case"), CASES)
def test_the_specification_s_examples(city, named, path, case):
    """Decision, status and shape as the specification says; a refusal says why, to the person and the administrator."""
    told = ask(city, path, json=filled(case["body"], named), headers={"X-Request-ID": "bfe9eb29 ab87/4ca3"})
    assert told.status_code == case.get("status", 200), told.text
    assert told.headers.get_list("x-request-id") == ["bfe9eb29 ab87/4ca3"]
    if told.status_code != 200:
        assert told.headers["content-type"] == "application/problem+json"
        assert told.json()["code"] == "bad_request"
        return
    assert told.headers["content-type"] == "application/json"
    answers = told.json()["evaluations"] if "decisions" in case else [told.json()]
    assert [one["decision"] for one in answers] == case.get("decisions", [case.get("decision")])
    for one in answers:
        context = one["context"]
        assert "id" in context
        if "error" in context:
            assert context["error"]["status"] == 400
        else:
            assert all(context[who][language] for who in ("reason_user", "reason_admin") for language in ("de", "en"))
    if "id" in case:
        assert answers[0]["context"]["id"] == case["id"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"\xff\xfe", "application/json"),
        (b'{"subject": {"type": "person", "id": "schmidt", "id": "weber"}}', "application/json"),
        (b'{"context": {"x": NaN}}', "application/json"),
        (b"[" * 30_000, "application/json"),
        (json.dumps(question()).encode(), "text/plain"),
        (json.dumps(question()).encode(), "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
def test_what_is_no_request_is_answered_400(city, path, content, kind):
    told = ask(city, path, content=content, headers={"Content-Type": kind})
    assert (told.status_code, told.json()["code"]) == (400, "bad_request")


def test_a_charset_beside_the_content_type_is_no_other_type(city):
    told = ask(city, content=json.dumps(question()), headers={"Content-Type": "application/json; charset=utf-8"})
    assert told.json()["decision"] is True


def test_more_than_is_answered_at_once_is_refused(city):
    """As many as are allowed are answered in order; one more, or a longer body, is not."""
    many = {**question(), "evaluations": [{}] * MAX_EVALUATIONS}
    assert [one["decision"] for one in ask(city, EVALUATIONS, json=many).json()["evaluations"]] == [True] * 100
    told = ask(city, EVALUATIONS, json={**question(), "evaluations": [{}] * (MAX_EVALUATIONS + 1)})
    assert (told.status_code, told.json()["code"]) == (400, "bad_request")
    assert ask(city, json={**question(), "more": "x" * 70_000}).status_code == 413


def test_nobody_asks_without_a_token_and_no_other_account_does(city):
    """401 says how to authenticate; the request's identifier comes back all the same."""
    told = httpx2.post(city.service.url + EVALUATION, json=question(), headers={"X-Request-ID": "x"}, timeout=20)
    assert (told.status_code, told.headers["www-authenticate"]) == (401, "Bearer")
    assert told.headers.get_list("x-request-id") == ["x"]
    assert ask(city, caller="facility", json=question()).status_code == 403
    # Without one the service makes its own, as everywhere.
    assert len(ask(city, json=question()).headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS, "/access/v1/search/subject", METADATA])
@pytest.mark.parametrize("name", [b"x" * 1_024, b'"a", {b} \xfc', b"1"])
def test_whatever_a_request_is_called_comes_back(city, path, name):
    """An arbitrary string (section 10.1.3), with each answer: a decision, a refusal, or that nothing is there."""
    named = [(b"X-Request-ID", name), (b"Authorization", f"Bearer {CALLERS['auditor'][0]}".encode())]
    method, body = ("GET", None) if path == METADATA else ("POST", question())
    told = httpx2.request(method, city.service.url + path, json=body, headers=named, timeout=20)
    assert told.status_code == (404 if "search" in path else 200)
    assert [value for key, value in told.headers.raw if key.lower() == b"x-request-id"] == [name]


@pytest.mark.parametrize("more", [{"context": {"properties": "any"}}, {"options": {"properties": 7}}, {"page": []}])
@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS])
def test_what_is_not_known_is_passed_over(city, path, more):
    """A name that means something elsewhere means nothing here (section 10.1.1)."""
    told = ask(city, path, json=question() | more)
    assert (told.status_code, told.json()["decision"]) == (200, True)


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
def test_properties_are_an_object(city, name):
    """Of each of the three (sections 5.1 to 5.3)."""
    asked = question()
    asked[name] |= {"properties": "any"}
    assert ask(city, json=asked).status_code == 400
    asked[name] |= {"properties": {"any": ["thing"]}}
    assert ask(city, json=asked).json()["decision"] is True


def test_the_same_question_is_answered_the_same(city):
    answers = [ask(city, json=question(point)).json() for point in (OPEN, SHUT) for _ in range(3)]
    assert answers == [answers[0]] * 3 + [answers[3]] * 3


async def test_the_evaluation_is_what_the_door_says(city):
    """At several doors, with a real card at a reader: the same answer for the same reason."""
    async with city.agent() as agent:
        for door in (OPEN, SHUT, "haupteingang.aussen", "buergerbuero.aussen"):
            tapped = await agent.tap(city.card("anna"), door)
            told = (await asyncio.to_thread(ask, city, json=question(door))).json()
            assert (told["decision"], told["context"]["id"]) == (tapped.reason == "granted", tapped.reason)


def test_each_evaluation_leaves_the_line_that_an_explanation_leaves(city):
    """Also each of several; who asked is sealed for the person asked about. Nobody found: no line about anybody."""
    before = len(lines(city))
    assert ask(city, json=question(SHUT)).json()["decision"] is False
    assert ask(city, EVALUATIONS, json={**question(), "evaluations": [{}, {}]}).status_code == 200
    assert ask(city, json=question(subject="nobody")).json()["decision"] is False
    city.service.recorded()
    new = lines(city)[before:]
    assert [json.loads(row.payload) for row in new] == [
        {"kind": "explained", "point": one, "by": "system", "account": "auditor"} for one in (SHUT, OPEN, OPEN)
    ]
    with city.files.stores() as stores, read(stores.record) as connection:
        place = Place("access", new[0].epoch, new[0].sequence)
        assert city.service.service._journal.open_sealed(connection, place) == {"caller": "auditor"}


def lines(city):
    return [row for row in city.files.rows(journal_entry) if row.stream == "access"]


def test_every_step_is_told_to_whoever_asks_for_them(city):
    told = ask(city, json=question(SHUT, explain=True)).json()
    explanation = told["context"]["explanation"]
    assert (told["decision"], told["context"]["id"], explanation["reason"]) == (False, "no_grant", "no_grant")
    assert [step["question"] for step in explanation["steps"]][:2] == ["point", "credential"]
    assert "explanation" not in ask(city, json=question(SHUT)).json()["context"]


def test_schedules_of_another_year_are_worked_out_for_it(city):
    """Beyond what the snapshot knows: within office hours of a Monday, and on the Sunday before."""
    at = {"monday": "2031-03-17T09:30:00+01:00", "sunday": "2031-03-16T09:30:00+01:00"}
    told = {day: ask(city, json=question("archiv.aussen", time=time)).json() for day, time in at.items()}
    assert {day: (one["decision"], one["context"]["id"]) for day, one in told.items()} == {
        "monday": (True, "granted"),
        "sunday": (False, "outside_schedule"),
    }


def test_the_metadata_names_the_address_it_was_asked_at(city):
    told = httpx2.get(city.service.url + "/.well-known/authzen-configuration", timeout=20)
    assert told.headers["content-type"] == "application/json"
    assert told.json() == {
        "policy_decision_point": city.service.url,
        "access_evaluation_endpoint": city.service.url + EVALUATION,
        "access_evaluations_endpoint": city.service.url + EVALUATIONS,
    }
    told = httpx2.get(city.service.url + "/.well-known/authzen-configuration", headers={"Host": "a/b?c"}, timeout=20)
    assert told.status_code == 400


def test_an_account_with_points_of_its_own_asks_about_those(make_city):
    """Another point is refused, alone with 403 and among several in its place; and no word about whoever was named."""
    city = make_city()
    token = str(city.files.folder / "auditor.token")
    city.service.stop()
    city.files.configure(
        {"": {"callers": [{"name": "auditor", "token_file": token, "uses": ["access"], "points": [OPEN]}]}}
    )
    city.service.start()
    city.service.wait_health(lambda state: state.get("status") == "ready")
    assert ask(city, json=question()).json()["decision"] is True
    for foreign in (SHUT, "nowhere"):
        told = ask(city, json=question(foreign))
        assert (told.status_code, told.json()["code"]) == (403, "foreign_point")
    several = {**question(), "evaluations": [{}, {"resource": {"type": "point", "id": SHUT}}]}
    told = ask(city, EVALUATIONS, json=several).json()["evaluations"]
    assert [one["decision"] for one in told] == [True, False]
    assert told[1]["context"] == {"id": "foreign_point", "error": {"status": 403, "message": "this point is not yours"}}
