# SPDX-License-Identifier: EUPL-1.2
"""The file below the outbox: private to its user, locked to one process, with a version of its own."""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from readers.errors import OutboxFault

SCHEMA_VERSION = 2
_LAYOUT_1 = """
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE entries (
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, point TEXT NOT NULL, at_ms INTEGER NOT NULL,
    content TEXT, aside TEXT,
    PRIMARY KEY (epoch, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX pending ON entries (epoch, sequence) WHERE content IS NOT NULL AND aside IS NULL;
CREATE TABLE lost (
    epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (epoch, first)
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""
# What was acknowledged is kept for a while, and how far each epoch went is known.
_LAYOUT_2 = """
BEGIN IMMEDIATE;
ALTER TABLE entries ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
DROP INDEX pending;
CREATE INDEX pending ON entries (epoch, sequence) WHERE content IS NOT NULL AND aside IS NULL AND NOT acknowledged;
CREATE INDEX kept ON entries (at_ms) WHERE acknowledged;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
PRAGMA user_version = 2;
COMMIT;
"""
LAYOUTS = (_LAYOUT_1, _LAYOUT_2)


def lock(path: Path) -> int:
    """Lock the outbox at `path` for this process and return the lock's file descriptor; closing it unlocks.

    Raises:
        OutboxFault: another process has it, or its folder cannot be written.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxFault(f"outbox {path}: {beside.name} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OutboxFault(f"outbox {path} is in use by another process; each agent needs its own") from error
    return descriptor


def make_private(path: Path) -> None:
    """Make an empty file only its owner can read, or check that the one there is.

    Raises:
        OutboxFault: not a plain file, not ours, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxFault(f"outbox {path} cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OutboxFault(f"outbox {path} is not a plain file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise OutboxFault(f"outbox {path} must belong to the agent's user with mode 0600, not {mode:04o}")


def connect(path: Path) -> sqlite3.Connection:
    """Open the outbox for writing, every commit on the disk before it returns; a new file gets its tables.

    Raises:
        OutboxFault: damaged, of a newer version, or not an outbox.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise OutboxFault(f"outbox {path} cannot be opened: {error}") from error
    with _closed_on_fault(connection, path):
        _prepare(connection, path)
    return connection


@contextmanager
def _closed_on_fault(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        connection.close()
        raise OutboxFault(f"outbox {path} cannot be used: {error}") from error
    except OutboxFault:
        connection.close()
        raise


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    # Read to its end: only then SQLite has changed over, or says why not.
    if connection.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
        raise OutboxFault(f"outbox {path}: no write-ahead log could be made beside it")
    # What a failed flush left of the log may be in the system's memory only: nothing may be appended to it.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not 0 <= version <= SCHEMA_VERSION:
        raise OutboxFault(
            f"outbox {path} has layout {version}, this agent knows {SCHEMA_VERSION}: a newer agent wrote it"
        )
    for layout in LAYOUTS[version:]:
        connection.executescript(layout)
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise OutboxFault(f"outbox {path} is damaged ({verdict}); move it away, a new one is made at the next start")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an outbox only to look at it, even while its agent runs.

    Raises:
        OutboxFault: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise OutboxFault(f"there is no outbox at {path}")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise OutboxFault(f"outbox {path} cannot be read: {error}") from error
    with _closed_on_fault(connection, path):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            raise OutboxFault(f"outbox {path} has layout {version}, this agent knows {SCHEMA_VERSION}")
    return connection
