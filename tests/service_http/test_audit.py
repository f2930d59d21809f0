# SPDX-License-Identifier: EUPL-1.2
"""Every change that somebody asks for is written down before it is made: by whom, why, under which request."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from service_http.conftest import City, build
from support.service import CALLERS, directory_in_thread

from cardservice.journal.audit import STREAM
from cardservice.journal.rules import Place
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from city import people

ANNA = people.ANNA.login
OPEN = "/api/v1/doors/bauamt.aussen/open"
REASON = "Herr Krüger bringt Möbel"


@pytest.fixture(scope="module")
def office(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city in which Anna is of the facilities."""
    with directory_in_thread() as directory:
        roles = {"": {"roles": [{"role": "facility", "group": "Rathaus"}]}}
        made = build(directory, tmp_path_factory.mktemp("audit"), database_url, **roles)
        yield made
        made.close()


def traces(city: City, request: str) -> list[sa.Row[Any]]:
    """Return the lines of one request."""
    city.service.recorded()
    rows = [row for row in city.files.rows(journal_entry) if row.stream == STREAM]
    return [row for row in rows if json.loads(row.payload)["request"] == request]


def sealed(city: City, row: sa.Row[Any]) -> Any:
    with city.files.stores() as stores, stores.record.connect() as connection:
        verify(stores.record)
        place = Place(STREAM, row.epoch, row.sequence)
        return city.service.service._journal.open_sealed(connection, place)


def asking(city: City, account: str, request: str, method: str, path: str, **options: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {CALLERS[account][0]}", "X-Request-Id": request, "Idempotency-Key": request}
    return httpx2.request(method, city.service.url + path, headers=headers, **options)


def test_what_a_system_asks_for_is_written_down(office):
    """The account is named openly, the reason may name somebody and is sealed."""
    answer = asking(office, "facility", "desk-0001-open", "POST", OPEN, json={"reason": REASON})
    assert answer.headers["x-request-id"] == "desk-0001-open"
    (row,) = traces(office, "desk-0001-open")
    assert json.loads(row.payload) == {
        "kind": "asked",
        "operation": "doors.open",
        "request": "desk-0001-open",
        "by": "system",
        "account": "facility",
    }
    assert sealed(office, row) == {"login": None, "reason": REASON}


def test_what_a_person_asks_for_names_nobody_openly(office):
    visitor = office.visitor(ANNA)
    headers = {
        "X-Form-Token": visitor.form_token(),
        "X-Request-Id": "page-0001-open",
        "Idempotency-Key": "page-0001-open",
    }
    visitor.post(OPEN, json={"reason": REASON}, headers=headers)
    (row,) = traces(office, "page-0001-open")
    assert json.loads(row.payload) == {
        "kind": "asked",
        "operation": "doors.open",
        "request": "page-0001-open",
        "by": "person",
    }
    assert ANNA not in row.payload
    assert sealed(office, row) == {"login": ANNA, "reason": REASON}


@pytest.mark.parametrize(
    ("account", "method", "path"),
    [
        ("facility", "GET", "/api/v1/doors"),
        # Not theirs to ask.
        ("till-1", "POST", OPEN),
        # Each booking names its till already.
        ("till-1", "DELETE", "/api/v1/canteen/terminals/kantine.kasse/payments"),
    ],
)
def test_what_changes_nothing_leaves_no_trace(office, account, method, path):
    request = f"quiet-{account}-{method}"
    asking(office, account, request, method, path)
    assert traces(office, request) == []


def test_a_reason_that_no_line_could_hold_is_left_to_its_route(office):
    """The route says what is wrong with it; that it was asked for is kept all the same."""
    answer = asking(office, "facility", "desk-0002-open", "POST", OPEN, json={"reason": "x" * 201})
    assert answer.status_code == 422
    (row,) = traces(office, "desk-0002-open")
    assert sealed(office, row)["reason"] is None
