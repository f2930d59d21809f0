# SPDX-License-Identifier: EUPL-1.2
"""A private PostgreSQL server for the measurement, with every commit flushed to the disk.

Needs Debian's package postgresql. It listens on 127.0.0.1 only, on a port the kernel chose, and its directory is
removed afterwards.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cardservice.bench.city_program import BenchError

MAX_CONNECTIONS: Final = 100
_START_LIMIT_S: Final = 30
_USER: Final = "postgres"
_PROGRAMS: Final = Path("/usr/lib/postgresql")


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server while the context lasts; yield the URL of an empty database.

    Raises:
        BenchError: it is not installed, or did not start.
    """
    # A path of its own: a UNIX socket's name has at most 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="pay-"))
    try:
        if os.geteuid() == 0:
            account = pwd.getpwnam(_USER)
            os.chown(directory, account.pw_uid, account.pw_gid)
        programs, data, port = _programs(), directory / "data", _free_port()
        _run((programs / "initdb", "--no-sync", "--auth=trust", "-E", "UTF8", "-U", _USER, "-D", data), directory)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(f"port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{directory}'\n")
            config.write(f"max_connections = {MAX_CONNECTIONS}\nfsync = on\nsynchronous_commit = on\n")
        control = (programs / "pg_ctl", "-D", data, "-w", "-t", str(_START_LIMIT_S))
        _run((*control, "-l", directory / "log", "start"), directory)
        try:
            yield f"postgresql://{_USER}@127.0.0.1:{port}/{_USER}"
        finally:
            _run((*control, "-m", "immediate", "stop"), directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path:
    folders = sorted(_PROGRAMS.glob("*/bin"), key=lambda folder: int(folder.parent.name))
    if not folders:
        raise BenchError("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    return folders[-1]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: Sequence[str | Path], directory: Path) -> None:
    # The server refuses to run as root.
    is_root = os.geteuid() == 0
    try:
        subprocess.run(  # noqa: S603  # our own words
            [str(part) for part in command],
            cwd=directory,
            user=_USER if is_root else None,
            group=_USER if is_root else None,
            extra_groups=[] if is_root else None,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=_START_LIMIT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchError(f"PostgreSQL's {Path(command[0]).name} failed: {error}") from None
