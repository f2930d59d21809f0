# SPDX-License-Identifier: EUPL-1.2
"""A private PostgreSQL server in a temporary directory: for tests and measurements.

Needs Debian's package postgresql. It listens on a UNIX socket in its own directory and on 127.0.0.1, on a port the
kernel chose; its directory is removed afterwards.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rig.errors import PostgresFailedError, PostgresUnavailableError
from rig.program import find_program, free_port

USER: Final = "postgres"
# Debian's packages put every version's programs into a folder of its own.
PROGRAMS: Final = Path("/usr/lib/postgresql")
LIMIT_S: Final = 30
_MISSING: Final = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: the directory with its socket, and its port."""

    directory: Path
    port: int

    def url(self, database: str = USER, *, user: str = USER) -> str:
        """Return the service's URL of one database, over loopback."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_server(settings: str, folder: Path | None = None) -> Iterator[Server]:
    """Start a server in a new directory in `folder` (None: where temporary files go) while the context lasts.

    `settings` are lines of postgresql.conf.

    Raises:
        PostgresUnavailableError: it is not installed; one sentence.
        PostgresFailedError: it did not start, or did not stop in order.
    """
    programs, owner = _programs(), _owner()
    # A path of its own: a UNIX socket's name has at most 107 bytes, and a session's own folder is closed to others.
    directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
    data = directory / "data"
    try:
        if owner is not None:
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        initdb = (programs / "initdb", "--no-sync", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8")
        _run((*initdb, f"--username={USER}", "-D", data), directory, owner)
        port = free_port()
        with (data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(f"{settings}\nport = {port}\nlisten_addresses = '127.0.0.1'\n")
            config.write(f"unix_socket_directories = '{directory}'\n")
            # In the directory, so that it goes with it: an immediate stop leaves segments in /dev/shm.
            config.write("dynamic_shared_memory_type = mmap\n")
        control = (programs / "pg_ctl", "-D", data, "-w", "-t", str(LIMIT_S))
        _run((*control, "-l", directory / "log", "start"), directory, owner)
        try:
            yield Server(directory, port)
        finally:
            _run((*control, "-m", "immediate", "stop"), directory, owner)
    finally:
        _end_what_is_left(data)
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    """Return the folder of the newest server's programs."""
    if folders := sorted(PROGRAMS.glob("*/bin"), key=lambda folder: int(folder.parent.name)):
        return folders[-1]
    if (found := find_program("pg_ctl")) is None:
        raise PostgresUnavailableError(_MISSING)
    return Path(found).resolve().parent


def _owner() -> pwd.struct_passwd | None:
    """Return the account the server runs as, None for our own: it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(USER)
    except KeyError:
        raise PostgresUnavailableError(f"root cannot run PostgreSQL, and there is no account {USER!r}") from None


def _run(command: Sequence[str | Path], directory: Path, owner: pwd.struct_passwd | None) -> None:
    name = Path(command[0]).name
    # Not a pipe: whatever a program leaves running would hold it open.
    with tempfile.TemporaryFile() as said:
        try:
            code = subprocess.run(  # noqa: S603  # PostgreSQL's own programs on our own files
                [str(part) for part in command],
                cwd=directory,
                user=None if owner is None else owner.pw_uid,
                group=None if owner is None else owner.pw_gid,
                extra_groups=None if owner is None else [],
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                check=False,
                timeout=2 * LIMIT_S,
            ).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PostgresFailedError(f"PostgreSQL's {name} failed: {error}") from None
        if code != 0:
            said.seek(0)
            last_words = said.read().decode("utf-8", "replace").strip()[-500:]
            raise PostgresFailedError(f"PostgreSQL's {name} failed: {last_words}{_log_tail(directory)}")


def _log_tail(directory: Path) -> str:
    try:
        return "; " + (directory / "log").read_text("utf-8", "replace").strip()[-500:]
    except OSError:
        return ""


def _end_what_is_left(data: Path) -> None:
    """Kill the server that wrote the process file, should stopping it have failed."""
    try:
        process = int((data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        os.kill(process, signal.SIGKILL)
    except (OSError, ValueError, IndexError):
        return
