# SPDX-License-Identifier: EUPL-1.2
"""The terminals of one agent: their screens, the timers that make them forget, and the pages that watch them.

Everything happens in the agent's event loop. A page is always told the newest state and nothing in between, so a slow
one costs no memory.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from cardservice.agents.messages import PointSetup
from readers.clock import Clock
from readers.kiosk.screen import Screen

MAX_WATCHERS: Final = 8
# Also told when nothing happened: the page's clock keeps the agent's time, and silence means that something is wrong.
TELL_EVERY_S: Final = 5.0


class Terminal:
    """One terminal: its screen, and who watches it."""

    def __init__(self, setup: PointSetup, clock: Clock) -> None:
        self.screen = Screen(setup, clock, self._tell)
        self._watchers: set[asyncio.Event] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether as many pages watch as are served."""
        return len(self._watchers) >= MAX_WATCHERS

    @property
    def is_watched(self) -> bool:
        """Whether a page shows this terminal now."""
        return bool(self._watchers)

    async def watch(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield the screen's state now, on every change and every few seconds, until the terminal is closed."""
        news = asyncio.Event()
        self._watchers.add(news)
        try:
            while not self._closed:
                news.clear()
                yield self.screen.state()
                try:
                    async with asyncio.timeout(TELL_EVERY_S):
                        await news.wait()
                except TimeoutError:
                    continue
        finally:
            self._watchers.discard(news)

    def close(self) -> None:
        """End the pages' feeds; the screen is not kept."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.wake()

    def wake(self) -> None:
        """Let every page look again."""
        for news in self._watchers:
            news.set()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._set_timer()
        self.wake()

    def _set_timer(self) -> None:
        left_ms = self.screen.next_end_ms()
        if left_ms is not None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(left_ms / 1_000, self._due)

    def _due(self) -> None:
        self._timer = None
        self.screen.expire()
        # The loop's clock was a little early: nothing was over yet, and nobody has set another timer.
        if self._timer is None:
            self._set_timer()


class Terminals:
    """Every terminal of the agent, by the code of its point."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._terminals: dict[str, Terminal] = {}

    def add(self, setup: PointSetup) -> Screen:
        """Return the screen of a new terminal."""
        self.remove(setup.point)
        terminal = self._terminals[setup.point] = Terminal(setup, self._clock)
        return terminal.screen

    def remove(self, point: str) -> None:
        """Forget the terminal of `point`, if there is one."""
        terminal = self._terminals.pop(point, None)
        if terminal is not None:
            terminal.close()

    def of(self, point: str) -> Terminal | None:
        """Return the terminal of `point`."""
        return self._terminals.get(point)

    def names(self) -> dict[str, str]:
        """Return what each terminal is called, by its point."""
        return {point: self._terminals[point].screen.name for point in sorted(self._terminals)}

    def wake(self) -> None:
        """Let every page look again."""
        for terminal in self._terminals.values():
            terminal.wake()
