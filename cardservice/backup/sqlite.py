# SPDX-License-Identifier: EUPL-1.2
"""Both stores on SQLite: copied as of one moment while others write, put in place with the former ones kept."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from cardservice.backup.manifest import FORGOTTEN, Progress, flush
from cardservice.database import BUSY_TIMEOUT_MS, STORES, StoreName
from cardservice.errors import BackupBroken, DatabaseUnavailable, NotFound

# 4 MB: often enough for a progress bar.
_PAGES_AT_ONCE: Final = 1_000
# The record first: what it names is then in the state too.
_ORDER: Final[tuple[StoreName, ...]] = ("record", "state")
FILES: Final = tuple(f"{store}.db" for store in STORES)
_BESIDE: Final = ("", "-wal", "-shm")
_CHUNK_BYTES: Final = 1 << 20


def copy_stores(folder: Path, target: Path, progress: Progress) -> tuple[str, ...]:
    """Copy both stores of `folder` into `target`; return the names of the files made.

    Both are read as they were when this began, however long it takes and whoever writes: each copy comes out of one
    transaction that reads, and nothing else happens between the two beginnings.

    Raises:
        NotFound: there are no stores.
        DatabaseUnavailable: locked, unreadable, or the disk is full.
    """
    with _said_plainly(folder), _open(folder, "record") as record, _open(folder, "state") as state:
        sources = {"record": record, "state": state}
        for store in _ORDER:
            sources[store].execute("BEGIN").close()
            # SQLite chooses the moment when something is read.
            sources[store].execute("SELECT count(*) FROM sqlite_schema").fetchone()
        progress(0, sum(_bytes_of(source) for source in sources.values()))
        for store in _ORDER:
            _copy(sources[store], target / f"{store}.db", progress)
    return FILES


@contextmanager
def _open(folder: Path, store: StoreName) -> Iterator[sqlite3.Connection]:
    path = folder / f"{store}.db"
    if not path.exists():
        raise NotFound(f"{path}: there is no such store to back up; 'cardservice db upgrade' makes one")
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)) as connection:
        yield connection


def _bytes_of(connection: sqlite3.Connection) -> int:
    (pages,), (size,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_count", "page_size"))
    return int(pages) * int(size)


def _copy(source: sqlite3.Connection, target: Path, progress: Progress) -> None:
    (page_size,) = source.execute("PRAGMA page_size").fetchone()
    left_before: list[int] = []

    def step(_status: int, left: int, total: int) -> None:
        before = left_before.pop() if left_before else total
        left_before.append(left)
        progress((before - left) * page_size, None)

    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy, pages=_PAGES_AT_ONCE, progress=step, sleep=0)


@contextmanager
def _said_plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseUnavailable(
            f"database {folder}: {error}: check its disk, its owner and that of the target"
        ) from None


def revision_in(folder: Path, store: StoreName) -> str:
    """Return the revision of one copied store, after the whole file was read and found to be in order.

    Raises:
        BackupBroken: it is not in order.
    """
    path = folder / f"{store}.db"
    try:
        # Nothing is written beside a copy, not even by looking at it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise BackupBroken(f"{path}: {verdict}")
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except (sqlite3.Error, TypeError) as error:
        raise BackupBroken(f"{path}: it is no store of this program ({error})") from error
    return str(revision)


def prepare(source: Path, folder: Path, progress: Progress) -> None:
    """Copy the backup's files beside the stores; the disk may be full, and nothing has happened yet.

    Raises:
        DatabaseUnavailable: they cannot be written there.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in FILES:
            _bring(source / name, _prepared(folder, name), progress)
        with closing(sqlite3.connect(_prepared(folder, "state.db"), isolation_level=None)) as state:
            # An older revision may have one of them not yet.
            for table in FORGOTTEN.intersection(_tables(state)):
                state.execute(f"DELETE FROM {table}")  # noqa: S608  # names of our own
    except (OSError, sqlite3.Error) as error:
        for name in FILES:
            _remove(_prepared(folder, name))
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise DatabaseUnavailable(
            f"database {folder}: {said}: nothing was restored, the stores are as they were"
        ) from error


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]


def _bring(file: Path, to: Path, progress: Progress) -> None:
    _remove(to)
    progress(0, file.stat().st_size)
    with file.open("rb") as source, os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
        while chunk := source.read(_CHUNK_BYTES):
            copy.write(chunk)
            progress(len(chunk), None)
        copy.flush()
        os.fsync(copy.fileno())


def change_over(folder: Path, kept_as: str) -> list[Path]:
    """Move the former stores aside and the prepared ones in; return where the former ones are now.

    Wherever that is interrupted, a store is missing and nothing serves until the restore is run again: nothing is ever
    half old and half new.
    """
    kept = []
    for name in FILES:
        for beside in _BESIDE:
            former, aside = folder / (name + beside), folder / f"{name}.{kept_as}{beside}"
            if former.exists():
                former.rename(aside)
                kept.append(aside)
    flush(folder)
    for store in _ORDER:
        _prepared(folder, f"{store}.db").rename(folder / f"{store}.db")
    flush(folder)
    return kept


def _prepared(folder: Path, name: str) -> Path:
    return folder / f"{name}.restored"


def _remove(path: Path) -> None:
    for beside in _BESIDE:
        path.with_name(path.name + beside).unlink(missing_ok=True)
