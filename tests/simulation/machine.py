# SPDX-License-Identifier: EUPL-1.2
"""A computer of the world: its clocks, and threads that run inline and take virtual time."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from simulation.chance import Dice
from simulation.loop import VirtualLoop, current_process

from readers.errors import WorkerBusy
from readers.worker import MAX_WAITING, Worker

T = TypeVar("T")
# 2026-10-19T04:00:00Z, a Monday; a week later summer time is over.
START_MS = 1_792_382_400_000


class Machine:
    """Clocks and threads of one computer; `spend` makes whatever runs in a thread take time."""

    def __init__(self, loop: VirtualLoop, dice: Dice) -> None:
        self.loop = loop
        self.dice = dice
        # How far this machine's wall clock is from the world's.
        self.wall_offset_ms = 0
        self.spent_us = 0
        # Until when its disk stands still.
        self.disk_stalls_until_us = 0

    def monotonic_us(self) -> int:
        """Microseconds since the world began, within a call of a thread as far as that has come."""
        return self.loop.now_us + self.spent_us

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""
        return self.monotonic_us() * 1_000

    def wall_ms(self) -> int:
        """What this machine believes the time is."""
        return START_MS + self.wall_offset_ms + self.monotonic_us() // 1_000

    def now_ms(self) -> int:
        """The same by its other name."""
        return self.wall_ms()

    def spend(self, us: int) -> None:
        """Let the call that runs take `us` more."""
        self.spent_us += us

    def disk_write(self) -> None:
        """Take the time of one durable write."""
        stall_us = max(0, self.disk_stalls_until_us - self.monotonic_us())
        self.spend(stall_us + int(self.dice.uniform(150, 3_000)))


class VirtualWorker(Worker):
    """The thread of one thing that blocks, without a thread: one call after the other, each takes virtual time."""

    def __init__(self, machine: Machine, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._machine = machine
        self._name = name
        self._limit = max_waiting
        self._process = current_process()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._busy = False
        self._ended = False

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        if self._ended or (self._process is not None and not self._process.alive):
            raise WorkerBusy(f"{self._name} is stopped")
        if len(self._calls) >= self._limit:
            raise WorkerBusy(f"{self._name} hangs: {len(self._calls)} calls are waiting")
        future: Future[T] = Future()
        self._calls.append((future, call))
        if not self._busy:
            self._busy = True
            self._machine.loop.call_later(self._machine.dice.uniform(0.00002, 0.0004), self._next)
        return future

    async def call(self, call: Callable[[], T]) -> T:
        return await asyncio.wrap_future(self.submit(call))

    def stop(self, *, timeout_s: float) -> bool:
        self._ended = True
        return True

    def _next(self) -> None:
        """Run what waits longest; its result is known when the time it took is over."""
        while self._calls:
            future, call = self._calls.popleft()
            if future.set_running_or_notify_cancel():
                self._machine.spent_us = 0
                result, error = _outcome(call)
                took_s, self._machine.spent_us = self._machine.spent_us / 1_000_000, 0
                self._machine.loop.call_later(took_s, self._done, future, result, error)
                return
        self._busy = False

    def _done(self, future: Future[Any], result: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        self._next()


def _outcome(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits, like a call in their own thread
        return None, error


class WatchingWorker(VirtualWorker):
    """The thread that waits for reader events: it sleeps until there are some, however long that is."""

    def __init__(self, machine: Machine, name: str, when_news: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(machine, name)
        self._when_news = when_news

    def _next(self) -> None:
        self._when_news(super()._next)
