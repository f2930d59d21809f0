# SPDX-License-Identifier: EUPL-1.2
"""Both stores on PostgreSQL: pg_dump takes both schemas in one snapshot, pg_restore brings them back at once."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from cardservice.backup.manifest import FORGOTTEN, Progress
from cardservice.database import STORES, Databases, StoreName, write
from cardservice.errors import BackupBroken, SettingsError

FILES: Final = ("stores.pgdump",)
_SCHEMAS: Final = tuple(f"cardservice_{store}" for store in STORES)
_LOOK_EVERY_S: Final = 0.2
# The one line of data of the table that holds the revision.
_REVISION: Final = re.compile(r"^COPY \S+ \(version_num\) FROM stdin;\n(\S+)\n", re.MULTILINE)


def copy_stores(url: str, target: Path, progress: Progress) -> tuple[str, ...]:
    """Dump both schemas into `target`; return the names of the files made.

    Raises:
        SettingsError: pg_dump is not installed.
        BackupBroken: it failed; its own words.
    """
    (name,) = FILES
    chosen = [f"--schema={schema}" for schema in _SCHEMAS]
    plain = ("--format=custom", "--no-owner", "--no-privileges", "--strict-names", "--lock-wait-timeout=20s")
    _run("pg_dump", (*plain, *chosen, f"--file={target / name}"), url, _Growing(target / name, progress))
    return FILES


def revision_in(folder: Path, store: StoreName) -> str:
    """Return the revision of one dumped store.

    Raises:
        SettingsError: pg_restore is not installed.
        BackupBroken: the dump cannot be read.
    """
    (name,) = FILES
    wanted = (f"--schema=cardservice_{store}", "--table=alembic_version", "--data-only", "--file=-")
    said = _run("pg_restore", (*wanted, str(folder / name)), None, None)
    found = _REVISION.search(said)
    if found is None:
        raise BackupBroken(f"{folder / name}: it is no dump of this program's stores")
    return found[1]


def bring_back(databases: Databases, url: str, source: Path, kept_as: str) -> list[str]:
    """Restore both schemas; return what the former ones are called now.

    First the former ones are renamed, then the dump comes in, in one transaction. Wherever that is interrupted, the
    schemas are missing and nothing serves until the restore is run again; if the dump cannot be restored, the former
    ones come back.

    Raises:
        SettingsError: pg_restore is not installed.
        BackupBroken: it failed; its own words.
        DatabaseUnavailable: the server is away, or somebody else changes the schemas.
    """
    (name,) = FILES
    former = _rename(databases, {schema: f"{schema}_{kept_as}" for schema in _SCHEMAS})
    options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges")
    try:
        _run("pg_restore", (*options, str(source / name)), url, None)
    except (BackupBroken, SettingsError):
        _rename(databases, {aside: schema for schema, aside in former.items()})
        raise
    with write(databases.state) as connection:
        # An older revision may have one of them not yet.
        for table in FORGOTTEN.intersection(sa.inspect(connection).get_table_names()):
            connection.execute(sa.delete(sa.table(table)))
    return list(former.values())


def _rename(databases: Databases, wanted: dict[str, str]) -> dict[str, str]:
    """Rename the schemas that there are, in one transaction; return them with their new names."""
    with write(databases.state) as connection:
        present = {
            schema: name for schema, name in wanted.items() if schema in sa.inspect(connection).get_schema_names()
        }
        for schema, name in present.items():
            connection.exec_driver_sql(f'ALTER SCHEMA "{schema}" RENAME TO "{name}"')
    return present


class _Growing:
    """A file that another program writes; tells by how much it has grown."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._told = 0

    def look(self) -> None:
        """Tell what came since."""
        size = self._path.stat().st_size if self._path.exists() else 0
        self._progress(size - self._told, None)
        self._told = size


def _run(program: str, options: Sequence[str], url: str | None, growing: _Growing | None) -> str:
    """Run one of PostgreSQL's programs on the database of `url`; return what it printed."""
    found = shutil.which(program)
    if found is None:
        raise SettingsError(f"{program} is not installed (Debian: apt-get install postgresql-client)")
    to, environment = _connection(url)
    with subprocess.Popen(  # noqa: S603  # a fixed program with options of our own
        [found, *to, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        text=True,
    ) as process:
        try:
            said, complained = _listen(process, growing)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        last = next(iter(complained.strip().splitlines()[-1:]), f"{program}: no reason given")
        raise BackupBroken(last[:400])
    return said


def _listen(process: "subprocess.Popen[str]", growing: _Growing | None) -> tuple[str, str]:
    """Wait for the program's end; return what it printed and what it complained about."""
    while True:
        try:
            return process.communicate(timeout=_LOOK_EVERY_S)
        except subprocess.TimeoutExpired:
            if growing is not None:
                growing.look()


def _connection(url: str | None) -> tuple[list[str], dict[str, str]]:
    """Return the option that names the database, and a password where nobody else on this machine sees it."""
    if url is None:
        return [], {}
    parsed = make_url(url).set(drivername="postgresql")
    secret = {} if parsed.password is None else {"PGPASSWORD": str(parsed.password)}
    bare = URL.create(parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database, parsed.query)
    return [f"--dbname={bare.render_as_string(hide_password=False)}"], secret
