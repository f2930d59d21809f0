# SPDX-License-Identifier: EUPL-1.2
"""A real cupsd with a queue that waits and simulated printers, in a folder of its own: for tests, bench, demonstration.

Nothing of the machine's own printing is touched: cupsd listens on a unix socket in that folder alone, the printers
(CUPS' `ippeveprinter`) on 127.0.0.1. Documents are sent by accounts every Debian has (`USERS`), each of which proves
itself to cupsd by the kernel's word on the socket; becoming them takes root. The accounts' names stand for people.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from rig.errors import CupsFailedError, CupsUnavailableError
from rig.program import FOLDERS, Program, accepts, find_program, free_port, installed, wait_for

PROGRAMS: Final = (
    *("cupsd", "lpadmin", "cupsaccept", "cupsdisable", "cupsenable"),
    *("lp", "lpstat", "ippeveprinter", "dbus-daemon"),
)
PACKAGE: Final = "scripts/debian-packages.sh print"
USERS: Final = ("games", "news", "mail", "man", "backup", "irc")
QUEUE: Final = "followme"
MAX_PRINTERS: Final = 32
START_LIMIT_S: Final = 20.0
COMMAND_LIMIT_S: Final = 20.0

_FILES_CONF: Final = """\
ServerRoot {here}/etc
CacheDir {here}/cache
StateDir {here}/state
RequestRoot {here}/spool
TempDir {here}/tmp
ServerKeychain {here}/etc/ssl
AccessLog {here}/log/access_log
ErrorLog {here}/log/error_log
PageLog {here}/log/page_log
Printcap
User lp
Group lp
SystemGroup root
Sandboxing relaxed
"""
_CUPSD_CONF: Final = """\
LogLevel warn
Listen {here}/cups.sock
Browsing Off
BrowseLocalProtocols none
WebInterface No
IdleExitTimeout 0
MaxJobs 10000
PreserveJobHistory Yes
PreserveJobFiles No
MaxHoldTime 86400
DirtyCleanInterval 0
<Location />
  Order allow,deny
  Allow localhost
