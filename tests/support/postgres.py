# SPDX-License-Identifier: EUPL-1.2
"""The rig's PostgreSQL server for as long as a test session, with a database of its own for every test.

`fsync` is off, and the files lie in memory where the machine lends some: the tests ask what is visible after a commit,
not what survives a power cut. On a disk a database for each test costs a tenth of the whole run.
"""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

import rig.postgres

_SETTINGS = """
fsync = off
synchronous_commit = on
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
autovacuum = off
"""

_MEMORY = Path("/dev/shm")
_NEEDED = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class PostgresServer(rig.postgres.Server):
    """One running server; every test takes a database of its own."""

    directory: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def execute(self, statement: str, *, database: str = rig.postgres.USER) -> None:
        """Run one statement as the superuser, over the UNIX socket, outside any transaction."""
        with psycopg.connect(
            host=str(self.directory), port=self.port, user=rig.postgres.USER, dbname=database, autocommit=True
        ) as connection:
            connection.execute(statement)

    def new_database(self, template: str = "template0") -> str:
        """Create a database, a copy of `template`, and return its name."""
        name = f"test{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and end whatever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and shutil.disk_usage(folder).free > _NEEDED


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server in a new directory; stop it and remove the directory at the end."""
    with rig.postgres.running_server(_SETTINGS, _MEMORY if _has_room(_MEMORY) else None) as server:
        yield PostgresServer(server.directory, server.port)
