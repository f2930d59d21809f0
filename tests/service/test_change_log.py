# SPDX-License-Identifier: EUPL-1.2
"""The change log: complete, in the order of commits, and followed by every process."""

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from service.chains import LIMIT_S
from service.conftest import Place
from service.fake_clock import FakeClock
from support.waiting import wait_until

from cardservice import changes, follower
from cardservice.access.service import City
from cardservice.changes import Change
from cardservice.database import Databases, open_databases, read, write
from cardservice.follower import ChangeFollower


def log(databases: Databases, *rows: int) -> None:
    with write(databases.state) as connection:
        changes.append(connection, "person", rows)


def revisions(databases: Databases, after: int = 0, limit: int = 5_000) -> list[Change]:
    with read(databases.state) as connection:
        return list(changes.since(connection, after, limit))


def test_changes_are_read_in_order_and_in_portions(databases: Databases) -> None:
    with read(databases.state) as connection:
        assert changes.latest(connection) == 0
    log(databases, 7, 8)
    log(databases)
    log(databases, 9)
    everything = revisions(databases)
    assert [(change.kind, change.row) for change in everything] == [("person", 7), ("person", 8), ("person", 9)]
    assert [change.revision for change in everything] == sorted(change.revision for change in everything)
    assert revisions(databases, limit=2) == everything[:2]
    assert revisions(databases, after=everything[1].revision) == everything[2:]
    with read(databases.state) as connection:
        assert changes.latest(connection) == everything[-1].revision


def test_what_was_rolled_back_is_not_in_the_log(databases: Databases) -> None:
    def half() -> None:
        with write(databases.state) as connection:
            changes.append(connection, "card", [1])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half()
    assert revisions(databases) == []


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_later_revision_never_shows_before_an_earlier_one(databases: Databases, place: Place) -> None:
    """On PostgreSQL a sequence is not commit order: the second writer waits until the first has committed."""
    other = open_databases(place.url)
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    def somebody_waits() -> bool:
        with databases.record.connect() as connection:
            return bool(connection.execute(waiting).scalar_one())

    second = threading.Thread(target=log, args=(other, 2))
    with write(databases.state) as connection:
        changes.append(connection, "person", [1])
        second.start()
        wait_until(somebody_waits, limit_s=LIMIT_S)
        assert revisions(databases) == []
    second.join(LIMIT_S)
    other.close()
    assert [change.row for change in revisions(databases)] == [1, 2]


class Followed:
    """A city whose follower tells when it has looked, and what changed."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.changed = threading.Event()
        self.looked = threading.Semaphore(0)
        self.error: Exception | None = None
        self.city = City(databases.state, clock, lambda _: self.changed.set())
        self.city.build()
        self._catch_up = self.city.catch_up
        self.city.catch_up = self._look
        self.follower = ChangeFollower(databases.state, self.city)

    def _look(self) -> None:
        error, self.error = self.error, None
        try:
            if error is not None:
                raise error
            self._catch_up()
        finally:
            self.looked.release()


@pytest.fixture
def followed(databases: Databases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Followed]:
    # On PostgreSQL the wake-up has to come from the server: the net below is too far down to catch anything.
    monkeypatch.setattr(follower, "_NET_S", 60 if databases.state.dialect.name == "postgresql" else 0.05)
    running = Followed(databases, clock)
    running.follower.start()
    assert running.looked.acquire(timeout=LIMIT_S)
    yield running
    running.follower._stop.set()
    log(databases, 0)
    running.follower.stop()
    assert not running.follower.alive


def test_what_another_process_writes_reaches_the_city(followed: Followed, place: Place) -> None:
    other = open_databases(place.url)
    for row in (1, 2):
        followed.changed.clear()
        log(other, row)
        assert followed.changed.wait(LIMIT_S)
        assert followed.city.snapshot.revision == revisions(other)[-1].revision
    other.close()


@pytest.mark.parametrize("error", [KeyError("odd"), sa.exc.OperationalError("x", {}, None), RuntimeError("odd")])
def test_trouble_is_told_and_overcome(
    followed: Followed, place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever goes wrong, the thread lives and follows again."""
    monkeypatch.setattr(follower, "_NET_S", 0.05)
    other = open_databases(place.url)
    followed.error = error
    log(other, 1)
    wait_until(lambda: followed.error is None, limit_s=LIMIT_S)
    assert followed.changed.wait(LIMIT_S)
    wait_until(lambda: followed.follower.trouble is None, limit_s=LIMIT_S)
    assert followed.follower.alive
    other.close()


def test_a_database_that_stays_away_stays_told(
    databases: Databases, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "_NET_S", 0.01)

    class Away:
        def catch_up(self) -> None:
            raise KeyError("away")

    running = ChangeFollower(databases.state, Away())
    running.start()
    wait_until(lambda: running.trouble is not None, limit_s=LIMIT_S)
    assert running.trouble == "the change log cannot be followed: KeyError"
    running.stop()
    assert not running.alive
