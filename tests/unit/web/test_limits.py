# SPDX-License-Identifier: EUPL-1.2
"""Every request has a name, and no body is longer than its route takes."""

import json
from collections.abc import Iterator

import httpx2
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from cardservice.web import problems
from cardservice.web.limits import LARGER_BODIES, MAX_BODY, RequestLimits, request_id


class Body(BaseModel):
    text: str


def application() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.post("/echo")
    async def echo(body: Body) -> dict[str, int | str]:
        return {"length": len(body.text), "request": request_id.get()}

    @app.post("/begin")
    async def begin(request: Request) -> StreamingResponse:
        """Answer before the body was read."""

        async def answer():
            yield b"begun "
            async for part in request.stream():
                yield str(len(part)).encode()

        return StreamingResponse(answer())

    app.post(next(iter(LARGER_BODIES)))(echo)
    app.add_middleware(RequestLimits)
    return app


@pytest.fixture
async def client():
    transport = httpx2.ASGITransport(app=application())
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def text_of(size: int) -> bytes:
    """Return a valid body of exactly so many bytes."""
    empty = len(json.dumps({"text": ""}))
    return json.dumps({"text": "x" * (size - empty)}).encode()


def in_parts(content: bytes) -> Iterator[bytes]:
    """Send a body without saying how long it is."""
    for start in range(0, len(content), 10_000):
        yield content[start : start + 10_000]


async def send(client, content, path="/echo"):
    async def parts():
        for part in in_parts(content):
            yield part

    return await client.post(path, content=parts(), headers={"Content-Type": "application/json"})


async def test_the_longest_body_is_taken(client):
    answer = await client.post("/echo", content=text_of(MAX_BODY), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert (await send(client, text_of(MAX_BODY))).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_longer_one_is_refused(client, announced):
    """Whether its length was announced or not, as a problem that says what is allowed."""
    content = text_of(MAX_BODY + 1)
    if announced:
        answer = await client.post("/echo", content=content, headers={"Content-Type": "application/json"})
    else:
        answer = await send(client, content)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "too_long"
    assert str(MAX_BODY) in answer.json()["detail"]


async def test_a_route_may_take_more(client):
    path, most = next(iter(LARGER_BODIES.items()))
    assert (await send(client, text_of(most), path)).status_code == 200
    assert (await send(client, text_of(most + 1), path)).status_code == 413


async def test_every_answer_names_its_request(client):
    first, second = [await client.post("/echo", json={"text": ""}) for _ in range(2)]
    assert first.headers["x-request-id"] == first.json()["request"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    refused = await client.post("/echo", json={})
    assert refused.status_code == 422
    assert refused.headers["x-request-id"]


@pytest.mark.parametrize(
    ("given", "kept"), [("till-7.2026-0001", True), ("short", False), ("x" * 65, False), ("a b c d e f", False)]
)
async def test_a_caller_may_name_its_request(client, given, kept):
    """As long as the name can stand in a log."""
    answer = await client.post("/echo", json={"text": ""}, headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is kept
