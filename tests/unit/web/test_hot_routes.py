# SPDX-License-Identifier: EUPL-1.2
"""A hot route answers in front of the framework, and is refused, limited and described as every other route."""

import httpx2
import pytest
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.types import Message, Receive, Scope, Send

from cardservice.errors import CardServiceError, DatabaseUnavailable, Overloaded
from cardservice.web import problems
from cardservice.web.hot_routes import DocumentedRoute, InFront
from cardservice.web.limits import MAX_BODY, RequestLimits, request_id
from cardservice.web.problems import ApiProblem

ERRORS: dict[str, Exception] = {
    "not theirs": ApiProblem(403, "foreign_point", "not yours"),
    "nobody": ApiProblem(401, "not_authenticated", "who are you"),
    "too often": ApiProblem(429, "too_many", "slower", retry_after_s=7),
    "full": Overloaded("too many wait"),
    "store away": DatabaseUnavailable("secrets of the database"),
    "ours": CardServiceError("something of ours"),
    "invalid": RequestValidationError([{"loc": ("body", "point"), "msg": "missing", "type": "missing"}]),
    "unexpected": RuntimeError("nobody expects this"),
}
# By its name no two answers are alike, so it stands beside what is compared.
OF_ITS_OWN = {"x-request-id", "date"}


async def hot(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the length of the body and the request's name; raise what a query asks for."""
    wanted = httpx2.QueryParams(scope["query_string"].decode()).get("raise")
    if wanted is not None:
        raise ERRORS[wanted]
    length, more = 0, True
    while more:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    body = f"{length} {request_id.get()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    async def described() -> str:
        raise AssertionError("the framework has answered")

    @app.post("/ordinary")
    async def ordinary(wanted: str) -> None:
        raise ERRORS[wanted]

    app.router.routes.append(DocumentedRoute("/hot", described, summary="Hot"))
    return app


@pytest.fixture
async def client():
    # What is unexpected goes on to the server, after its answer.
    served = InFront(application(), (RequestLimits,), {"/hot": hot})
    transport = httpx2.ASGITransport(app=served, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def said(answer: httpx2.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name not in OF_ITS_OWN}
    return answer.status_code, headers, answer.content


async def test_it_answers_within_the_limits_of_every_request(client):
    """The framework's side of it is not asked; the answer carries its name and that it is what it says."""
    answer = await client.post("/hot", content=b"x" * 100, headers={"X-Request-Id": "till-7.2026-0001"})
    assert (answer.status_code, answer.text) == (200, "100 till-7.2026-0001")
    assert answer.headers["x-request-id"] == "till-7.2026-0001"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wanted", ERRORS)
async def test_what_goes_wrong_is_said_as_of_every_other_route(client, wanted):
    """Status, headers and body are those of an ordinary route that raises the same."""
    of_hot = await client.post("/hot", params={"raise": wanted})
    ordinary = await client.post("/ordinary", params={"wanted": wanted})
    assert of_hot.status_code >= 400
    assert said(of_hot) == said(ordinary)
    assert of_hot.headers["x-request-id"]


async def test_a_request_keeps_its_name_when_it_fails(client):
    """The answer and the log say the same name, though two applications have seen the request."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = await client.post("/hot", params={"raise": "unexpected"})
    assert [(line["event"], line["request"]) for line in lines] == [("api.failed", answer.headers["x-request-id"])]


async def test_a_body_that_is_too_long_is_refused_unannounced(client):
    """A route that reads on hears that nothing more comes; what it would say is not heard."""

    async def parts():
        for _ in range(MAX_BODY // 8192 + 1):
            yield b"x" * 8192

    with structlog.testing.capture_logs() as lines:
        answer = await client.post("/hot", content=parts())
    assert (answer.status_code, answer.json()["code"]) == (413, "too_long")
    assert lines == []


async def test_every_other_method_and_path_is_the_frameworks(client):
    assert (await client.patch("/hot")).status_code == 405
    assert (await client.post("/hotter")).status_code == 404


def test_it_is_described():
    """Whoever reads the description finds it."""
    assert application().openapi()["paths"]["/hot"]["post"]["summary"] == "Hot"
