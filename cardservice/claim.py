# SPDX-License-Identifier: EUPL-1.2
"""The claim to be the one process that serves from the stores."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from cardservice.database import Databases
from cardservice.errors import DatabaseUnavailable

SERVE_LOCK: Final = 7_237_111


def claim(databases: Databases) -> Callable[[], None]:
    """Make sure that this is the one process that serves from these stores; return what gives the claim back.

    Several replicas on one PostgreSQL come with leases, in a later version; until then a second one would feed the
    directory copy twice.

    Raises:
        DatabaseUnavailable: another process serves from these stores.
    """
    if databases.state.dialect.name == "postgresql":
        return _claim_postgresql(databases)
    path = Path(str(databases.state.url.database)).with_name("serve.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DatabaseUnavailable(
            f"database {path.parent}: another 'cardservice serve' uses these files; end it first"
        ) from None
    return lambda: os.close(descriptor)


def _claim_postgresql(databases: Databases) -> Callable[[], None]:
    connection = databases.state.connect().execution_options(isolation_level="AUTOCOMMIT")
    if not connection.execute(sa.select(sa.func.pg_try_advisory_lock(SERVE_LOCK))).scalar():
        connection.close()
        raise DatabaseUnavailable("database: another 'cardservice serve' uses this PostgreSQL database; end it first")
    return connection.close
