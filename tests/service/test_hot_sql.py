# SPDX-License-Identifier: EUPL-1.2
"""Statements run by the driver itself: the same rows, the same errors and the same guard as SQLAlchemy's own way."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from service.conftest import Place
from sqlalchemy.engine import Connection

import cardservice.printing.store
import cardservice.timeclock.store  # noqa: F401  # whose tables they are is written there
from cardservice.database import Databases, Writer, write
from cardservice.errors import DatabaseUnavailable
from cardservice.hot_sql import fetch, fetch_among, insert_rows, run, together
from cardservice.use_guard import UsesLinked

TABLE = sa.Table(
    "hot_sql_test",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text),
    sa.Column("flag", sa.Boolean),
    sa.Column("bytes", sa.LargeBinary),
    sa.Column("name", sa.String(20), unique=True),
)
TEXTS = [
    "",
    "plain",
    "it's",
    'say "x"',
    "back\\slash",
    "{a,b}",
    "NULL",
    "null",
    "ä ß €",
    "two\nlines\ttab",
    "%s ?",
    None,
]
BYTES = [b"", b"\x00\xff", b"\\x00", b'"{},', bytes(range(256)), None]


@pytest.fixture
def connection(databases: Databases) -> Iterator[Connection]:
    with write(databases.record) as connection:
        TABLE.create(connection)
        yield connection
        connection.rollback()


def _rows(count: int) -> list[tuple[object, ...]]:
    flags = [True, False, None]
    return [(n - 2**40, TEXTS[n % len(TEXTS)], flags[n % 3], BYTES[n % len(BYTES)], f"name-{n}") for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 64, 65, 300])
def test_every_value_arrives_as_it_was_however_many_rows_come_with_it(connection: Connection, count: int) -> None:
    """PostgreSQL gets few rows as values and many as lists; SQLite gets parts of 64."""
    rows = _rows(count)
    insert_rows(connection, TABLE, rows)
    assert [tuple(row) for row in connection.execute(sa.select(TABLE).order_by(TABLE.c.id))] == rows


@pytest.mark.parametrize("count", [1, 50])
def test_a_row_that_is_there_already_is_the_statements_fault(connection: Connection, count: int) -> None:
    insert_rows(connection, TABLE, _rows(1))
    with pytest.raises(sa.exc.IntegrityError) as raised:
        insert_rows(connection, TABLE, _rows(count))
    assert "hot_sql_test" in str(raised.value)


def test_values_never_stand_in_an_error(connection: Connection) -> None:
    with pytest.raises(sa.exc.DBAPIError) as raised:
        run(connection, "INSERT INTO no_such_table VALUES (?)", ("secret",))
    assert "no_such_table" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_rows_are_asked_for_by_any_number_of_texts(connection: Connection) -> None:
    insert_rows(connection, TABLE, _rows(100))
    question = f"SELECT id, name FROM {TABLE.name} WHERE name {{0}} AND text {{1}}"
    names = [f"name-{n}" for n in range(0, 200, 2)]
    found = fetch_among(connection, question, names, ["it's", 'say "x"', "never"])
    assert sorted(name for _, name in found) == sorted(f"name-{n}" for n in range(2, 100, 12))
    assert fetch_among(connection, question, [], ["it's"]) == []
    assert fetch_among(connection, question, ['"]', "' OR 1=1 --"], ["it's"]) == []


def test_what_is_sent_together_is_all_there_or_fails_at_the_end(connection: Connection) -> None:
    with together(connection):
        for row in _rows(10):
            insert_rows(connection, TABLE, [row])
    assert fetch(connection, f"SELECT count(*) FROM {TABLE.name}") == [(10,)]

    def the_second_is_there_already() -> None:
        with together(connection):
            for rows in (_rows(12)[10:], _rows(1), _rows(13)[12:]):
                insert_rows(connection, TABLE, rows)

    with pytest.raises(sa.exc.IntegrityError):
        the_second_is_there_already()


@pytest.mark.parametrize("ask", [run, fetch])
def test_uses_are_kept_apart_here_too(connection: Connection, ask: type[object]) -> None:
    for _ in range(2):
        with pytest.raises(UsesLinked, match="never linked"):
            ask(connection, "SELECT 1 FROM timeclock_booking, Print_Release")


def test_a_writer_keeps_its_connection(databases: Databases) -> None:
    writer = Writer(databases.record)
    seen = set()
    for _ in range(3):
        with writer.transaction() as connection:
            seen.add(id(connection.connection.dbapi_connection))
    writer.close()
    assert len(seen) == 1


def test_a_transaction_that_failed_leaves_nothing_and_the_next_one_works(databases: Databases) -> None:
    writer = Writer(databases.record)
    with writer.transaction() as connection:
        TABLE.create(connection)

    def fail() -> None:
        with writer.transaction() as connection:
            insert_rows(connection, TABLE, _rows(5))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with writer.transaction() as connection:
        assert fetch(connection, f"SELECT count(*) FROM {TABLE.name}") == [(0,)]
    writer.close()


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
class TestOnPostgreSQL:
    """What a server can do to a connection that was kept."""

    def _end_others(self, databases: Databases) -> None:
        with databases.state.connect() as admin:
            admin.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    def test_a_connection_that_was_ended_while_nobody_wrote_is_replaced(
        self, databases: Databases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cardservice.database._ALONE_S", 0.0)
        writer = Writer(databases.record)
        for _ in range(2):
            with writer.transaction() as connection:
                run(connection, "SELECT 1")
            self._end_others(databases)
        writer.close()

    def test_one_that_ends_under_a_transaction_is_told_and_the_next_works(self, databases: Databases) -> None:
        writer = Writer(databases.record)

        def be_cut_off() -> None:
            with writer.transaction() as connection:
                run(connection, "SELECT 1")
                self._end_others(databases)
                run(connection, "SELECT 1")

        with pytest.raises(DatabaseUnavailable):
            be_cut_off()
        with writer.transaction() as connection:
            assert fetch(connection, "SELECT 1") == [(1,)]
        writer.close()

    def test_a_writer_reads_no_table_from_end_to_end(self, databases: Databases, place: Place) -> None:
        """Its plans are made while tables are small and stay while they grow."""
        assert place.kind == "postgres"
        writer = Writer(databases.record)
        with writer.transaction() as connection:
            TABLE.create(connection)
            insert_rows(connection, TABLE, _rows(3))
            question = f"EXPLAIN SELECT id FROM {TABLE.name} WHERE name {{0}}"
            plan = "\n".join(line for (line,) in fetch_among(connection, question, ["name-1"]))
        writer.close()
        assert "Seq Scan" not in plan
        assert "Index" in plan
