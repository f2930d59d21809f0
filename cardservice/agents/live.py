# SPDX-License-Identifier: EUPL-1.2
"""What happens now, for programs that watch: points, outcomes, stages. Never who, never which card."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

MAX_WAITING: Final = 256
KEPT: Final = 50


# Puts the event together: most are never looked at.
Event = Callable[[], Mapping[str, Any]]


class LiveFeed:
    """Hands every event to all who watch; one that does not keep up loses the oldest, never slows a tap.

    Used from the event loop only. How many may watch is the streams' affair (`web/streams.py`).
    """

    def __init__(self) -> None:
        self._watchers: set[Watch] = set()
        self._news = asyncio.Event()
        self._recent: deque[_Once] = deque(maxlen=KEPT)

    def publish(self, event: Event) -> None:
        """Show `event` to everyone who watches; it is put together only when somebody looks."""
        once = _Once(event)
        self._recent.append(once)
        if not self._watchers:
            return
        for watcher in self._watchers:
            watcher.waiting.append(once)
        self._news.set()
        self._news = asyncio.Event()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["Watch"]:
        """Begin to watch; the newest events of before come first."""
        watcher = Watch(self, self._recent)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def news(self) -> None:
        """Wait until something is published."""
        await self._news.wait()


class _Once:
    """An event that is put together for the first who looks, and for nobody again."""

    __slots__ = ("_event", "_told")

    def __init__(self, event: Event) -> None:
        self._event = event
        self._told: Mapping[str, Any] | None = None

    def told(self) -> Mapping[str, Any]:
        if self._told is None:
            self._told = self._event()
        return self._told


class Watch:
    """One watcher's view of the feed."""

    def __init__(self, feed: LiveFeed, recent: Iterable[_Once]) -> None:
        self._feed = feed
        self.waiting: deque[_Once] = deque(recent, maxlen=MAX_WAITING)

    async def next(self) -> Mapping[str, Any]:
        """Return the next event; waits for it."""
        while not self.waiting:
            await self._feed.news()
        return self.waiting.popleft().told()
