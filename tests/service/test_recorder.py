# SPDX-License-Identifier: EUPL-1.2
"""The one writer of the record: one flush for all who wait, nobody hurt by a neighbour, nothing said too early."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from queue import SimpleQueue

import pytest
import sqlalchemy as sa
from service.chains import LIMIT_S, appending, begin, entry, numbers, results
from sqlalchemy.engine import Connection
from support.waiting import wait_until

from cardservice import recorder as module
from cardservice.database import Databases
from cardservice.errors import DatabaseUnavailable, Overloaded
from cardservice.journal.rules import Place
from cardservice.journal.service import ChainReport, Journal, verify
from cardservice.journal.store import journal_epoch
from cardservice.recorder import MAX_BATCH, Recorder


@pytest.fixture
def journal(databases: Databases) -> Journal:
    return begin(databases.record)


@pytest.fixture
def recorder(databases: Databases, journal: Journal) -> Iterator[Recorder]:
    running = Recorder(databases.record, (journal,))
    running.start()
    yield running
    running.stop()


@dataclass
class Gate:
    """A unit that holds the recorder until it is opened."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, _: Connection) -> None:
        self.reached.set()
        assert self.opened.wait(LIMIT_S)


def held(recorder: Recorder) -> Gate:
    """Hold the recorder in a transaction of its own; what is submitted now waits."""
    gate = Gate()
    recorder.submit(gate)
    assert gate.reached.wait(LIMIT_S)
    return gate


def failing(journal: Journal, number: int, *, stream: str = "door", person: int | None = None):
    """Return a unit that appends and then fails."""

    def unit(connection: Connection) -> None:
        journal.append(connection, entry(number, stream=stream, person=person, personal={"n": number}))
        raise ValueError(f"unit {number}")

    return unit


def test_what_waits_is_one_flush(databases: Databases, recorder: Recorder, journal: Journal) -> None:
    """Fifty taps at once cost one commit, in the order they were submitted."""
    gate = held(recorder)
    futures = [recorder.submit(appending(journal, entry(n))) for n in range(50)]
    assert recorder.depth == 50
    before = recorder.flushes
    gate.opened.set()
    assert [place.sequence for place in results(futures)] == list(range(1, 51))
    recorder.stop()
    assert recorder.flushes == before + 2, "the gate's own, and one for all fifty"
    assert verify(databases.record) == [ChainReport("door", 1, 50)]


def test_a_flush_is_bounded(databases: Databases, recorder: Recorder, journal: Journal) -> None:
    gate = held(recorder)
    futures = [recorder.submit(appending(journal, entry(n))) for n in range(MAX_BATCH + 1)]
    gate.opened.set()
    results(futures)
    recorder.stop()
    assert recorder.flushes == 3
    assert verify(databases.record) == [ChainReport("door", 1, MAX_BATCH + 1)]


def test_nothing_is_said_before_it_is_on_disk(databases: Databases, recorder: Recorder, journal: Journal) -> None:
    """A second connection sees the entry when its future says so, and not while the batch is still being written."""
    seen_when_told: list[list[int]] = []
    waiting = held(recorder)
    first = recorder.submit(appending(journal, entry(1)))
    first.add_done_callback(lambda _: seen_when_told.append(numbers(databases.record)))
    later = Gate()
    recorder.submit(later)
    last = recorder.submit(appending(journal, entry(2)))
    waiting.opened.set()
    assert later.reached.wait(LIMIT_S)
    assert not first.done()
    assert numbers(databases.record) == []
    later.opened.set()
    assert first.result(LIMIT_S).sequence == 1
    assert last.result(LIMIT_S).sequence == 2
    recorder.stop()
    assert seen_when_told == [[1, 2]]


