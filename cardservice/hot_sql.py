# SPDX-License-Identifier: EUPL-1.2
"""Statements on the way of a tap or a payment, run by the driver itself inside a transaction of SQLAlchemy's.

SQLAlchemy's own way to a statement takes 8 to 20 µs, five to ten times what SQLite needs for it. The guard that keeps
the uses apart stands here too, and errors are SQLAlchemy's, so that callers know one kind only. Parameters stand where
`?` does, on either engine.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import RECORD
from cardservice.use_guard import require_one_use

# From so many rows on PostgreSQL gets a list for each column: it would read a long statement anew each time.
_FEW_ROWS: Final = 4
# SQLite's statements of every number of rows stay prepared.
_MOST_ROWS: Final = 64

Values = Sequence[Any]
Row = tuple[Any, ...]


def run(connection: Connection, statement: str, values: Values = ()) -> None:
    """Run a statement that returns nothing.

    Raises:
        sqlalchemy.exc.DBAPIError: what the driver raised, of the fitting subclass and without the values.
        UsesLinked: it names tables of two uses.
    """
    require_one_use(statement, RECORD)
    try:
        _driver(connection).execute(_spelt(connection, statement), values)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _of_sqlalchemy(connection, error, statement) from error


def fetch(connection: Connection, statement: str, values: Values = ()) -> list[Row]:
    """Run a statement and return its rows; it raises what `run` does."""
    require_one_use(statement, RECORD)
    try:
        rows: list[Row] = _driver(connection).execute(_spelt(connection, statement), values).fetchall()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _of_sqlalchemy(connection, error, statement) from error
    return rows


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Let PostgreSQL have the statements that are `run` inside in one go; the first error comes at the end."""
    if not _is_postgres(connection):
        yield
        return
    try:
        with _driver(connection).pipeline():
            yield
    except connection.dialect.loaded_dbapi.Error as error:
        raise _of_sqlalchemy(connection, error) from error


def insert_rows(connection: Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows that have a value for every column of `table`, in its order, with as few statements as possible.

    The driver hands the interpreter back and forth once per statement, not once per row: on the way of a tap that is
    most of what a row costs.
    """
    if _is_postgres(connection) and len(rows) >= _FEW_ROWS:
        columns = zip(_lists_of(table), zip(*rows, strict=True), strict=True)
        run(connection, _lists_text(table), [as_list(values) for as_list, values in columns])
        return
    for begin in range(0, len(rows), _MOST_ROWS):
        part = rows[begin : begin + _MOST_ROWS]
        run(connection, _rows_text(table, len(part)), tuple(chain.from_iterable(part)))


def fetch_among(connection: Connection, question: str, *columns: Collection[str]) -> list[Row]:
    """Return the rows of a question that has `{0}`, `{1}` … where a column is to be among printable ASCII texts.

    Each column's texts arrive as one JSON value: the statement is the same for any number of them, and stays prepared.
    Both engines look each combination up in an index, if there is one that begins with these columns.
    """
    return fetch(connection, _among_text(question, _is_postgres(connection)), [json.dumps([*one]) for one in columns])


def _is_postgres(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _spelt(connection: Connection, statement: str) -> str:
    return _with_percent(statement) if _is_postgres(connection) else statement


@cache
def _with_percent(statement: str) -> str:
    return statement.replace("?", "%s")


def _of_sqlalchemy(connection: Connection, error: Exception, statement: str | None = None) -> BaseException:
    base = connection.dialect.loaded_dbapi.Error
    return sa.exc.DBAPIError.instance(statement, None, error, base, hide_parameters=True, dialect=connection.dialect)


@cache
def _rows_text(table: sa.Table, rows: int) -> str:
    row = f"({', '.join(['?'] * len(table.columns))})"
    return f"INSERT INTO {_named(table)} VALUES {', '.join([row] * rows)}"  # noqa: S608  # our own names


@cache
def _lists_text(table: sa.Table) -> str:
    lists = ", ".join(_LISTS[column.type.python_type][0] for column in table.columns)
    return f"INSERT INTO {_named(table)} SELECT * FROM ROWS FROM ({lists})"  # noqa: S608  # our own names


def _named(table: sa.Table) -> str:
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    return f'"{table.name}" ({columns})'


@cache
def _among_text(question: str, postgres: bool) -> str:
    # As an array, not as a join: PostgreSQL would rather read the whole of a table that was small when it planned.
    among = (
        "= ANY (ARRAY(SELECT json_array_elements_text(?::json)))" if postgres else "IN (SELECT value FROM json_each(?))"
    )
    return question.format(*[among] * question.count("{"))


def _numbers(values: Sequence[int | bool | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def _bytes(values: Sequence[bytes | None]) -> str:
    return f"{{{','.join(['NULL' if value is None else _hexadecimal(value) for value in values])}}}"


def _hexadecimal(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


# How PostgreSQL gets all values of a column as one text, by the kind of value: a fifth of what the driver's own lists
# cost. Texts are JSON, which has no way to end early whatever they hold.
_LISTS: Final[Mapping[type, tuple[str, Callable[[Sequence[Any]], str]]]] = MappingProxyType(
    {
        int: ("unnest(?::bigint[])", _numbers),
        bool: ("unnest(?::boolean[])", _numbers),
        bytes: ("unnest(?::bytea[])", _bytes),
        str: ("json_array_elements_text(?::json)", json.dumps),
    }
)


@cache
def _lists_of(table: sa.Table) -> tuple[Callable[[Values], str], ...]:
    return tuple(_LISTS[column.type.python_type][1] for column in table.columns)
