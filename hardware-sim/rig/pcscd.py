# SPDX-License-Identifier: EUPL-1.2
"""Runs a pcscd whose readers are all virtual.

Preferred is a private namespace (`rig.namespace`): any number of rigs side by side, nothing reachable from
outside. Where namespaces are forbidden pcscd runs directly on the host's socket, if nobody else serves it.
"""

import collections
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from rig import leash, namespace
from rig.errors import PcscdFailedError, PcscdUnavailableError
from rig.installation import Installation, find_installation
from rig.readers import MAX_DEVICES, SLOTS_PER_DEVICE, Device

Mode = Literal["namespace", "direct"]
FIRST_PORT = 21_000
"""Below the ports Linux hands out by itself: a card that retries there could otherwise connect to itself."""
LAST_PORT = 32_000
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 5.0
LOOK_S = 0.005
MAX_LOG_LINES = 200
MAX_LOG_LINE_BYTES = 500
SOCKET_NAME = "pcscd.comm"
_LEFTOVERS = (SOCKET_NAME, "pcscd.pid")
_TCP_LISTEN = "0A"

SCARD_E_NO_SERVICE = 0x8010001D
SCARD_W_SECURITY_VIOLATION = 0x8010006A


@dataclass(frozen=True)
class Capability:
    """Whether virtual readers on a real pcscd are possible here, how, and if not, why not in one sentence."""

    available: bool
    why_not: str
    mode: Mode


def probe() -> Capability:
    """Find out by trying, in a process of its own, what this machine allows; changes nothing."""
    try:
        installation = find_installation()
    except PcscdUnavailableError as error:
        return Capability(available=False, why_not=str(error), mode="namespace")
    refusal = _try_namespace(installation)
    if not refusal:
        return Capability(available=True, why_not="", mode="namespace")
    ipc_dir = installation.ipc_dir
    if is_served(ipc_dir / SOCKET_NAME):
        reason = f"{refusal}, and another pcscd already serves {ipc_dir / SOCKET_NAME}; stop it or allow namespaces"
        return Capability(available=False, why_not=reason, mode="direct")
    if not os.access(ipc_dir if ipc_dir.is_dir() else ipc_dir.parent, os.W_OK):
        reason = f"{refusal}, and there is no right to write {ipc_dir}; run it as root or allow namespaces"
        return Capability(available=False, why_not=reason, mode="direct")
    if not _loopback_works():
        return Capability(available=False, why_not=f"{refusal}, and the loopback interface is down", mode="direct")
    return Capability(available=True, why_not="", mode="direct")


