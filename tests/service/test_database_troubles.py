# SPDX-License-Identifier: EUPL-1.2
"""A database that cannot be used says in one sentence why, where, and what to do; and never a password."""

import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from service.chains import LIMIT_S, appending, begin, entry
from service.conftest import Place
from sqlalchemy.engine import Connection
from support.postgres import PostgresServer

from cardservice import database as module
from cardservice.database import (
    Databases,
    open_databases,
    read,
    require_head,
    require_writable,
    unavailable,
    upgrade,
    write,
)
from cardservice.errors import DatabaseUnavailable, SettingsError
from cardservice.people.store import organisation
from cardservice.recorder import Recorder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait 50 ms for a lock instead of five seconds."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT_MS", 50)


@pytest.fixture
def sqlite_url(migrated_files: Path, tmp_path: Path) -> str:
    for file in migrated_files.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return f"sqlite:///{tmp_path}"


def refused(action: object, *arguments: object) -> str:
    with pytest.raises(DatabaseUnavailable) as raised:
        action(*arguments)
    message = str(raised.value)
    assert "\n" not in message
    return message


def add_organisation(connection: Connection, code: str = "works") -> None:
    connection.execute(sa.insert(organisation).values(code=code, name=code))


def codes(databases: Databases) -> set[str]:
    with read(databases.state) as connection:
        return set(connection.execute(sa.select(organisation.c.code)).scalars())


@pytest.mark.parametrize(
    "url",
    [
        "mysql://host/db",
        "oracle://host/db",
        "nonsense",
        "",
        "sqlite://",
        "sqlite:///",
        "postgresql://host:port/db",
        "/var/lib/cardservice",
    ],
)
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^database.url: "):
        open_databases(url)


def test_opening_touches_nothing(tmp_path: Path) -> None:
    open_databases(f"sqlite:///{tmp_path / 'nowhere'}").close()
    open_databases("postgresql://nobody@127.0.0.1:1/nothing").close()
    assert list(tmp_path.iterdir()) == []


def test_a_transaction_that_fails_leaves_nothing(databases: Databases) -> None:
    class Odd(Exception):
        pass

    def half() -> None:
        with write(databases.state) as connection:
            add_organisation(connection)
            raise Odd

    with pytest.raises(Odd):
        half()
    assert codes(databases) == set()


def test_a_mistake_in_a_statement_is_not_blamed_on_the_database(databases: Databases) -> None:
    with write(databases.state) as connection:
        add_organisation(connection)
    with pytest.raises(sa.exc.IntegrityError), write(databases.state) as connection:
        add_organisation(connection)


def test_a_reader_sees_one_moment(databases: Databases, place: Place) -> None:
    """What is committed between two reads of one transaction belongs to the next one."""
    other = open_databases(place.url)
    with read(databases.state) as connection:
        count = sa.select(sa.func.count()).select_from(organisation)
        before = connection.execute(count).scalar_one()
        with write(other.state) as writer:
            add_organisation(writer)
        assert connection.execute(count).scalar_one() == before == 0
    other.close()
    assert codes(databases) == {"works"}


def test_what_outlives_the_service_leaves_no_connection_open(place: Place) -> None:
    """A thread that still reads while the stores are closed, and one that comes later: both are let go of."""
    databases = open_databases(place.url)
    opened: list[Any] = []
    sa.event.listen(databases.state, "connect", lambda made, _: opened.append(made))
    with read(databases.state) as connection:
        databases.close()
        connection.execute(sa.select(organisation)).all()
    assert codes(databases) == set()
    assert len(opened) == 2
    for made in opened:
        with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
            made.cursor().execute("SELECT 1")


def test_two_writers_queue_instead_of_failing(databases: Databases, place: Place) -> None:
    """The second goes on from what the first has committed, and both are kept.

    On SQLite it must not even read before its turn: what it had read would be stale when it wants to write.
    """
    other = open_databases(place.url)
    entered, done = threading.Event(), threading.Event()

    def second() -> None:
        with write(other.state) as connection:
            connection.execute(sa.select(organisation)).all()
            entered.set()
            connection.execute(sa.update(organisation).values(name=organisation.c.name + "2"))
        done.set()

    with write(databases.state) as connection:
        add_organisation(connection)
    with write(databases.state) as connection:
        connection.execute(sa.update(organisation).values(name=organisation.c.name + "1"))
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(0.3) is (place.kind == "postgres")
        assert not done.is_set()
    thread.join(LIMIT_S)
    other.close()
    with read(databases.state) as connection:
        assert connection.execute(sa.select(organisation.c.name)).scalar_one() == "works12"


def test_a_lock_on_state_does_not_delay_the_record(databases: Databases) -> None:
    """A long management transaction, or a lock on every table it has, never holds up a tap."""
    journal = begin(databases.record)
    recorder = Recorder(databases.record, (journal,))
    recorder.start()
    with write(databases.state) as connection:
        add_organisation(connection)
        if connection.dialect.name == "postgresql":
            for table in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f'LOCK TABLE "{table}" IN ACCESS EXCLUSIVE MODE'))
        assert recorder.submit(appending(journal, entry(1))).result(LIMIT_S).sequence == 1
        assert codes_seen_elsewhere(databases) in (set(), None)
    recorder.stop()


def codes_seen_elsewhere(databases: Databases) -> set[str] | None:
    """Return what another connection sees; None where it would have to wait."""
    return codes(databases) if databases.state.dialect.name == "sqlite" else None


