# SPDX-License-Identifier: EUPL-1.2
"""The one writer of the record store: everything that waits goes into one transaction and one flush (group commit).

The units of a batch run one after the other; when one of them fails they all run again, each inside a SAVEPOINT, so
that it does not hurt its neighbours. A future is resolved only after the commit: what it says is on disk. The queue is
bounded; past the bound the caller is told to come back.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice.database import Writer, is_the_databases_fault, require_store_writable
from cardservice.errors import CardServiceError, DatabaseUnavailable, Overloaded
from cardservice.hot_sql import together

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 512
PROBE_S: Final = 1.0
STOP_S: Final = 10.0

Result = TypeVar("Result")
# Runs in the recorder's thread, twice if a neighbour failed the first time: it changes nothing but the store.
Unit = Callable[[Connection], Result]
_log = structlog.get_logger()


class _Waiting(NamedTuple):
    """A unit that waits, its future, and the loop of that future (None: one for threads)."""

    unit: Unit[Any]
    future: "Future[Any] | asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop | None


class _Outcome(NamedTuple):
    result: Any
    error: BaseException | None


class _UnitFailed(Exception):
    """A unit of a batch failed by itself, before anything was committed."""


class Participant(Protocol):
    """Something that keeps state beside the record store (a chain's head) and must forget what was not committed."""

    def gather(self) -> None:
        """From now on write as late as `flush`."""
        ...

    def flush(self, connection: Connection) -> None:
        """Write what was gathered, asking nothing; from now on write at once."""
        ...

    def mark(self) -> object:
        """Return what `back_to` needs to undo what follows."""
        ...

    def back_to(self, mark: object) -> None:
        """Undo everything since `mark`: the unit's savepoint was rolled back."""
        ...

    def forget(self) -> None:
        """Drop everything held in memory: the transaction was not committed."""
        ...


class Recorder:
    """Runs units of work on the record store, in the order they were submitted.

    A unit whose future is cancelled while it waits is not run; one that is being written can no longer be cancelled.

    Raises nothing itself: a unit's error is its future's exception, a failed commit is every waiting future's.
    """

    def __init__(
        self, engine: Engine, participants: Sequence[Participant] = (), max_waiting: int = MAX_WAITING
    ) -> None:
        self.engine = engine
        self._writer = Writer(engine)
        self._participants = tuple(participants)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._max_waiting = max_waiting
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._closed = False
        self._gate = threading.Lock()
        self.trouble: str | None = None
        self.flushes = 0

    def start(self) -> None:
        """Start the recorder's thread."""
        self._thread.start()

    def submit(self, unit: Unit[Result]) -> "Future[Result]":
        """Queue `unit`, from any thread; the future is resolved once its transaction is on disk.

        Raises:
            Overloaded: too many units wait already, or the recorder has stopped.
        """
        future: Future[Result] = Future()
        self._queue_up(_Waiting(unit, future, None))
        return future

    def submit_here(self, unit: Unit[Result]) -> "asyncio.Future[Result]":
        """Queue `unit` from a running event loop; those of one transaction are resolved in one step of the loop.

        Raises:
            Overloaded: too many units wait already, or the recorder has stopped.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._queue_up(_Waiting(unit, future, loop))
        return future

    def _queue_up(self, waiting: _Waiting) -> None:
        # Nothing may enter the queue behind the mark that ends it: its future would never be resolved.
        with self._gate:
            if self._closed:
                raise Overloaded("the recorder has stopped")
            if self._queue.qsize() >= self._max_waiting:
                raise Overloaded(f"{self._max_waiting} records wait to be written already")
            self._queue.put(waiting)

    @property
    def alive(self) -> bool:
        """Whether the recorder's thread runs."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """How many units wait."""
        return self._queue.qsize()

    def stop(self) -> None:
        """Write everything that waits, then end the thread; gives up after ten seconds, since the store may be away."""
        with self._gate:
            self._closed = True
            self._queue.put(None)
        self._thread.join(timeout=STOP_S)
        if self._thread.is_alive():
            _log.error("recorder.not_stopped", waiting=self.depth)

    def write_waiting(self) -> None:
        """Write everything that waits, in the calling thread; for those who have not started the recorder's own."""
        while True:
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
                self._writer.close()
                return
            batch, _ = self._take(first)
            if batch:
                self._write(batch)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._take(self._first())
            if batch:
                self._write(batch)
        self._writer.close()

    def _take(self, item: _Waiting | None) -> tuple[list[_Waiting], bool]:
        """Return `item` and what waits behind it, and whether the recorder is to stop after that."""
        batch = []
        while item is not None:
            if _is_wanted(item):
                batch.append(item)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _first(self) -> _Waiting | None:
        """Wait for the next unit; in trouble, find out every second whether it is over: nobody may come and tell."""
        while self.trouble is not None:
            try:
                return self._queue.get(timeout=PROBE_S)
            except queue.Empty:
                self._probe()
        return self._queue.get()

    def _probe(self) -> None:
        try:
            require_store_writable(self.engine)
        except CardServiceError as error:
            self.trouble = str(error)
        except Exception as error:  # noqa: BLE001  # a recorder that dies in silence would refuse for ever
            self.trouble = f"the record store failed: {type(error).__name__}"
        else:
            self.trouble = None
            _log.info("recorder.recovered")

    def _write(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = self._run_together(batch)
            if outcomes is None:
                outcomes = self._run_apart(batch)
        except CardServiceError as error:
            self._fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001  # whatever the driver raises, nothing was committed: say so and go on
            self._fail(batch, DatabaseUnavailable(f"the record store failed: {type(error).__name__}"))
            return
        self.trouble = None
        self.flushes += 1
        _settle(batch, outcomes)

    def _run_together(self, batch: Sequence[_Waiting]) -> list[_Outcome] | None:
        """Run all units in one transaction; None when one failed and nothing of them is left."""
        marks = [participant.mark() for participant in self._participants]
        try:
            with self._writer.transaction() as connection:
                return self._run_all(connection, batch)
        except _UnitFailed:
            for participant, mark in zip(self._participants, marks, strict=True):
                participant.back_to(mark)
            return None

    def _run_all(self, connection: Connection, batch: Sequence[_Waiting]) -> list[_Outcome]:
        try:
            for participant in self._participants:
                participant.gather()
            outcomes = [_Outcome(waiting.unit(connection), None) for waiting in batch]
            self._flush(connection)
        except Exception as error:
            if is_the_databases_fault(error):
                raise
            raise _UnitFailed from error
        return outcomes

    def _run_apart(self, batch: Sequence[_Waiting]) -> list[_Outcome]:
        """Run each unit inside a savepoint of its own, in one transaction."""
        with self._writer.transaction() as connection:
            return [self._run_one(connection, waiting.unit) for waiting in batch]

    def _run_one(self, connection: Connection, unit: Unit[Any]) -> _Outcome:
        try:
            with self._savepoint(connection):
                return _Outcome(unit(connection), None)
        except Exception as error:
            if is_the_databases_fault(error):
                raise
            # One unit's failure is its own future's, not its neighbours'.
            return _Outcome(None, error)

    @contextlib.contextmanager
    def _savepoint(self, connection: Connection) -> Iterator[None]:
        """Keep what the block writes, or nothing of it, in the store and in the participants."""
        marks = [participant.mark() for participant in self._participants]
        savepoint = connection.begin_nested()
        try:
            for participant in self._participants:
                participant.gather()
            yield
            self._flush(connection)
            savepoint.commit()
        except Exception as error:
            if not is_the_databases_fault(error):
                savepoint.rollback()
                for participant, mark in zip(self._participants, marks, strict=True):
                    participant.back_to(mark)
            raise

    def _flush(self, connection: Connection) -> None:
        with together(connection):
            for participant in self._participants:
                participant.flush(connection)

    def _fail(self, batch: Sequence[_Waiting], error: CardServiceError) -> None:
        for participant in self._participants:
            participant.forget()
        self.trouble = str(error)
        _log.error("recorder.commit_failed", units=len(batch), trouble=str(error))
        _settle(batch, [_Outcome(None, error)] * len(batch))


def _is_wanted(waiting: _Waiting) -> bool:
    """Tell whether nobody took the unit back; from now on its future for threads cannot be cancelled any more."""
    if isinstance(waiting.future, asyncio.Future):
        return not waiting.future.cancelled()
    return waiting.future.set_running_or_notify_cancel()


def _settle(batch: Sequence[_Waiting], outcomes: Sequence[_Outcome]) -> None:
    """Resolve every future, those of one loop in one step of it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Any, _Outcome]]] = {}
    for waiting, outcome in zip(batch, outcomes, strict=True):
        if waiting.loop is None:
            _resolve(waiting.future, outcome)
        else:
            by_loop.setdefault(waiting.loop, []).append((waiting.future, outcome))
    for loop, settled in by_loop.items():
        # A loop that was closed meanwhile has nobody left who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve_all, settled)


def _resolve_all(settled: Sequence[tuple[Any, _Outcome]]) -> None:
    for future, outcome in settled:
        if not future.done():
            _resolve(future, outcome)


def _resolve(future: "Future[Any] | asyncio.Future[Any]", outcome: _Outcome) -> None:
    if outcome.error is None:
        future.set_result(outcome.result)
    else:
        future.set_exception(outcome.error)
