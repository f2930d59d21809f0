# SPDX-License-Identifier: EUPL-1.2
"""Why a card is answered what it is, asked over HTTP: the same as at the door, and who asked is on record."""

import asyncio
import json

import httpx2
import pytest
from support.service import CALLERS

from cardservice.access.explain.rules import Question
from cardservice.database import read
from cardservice.journal.rules import Place
from cardservice.journal.store import journal_entry
from city import people

EXPLAIN = "/api/v1/access/explain"
DOOR = "serverraum.aussen"
AUDITOR = {"by": "system", "account": "auditor"}


def ask(city, caller="auditor", **body):
    headers = {"Authorization": f"Bearer {CALLERS[caller][0]}"}
    return httpx2.post(city.service.url + EXPLAIN, json=body, headers=headers, timeout=20)


async def test_the_explanation_says_what_the_door_said(city):
    """Refused for want of a grant at one door, permitted at another; every question is answered, in both languages."""
    async with city.agent() as agent:
        for door in (DOOR, "bauamt.aussen"):
            tapped = await agent.tap(city.card("anna"), door)
            told = await asyncio.to_thread(ask, city, point=door, login=people.ANNA.login, language="en")
            assert told.status_code == 200, told.text
            answers = told.json()["answers"]
            assert {(one["reason"], one["permit"]) for one in answers} == {(tapped.reason, tapped.reason == "granted")}
            for answer in answers:
                assert [step["question"] for step in answer["steps"]] == list(Question)
    german = (await asyncio.to_thread(ask, city, point=DOOR, login=people.ANNA.login)).json()["answers"][0]
    assert german["sentence"] == "Keine Freigabe nennt diese Person oder eine ihrer Gruppen."
    (holder,) = [step for step in german["steps"] if step["question"] == "holder"]
    assert holder["findings"][0]["sentence"].startswith("Anna Schmidt (schmidt), in ")


def test_who_asked_about_whom_is_written_down_before_the_answer(city):
    """The line names nobody in the open; who asked is sealed for the person asked about."""
    assert ask(city, point=DOOR, login=people.ANNA.login).status_code == 200
    city.service.recorded()
    rows = [row for row in city.files.rows(journal_entry) if row.stream == "access"]
    assert json.loads(rows[-1].payload) == {"kind": "explained", "point": DOOR, **AUDITOR}
    with city.files.stores() as stores, read(stores.record) as connection:
        place = Place("access", rows[-1].epoch, rows[-1].sequence)
        sealed = city.service.service._journal.open_sealed(connection, place)
    assert sealed == {"caller": "auditor"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"point": DOOR, "login": "nobody"}, 404, "not_found"),
        ({"point": DOOR, "card": "0" * 36}, 404, "not_found"),
        ({"point": DOOR}, 409, "conflict"),
        ({"point": DOOR, "login": "schmidt", "card": "0" * 36}, 409, "conflict"),
        ({"point": DOOR, "login": "schmidt", "level": "strong"}, 422, "invalid"),
        ({"point": DOOR, "login": "schmidt", "at_ms": 4_102_444_800_000}, 422, "invalid"),
        ({"point": "../x", "login": "schmidt"}, 422, "invalid"),
        ({"point": DOOR, "login": "schmidt", "more": 1}, 422, "invalid"),
    ],
)
def test_what_cannot_be_explained_is_a_problem(city, body, status, code):
    told = ask(city, **body)
    assert (told.status_code, told.json()["code"]) == (status, code)
    assert "schmidt" not in told.text


def test_a_point_nobody_set_up_is_explained_too(city):
    told = ask(city, point="nowhere", login=people.ANNA.login).json()
    assert {answer["reason"] for answer in told["answers"]} == {"point_unknown"}


def test_another_moment_another_level_and_a_first_card(city):
    """At night the office hours are over; the sentence says when they begin again."""
    sunday_ms = 1_795_302_000_000
    told = ask(city, point="bauamt.aussen", login=people.ANNA.login, at_ms=sunday_ms, level="uid", language="en").json()
    (grant,) = [step for step in told["answers"][0]["steps"] if step["question"] == "grant"]
    (level,) = [step for step in told["answers"][0]["steps"] if step["question"] == "level"]
    assert level["refusal"] == "level_too_low"
    assert grant["findings"]


def what_if(city, caller="auditor", **body):
    headers = {"Authorization": f"Bearer {CALLERS[caller][0]}"}
    return httpx2.post(city.service.url + "/api/v1/access/what-if", json=body, headers=headers, timeout=20)


def test_what_if_counts_and_names_on_request(city):
    """A membership that does not exist yet: who would gain; names leave a line of who had them."""
    file = 'format = 1\n[[membership]]\ngroup = "IT"\nlogin = "schmidt"\nchange = "joins"\n'
    counted = what_if(city, file=file).json()
    assert counted["effects"]["gains"]["people"] == 1
    assert counted["effects"]["loses"] == {"people": 0, "pairs": 0}
    assert (counted["people"], counted["changes"]) == ([], [])
    named = what_if(city, file=file, listed=1).json()["people"]
    assert [(one["effect"], one["login"]) for one in named] == [("gains", "schmidt")]
    city.service.recorded()
    payloads = [json.loads(row.payload) for row in city.files.rows(journal_entry) if row.stream == "access"]
    assert payloads[-1] == {"kind": "what_if", "listed": 1, **AUDITOR}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"file": "format = 2"}, 409, "conflict"),
        ({"file": "[["}, 409, "conflict"),
        ({"file": "format = 1", "listed": 1_001}, 422, "invalid"),
        ({}, 422, "invalid"),
    ],
)
def test_a_file_that_is_none_is_a_problem(city, body, status, code):
    told = what_if(city, **body)
    assert (told.status_code, told.json()["code"]) == (status, code)


def test_a_caller_with_points_of_its_own_asks_about_those(make_city):
    """Another point is not explained to it, nor what a whole model would do."""
    callers = [{"name": "auditor", "token_file": None, "uses": ["access"], "points": ["bauamt.aussen"]}]
    city = make_city()
    callers[0]["token_file"] = str(city.files.folder / "auditor.token")
    city.service.stop()
    city.files.configure({"": {"callers": callers}})
    city.service.start()
    city.service.wait_health(lambda state: state.get("status") == "ready")
    assert ask(city, point="bauamt.aussen", login="schmidt").status_code == 200
    for refused in (ask(city, point=DOOR, login="schmidt"), what_if(city, file="format = 1")):
        assert (refused.status_code, refused.json()["code"]) == (403, "foreign_point")
