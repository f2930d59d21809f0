# SPDX-License-Identifier: EUPL-1.2
"""One of Debian's own programs as a child of ours, and waiting for what it does."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rig import leash
from rig.errors import RigError

_POLL_S: Final = 0.01
_CONNECT_LIMIT_S: Final = 1.0
_STAND_STILL_LIMIT_S: Final = 20.0
FOLDERS: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def find_program(name: str) -> str | None:
    """Return where a program is, None if it is not installed; also those an ordinary user's path leaves out."""
    return shutil.which(name, path=os.pathsep.join(FOLDERS))


def installed(name: str, package: str, error: type[RigError]) -> str:
    """Return where a program is.

    Raises:
        RigError: of the class `error`: it is not installed; one sentence says what installs it.
    """
    if (found := find_program(name)) is None:
        raise error(f"{name} is not installed (Debian: {package})")
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether somebody accepts connections there now."""
    try:
        socket.create_connection((host, port), timeout=_CONNECT_LIMIT_S).close()
    except OSError:
        return False
    return True


def wait_for(what: Callable[[], object], limit_s: float, *, pause_s: float = _POLL_S) -> bool:
    """Return whether something that nobody tells us became true within `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not what():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(pause_s)
    return True


@dataclass(slots=True)
class Program:
    """A child that dies with the thread that started it; `command` begins with its path.

    `start` may follow `end` any number of times. `error` is what it raises.
    """

    name: str
    command: Sequence[str]
    log: Path
    error: type[RigError] = RigError
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_limit_s: float = 10.0
    _process: subprocess.Popen[bytes] | None = None

    def start(self, *, pass_fds: Sequence[int] = ()) -> None:
        """Start it; what it says goes into its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # Debian's own programs on our own files
                [sys.executable, "-I", leash.__file__, str(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                pass_fds=pass_fds,
            )

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.runs else None

    def wait_ready(self, ready: Callable[[], object], limit_s: float) -> None:
        """Return once `ready()` is true.

        Raises:
            RigError: it ended before, or was not ready within `limit_s` seconds.
        """
        if not wait_for(lambda: ready() or not self.runs, limit_s) or not self.runs:
            raise self.error(f"{self.name} did not start: {self.log.read_text('utf-8', 'replace')[-500:]}")

    def pause(self) -> None:
        """SIGSTOP: the kernel still accepts connections, nobody answers; returns once it stands still.

        Raises:
            RigError: it does not run.
        """
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        state = Path(f"/proc/{process.pid}/stat")
        if not wait_for(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", _STAND_STILL_LIMIT_S):
            raise self.error(f"{self.name} does not stand still")

    def resume(self) -> None:
        """SIGCONT.

        Raises:
            RigError: it does not run.
        """
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.runs:
            raise self.error(f"{self.name} is not running")
        return self._process

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, or hard when it does not obey; safe to call twice and while paused."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # a paused one hears nothing but SIGKILL before
        try:
            process.wait(self.stop_limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Server:
    """A server that is one program, `_program`, and what all of those can do.

    `start`, which every kind has of its own, may follow `stop` or `kill` any number of times. The server dies with the
    thread that started it.
    """

    _program: Program

    def stop(self) -> None:
        """End it in order; safe to call twice and while paused."""
        self._program.end()

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing written."""
        self._program.end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: the kernel still accepts connections, nobody answers; returns once it stands still.

        Raises:
            RigError: it does not run.
        """
        self._program.pause()

    def resume(self) -> None:
        """SIGCONT.

        Raises:
            RigError: it does not run.
        """
        self._program.resume()

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._program.runs
