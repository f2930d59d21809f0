# SPDX-License-Identifier: EUPL-1.2
"""Taking a backup and putting it back, on either engine."""

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url

from cardservice import __version__
from cardservice.backup import postgresql, sqlite
from cardservice.backup.manifest import (
    Engine,
    Manifest,
    Progress,
    describe,
    flush,
    read_manifest,
    refuse_existing,
    require_whole,
    write_manifest,
)
from cardservice.claim import claim
from cardservice.clock import Clock
from cardservice.database import STORES, StoreName, open_databases, require_known
from cardservice.errors import BackupBroken, Conflict, DatabaseUnavailable

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has put back, and where what was there before is kept."""

    manifest: Manifest
    kept: tuple[str, ...]


def back_up(url: str, target: Path, clock: Clock, progress: Progress) -> Manifest:
    """Copy both stores of `url` into the new folder `target`, beside whoever uses them, and verify the copies.

    The folder appears whole or not at all.

    Raises:
        Conflict: something is in its place.
        NotFound: there are no stores.
        BackupBroken: the copies are not in order, or cannot be written.
        DatabaseUnavailable: the stores cannot be read.
        SettingsError: pg_dump is not installed.
    """
    engine = _engine_of(url)
    refuse_existing(target)
    taken_at = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    try:
        making = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.absolute().parent))
    except OSError as error:
        raise BackupBroken(f"{target}: {error.strerror}") from error
    try:
        if engine == "sqlite":
            names = sqlite.copy_stores(_folder_of(url), making, progress)
        else:
            names = postgresql.copy_stores(url, making, progress)
        manifest = Manifest(
            format=_FORMAT,
            program=__version__,
            engine=engine,
            taken_at=taken_at,
            revisions={store: _revision_in(engine, making, store) for store in STORES},
            files=tuple(describe(making / name, lambda _more, _total: None) for name in names),
        )
        write_manifest(making, manifest)
        making.rename(target)
        flush(target.absolute().parent)
    except OSError as error:
        raise BackupBroken(f"{target}: {error.strerror}") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return manifest


def restore(url: str, source: Path, clock: Clock, progress: Progress) -> Restored:
    """Put the backup in `source` in the place of the stores of `url`; what was there is kept beside it.

    Nothing is touched before the backup has proved to be whole and known to this program. Nobody is signed in to the
    pages afterwards; the service begins a new epoch of its journal when it starts.

    Raises:
        NotFound: no backup is there.
        BackupBroken: it is damaged.
        MigrationMissing: a newer program made it.
        Conflict: it is of another kind of database.
        DatabaseUnavailable: a service runs on these stores, or they cannot be written.
        SettingsError: pg_restore is not installed.
    """
    manifest = read_manifest(source)
    _require_fitting(manifest, _engine_of(url), source, progress)
    kept_as = f"before_{datetime.fromtimestamp(clock.now_ms() / 1000, UTC):%Y%m%d_%H%M%S}"
    with closing(open_databases(url)) as databases:
        if manifest.engine == "sqlite":
            _require_place(_folder_of(url))
        give_back = claim(databases)
        try:
            if manifest.engine == "postgresql":
                return Restored(manifest, tuple(postgresql.bring_back(databases, url, source, kept_as)))
            folder = _folder_of(url)
            sqlite.prepare(source, folder, progress)
            return Restored(manifest, tuple(str(path) for path in sqlite.change_over(folder, kept_as)))
        except OSError as error:
            raise DatabaseUnavailable(f"database: {error.strerror}: run the restore again") from error
        finally:
            give_back()


def _require_fitting(manifest: Manifest, engine: Engine, source: Path, progress: Progress) -> None:
    if manifest.engine != engine:
        raise Conflict(f"{source}: it is a backup of {manifest.engine}, and database.url names {engine}")
    for store in STORES:
        require_known(store, manifest.revisions[store])
    progress(0, manifest.size)
    require_whole(source, manifest, progress)
    for store in STORES:
        found = _revision_in(engine, source, store)
        if found != manifest.revisions[store]:
            raise BackupBroken(f"{source}: its {store} store is at revision {found}, not what its manifest says")


def _require_place(folder: Path) -> None:
    """Make the stores' folder where there is none; refuse to leave files in it that its owner cannot use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise DatabaseUnavailable(f"database {folder}: {error.strerror}") from error
    if owner != os.geteuid():
        raise DatabaseUnavailable(
            f"database {folder}: it belongs to another user (number {owner}); restore as that one, for example with "
            "'runuser -u cardservice -- cardservice db restore ...'"
        )


def _revision_in(engine: Engine, folder: Path, store: StoreName) -> str:
    return sqlite.revision_in(folder, store) if engine == "sqlite" else postgresql.revision_in(folder, store)


def _engine_of(url: str) -> Engine:
    with closing(open_databases(url)) as databases:
        name = databases.state.dialect.name
    found: Engine = "postgresql" if name == "postgresql" else "sqlite"
    return found


def _folder_of(url: str) -> Path:
    return Path(str(make_url(url).database))
