# SPDX-License-Identifier: EUPL-1.2
"""Who may do what, asked over HTTP: every operation by every role and every scope, against a second table.

`tests/vectors/roles.csv` says it once more, by hand: whoever changes `operations.py` changes it there too.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa
from support.office import EVERYTHING, login_of, running_office, token_of
from support.routes import RouteSeen, routes_of
from support.service import CityFiles, ServiceThread
from support.signing_in import Visitor

from cardservice.database import write
from cardservice.people.web_sessions import web_session
from cardservice.web.operations import OPERATIONS, PUBLIC, SIGNING_IN, Role, Scope

VECTORS = Path(__file__).parents[1] / "vectors" / "roles.csv"
YES_NO = {"yes": True, "no": False}
REFUSED = {401, 403}


def second_table() -> dict[str, dict[str, bool]]:
    """Return operation -> role or scope -> whether it may."""
    with VECTORS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return {row.pop("operation"): {name: YES_NO[value] for name, value in row.items()} for row in rows}


TABLE = second_table()


@dataclass
class Office:
    """A service with one person for each role, one with all of them, and one account for each scope."""

    service: ServiceThread
    files: CityFiles
    routes: list[RouteSeen]

    def ways(self, operation: str) -> list[RouteSeen]:
        return [route for route in self.routes if operation in route.operations]

    def status(self, client: httpx2.Client, route: RouteSeen, headers: dict[str, str]) -> tuple[int, str]:
        """Return status and code of a request with an empty body; what streams is not waited for."""
        keyed = {"Idempotency-Key": "role-table-" + "k" * 16, **headers}
        body = None if route.method == "GET" else {}
        with client.stream(route.method, route.filled, headers=keyed, json=body) as response:
            if response.status_code in REFUSED:
                response.read()
                return response.status_code, response.json()["code"]
            return response.status_code, ""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with running_office(tmp_path_factory.mktemp("office")) as (service, files):
        yield Office(service, files, routes_of(service._server.config.app.app.app))


def test_the_second_table_is_about_the_same_operations_roles_and_scopes():
    assert list(TABLE) == list(OPERATIONS)
    columns = [*Role, *(f"scope:{scope}" for scope in Scope)]
    assert all(list(row) == columns for row in TABLE.values())


def test_every_route_has_its_line_and_every_line_a_route(office):
    """Exactly one operation each, unless anybody may ask; no line of the table is about nothing."""
    public = PUBLIC | SIGNING_IN | {"/static"}
    for route in office.routes:
        assert len(route.operations) == (0 if route.path in public else 1), route
    assert {one for route in office.routes for one in route.operations} == set(OPERATIONS)
    assert public <= {route.path for route in office.routes}


@pytest.mark.parametrize("role", Role)
def test_a_person_may_do_what_the_second_table_says_and_nothing_else(office, role):
    """Signed in a moment ago, from our own page, with this role alone: each operation both ways."""
    wrong = []
    with Visitor(office.service.url).sign_in(login_of(role)) as visitor:
        headers = visitor.headers() | {"X-Form-Token": visitor.form_token()}
        for operation, row in TABLE.items():
            for route in office.ways(operation):
                status, code = office.status(visitor.client, route, headers)
                # Whoever has a role is an employee besides.
                if (status not in REFUSED) is not (row[role] or row[Role.EMPLOYEE]):
                    wrong.append((operation, route.method, route.path, status, code))
    assert wrong == []


@pytest.mark.parametrize("scope", Scope)
def test_a_system_may_do_what_the_second_table_says_and_nothing_else(office, scope):
    """An account with this scope alone: each operation both ways."""
    wrong = []
    with httpx2.Client(base_url=office.service.url, timeout=20) as client:
        for operation, row in TABLE.items():
            for route in office.ways(operation):
                status, code = office.status(client, route, {"Authorization": f"Bearer {token_of(scope)}"})
                if (status not in REFUSED) is not row[f"scope:{scope}"]:
                    wrong.append((operation, route.method, route.path, status, code))
    assert wrong == []


def test_nobody_may_do_anything(office):
    """Without a session or a token, and with those that are nobody's."""
    with httpx2.Client(base_url=office.service.url, timeout=20) as client:
        for headers in ({}, {"Cookie": "__Host-onecard=" + "x" * 43}, {"Authorization": "Bearer nobodys"}):
            for operation in OPERATIONS:
                for route in office.ways(operation):
                    assert office.status(client, route, headers) == (401, "not_authenticated"), (headers, route)


def test_no_change_comes_from_a_foreign_page_or_long_after_the_password(office):
    """Even of whoever may do everything: without the page's token, from another origin, not confirmed."""
    with Visitor(office.service.url).sign_in(login_of(EVERYTHING)) as visitor:
        token = {"X-Form-Token": visitor.form_token()}
        unsafe = [route for route in office.routes if route.operations and route.method != "GET"]
        mine = [route for route in unsafe if OPERATIONS[route.operations[0]].roles]
        assert mine
        for route in mine:
            foreign = visitor.headers() | token | {"Origin": "https://evil.example"}
            assert office.status(visitor.client, route, visitor.headers()) == (403, "form_token"), route
            assert office.status(visitor.client, route, foreign) == (403, "foreign_page"), route
        with office.files.stores() as databases, write(databases.state) as connection:
            connection.execute(sa.update(web_session).values(confirmed_ms=web_session.c.confirmed_ms - 300_000))
        for route in mine:
            status, code = office.status(visitor.client, route, visitor.headers() | token)
            changes = OPERATIONS[route.operations[0]].changes
            assert (code == "confirmation_needed") is changes, (route, status, code)
