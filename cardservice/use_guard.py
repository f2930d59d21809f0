# SPDX-License-Identifier: EUPL-1.2
"""Keeps the uses apart where the stores are read and written: no statement may touch the tables of two uses.

A table belongs to a use if its `info` says so. The check stands at the driver, below every query whoever wrote it, and
costs a look-up for a statement seen before. It stands at both stores: on PostgreSQL a connection to one can name the
tables of the other.
"""

import re
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from cardservice.errors import CardServiceError

MAX_REMEMBERED: Final = 5_000
_WORD: Final = re.compile(r"[a-z_][a-z0-9_]*")


class UsesLinked(CardServiceError):
    """A statement names tables of two uses; it was not run."""


def uses_of(metadata: sa.MetaData) -> dict[str, str]:
    """Return table name -> use, of every table that belongs to one."""
    return {table.name: table.info["use"] for table in metadata.tables.values() if "use" in table.info}


@lru_cache(MAX_REMEMBERED)
def require_one_use(statement: str, metadata: sa.MetaData) -> None:
    """Refuse a statement that names tables of two uses of `metadata`, however spelt; one that passed always does.

    Raises:
        UsesLinked: it does.
    """
    owners = uses_of(metadata)
    named = {owners[word] for word in set(_WORD.findall(statement.lower())) if word in owners}
    if len(named) > 1:
        raise UsesLinked(f"a statement would link {' and '.join(sorted(named))}; uses are never linked")


def keep_apart(engine: Engine, metadata: sa.MetaData) -> None:
    """Refuse, from now on, every statement of SQLAlchemy's on `engine` that `require_one_use` refuses."""

    def check(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        require_one_use(statement, metadata)

    sa.event.listen(engine, "before_cursor_execute", check)