</Location>
{policies}
"""
# Linked, not copied: the file is complete when it appears.
_TAKE_DOCUMENT: Final = """\
#!/bin/sh
exec ln "$1" "{here}/arrived/$(date +%s%N)-$IPP_JOB_ORIGINATING_USER_NAME.pdf"
"""


def why_not() -> str:
    """Say in one sentence why printing cannot be simulated here; nothing when it can."""
    lacking = [name for name in PROGRAMS if find_program(name) is None]
    if lacking:
        return f"{', '.join(lacking)} is not installed (Debian: {PACKAGE})"
    if os.geteuid() != 0:
        return "sending documents as several people needs root"
    return ""


def _path(name: str) -> str:
    return installed(name, PACKAGE, CupsUnavailableError)


def _common_folder() -> str:
    """Return a folder for temporary files that every account can enter; a session's own often is private.

    Raises:
        CupsUnavailableError: there is none.
    """
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108  # only the folder; the name in it is made safely
        way = Path(folder).resolve()
        if all(part.is_dir() and part.stat().st_mode & 0o001 for part in (way, *way.parents)):
            return folder
    raise CupsUnavailableError("no folder for temporary files can be entered by every account of this machine")


class Printer:
    """One simulated printer: what it has printed lies as files in a folder."""

    def __init__(self, name: str, here: Path, bus: Path) -> None:
        self.name = name
        self.port = free_port()
        self._arrived = here / "arrived"
        for folder in (self._arrived, here / "spool"):
            folder.mkdir(parents=True)
        command = here / "take-document"
        command.write_text(_TAKE_DOCUMENT.format(here=here))
        command.chmod(0o755)
        formats = ("-f", "application/pdf,image/pwg-raster,image/urf", "-F", "application/pdf")
        address = ("-r", "off", "-n", "localhost", "-p", str(self.port))
        self._program = Program(
            name,
            [_path("ippeveprinter"), *address, "-d", f"{here}/spool", "-2", *formats, "-c", str(command), name],
            here / "log",
            CupsFailedError,
            # It insists on something to announce itself to, even when told not to.
            {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"},
        )

    @property
    def uri(self) -> str:
        """Its address."""
        return f"ipp://localhost:{self.port}/ipp/print"

    def documents(self) -> tuple[Path, ...]:
        """Return what it has received, complete, oldest first; the name ends in `-USER.pdf`."""
        return tuple(sorted(self._arrived.iterdir()))

    @staticmethod
    def arrived_ns(document: Path) -> int:
        """When one of `documents` was complete: Unix nanoseconds."""
        return int(document.name.partition("-")[0])

    def start(self) -> None:
        """Switch it on; returns once it answers."""
        self._program.start()
        self._program.wait_ready(lambda: accepts(self.port, "localhost"), START_LIMIT_S)

    def stop(self) -> None:
        """Switch it off."""
        self._program.end(signal.SIGKILL)


class Cups:
    """One cupsd with its printers; `start` and `stop`, or a `with` block.

    Args:
        policies: the operation policies, one of them named like the queue.
        printers: names of the printers and of their queues.

    Raises:
        CupsUnavailableError: it cannot run here; one sentence says why.
    """

    queue = QUEUE
    users = USERS

    def __init__(self, policies: Path, printers: Sequence[str] = ("mfp1", "mfp2")) -> None:
        if reason := why_not():
            raise CupsUnavailableError(reason)
        if not 1 <= len(printers) <= MAX_PRINTERS:
            raise CupsFailedError(f"{len(printers)} printers, allowed are 1 to {MAX_PRINTERS}")
        # Other accounts must be able to reach the socket: a folder inside somebody's private one would not do.
        self.directory = Path(tempfile.mkdtemp(prefix="cups-", dir=_common_folder()))
        self.directory.chmod(0o755)  # see above; what is private inside has modes of its own
        for part in ("etc", "cache", "state", "spool", "tmp", "log"):
            (self.directory / part).mkdir()
        self.socket = self.directory / "cups.sock"
        self._write_configuration(policies.read_text("utf-8"))
        bus = self.directory / "bus"
        address = f"--address=unix:path={bus}"
        self._bus_socket = bus
        self._bus = Program(
            "dbus-daemon",
            [_path("dbus-daemon"), "--session", "--nofork", "--nopidfile", address],
            self.directory / "log" / "bus",
            CupsFailedError,
        )
        self._cupsd = Program(
            "cupsd",
            [
                *(_path("cupsd"), "-f"),
                *("-c", f"{self.directory}/etc/cupsd.conf", "-s", f"{self.directory}/etc/cups-files.conf"),
            ],
            self.directory / "log" / "cupsd",
            CupsFailedError,
        )
        self.printers = {name: Printer(name, self.directory / "printers" / name, bus) for name in printers}

    def _write_configuration(self, policies: str) -> None:
        etc = self.directory / "etc"
        (etc / "cups-files.conf").write_text(_FILES_CONF.format(here=self.directory))
        (etc / "cupsd.conf").write_text(_CUPSD_CONF.format(here=self.directory, policies=policies))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start everything and make the queues.

        Must be called from a thread that lives as long as the printing shall.

        Raises:
            CupsFailedError: a part did not start.
        """
        try:
            self._bus.start()
            self._bus.wait_ready(self._bus_socket.exists, START_LIMIT_S)
            for printer in self.printers.values():
                printer.start()
            self.start_cupsd()
            for printer in self.printers.values():
                self._make_queue(printer)
            self._make_waiting_queue()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything and remove the folder; safe to call twice."""
        self._cupsd.end()
        for printer in self.printers.values():
            printer.stop()
        self._bus.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start_cupsd(self) -> None:
        """Start cupsd (again); returns once it answers."""
        self._cupsd.start()
        self._cupsd.wait_ready(self._cupsd_answers, START_LIMIT_S)

    def kill_cupsd(self) -> None:
        """SIGKILL: no goodbye, nothing written."""
        self._cupsd.end(signal.SIGKILL)

    def pause_cupsd(self) -> None:
        """SIGSTOP: the kernel still accepts connections, nobody answers; returns once it stands still."""
        self._cupsd.pause()

    def resume_cupsd(self) -> None:
        """SIGCONT."""
        self._cupsd.resume()

    def submit(self, user: str, file: Path, *options: str, title: str = "Dokument", queue: str = QUEUE) -> int:
        """Send `file` as `user` (one of `users`) with the program `lp`, as anybody would; return the job's number.

        Raises:
            CupsFailedError: cupsd refuses it.
        """
        said = self.run_as(user, "lp", "-h", str(self.socket), "-d", queue, "-t", title, *options, "-", stdin=file)
        return int(said.rpartition(f"{queue}-")[2].split()[0])

    def run_as(self, user: str, program: str, *arguments: str, stdin: Path | None = None) -> str:
        """Run one of CUPS' programs as an account of this machine; return what it says.

        Raises:
            CupsFailedError: it failed, the message is what it said; or it does not end.
        """
        account = pwd.getpwnam(user)
        with (stdin or Path(os.devnull)).open("rb") as source:
            try:
                done = subprocess.run(  # noqa: S603  # as above
                    [_path(program), *arguments],
                    stdin=source,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    user=account.pw_uid,
                    group=account.pw_gid,
                    extra_groups=[],
                    cwd="/",
                    env={"PATH": os.pathsep.join(FOLDERS), "CUPS_SERVER": str(self.socket), "HOME": "/nonexistent"},
                    timeout=COMMAND_LIMIT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise CupsFailedError(f"{program} did not end within {COMMAND_LIMIT_S} s") from None
        said = done.stdout.decode("utf-8", "replace").strip()
        if done.returncode != 0:
            raise CupsFailedError(f"{program}: {said}")
        return said

    def disable(self, queue: str) -> None:
        """Stop a printer's queue, as an administrator does."""
        self._administer("cupsdisable", queue)

    def enable(self, queue: str) -> None:
        """Let it print again."""
        self._administer("cupsenable", queue)

    def _administer(self, program: str, *arguments: str) -> None:
        self.run_as("root", program, *arguments)

    def _make_queue(self, printer: Printer) -> None:
        """Make a queue that knows what the printer can do, as `docs/printing.md` tells an administrator."""
        self._administer("lpadmin", "-p", printer.name, "-E", "-v", printer.uri, "-m", "everywhere")
        if not wait_for(self._description(printer.name).exists, START_LIMIT_S):
            raise CupsFailedError(f"CUPS cannot describe {printer.name}")
        patient = f"{printer.uri}?contimeout=20"
        self._administer("lpadmin", "-p", printer.name, "-v", patient, "-o", "printer-error-policy=abort-job")

    def _description(self, queue: str) -> Path:
        return self.directory / "etc" / "ppd" / f"{queue}.ppd"

    def _make_waiting_queue(self) -> None:
        """The queue stays stopped: what is in it is printed in no way but by being moved."""
        model = self._description(next(iter(self.printers)))
        options = (f"printer-op-policy={QUEUE}", "job-hold-until-default=indefinite", "printer-error-policy=retry-job")
        said = [part for option in options for part in ("-o", option)]
        self._administer("lpadmin", "-p", QUEUE, "-v", "ipp://localhost:1/", "-P", str(model), *said)
        self._administer("cupsaccept", QUEUE)

    def _cupsd_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(1.0)
            try:
                caller.connect(str(self.socket))
            except OSError:
                return False
        return True
