# SPDX-License-Identifier: EUPL-1.2
"""Taps that a system reports: what it may report where, what that counts for, and what is on disk by the answer."""

import json
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from cardservice import changes
from cardservice.access.rules import Level
from cardservice.access.store import point, point_class
from cardservice.database import write
from cardservice.journal import store as journal
from city import seed

DOOR, OTHER_DOOR = "bauamt.aussen", "rathaus.haupteingang"
TAPS = "/api/v1/taps"
ANNA = seed.number("anna", "door").hex()


def accept(city, level: int, *, methods: str = "attested", agents: bool = False) -> None:
    """Let every point take reported numbers from `level` on; unless `agents`, no agent serves any."""
    with city.files.stores() as databases, write(databases.state) as connection:
        connection.execute(sa.update(point_class).values(methods=methods, level=level))
        if not agents:
            connection.execute(sa.update(point).values(agent=None))
        changes.append(connection, "access", [0])
        revision = changes.latest(connection)
    city.service.wait_health(lambda state: state["snapshot_revision"] >= revision)


@pytest.fixture
def panel_city(make_city, tmp_path: Path):
    """A city with a panel for every point, and one for one door, whose reader checks the cards."""
    callers = []
    bound = {"panel": {}, "door-panel": {"points": [DOOR], "attested_points": [DOOR]}, "till": {"uses": ["canteen"]}}
    for name, more in bound.items():
        token = tmp_path / f"{name}.token"
        token.write_text(f"{name}-token\n")
        token.chmod(0o600)
        callers.append({"name": name, "token_file": str(token), "uses": ["tap"]} | more)
    return make_city(**{"": {"callers": callers}})


def tap(city, name: str, number: str = ANNA, at: str = DOOR, **headers: str) -> httpx2.Response:
    token = {"Authorization": f"Bearer {name}-token"} if name else {}
    return httpx2.post(city.service.url + TAPS, json={"point": at, "number": number}, headers=token | headers)


def test_it_passes_with_a_right_and_its_line_is_on_disk(panel_city):
    """Granted, refused and unknown cards: each answer is in the journal, under the event the answer names."""
    accept(panel_city, Level.UID)
    answers = [tap(panel_city, "panel", seed.number(who, "door").hex()).json() for who in ("anna", "sabine")]
    answers.append(tap(panel_city, "panel", "00" * 12).json())
    answers.append(tap(panel_city, "panel", at="nowhere").json())
    lines = [json.loads(row.payload) for row in panel_city.files.rows(journal.journal_entry)]
    assert [(one["permit"], one["reason"], one["level"]) for one in answers] == [
        (True, "granted", "uid"),
        (False, "no_grant", "uid"),
        (False, "card_unknown", "uid"),
        (False, "point_unknown", "none"),
    ]
    assert answers[0]["open_ms"] > 0
    assert answers[0]["text"]["de"] != answers[1]["text"]["de"]
    kept = {line["event"]: line for line in lines if line["kind"] == "tap"}
    for one in answers[1:]:
        assert kept[one["event"]]["reason"] == one["reason"]
        assert kept[one["event"]]["decision"] == one["decision"]


def test_no_system_makes_a_card_prove_itself(panel_city):
    """A number is a UID, or read by the reader where the account vouches for it; a point that asks for more is shut."""
    accept(panel_city, Level.READER_ATTESTED)
    assert tap(panel_city, "panel").json()["reason"] == "level_too_low"
    vouched = tap(panel_city, "door-panel").json()
    assert (vouched["permit"], vouched["level"]) == (True, "reader_attested")
    accept(panel_city, Level.CARD)
    assert tap(panel_city, "door-panel").json()["reason"] == "level_too_low"
    accept(panel_city, Level.UID, methods="desfire")
    assert tap(panel_city, "door-panel").json()["reason"] == "card_unsupported"


def test_a_point_of_an_agent_is_the_agents(panel_city):
    """What an agent's reader answers for, no system taps at."""
    accept(panel_city, Level.UID, agents=True)
    assert tap(panel_city, "panel").json()["reason"] == "point_foreign"


def test_only_its_accounts_may_and_only_at_their_points(panel_city):
    """Nobody, a wrong token, another use, another point: refused before anything is decided."""
    accept(panel_city, Level.UID)
    for name, at, status, code in (
        ("", DOOR, 401, "not_authenticated"),
        ("nobodys", DOOR, 401, "not_authenticated"),
        ("till", DOOR, 403, "foreign_use"),
        ("door-panel", OTHER_DOOR, 403, "foreign_point"),
    ):
        refused = tap(panel_city, name, at=at)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
        assert refused.headers["content-type"] == "application/problem+json"
        assert "x-request-id" in refused.headers
    basic = tap(panel_city, "panel", Authorization="Basic panel-token")
    assert basic.status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b'{"point":"bauamt.aussen"}', 422),
        (b'{"point":"bauamt.aussen","number":"0102030405060708090A0B0C"}', 422),
        (b'{"point":"bauamt.aussen","number":1}', 422),
        (b'{"point":"bauamt.aussen","number":"0102030405060708090a0b0c","level":"card"}', 422),
        (b"[" * 60_000, 422),
        (b" " * 70_000, 413),
    ],
)
def test_every_other_body_is_refused(city, body: bytes, status: int):
    """Nothing that is not exactly a tap is taken for one; it never fails inside."""
    headers = {"Authorization": "Bearer panel-canary-1e07", "Content-Type": "application/json; charset=utf-8"}
    answer = httpx2.post(city.service.url + TAPS, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["code"] in {"invalid", "too_long"}


def test_another_media_type_is_refused(city):
    """A form of another page cannot tap."""
    headers = {"Authorization": "Bearer panel-canary-1e07", "Content-Type": "text/plain"}
    answer = httpx2.post(city.service.url + TAPS, content=b'{"point":"a","number":"b"}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "wrong_media_type")
    assert httpx2.patch(city.service.url + TAPS).status_code == 405
