# SPDX-License-Identifier: EUPL-1.2
"""The one writer of the record store: everything that waits goes into one transaction and one flush (group commit).

Each unit runs inside a SAVEPOINT, so that one failing unit does not hurt its neighbours. A future is resolved only
after the commit: what it says is on disk. The queue is bounded; past the bound the caller is told to come back.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice.database import is_the_databases_fault, require_store_writable, write
from cardservice.errors import CardServiceError, DatabaseUnavailable, Overloaded

MAX_WAITING: Final = 10_000
MAX_BATCH: Final = 512
PROBE_S: Final = 1.0
STOP_S: Final = 10.0

Result = TypeVar("Result")
Unit = Callable[[Connection], Result]
_log = structlog.get_logger()


class Participant(Protocol):
    """Something that keeps state beside the record store (a chain's head) and must forget what was not committed."""

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
        self._participants = tuple(participants)
        self._queue: queue.Queue[tuple[Unit[Any], Future[Any]] | None] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._closed = False
        self._gate = threading.Lock()
        self.trouble: str | None = None
        self.flushes = 0

    def start(self) -> None:
        """Start the recorder's thread."""
        self._thread.start()

    def submit(self, unit: Unit[Result]) -> "Future[Result]":
        """Queue `unit`; the future is resolved once its transaction is on disk.

        Raises:
            Overloaded: too many units wait already, or the recorder has stopped.
        """
        future: Future[Result] = Future()
        # Nothing may enter the queue behind the mark that ends it: its future would never be resolved.
        with self._gate:
            if self._closed:
                raise Overloaded("the recorder has stopped")
            try:
                self._queue.put_nowait((unit, future))
            except queue.Full:
                raise Overloaded(f"{self._queue.maxsize} records wait to be written already") from None
        return future

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
        try:
            self._queue.put(None, timeout=STOP_S)
        except queue.Full:
            _log.error("recorder.not_stopped", waiting=self.depth)
            return
        self._thread.join(timeout=STOP_S)

    def write_waiting(self) -> None:
        """Write everything that waits, in the calling thread; for those who have not started the recorder's own."""
        while True:
            try:
                first = self._queue.get_nowait()
            except queue.Empty:
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

    def _take(self, item: tuple[Unit[Any], Future[Any]] | None) -> tuple[list[tuple[Unit[Any], Future[Any]]], bool]:
        """Return `item` and what waits behind it, and whether the recorder is to stop after that."""
        batch = []
        while item is not None:
            if item[1].set_running_or_notify_cancel():
                batch.append(item)
            if len(batch) == MAX_BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _first(self) -> tuple[Unit[Any], Future[Any]] | None:
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
        else:
            self.trouble = None
            _log.info("recorder.recovered")

    def _write(self, batch: Sequence[tuple[Unit[Any], Future[Any]]]) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            with write(self.engine) as connection:
                for unit, future in batch:
                    outcomes.append((future, *self._run_one(connection, unit)))
        except CardServiceError as error:
            self._fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001  # whatever the driver raises, nothing was committed: say so and go on
            self._fail(batch, DatabaseUnavailable(f"the record store failed: {type(error).__name__}"))
            return
        self.trouble = None
        self.flushes += 1
        for future, result, failure in outcomes:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _run_one(self, connection: Connection, unit: Unit[Any]) -> tuple[Any, BaseException | None]:
        marks = [participant.mark() for participant in self._participants]
        savepoint = connection.begin_nested()
        try:
            result = unit(connection)
            savepoint.commit()
        except Exception as error:
            if is_the_databases_fault(error):
                raise
            # One unit's failure is its own future's, not its neighbours'.
            savepoint.rollback()
            for participant, mark in zip(self._participants, marks, strict=True):
                participant.back_to(mark)
            return None, error
        return result, None

    def _fail(self, batch: Sequence[tuple[Unit[Any], Future[Any]]], error: CardServiceError) -> None:
        for participant in self._participants:
            participant.forget()
        self.trouble = str(error)
        _log.error("recorder.commit_failed", units=len(batch), trouble=str(error))
        for _, future in batch:
            future.set_exception(error)
