# SPDX-License-Identifier: EUPL-1.2
"""One stream of events by itself: what it sends, and everything that ends it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request
from prometheus_client import CollectorRegistry, Gauge
from support.waiting import wait_until

from cardservice.errors import DatabaseUnavailable
from cardservice.web import streams
from cardservice.web.gate import Actor, Gate
from cardservice.web.streams import Streams, Watching, event

ACTOR = Actor("anna", (), person=1)
SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/live/rows", "headers": [], "query_string": b""}


class StandingGate(Gate):
    """A gate that says the same each time it is asked again."""

    def __init__(self, answer: Actor | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def still(self, name: str, request: Request, before: Actor) -> Actor | None:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Browser:
    """The other end: what it got, whether it went away, and whether it takes anything at all."""

    def __init__(self, *, takes: bool = True) -> None:
        self.got: list[str] = []
        self.ended = False
        self._takes = takes
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if not self._takes and message["type"] == "http.response.body":
            await asyncio.Event().wait()
        self.got.append(message.get("body", b"").decode())
        self.ended |= message.get("more_body") is False


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("open", "Open streams", registry=CollectorRegistry())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"CHECK_S": 0.02, "BEAT_S": 0.03, "SEND_S": 0.05}.items():
        monkeypatch.setattr(streams, name, seconds)


async def quiet(watching: Watching) -> AsyncIterator[str]:
    """One event, and then nothing any more."""
    yield event("rows", "<tr></tr>", "1")
    await asyncio.Event().wait()


async def served(gauge: Gauge, gate: Gate, browser: Browser, all_of_them: Streams | None = None) -> None:
    """Serve one stream to its end."""
    watching = Watching(Request(SCOPE), "live.show", ACTOR)
    response = (all_of_them or Streams(gauge)).of_a_page(gate, watching, quiet)
    async with asyncio.timeout(5):
        await response(SCOPE, browser.receive, browser.send)


async def test_a_stream_goes_on_and_says_so_until_its_reader_goes(gauge: Gauge) -> None:
    """It is counted as long as it lasts, and asked for again and again whether it may."""
    browser, gate = Browser(), StandingGate(ACTOR)
    serving = asyncio.ensure_future(served(gauge, gate, browser))
    beat = "event: beat\ndata: 1\n\n"
    await asyncio.to_thread(wait_until, lambda: browser.got.count(beat) > 1 and gate.asked > 1)
    assert gauge._value.get() == 1
    assert "id: 1\nevent: rows\ndata: <tr></tr>\n\n" in browser.got
    browser.gone.set()
    await serving
    assert gauge._value.get() == 0


@pytest.mark.parametrize(("answer", "told"), [(None, True), (DatabaseUnavailable("no store"), False)])
async def test_who_may_not_watch_any_more_is_told_so(gauge: Gauge, answer: Any, *, told: bool) -> None:
    """And where nobody can tell, the stream ends without a word that might be wrong: its page comes back."""
    browser = Browser()
    await served(gauge, StandingGate(answer), browser)
    assert ("event: over\ndata: 1\n\n" in browser.got) is told
    assert browser.ended


async def test_who_takes_nothing_is_let_go(gauge: Gauge) -> None:
    """After so long, and its place is free."""
    browser = Browser(takes=False)
    await served(gauge, StandingGate(ACTOR), browser)
    assert not browser.ended
    assert gauge._value.get() == 0


async def test_a_service_that_stops_ends_them_all_and_begins_none(gauge: Gauge) -> None:
    all_of_them, browser = Streams(gauge), Browser()
    serving = asyncio.ensure_future(served(gauge, StandingGate(ACTOR), browser, all_of_them))
    await asyncio.to_thread(wait_until, lambda: browser.got)
    all_of_them.close()
    await serving
    assert browser.ended
    assert not all_of_them.has_room(ACTOR)


async def test_a_source_that_fails_ends_its_stream_and_nothing_else(gauge: Gauge) -> None:
    async def broken(watching: Watching) -> AsyncIterator[str]:
        yield event("rows", "first")
        raise ZeroDivisionError

    browser = Browser()
    response = Streams(gauge).of_a_page(StandingGate(ACTOR), Watching(Request(SCOPE), "live.show", ACTOR), broken)
    async with asyncio.timeout(5):
        await response(SCOPE, browser.receive, browser.send)
    assert browser.ended
    assert "over" not in "".join(browser.got)


@pytest.mark.parametrize("text", ["a\nevent: over\ndata: 1", "a\r\rid: 7", "a\u2028b"])
def test_no_text_can_be_another_event(text: str) -> None:
    """Each line of it stands behind the name of the field."""
    lines = event("rows", text, "3").split("\n")
    assert lines[:2] == ["id: 3", "event: rows"]
    assert all(line.startswith("data: ") for line in lines[2:] if line)
    assert "\r" not in "".join(lines)