def test_a_failing_unit_does_not_hurt_its_neighbours(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    """Its error is its own future's; the chain has no gap, streams and keys it had begun are begun anew."""
    gate = held(recorder)
    units = [
        failing(journal, 1, person=7),
        appending(journal, entry(2, person=7, personal={"n": 2})),
        failing(journal, 3),
        appending(journal, entry(4)),
        failing(journal, 5, stream="printer", person=7),
        appending(journal, entry(6, stream="printer", person=7, personal={"n": 6})),
        lambda connection: connection.execute(sa.insert(journal_epoch).values(epoch=1, started_ms=1)),
        appending(journal, entry(7, person=7, personal={"n": 7})),
    ]
    futures = [recorder.submit(unit) for unit in units]
    gate.opened.set()
    said = results(futures)
    kinds = [ValueError, Place, ValueError, Place, ValueError, Place, sa.exc.IntegrityError, Place]
    assert all(isinstance(one, kind) for one, kind in zip(said, kinds, strict=True))
    assert verify(databases.record) == [ChainReport("door", 1, 3), ChainReport("printer", 1, 1)]
    with databases.record.connect() as connection:
        assert journal.open_sealed(connection, said[7]) == {"n": 7}
        assert journal.open_sealed(connection, said[5]) == {"n": 6}
    assert recorder.trouble is None


class FailingCommit:
    """Lets the next commits of an engine fail."""

    def __init__(self, databases: Databases, times: int) -> None:
        self._left = times
        sa.event.listen(databases.record, "commit", self)

    def __call__(self, _: Connection) -> None:
        if self._left:
            self._left -= 1
            raise sa.exc.OperationalError("COMMIT", {}, Exception("database or disk is full"))


def test_a_failed_commit_is_every_futures_error_and_the_next_batch_works(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    """Nothing of the failed batch is kept, in the store or in memory; the chain goes on without a gap."""
    assert results([recorder.submit(appending(journal, entry(0, person=1, personal={"n": 0})))])[0].sequence == 1
    gate = held(recorder)
    futures = [recorder.submit(appending(journal, entry(n, person=2, personal={"n": n}))) for n in (1, 2)]
    futures += [recorder.submit(appending(journal, entry(3, stream="printer"))), recorder.submit(failing(journal, 4))]
    FailingCommit(databases, 2)
    gate.opened.set()
    said = results(futures)
    assert all(isinstance(error, DatabaseUnavailable) for error in said)
    assert all("disk is full" in str(error) for error in said)
    assert "disk is full" in (recorder.trouble or "")
    assert numbers(databases.record) == [1]
    place = results([recorder.submit(appending(journal, entry(5, person=2, personal={"n": 5})))])[0]
    assert place.sequence == 2
    assert recorder.trouble is None
    assert verify(databases.record) == [ChainReport("door", 1, 2)]
    with databases.record.connect() as connection:
        assert begin(databases.record).open_sealed(connection, place) == {"n": 5}


def test_a_connection_lost_in_the_middle_fails_the_batch_and_no_more(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    """What the neighbours had written is gone with it, and they are told."""

    def lose(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        raise sa.exc.OperationalError("SELECT", {}, Exception("connection lost"))

    gate = held(recorder)
    futures = [recorder.submit(unit) for unit in (appending(journal, entry(1)), lose, appending(journal, entry(2)))]
    gate.opened.set()
    assert [type(error) for error in results(futures)] == [DatabaseUnavailable] * 3
    assert results([recorder.submit(appending(journal, entry(3)))])[0].sequence == 1
    assert verify(databases.record) == [ChainReport("door", 1, 1)]


def test_trouble_ends_by_itself_when_the_store_is_back(
    databases: Databases, recorder: Recorder, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs to tap for the service to notice that it could record again."""
    monkeypatch.setattr(module, "PROBE_S", 0.01)
    FailingCommit(databases, 3)
    future = recorder.submit(appending(journal, entry(1)))
    assert isinstance(future.exception(LIMIT_S), DatabaseUnavailable)
    wait_until(lambda: recorder.trouble is None, limit_s=LIMIT_S)
    assert recorder.alive


def test_an_error_that_is_nobodys_is_told_and_survived(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    class Odd(Exception):
        pass

    def odd(_: Connection) -> None:
        sa.event.remove(databases.record, "commit", odd)
        raise Odd

    sa.event.listen(databases.record, "commit", odd)
    future = recorder.submit(appending(journal, entry(1)))
    with pytest.raises(DatabaseUnavailable, match="the record store failed: Odd"):
        future.result(LIMIT_S)
    assert results([recorder.submit(appending(journal, entry(2)))])[0].sequence == 1


def test_past_the_bound_the_caller_is_told_to_come_back(databases: Databases, journal: Journal) -> None:
    recorder = Recorder(databases.record, (journal,), max_waiting=3)
    recorder.start()
    gate = held(recorder)
    futures = [recorder.submit(appending(journal, entry(n))) for n in range(3)]
    with pytest.raises(Overloaded, match="3 records wait") as raised:
        recorder.submit(appending(journal, entry(9)))
    assert raised.value.retry_after_s >= 1
    gate.opened.set()
    assert [place.sequence for place in results(futures)] == [1, 2, 3]
    assert results([recorder.submit(appending(journal, entry(4)))])[0].sequence == 4
    recorder.stop()


def test_stopping_writes_what_waits_and_takes_no_more(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    gate = held(recorder)
    futures = [recorder.submit(appending(journal, entry(n))) for n in range(20)]
    stopper = threading.Thread(target=recorder.stop)
    stopper.start()
    gate.opened.set()
    stopper.join(LIMIT_S)
    assert not recorder.alive
    assert all(future.done() for future in futures)
    assert numbers(databases.record) == list(range(1, 21))
    with pytest.raises(Overloaded, match="has stopped"):
        recorder.submit(appending(journal, entry(0)))


def test_whoever_submits_while_it_stops_gets_an_answer(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    """Every accepted unit is written, every other one refused: nobody waits for ever."""
    accepted: list[Future] = []
    started = threading.Barrier(5)

    def submit_until_refused() -> None:
        started.wait(LIMIT_S)
        try:
            while True:
                accepted.append(recorder.submit(appending(journal, entry())))
        except Overloaded:
            return

    threads = [threading.Thread(target=submit_until_refused) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(LIMIT_S)
    recorder.stop()
    for thread in threads:
        thread.join(LIMIT_S)
    assert all(future.done() for future in accepted)
    assert len(numbers(databases.record)) == len(accepted)
    assert sum(report.entries for report in verify(databases.record)) == len(accepted)


class SlowQueue:
    """Lets somebody try to stop the recorder while a unit is on its way into the queue."""

    def __init__(self, queue: "SimpleQueue[object]", stopper: threading.Thread) -> None:
        self._queue, self._stopper = queue, stopper

    def put(self, item: object) -> None:
        if not self._stopper.ident:
            self._stopper.start()
            self._stopper.join(0.3)
            assert self._stopper.is_alive()
        self._queue.put(item)

    def __getattr__(self, name: str) -> object:
        return getattr(self._queue, name)


def test_nobody_slips_in_behind_the_end(recorder: Recorder, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping waits for whoever is just submitting; otherwise their unit would wait for ever."""
    stopper = threading.Thread(target=recorder.stop)
    monkeypatch.setattr(recorder, "_queue", SlowQueue(recorder._queue, stopper))
    future = recorder.submit(appending(journal, entry(1)))
    assert future.result(LIMIT_S).sequence == 1
    stopper.join(LIMIT_S)


def test_a_caller_who_gives_up_does_not_stop_the_recorder(
    databases: Databases, recorder: Recorder, journal: Journal
) -> None:
    """A unit cancelled while it waits is not run; one already being written cannot be cancelled any more."""
    gate = held(recorder)
    waiting = [recorder.submit(appending(journal, entry(n))) for n in range(3)]
    running = Gate()
    being_written = recorder.submit(running)
    assert waiting[1].cancel()
    gate.opened.set()
    assert running.reached.wait(LIMIT_S)
    assert not being_written.cancel()
    assert not waiting[2].cancel()
    running.opened.set()
    assert being_written.result(LIMIT_S) is None
    with pytest.raises(CancelledError):
        waiting[1].result(LIMIT_S)
    assert [waiting[n].result(LIMIT_S).sequence for n in (0, 2)] == [1, 2]
    assert recorder.alive
    assert verify(databases.record) == [ChainReport("door", 1, 2)]


def test_a_batch_of_nothing_but_cancelled_units_is_survived(recorder: Recorder, journal: Journal) -> None:
    gate = held(recorder)
    for future in [recorder.submit(appending(journal, entry(n))) for n in range(3)]:
        assert future.cancel()
    gate.opened.set()
    assert results([recorder.submit(appending(journal, entry(9)))])[0].sequence == 1
