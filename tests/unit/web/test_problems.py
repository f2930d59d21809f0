# SPDX-License-Identifier: EUPL-1.2
"""Every error of the API is a problem (RFC 9457) with a code of its own, and tells nothing that is not for callers."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import FastAPI, HTTPException, Query
from structlog.testing import capture_logs

from cardservice.errors import (
    AgentAway,
    AgentSilent,
    CardServiceError,
    Conflict,
    DatabaseUnavailable,
    JournalBroken,
    NotFound,
    Overloaded,
)
from cardservice.web import problems
from cardservice.web.problems import MEDIA_TYPE, ApiProblem, documented

SECRET = "canary-9d31"


class OwnCode(Conflict):
    """A conflict that an API has its own word for."""

    code = "key_reused"


ERRORS: dict[str, tuple[Exception, int, str]] = {
    "anonymous": (ApiProblem(401, "not_authenticated", "a token is needed"), 401, "not_authenticated"),
    "refused": (ApiProblem(403, "foreign_use", "not this one"), 403, "foreign_use"),
    "gone": (NotFound("no such door"), 404, "not_found"),
    "twice": (Conflict("there is one"), 409, "conflict"),
    "own": (OwnCode("used before"), 409, "key_reused"),
    "full": (Overloaded("full", retry_after_s=3), 503, "overloaded"),
    "locked": (DatabaseUnavailable(SECRET), 503, "store_unavailable"),
    "away": (AgentAway("agent a is not connected"), 503, "agent_away"),
    "silent": (AgentSilent("agent a did not answer"), 504, "agent_silent"),
    "ours": (JournalBroken(SECRET), 500, "internal"),
    "defect": (RuntimeError(SECRET), 500, "internal"),
    "http": (HTTPException(418, "a teapot"), 418, "error"),
}


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI()
    problems.install(app)

    @app.get("/fail/{name}")
    async def fail(name: str, number: Annotated[int, Query(ge=0)] = 0) -> None:
        raise ERRORS[name][0]

    # A server answers first and then writes the error to its log; here only the answer counts.
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as made:
        yield made


@pytest.mark.parametrize("name", ERRORS)
async def test_every_error_is_a_problem_with_its_code(client, name):
    """Expected or not: the same document, and what is for the administrator stays out of it."""
    _, status, code = ERRORS[name]
    response = await client.get(f"/fail/{name}")
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert (response.json()["status"], response.json()["code"]) == (status, code)
    assert SECRET not in response.text


async def test_a_request_that_is_not_valid_says_where(client):
    response = await client.get("/fail/gone", params={"number": -1})
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    (fault,) = response.json()["faults"]
    assert fault.startswith("query.number: ")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("POST", "/fail/gone", 405)])
async def test_what_no_route_answers_is_a_problem_too(client, method, path, status):
    response = await client.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE)
    assert response.json()["status"] == status


async def test_headers_say_what_to_do(client):
    """When to come again, and what to send."""
    assert (await client.get("/fail/full")).headers["retry-after"] == "3"
    assert (await client.get("/fail/anonymous")).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("name", ["ours", "defect"])
async def test_the_log_names_the_route_and_never_what_was_filled_in(client, name):
    with capture_logs() as logs:
        await client.get(f"/fail/{name}")
    (line,) = [line for line in logs if line["event"] == "api.failed"]
    assert (line["route"], line["error"]) == ("/fail/{name}", type(ERRORS[name][0]).__name__)
    assert SECRET not in str(line)


def test_every_status_that_may_be_answered_can_be_documented():
    statuses = {status for error, status, _ in ERRORS.values() if isinstance(error, CardServiceError)} - {500}
    assert set(documented(*statuses)) == statuses
