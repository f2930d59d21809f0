# SPDX-License-Identifier: EUPL-1.2
"""Making the long description of the interface keeps nobody waiting."""

import asyncio
import threading

import httpx2
from fastapi import FastAPI

from cardservice.web import described

PATIENCE_S = 10


def test_others_are_answered_while_the_description_is_made_once_for_all_who_ask() -> None:
    """Three ask at once, one of them goes away; meanwhile another route answers; it is made one time."""
    asyncio.run(_ask_while_it_is_made())


async def _ask_while_it_is_made() -> None:
    app, begun, release, made = FastAPI(openapi_url=None), threading.Event(), threading.Event(), []
    plain = app.openapi

    def slow() -> dict:
        begun.set()
        made.append(release.wait(PATIENCE_S))
        return plain()

    app.openapi = slow  # type: ignore[method-assign]
    described.install(app)

    @app.get("/door")
    async def door() -> str:
        return "open"

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://city") as client:
        asking = [asyncio.create_task(client.get(described.SOURCE)) for _ in range(3)]
        await asyncio.wait_for(asyncio.to_thread(begun.wait), PATIENCE_S)
        asking[0].cancel()
        assert (await client.get("/door")).json() == "open"
        assert (await client.post("/door")).headers["allow"] == "GET"
        release.set()
        answers = [await one for one in asking[1:]]
    assert made == [True]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json()["paths"]["/door"]["get"]


def test_what_is_described_word_for_word_is_no_name() -> None:
    """`Allow` of `/lists/look` does not name what `/lists/{list}` takes; of another list it does."""
    app = FastAPI()

    @app.get("/lists/{number}")
    async def one(number: int) -> int:
        return number

    @app.post("/lists/look")
    async def look() -> str:
        return "looked at"

    assert described.methods_of(app, "/lists/look") == ["POST"]
    assert described.methods_of(app, "/lists/7") == ["GET"]
    assert described.methods_of(app, "/lists/7/more") == []
    described.install(app)

    async def answers(*paths: str) -> list[tuple[int, str | None]]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://city") as client:
            found = [await client.get(path) for path in paths]
        return [(one.status_code, one.headers.get("allow")) for one in found]

    asked = asyncio.run(answers("/lists/look", "/lists/7", "/lists/mine"))
    assert asked == [(405, "POST"), (200, None), (422, None)]
