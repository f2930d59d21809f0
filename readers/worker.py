# SPDX-License-Identifier: EUPL-1.2
"""A thread of its own for something that blocks: one reader, the outbox, the wait for reader events."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, TypeVar

from readers.errors import WorkerBusy

T = TypeVar("T")
MAX_WAITING = 32


class _Waiting(NamedTuple):
    """A call that waits, its future, and the loop of that future (None: one for threads)."""

    call: Callable[[], Any]
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class Worker:
    """Runs calls one after the other in one thread, so that whoever waits for them never blocks the event loop.

    The thread is a daemon: a device that hangs for ever cannot keep the process from ending.
    """

    def __init__(self, name: str, *, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], T]) -> "Future[T]":
        """Queue `call` and return its future.

        Raises:
            WorkerBusy: too much is waiting, or the worker was stopped.
        """
        future: Future[T] = Future()
        self._queue_up(_Waiting(call, future, None))
        return future

    async def call(self, call: Callable[[], T]) -> T:
        """Run `call` in the thread and return its result; whatever it raises is raised here.

        Cancelling the waiting coroutine does not stop a call that has begun.

        Raises:
            WorkerBusy: too much is waiting, or the worker was stopped.
        """
        loop = asyncio.get_running_loop()
        # The loop's own future: one made for threads costs a tap a third of the way to the thread and back.
        future: asyncio.Future[T] = loop.create_future()
        self._queue_up(_Waiting(call, future, loop))
        return await future

    def stop(self, *, timeout_s: float) -> bool:
        """Let what is queued run, then end the thread; return whether it ended within `timeout_s` seconds."""
        with self._gate:
            if not self._stopping:
                self._stopping = True
                self._waiting.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _queue_up(self, waiting: _Waiting) -> None:
        # Nothing may enter behind the mark that ends the thread: its future would never be resolved.
        with self._gate:
            if self._stopping:
                raise WorkerBusy(f"{self._thread.name} is stopped")
            if self._waiting.qsize() >= self._max_waiting:
                raise WorkerBusy(f"{self._thread.name} hangs: {self._waiting.qsize()} calls are waiting")
            self._waiting.put(waiting)

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            if _is_wanted(waiting):
                _run_one(waiting)


class WorkerFactory(Protocol):
    """Makes the thread of something that blocks."""

    def __call__(self, name: str, *, max_waiting: int = MAX_WAITING) -> Worker:
        """Return a new worker."""
        ...


def _is_wanted(waiting: _Waiting) -> bool:
    """Tell whether nobody took the call back; from now on a future for threads cannot be cancelled any more."""
    if isinstance(waiting.future, asyncio.Future):
        return not waiting.future.cancelled()
    return waiting.future.set_running_or_notify_cancel()


def _run_one(waiting: _Waiting) -> None:
    result, failure = None, None
    try:
        result = waiting.call()
    except BaseException as error:  # noqa: BLE001  # handed to whoever waits, like a call in their own thread
        failure = error
    if waiting.loop is None:
        _resolve(waiting.future, result, failure)
        return
    # A loop that was closed meanwhile has nobody left who waits.
    with contextlib.suppress(RuntimeError):
        waiting.loop.call_soon_threadsafe(_resolve, waiting.future, result, failure)


def _resolve(future: "Future[Any] | asyncio.Future[Any]", result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
