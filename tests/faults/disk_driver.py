# SPDX-License-Identifier: EUPL-1.2
"""`sqlite3` over a `Disk`: what the product's drivers use of the standard module, on connections of the file layer.

`engine_on` puts it below the product's own engine, whose preparation it still gets; `module_on` is a `sqlite3` whose
`connect` opens on the disk. Errors are those of the standard module, with its words.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apsw
import sqlalchemy as sa
from faults.file_layer import Disk
from sqlalchemy.engine import Engine

_CLASSES: dict[type[apsw.Error], type[sqlite3.Error]] = {
    apsw.ConstraintError: sqlite3.IntegrityError,
    apsw.MismatchError: sqlite3.IntegrityError,
    apsw.TooBigError: sqlite3.DataError,
    apsw.CorruptError: sqlite3.DatabaseError,
    apsw.NotADBError: sqlite3.DatabaseError,
    apsw.MisuseError: sqlite3.InterfaceError,
    apsw.BindingsError: sqlite3.ProgrammingError,
}
_WORDS: dict[type[apsw.Error], str] = {
    apsw.FullError: "database or disk is full",
    apsw.IOError: "disk I/O error",
}
_CHANGES_ROWS = ("INSERT", "UPDATE", "DELETE", "REPLACE")
# The layer folds the log back this often; with SQLite's own 1,000 pages a short story would never see it.
CHECKPOINT_PAGES = 60


@contextmanager
def _as_sqlite3() -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        kind = type(error)
        raise _CLASSES.get(kind, sqlite3.OperationalError)(_WORDS.get(kind, str(error))) from error


class Driver:
    """Opens connections on `disk`.

    `synchronous` takes the place of the FULL that the product asks for: the negative controls. `committed` is told
    after each commit, with the connection it was made on.
    """

    def __init__(
        self,
        disk: Disk,
        *,
        synchronous: str = "FULL",
        committed: "Callable[[DiskConnection], None] | None" = None,
    ) -> None:
        self.disk = disk
        self.synchronous = synchronous
        self.committed = committed

    def connect(self, path: str | Path, **_: Any) -> "DiskConnection":
        return DiskConnection(self, str(path))


class DiskConnection:
    """What the product uses of a `sqlite3.Connection` without transactions of its own (`isolation_level=None`)."""

    def __init__(self, driver: Driver, path: str) -> None:
        self._driver = driver
        self.isolation_level: str | None = None
        with _as_sqlite3():
            self._connection = apsw.Connection(path, vfs=driver.disk.vfs.name)
            self._connection.set_busy_timeout(5_000)
            self._connection.set_wal_hook(_fold_back)

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    def cursor(self) -> "DiskCursor":
        return DiskCursor(self, self._connection.cursor())

    def execute(self, statement: str, values: Any = ()) -> "DiskCursor":
        return self.cursor().execute(statement, values)

    def executemany(self, statement: str, many: Iterable[Any]) -> "DiskCursor":
        return self.cursor().executemany(statement, many)

    def executescript(self, script: str) -> "DiskCursor":
        return self.cursor().execute(script)

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def create_function(self, name: str, arguments: int, function: Any, *, deterministic: bool = False) -> None:
        self._connection.create_scalar_function(name, function, arguments, deterministic=deterministic)

    def close(self) -> None:
        # SQLite closes a file whatever the disk says to the last fold back, and says nothing of it.
        try:
            self._connection.close()
        except (apsw.FullError, apsw.IOError):
            self._connection.close()

    def prepare(self, statement: str) -> str:
        """Return the statement as it is run."""
        if statement.startswith("PRAGMA synchronous"):
            return statement.replace("FULL", self._driver.synchronous)
        if statement.startswith("PRAGMA wal_autocheckpoint"):
            # Asked for and not set: a story is short, and its log is folded back all the more often (`_fold_back`).
            return "PRAGMA wal_autocheckpoint"
        return statement

    def ended(self, statement: str) -> None:
        """A transaction has ended with `statement`."""
        if self._driver.committed is not None and not statement.lstrip().upper().startswith("ROLLBACK"):
            self._driver.committed(self)

    def changes(self) -> int:
        return self._connection.changes()

    def last_row(self) -> int:
        return self._connection.last_insert_rowid()


def _fold_back(connection: apsw.Connection, schema: str, pages: int) -> int:
    """Do what SQLite's own hook does: the commit stands, whether or not folding back works."""
    if pages >= CHECKPOINT_PAGES:
        try:
            connection.wal_checkpoint(schema)
        except apsw.Error:
            return apsw.SQLITE_OK
    return apsw.SQLITE_OK


class DiskCursor:
    """What the product uses of a `sqlite3.Cursor`."""

    def __init__(self, connection: DiskConnection, cursor: apsw.Cursor) -> None:
        self.connection = connection
        self.arraysize = 1
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.description: Sequence[tuple[Any, ...]] | None = None
        self._cursor = cursor

    def execute(self, statement: str, values: Any = ()) -> "DiskCursor":
        return self._run(statement, lambda text: self._cursor.execute(text, values))

    def executemany(self, statement: str, many: Iterable[Any]) -> "DiskCursor":
        total = 0
        for values in many:
            total += self.execute(statement, values).rowcount
        self.rowcount = total
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        with _as_sqlite3():
            return self._cursor.fetchone()

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        found = []
        while len(found) < (size or self.arraysize) and (row := self.fetchone()) is not None:
            found.append(row)
        return found

    def fetchall(self) -> list[tuple[Any, ...]]:
        with _as_sqlite3():
            return self._cursor.fetchall()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def close(self) -> None:
        # The standard module says nothing of an error that comes when a statement is put away.
        with suppress(apsw.Error):
            self._cursor.close()

    def __del__(self) -> None:
        self.close()

    def _run(self, statement: str, run: Callable[[str], object]) -> "DiskCursor":
        self.description = None
        was_open = self.connection.in_transaction
        # Asked before the first row is: a statement without rows has a description too. Taken back at once, so that a
        # cursor nobody holds ends its statement as the standard module's does.
        self._cursor.exec_trace = self._describe
        try:
            with _as_sqlite3():
                run(self.connection.prepare(statement))
        finally:
            self._cursor.exec_trace = None
        changes = statement.lstrip()[:7].upper().startswith(_CHANGES_ROWS)
        self.rowcount = self.connection.changes() if changes else -1
        self.lastrowid = self.connection.last_row()
        if not self.connection.in_transaction and (was_open or "COMMIT;" in statement):
            self.connection.ended(statement)
        return self

    def _describe(self, cursor: apsw.Cursor, _statement: str, _values: object) -> bool:
        columns = cursor.get_description()
        self.description = [(name, None, None, None, None, None, None) for name, _ in columns] or None
        return True


def engine_on(engine: Engine, driver: Driver) -> None:
    """Let `engine`, which the product made, open its connections on the driver's disk."""

    def connect(_dialect: object, _record: object, arguments: Sequence[Any], _options: object) -> DiskConnection:
        return driver.connect(arguments[0])

    sa.event.listen(engine, "do_connect", connect)


def module_on(driver: Driver) -> SimpleNamespace:
    """Return the standard module with a `connect` of `driver`."""
    return SimpleNamespace(**(vars(sqlite3) | {"connect": driver.connect}))
