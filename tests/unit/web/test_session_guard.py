# SPDX-License-Identifier: EUPL-1.2
"""The page's own token is found wherever a page may put it, and the route still gets what was sent."""

from collections.abc import AsyncIterator
from typing import Annotated

import httpx2
import pytest
from fastapi import Body, Depends, FastAPI, Form, Request

from cardservice.web import problems
from cardservice.web.hsts import Hsts
from cardservice.web.session_guard import form_token, require_form_token, require_same_origin

SESSION = "session-token"
TOKEN = form_token(SESSION)


async def guard(request: Request) -> None:
    require_same_origin(request)
    await require_form_token(request, SESSION)


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(dependencies=[Depends(guard)])
    problems.install(app)

    @app.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        return name

    @app.post("/json")
    async def json(name: Annotated[str, Body(embed=True)]) -> str:
        return name

    @app.post("/raw")
    async def raw(request: Request) -> str:
        return (await request.body()).decode()

    own = {"Origin": "http://test"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test", headers=own) as made:
        yield made


async def test_a_form_may_carry_it_as_a_field(client):
    """Whether the route takes the form apart itself or not."""
    fields = {"name": "anna", "form_token": TOKEN}
    assert (await client.post("/form", data=fields)).json() == "anna"
    assert (await client.post("/raw", data=fields)).json() == f"name=anna&form_token={TOKEN}"
    for wrong in ({"name": "anna"}, fields | {"form_token": TOKEN[:-1]}, fields | {"form_token": form_token("other")}):
        for path in ("/form", "/raw"):
            refused = await client.post(path, data=wrong)
            assert (refused.status_code, refused.json()["code"]) == (403, "form_token")


async def test_a_script_sends_it_as_a_header(client):
    """With whatever body; a wrong one there is not made good by the form."""
    headers = {"X-Form-Token": TOKEN}
    assert (await client.post("/json", json={"name": "anna"}, headers=headers)).json() == "anna"
    assert (await client.post("/form", data={"name": "anna"}, headers=headers)).json() == "anna"
    assert (await client.post("/json", json={"name": "anna", "form_token": TOKEN})).json()["code"] == "form_token"
    fields = {"name": "anna", "form_token": TOKEN}
    assert (await client.post("/form", data=fields, headers={"X-Form-Token": "x"})).json()["code"] == "form_token"


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Origin": "https://TEST"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://test:8443"}, False),
        ({"Origin": "http://testing"}, False),
        ({"Origin": "http://user@test"}, False),
        ({"Origin": ""}, False),
    ],
)
async def test_only_pages_of_ours_are_let_through(client, headers, fine):
    """By Fetch Metadata, else by origin; a proxy that speaks TLS for us changes the scheme alone."""
    answer = await client.post("/raw", headers={"X-Form-Token": TOKEN, **headers})
    assert (answer.status_code == 200) is fine


async def test_hsts_is_in_every_answer_and_in_nothing_else():
    """Of an application that also answers what is not HTTP."""
    said = []

    async def app(scope, _receive, send):
        await send({"type": f"{scope['type']}.response.start", "headers": [(b"x", b"y")]})

    async def send(message):
        said.append(message["headers"])

    for kind in ("http", "websocket"):
        await Hsts(app)({"type": kind}, None, send)
    assert said == [[(b"x", b"y"), (b"strict-transport-security", b"max-age=31536000")], [(b"x", b"y")]]