def test_the_record_is_on_disk_before_it_is_acknowledged(sqlite_url: str) -> None:
    """SQLite: WAL with a flush at every commit, and foreign keys that hold."""
    databases = open_databases(sqlite_url)
    for engine in (databases.state, databases.record):
        with engine.connect() as connection:
            pragmas = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
            ]
            assert pragmas == ["wal", 2]
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5_000
    databases.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("file", ["state.db", "record.db"])
def test_a_locked_file_is_named(sqlite_url: str, tmp_path: Path, file: str) -> None:
    databases = open_databases(sqlite_url)
    holder = sqlite3.connect(tmp_path / file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    message = refused(require_writable, databases)
    holder.execute("ROLLBACK")
    holder.close()
    assert file in message
    assert "database is locked: another program holds its write lock; end it or wait" in message
    require_writable(databases)
    databases.close()


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """For root every file is writable: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    yield
    os.seteuid(0)


@pytest.fixture
def closed_directory(migrated_files: Path) -> Iterator[Path]:
    """A migrated place in which one may read and not write; outside pytest's own directories, which are closed."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for file in migrated_files.iterdir():
            (directory / file.name).write_bytes(file.read_bytes())
            (directory / file.name).chmod(0o444)
        directory.chmod(0o555)
        yield directory
        directory.chmod(0o755)


@pytest.mark.usefixtures("closed_directory", "unprivileged")
def test_a_read_only_place_is_named(closed_directory: Path) -> None:
    databases = open_databases(f"sqlite:///{closed_directory}")
    message = refused(require_writable, databases)
    databases.close()
    assert "state.db" in message
    assert "check the owner and mode" in message or "this user may write in it" in message


@pytest.mark.usefixtures("unprivileged")
def test_a_place_that_cannot_be_made_is_named() -> None:
    databases = open_databases("sqlite:////proc/nowhere/stores")
    message = refused(upgrade, databases)
    databases.close()
    assert "/proc/nowhere/stores" in message


def test_a_missing_file_is_not_made_by_reading(tmp_path: Path) -> None:
    databases = open_databases(f"sqlite:///{tmp_path / 'missing'}")
    assert "unable to open database file: it cannot be opened; check that the directory" in refused(
        require_writable, databases
    )
    databases.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    for name in ("state.db", "record.db"):
        (tmp_path / name).write_bytes(b"this is not a database " * 100)
    databases = open_databases(f"sqlite:///{tmp_path}")
    for action in (require_head, require_writable, upgrade):
        assert "file is not a database" in refused(action, databases)
    databases.close()


def test_a_full_disk_is_named(sqlite_url: str) -> None:
    databases = open_databases(sqlite_url)

    def fill() -> None:
        with write(databases.state) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            add_organisation(connection, "x" * 1_000_000)

    assert "full: the disk is full; free some space" in refused(fill)
    databases.close()


def test_an_error_without_words_is_a_sentence_too(sqlite_url: str) -> None:
    databases = open_databases(sqlite_url)
    for cause in (Exception(""), Exception("\n"), None):
        said = str(unavailable(databases.state, sa.exc.OperationalError("x", {}, cause)))
        assert "unknown error" in said or "None" in said
    databases.close()


@pytest.mark.postgres
def test_an_unreachable_server_is_named_without_its_password(postgres_server: PostgresServer) -> None:
    """Nobody listens on port 1; the database does not exist; the role does not exist."""
    closed = "postgresql://someone:s3cret-canary@127.0.0.1:1/db"
    missing = postgres_server.url("nothing").replace("postgres@", "postgres:s3cret-canary@")
    stranger = postgres_server.url("postgres", user="stranger").replace("stranger@", "stranger:s3cret-canary@")
    said = {}
    for url in (closed, missing, stranger):
        databases = open_databases(url)
        said[url] = [refused(action, databases) for action in (require_head, require_writable, upgrade)]
        databases.close()
    assert all("s3cret-canary" not in message for messages in said.values() for message in messages)
    assert all("127.0.0.1" in message for messages in said.values() for message in messages)
    assert "check that it runs and is reachable" in said[closed][0]
    assert 'database "nothing" does not exist' in said[missing][0]
    assert 'role "stranger" does not exist' in said[stranger][0]


@pytest.fixture
def read_only_url(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    name = postgres_server.new_database(migrated_template)
    postgres_server.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.mark.postgres
def test_a_server_that_is_read_only_is_named(read_only_url: str) -> None:
    """A standby is no place for the service."""
    databases = open_databases(read_only_url)
    for action in (require_head, require_writable):
        assert "session is read-only: it is read-only; check the server's mode" in refused(action, databases)
    databases.close()


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_server_that_became_read_only_is_named(databases: Databases) -> None:
    """After a fail-over the old leader keeps its connections and refuses to write; afterwards new ones are made."""

    def write_after_the_fall() -> None:
        with write(databases.state) as connection:
            connection.execute(sa.text("SET TRANSACTION READ ONLY"))
            add_organisation(connection)

    assert "read-only transaction: it is read-only; check the server's mode" in refused(write_after_the_fall)
    require_writable(databases)


@pytest.mark.postgres
def test_connections_that_a_restart_closed_are_replaced(
    postgres_server: PostgresServer, migrated_template: str
) -> None:
    name = postgres_server.new_database(migrated_template)
    databases = open_databases(postgres_server.url(name))
    require_writable(databases)
    postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    require_writable(databases)
    databases.close()
    postgres_server.drop_database(name)
