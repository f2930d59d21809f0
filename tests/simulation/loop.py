# SPDX-License-Identifier: EUPL-1.2
"""An event loop whose time jumps to the next thing that happens, and processes in it that can die at any step.

Everything a process starts carries the process in its context (`contextvars`): its tasks, timers and callbacks. A dead
process is no longer run, wherever it was waiting: nothing of it is cancelled, told or tidied up, as with `kill -9`.
"""

import asyncio
import contextvars
import heapq
import math
from collections.abc import Callable, Coroutine
from typing import Any

_PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
# Steps without any time passing; more is a loop that never ends.
MAX_STEPS_AT_ONCE = 200_000
# A coroutine that is thrown away may wait again while it ends, but not for ever.
MAX_BURIALS = 50


class NothingHappens(Exception):
    """The loop waits for something that will never come, or time does not pass any more."""


class Process:
    """One program of the world. `steps_to_live` counts down with each step it takes; at 0 it dies in between."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.steps_to_live = -1
        self.at_fuse: Callable[[], None] = self.kill
        self._context = contextvars.copy_context()
        self._context.run(_PROCESS.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._look_again_at = 64
        self._at_death: list[Callable[[], None]] = []

    def context(self) -> contextvars.Context:
        """Return a context of this process, for timers and callbacks that run in it."""
        return self._context.copy()

    def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in this process, at once."""
        return self.context().run(call, *arguments)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task of this process."""
        return asyncio.get_running_loop().create_task(work, name=name, context=self.context())

    def at_death(self, action: Callable[[], None]) -> None:
        """Have the operating system do `action` when the process ends: close a file, break a connection."""
        self._at_death.append(action)

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Note a task of this process."""
        self._tasks.append(task)
        if len(self._tasks) >= self._look_again_at:
            self._tasks = [one for one in self._tasks if not one.done() or _is_unasked(one)]
            self._look_again_at = 2 * len(self._tasks) + 64

    def goes_on(self) -> bool:
        """Tell whether this process takes one more step."""
        if self.alive and self.steps_to_live >= 0:
            self.steps_to_live -= 1
            if self.steps_to_live < 0:
                self.at_fuse()
        return self.alive

    def failures(self) -> list[str]:
        """Return the errors of tasks that ended and that nobody asked for their result."""
        return [f"{task.get_name()}: {task.exception()!r}" for task in self._tasks if task.done() and _is_unasked(task)]

    def kill(self) -> None:
        """End this process between two of its steps."""
        if not self.alive:
            return
        self.alive = False
        for action in self._at_death:
            action()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            if not task.done():
                # What it does meanwhile reaches nobody, since the process is dead.
                bury(task, self.run)


def _is_unasked(task: asyncio.Task[Any]) -> bool:
    """Tell whether a task that ended has an error that nobody has looked at."""
    return not task.cancelled() and bool(task._log_traceback)  # type: ignore[attr-defined]


def current_process() -> Process | None:
    """Return the process whose code runs now, None for the world's own."""
    return _PROCESS.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """Virtual seconds since the world began; no sockets, no threads, no signals."""

    def __init__(self) -> None:
        super().__init__()
        self._virtual_s = 0.0
        self._steps_at_once = 0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_number = 0
        self.steps = 0
        # Asked after each step: what is not None ends the world.
        self.failure: Callable[[], Exception | None] = lambda: None
        self.set_task_factory(_make_task)

    def time(self) -> float:
        return self._virtual_s

    @property
    def now_us(self) -> int:
        """Whole microseconds since the world began."""
        return math.floor(self._virtual_s * 1_000_000)

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run `func` at once; what it returned is known a moment later."""
        future = self.create_future()
        outcome = _outcome(func, *args)
        self.call_later(0.0003, _resolve, future, outcome)
        return future

    def _write_to_self(self) -> None:
        """Nobody sleeps in another thread."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        timer._scheduled = True
        self._timer_number += 1
        # Of two timers for the same moment the one set first comes first.
        heapq.heappush(self._timers, (when, self._timer_number, timer))
        return timer

    def _run_once(self) -> None:
        ready = self._ready
        if not ready:
            self._pass_time()
        else:
            self._steps_at_once += len(ready)
            if self._steps_at_once > MAX_STEPS_AT_ONCE:
                raise NothingHappens(f"{self._steps_at_once} steps without any time passing")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is not None and not process.goes_on():
                continue
            self.steps += 1
            handle._run()
            failure = self.failure()
            if failure is not None:
                raise failure

    def _pass_time(self) -> None:
        """Jump to the next timer and make ready whatever is due then."""
        timers = self._timers
        if self._timer_cancelled_count > 100 and self._timer_cancelled_count > len(timers) // 2:
            timers[:] = [entry for entry in timers if not entry[2]._cancelled]
            heapq.heapify(timers)
            self._timer_cancelled_count = 0
        while timers and timers[0][2]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)
        if not timers:
            raise NothingHappens("nothing will ever happen again")
        self._steps_at_once = 0
        self._virtual_s = now_s = max(self._virtual_s, timers[0][0])
        while timers and timers[0][0] <= now_s:
            _, _, handle = heapq.heappop(timers)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(handle)


def _make_task(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    *,
    context: contextvars.Context | None = None,
    name: str | None = None,
) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, name=name, context=context)
    process = _PROCESS.get() if context is None else context.get(_PROCESS)
    if process is not None:
        process.adopt(task)
    return task


def _outcome(func: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    try:
        return func(*args), None
    except Exception as error:  # noqa: BLE001  # handed to whoever waits
        return None, error


def _resolve(future: asyncio.Future[Any], outcome: tuple[Any, Exception | None]) -> None:
    if future.done():
        return
    result, error = outcome
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def bury(task: asyncio.Task[Any], run: Callable[..., Any]) -> None:
    """Throw a task away that will never go on; `run` calls what its code does while it falls."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain about it
    coroutine = task.get_coro()
    for _ in range(MAX_BURIALS):
        try:
            run(coroutine.close)
        except BaseException:  # noqa: BLE001  # whatever the dead say
            continue
        return
