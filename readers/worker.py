# SPDX-License-Identifier: EUPL-1.2
"""A thread of its own for something that blocks: one reader, the outbox, the wait for reader events."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from readers.errors import WorkerBusy

T = TypeVar("T")
MAX_WAITING = 32


class Worker:
    """Runs calls one after the other in one thread, so that whoever waits for them never blocks the event loop.

    The thread is a daemon: a device that hangs for ever cannot keep the process from ending.
    """

    def __init__(self, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Queue `call` and return its future.

        Raises:
            WorkerBusy: too much is waiting, or the worker was stopped.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._stopping:
                raise WorkerBusy(f"{self._thread.name} is stopped")
            if len(self._waiting) >= self._max_waiting:
                raise WorkerBusy(f"{self._thread.name} hangs: {len(self._waiting)} calls are waiting")
            self._waiting.append((future, call))
            self._changed.notify()
        return future

    async def call(self, call: Callable[[], T]) -> T:
        """Run `call` in the thread and return its result; whatever it raises is raised here.

        Cancelling the waiting coroutine does not stop a call that has begun.

        Raises:
            WorkerBusy: too much is waiting, or the worker was stopped.
        """
        return await asyncio.wrap_future(self.submit(call))

    def stop(self, *, timeout_s: float) -> bool:
        """Let what is queued run, then end the thread; return whether it ended within `timeout_s` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._stopping:
                    self._changed.wait()
                if not self._waiting:
                    return
                future, call = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                _settle(future, call)


class WorkerFactory(Protocol):
    """Makes the thread of something that blocks."""

    def __call__(self, name: str, *, max_waiting: int = MAX_WAITING) -> Worker:
        """Return a new worker."""
        ...


def _settle(future: Future[Any], call: Callable[[], Any]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits, like a call in their own thread
        future.set_exception(error)
    else:
        future.set_result(result)