def is_served(socket_path: Path) -> bool:
    """Whether some pcscd accepts connections on this socket; one we may not open counts as served."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(socket_path))
        except (PermissionError, TimeoutError):
            return True
        except OSError:
            return False
        return True


def explain_refusal(code: int, installation: Installation) -> str:
    """Say in one sentence why PC/SC refused a client; `code` is the SCARD_* number, signed or unsigned."""
    number = code & 0xFFFFFFFF
    if number == SCARD_E_NO_SERVICE:
        return "no pcscd answers: PCSCLITE_CSOCK_NAME must name the rig's socket and its folder must be yours"
    if number == SCARD_W_SECURITY_VIOLATION:
        return f"pcscd refused this user: {installation.access}"
    return f"PC/SC error {number:#010x} is no refusal of access"


def _loopback_works() -> bool:
    with socket.socket() as listener, socket.socket() as caller:
        caller.settimeout(1.0)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            caller.connect(listener.getsockname())
        except OSError:
            return False
        return True


def _try_namespace(installation: Installation) -> str:
    """Return why private namespaces are refused, or nothing."""
    package_parent = str(Path(__file__).resolve().parent.parent)
    search = os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(prefix="rig-probe-") as directory:
        trial = subprocess.run(  # noqa: S603 - our own module in our own interpreter
            [sys.executable, "-m", namespace.__name__, directory, str(installation.ipc_dir)],
            capture_output=True,
            timeout=READY_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
        )
    if trial.returncode == 0:
        return ""
    return trial.stdout.decode("utf-8", "replace").strip() or "private namespaces cannot be tried"


class Pcscd:
    """One pcscd with virtual readers; the caller has entered the namespace already if there is one.

    Args:
        installation: which programs to use.
        run_dir: folder (mode 0700) for the configuration and the copies of the driver.
        mode: decides about the ports: free choice in a namespace, free ones of the host otherwise.

    `start` must be called from a thread that lives as long as pcscd shall, because pcscd dies with it.
    """

    def __init__(self, installation: Installation, run_dir: Path, *, mode: Mode) -> None:
        self._installation = installation
        self._config_dir = run_dir / "conf"
        self._driver_dir = run_dir / "ifd"
        self._ipc_dir = installation.ipc_dir
        self._made_ipc_dir = False
        self._process: subprocess.Popen[bytes] | None = None
        self._log: collections.deque[str] = collections.deque(maxlen=MAX_LOG_LINES)
        self._first_ports = _fixed_ports() if mode == "namespace" else _free_ports()

    def ports(self, devices: Sequence[Device]) -> dict[str, int]:
        """The TCP port of every reader."""
        return {
            reader.name: first + slot
            for first, device in zip(self._first_ports, devices, strict=False)
            for slot, reader in enumerate(device.readers)
        }

    def start(self, devices: Sequence[Device], *, without: frozenset[str] = frozenset()) -> None:
        """Start pcscd and return when it serves clients and every virtual reader takes cards.

        Args:
            devices: all devices, always in the same order; at most eight.
            without: names of devices that are unplugged now.

        Raises:
            PcscdFailedError: it runs already, another one serves the socket, or it did not become ready.
        """
        if self.alive:
            raise PcscdFailedError("pcscd runs already")
        if is_served(self._ipc_dir / SOCKET_NAME):
            raise PcscdFailedError(f"another pcscd already serves {self._ipc_dir / SOCKET_NAME}")
        self._made_ipc_dir |= not self._ipc_dir.is_dir()
        self._remove_leftovers()
        ports = self._configure(devices, without)
        command = [str(self._installation.pcscd), "--foreground", "--config", str(self._config_dir)]
        if self._installation.can_disable_polkit:
            command.append("--disable-polkit")
        self._process = subprocess.Popen(  # noqa: S603 - the program was found on the administrator's path
            [sys.executable, "-I", leash.__file__, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        if self._process.stdout is not None:
            threading.Thread(target=self._keep_log, args=(self._process.stdout,), daemon=True).start()
        self._wait_until_ready(self._process, ports)

    @property
    def alive(self) -> bool:
        """Whether pcscd runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id of pcscd while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    def kill(self) -> None:
        """Kill pcscd the hard way, as a crash would; its socket file stays behind."""
        self._end(hard=True)

    def stop(self) -> None:
        """End pcscd and remove its socket, and the folder of the socket if pcscd has made it."""
        self._end(hard=False)
        self._remove_leftovers()
        if self._made_ipc_dir:
            with contextlib.suppress(OSError):
                self._ipc_dir.rmdir()

    def log_tail(self) -> str:
        """The last lines pcscd has written."""
        return "\n".join(self._log)

    def _end(self, *, hard: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if not hard:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                hard = True
        if hard:
            process.kill()
            process.wait()

    def _remove_leftovers(self) -> None:
        for name in _LEFTOVERS:
            (self._ipc_dir / name).unlink(missing_ok=True)

    def _configure(self, devices: Sequence[Device], without: frozenset[str]) -> list[int]:
        """Write reader.conf and return the ports that will listen."""
        self._config_dir.mkdir(mode=0o700, exist_ok=True)
        self._driver_dir.mkdir(mode=0o700, exist_ok=True)
        blocks, ports = [], []
        for number, (first_port, device) in enumerate(zip(self._first_ports, devices, strict=False)):
            if device.name in without:
                continue
            # The driver keeps its sockets in variables of the library: every entry needs a copy of its own.
            library = self._driver_dir / f"libifdvpcd-{number}.so"
            if not library.exists():
                shutil.copyfile(self._installation.driver, library)
            blocks.append(reader_conf_entry(device.shown_as or device.name, library, first_port))
            ports += [first_port + slot for slot in range(SLOTS_PER_DEVICE)]
        (self._config_dir / "reader.conf").write_text("\n".join(blocks), "utf-8")
        return ports

    def _wait_until_ready(self, process: subprocess.Popen[bytes], ports: Sequence[int]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                if set(ports) <= listening_ports() and is_served(self._ipc_dir / SOCKET_NAME):
                    return
            else:
                self._process = None
                raise PcscdFailedError(f"pcscd ended with code {process.returncode}: {self.log_tail()}")
        self._end(hard=True)
        raise PcscdFailedError(f"pcscd was not ready within {READY_TIMEOUT_S} s: {self.log_tail()}")

    def _keep_log(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(MAX_LOG_LINE_BYTES):
                self._log.append(line.decode("utf-8", "replace").rstrip())


def reader_conf_entry(name: str, library: Path, first_port: int) -> str:
    """One entry of reader.conf(5); slot 0 listens on the port, slot 1 on the next one."""
    return f'FRIENDLYNAME "{name}"\nDEVICENAME /dev/null:{first_port}\nLIBPATH {library}\nCHANNELID {first_port}\n'


def listening_ports() -> set[int]:
    """TCP ports with a listener in this network namespace (proc(5), /proc/net/tcp)."""
    ports = set()
    for line in Path("/proc/self/net/tcp").read_text("ascii").splitlines()[1:]:
        columns = line.split()
        if columns[3] == _TCP_LISTEN:
            ports.add(int(columns[1].rpartition(":")[2], 16))
    return ports


def _fixed_ports() -> list[int]:
    return [FIRST_PORT + 10 * number for number in range(MAX_DEVICES)]


def _free_ports() -> list[int]:
    taken = listening_ports()
    free = [
        first
        for first in range(FIRST_PORT, LAST_PORT, 10)
        if not taken & {first + slot for slot in range(SLOTS_PER_DEVICE)}
    ]
    if len(free) < MAX_DEVICES:
        raise PcscdFailedError(f"no free TCP ports between {FIRST_PORT} and {LAST_PORT}")
    return free[:MAX_DEVICES]
