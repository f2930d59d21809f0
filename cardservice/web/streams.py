# SPDX-License-Identifier: EUPL-1.2
"""Streams of server-sent events: how many there may be, for how long each goes on, and what ends it.

A stream outlives the request that opened it, so what let it in is asked again while it lasts: whoever signs out, leaves
the directory or loses their role sees nothing more after `CHECK_S`. Who reads too slowly is let go.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from fastapi import Request
from fastapi.responses import StreamingResponse
from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from cardservice.errors import DatabaseUnavailable
from cardservice.web.gate import Actor, Gate
from cardservice.web.problems import ApiProblem

MAX_STREAMS: Final = 64
# A browser has six connections to one server: pages must be loaded beside the streams.
MAX_OF_ONE: Final = 4
CHECK_S: Final = 3.0
# How often something is sent though nothing happens.
BEAT_S: Final = 10.0
# How long one piece may wait for its reader.
SEND_S: Final = 10.0
RETRY_MS: Final = 2_000
FULL_RETRY_MS: Final = 15_000
MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_log = structlog.get_logger()


@dataclass
class Watching:
    """Who watches a stream, as of the last time that was asked; `operation` is what they were let in for."""

    request: Request
    operation: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class Wording:
    """What a stream says of itself: first, while nothing happens, and when it ends for good."""

    first: str
    beat: str
    over: str


# For pages, whose script sees named events alone; and for programs, which skip comments.
FOR_PAGES: Final = Wording(f"retry: {RETRY_MS}\n\n", "event: beat\ndata: 1\n\n", "event: over\ndata: 1\n\n")
FOR_PROGRAMS: Final = Wording(": watching\n\n", ": still here\n\n", "")
# Yields what is sent, for whoever watches; it has to wait by itself when there is nothing.
Source = Callable[[Watching], AsyncIterator[str]]


class Streams:
    """Every open stream. Used from the event loop; `close` ends them all, because the service stops."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._open: Counter[str] = Counter()
        self._closed = asyncio.Event()

    def close(self) -> None:
        """Send everyone home."""
        self._closed.set()

    @property
    def closed(self) -> asyncio.Event:
        """Set once the service stops."""
        return self._closed

    def has_room(self, actor: Actor) -> bool:
        """Tell whether one more of `actor` is served."""
        return not self._closed.is_set() and self._open.total() < MAX_STREAMS and self._open[_key(actor)] < MAX_OF_ONE

    def of_a_page(self, gate: Gate, watching: Watching, source: Source) -> StreamingResponse:
        """Return the stream of a page; where there is no room for it, the page is told so and asks again."""
        if not self.has_room(watching.actor):
            told = f"retry: {FULL_RETRY_MS}\nevent: full\ndata: 1\n\n"
            return StreamingResponse(iter((told,)), media_type=MEDIA_TYPE, headers=_HEADERS)
        return _Stream(self, gate, watching, source, FOR_PAGES)

    def of_a_program(self, gate: Gate, watching: Watching, source: Source) -> StreamingResponse:
        """Return the stream of a program.

        Raises:
            ApiProblem: 503, there is no room for it.
        """
        if not self.has_room(watching.actor):
            raise ApiProblem(503, "too_many_streams", "too many watch already", retry_after_s=5)
        return _Stream(self, gate, watching, source, FOR_PROGRAMS)

    @contextmanager
    def counted(self, actor: Actor) -> Iterator[None]:
        """Count one stream while the context lasts."""
        key = _key(actor)
        self._open[key] += 1
        self._gauge.set(self._open.total())
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
            self._gauge.set(self._open.total())


def _key(actor: Actor) -> str:
    return f"account {actor.name}" if actor.person is None else f"person {actor.person}"


class _Stream(StreamingResponse):
    """One stream: sends what its source yields until anything ends it."""

    def __init__(self, streams: Streams, gate: Gate, watching: Watching, source: Source, wording: Wording) -> None:
        self._pieces = source(watching)
        super().__init__(self._pieces, media_type=MEDIA_TYPE, headers=_HEADERS)
        self._streams, self._gate, self._watching, self._wording = streams, gate, watching, wording
        # Two pieces are never sent at once.
        self._turn = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        if not self._streams.has_room(self._watching.actor):
            # Somebody was quicker, between the route and here.
            self._pieces = _nothing()
        with self._streams.counted(self._watching.actor):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            closed = self._streams.closed.wait()
            ways: tuple[Coroutine[Any, Any, Any], ...]
            ways = (self._tell(send), self._beat(send), self._until_over(), _gone(receive), closed)
            tasks = [asyncio.ensure_future(way) for way in ways]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        telling, beating, over, gone, _ = tasks
        _note_failure(telling)
        slow = _timed_out(telling) or _timed_out(beating)
        if slow:
            _log.warning("stream.too_slow", operation=self._watching.operation)
        if not slow and not _ended(gone):
            with suppress(TimeoutError):
                last = self._wording.over if _ended(over) and over.result() else ""
                await self._send(send, last, more=False)

    async def _tell(self, send: Send) -> None:
        await self._send(send, self._wording.first)
        async for piece in self._pieces:
            await self._send(send, piece)

    async def _beat(self, send: Send) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._send(send, self._wording.beat)

    async def _until_over(self) -> bool:
        """Return True once whoever watches may not any more, False if nobody can tell."""
        watching = self._watching
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                actor = await self._gate.still(watching.operation, watching.request, watching.actor)
            except DatabaseUnavailable:
                return False
            if actor is None:
                return True
            watching.actor = actor

    async def _send(self, send: Send, text: str, *, more: bool = True) -> None:
        """Send a piece.

        Raises:
            TimeoutError: the reader takes nothing.
        """
        async with asyncio.timeout(SEND_S), self._turn:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": more})


async def _nothing() -> AsyncIterator[str]:
    for piece in tuple[str, ...]():
        yield piece


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _ended(task: "asyncio.Future[Any]") -> bool:
    """Tell whether a way came to its end by itself."""
    return not task.cancelled() and task.exception() is None


def _timed_out(task: "asyncio.Future[Any]") -> bool:
    return not task.cancelled() and isinstance(task.exception(), TimeoutError)


def _note_failure(task: "asyncio.Future[Any]") -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, TimeoutError):
        _log.error("stream.failed", error=type(error).__name__)


def event(name: str, text: str, number: str = "") -> str:
    """Return one event; a browser that comes back says which `number` it saw last."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines() if line)
    return f"{f'id: {number}{chr(10)}' if number else ''}event: {name}\n{lines}\n"
