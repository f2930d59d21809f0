# SPDX-License-Identifier: EUPL-1.2
"""What happens now, for pages and operators that watch: points, outcomes, stages. Never who, never which card."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

MAX_WATCHERS: Final = 64
MAX_WAITING: Final = 256
KEPT: Final = 50


# Puts the event together: most are never looked at.
Event = Callable[[], Mapping[str, Any]]


class LiveFeed:
    """Hands every event to all who watch; one that does not keep up loses the oldest, never slows a tap.

    Used from the event loop only.
    """

    def __init__(self) -> None:
        self._watchers: set[Watch] = set()
        self._news = asyncio.Event()
        self._recent: deque[Event] = deque(maxlen=KEPT)
        self.closed = False

    def close(self) -> None:
        """Send everyone home: the service stops."""
        self.closed = True
        self._news.set()

    @property
    def full(self) -> bool:
        """Whether as many watch as are served."""
        return len(self._watchers) >= MAX_WATCHERS

    def publish(self, event: Event) -> None:
        """Show `event` to everyone who watches; it is put together only when somebody looks."""
        self._recent.append(event)
        if not self._watchers:
            return
        for watcher in self._watchers:
            watcher.waiting.append(event)
        self._news.set()
        self._news = asyncio.Event()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator["Watch"]:
        """Begin to watch; the newest events of before come first.

        Raises:
            TooManyWatchers: the bound is reached.
        """
        if self.full:
            raise TooManyWatchers(f"{MAX_WATCHERS} watch already")
        watcher = Watch(self, self._recent)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def news(self, timeout_s: float) -> None:
        """Wait until something is published, at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return


class TooManyWatchers(Exception):
    """As many as the feed serves watch already."""


class Watch:
    """One watcher's view of the feed."""

    def __init__(self, feed: LiveFeed, recent: Iterable[Event]) -> None:
        self._feed = feed
        self.waiting: deque[Event] = deque(recent, maxlen=MAX_WAITING)

    async def next(self, timeout_s: float) -> Mapping[str, Any] | None:
        """Return the next event, None if none came within `timeout_s`."""
        if not self.waiting:
            await self._feed.news(timeout_s)
        return self.waiting.popleft()() if self.waiting else None
