# SPDX-License-Identifier: EUPL-1.2
"""A private PostgreSQL server in a temporary directory, for as long as a test session.

Needs Debian's package postgresql. It listens on a UNIX socket in its own directory and on 127.0.0.1, on a port the
kernel chose. `fsync` is off: the tests ask what is visible after a commit, not what survives a power cut.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

START_LIMIT_S = 30
_USER = "postgres"
_SETTINGS = """
fsync = off
synchronous_commit = on
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
autovacuum = off
"""


def binaries() -> Path:
    """Return the folder of the newest server's programs."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("pg_ctl")
    if found is None:
        raise FileNotFoundError("pg_ctl: PostgreSQL's server programs are not installed")
    return Path(found).resolve().parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class PostgresServer:
    """One running server; every test takes a database of its own."""

    directory: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str, *, user: str = _USER) -> str:
        """Return the service's URL of one database, over loopback."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement as the superuser, over the UNIX socket, outside any transaction."""
        with psycopg.connect(
            host=str(self.directory), port=self.port, user=_USER, dbname=database, autocommit=True
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


def _as_server_user(command: Sequence[str | Path], directory: Path) -> None:
    # The server refuses to run as root.
    is_root = os.geteuid() == 0
    subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        user=_USER if is_root else None,
        group=_USER if is_root else None,
        extra_groups=[] if is_root else None,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=START_LIMIT_S,
    )


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server in a new directory; stop it and remove the directory at the end."""
    # A path of its own: a UNIX socket's name has at most 107 bytes, and pytest's directories are closed to others.
    directory = Path(tempfile.mkdtemp(prefix="pgtest-"))
    data = directory / "data"
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(directory, account.pw_uid, account.pw_gid)
        programs = binaries()
        initdb = (programs / "initdb", "--no-sync", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
        _as_server_user((*initdb, f"--username={_USER}", "-D", data), directory)
        port = _free_port()
        with (data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(_SETTINGS)
            config.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\n")
            config.write(f"unix_socket_directories = '{directory}'\n")
        control = (programs / "pg_ctl", "-D", data, "-w", "-t", str(START_LIMIT_S))
        _as_server_user((*control, "-l", directory / "log", "start"), directory)
        try:
            yield PostgresServer(directory, port)
        finally:
            _as_server_user((*control, "-m", "immediate", "stop"), directory)
    finally:
        _end_what_is_left(data)
        shutil.rmtree(directory, ignore_errors=True)


def _end_what_is_left(data: Path) -> None:
    """Kill the server that wrote the process file, should stopping it have failed."""
    try:
        process = int((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        os.kill(process, signal.SIGKILL)
    except (OSError, ValueError, IndexError):
        return
