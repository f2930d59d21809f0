# SPDX-License-Identifier: EUPL-1.2
"""A PC's desk as ordinary processes: a system bus of its own, logind's double, and real lockers on virtual screens.

    bus (dbus-daemon) - logind (python3-dbusmock) - per session: Xvfb, xss-lock, i3lock

Nothing of the machine's own bus and sessions is touched, and no root is needed. The lockers are real: a session is
locked when the window is there, and `LockedHint` is what xss-lock says. Everything lies in the given folder, whose path
must be short enough for a socket.
"""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from rig.errors import SessionsFailedError, SessionsUnavailableError
from rig.program import Program, find_program

PROGRAMS: Final = ("dbus-daemon", "Xvfb", "xss-lock", "i3lock", "xwininfo")
# Debian's own: python3-dbusmock, dbus and gi are no packages of ours.
PYTHON: Final = "/usr/bin/python3"
START_LIMIT_S: Final = 5.0
STOP_LIMIT_S: Final = 5.0
_LOOK_LIMIT_S: Final = 10.0
_DOUBLE: Final = Path(__file__).with_name("logind_double.py")
_BUS_CONF: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={here}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def why_not() -> str:
    """Say in one sentence why sessions cannot be had here; nothing when they can."""
    lacking = [name for name in PROGRAMS if find_program(name) is None]
    if not _has_dbusmock():
        lacking.append("python3-dbusmock")
    if lacking:
        return f"{', '.join(lacking)} is not installed (Debian: scripts/debian-packages.sh sessions)"
    return ""


def _has_dbusmock() -> bool:
    command = [PYTHON, "-c", "import dbus, dbusmock, gi"]
    try:
        return subprocess.run(command, capture_output=True, timeout=START_LIMIT_S, check=False).returncode == 0  # noqa: S603  # Debian's interpreter
    except (OSError, subprocess.TimeoutExpired):
        return False


class DeskSession(NamedTuple):
    """One session at the desk; `kind` as logind calls it."""

    number: str
    user: str
    seat: str = "seat0"
    active: bool = True
    kind: str = "x11"


class Note(NamedTuple):
    """One call that logind received; `at_us` by the monotonic clock of this machine."""

    at_us: int
    member: str
    number: str


def _program(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Program:
    """Return a program by its name in `command`; whether it is installed is asked before anything is started."""
    path = find_program(command[0]) or command[0]
    return Program(name, (path, *command[1:]), log, SessionsFailedError, environment or {}, STOP_LIMIT_S)


class _Screen:
    """One session's screen with its locker."""

    def __init__(self, session: DeskSession, folder: Path, environment: Mapping[str, str]) -> None:
        self._log = folder / f"screen-{session.number}.log"
        self._environment = environment
        self._session = session
        self._server: Program | None = None
        self._locker: Program | None = None
        self.display = ""

    def start(self) -> None:
        """Start the screen, which says on which display it is."""
        says, tells = os.pipe()
        command = ("Xvfb", "-displayfd", str(tells), "-screen", "0", "320x240x24", "-nolisten", "tcp")
        self._server = _program("Xvfb", command, self._log)
        try:
            self._server.start(pass_fds=(tells,))
        finally:
            os.close(tells)
        with os.fdopen(says, "rb") as answer:
            number = answer.readline().strip()
        if not number.isdigit():
            raise SessionsFailedError(f"Xvfb did not start; see {self._log}")
        self.display = f":{number.decode()}"

    def start_locker(self, ready: Callable[[], bool]) -> None:
        """Start what locks the screen when logind says so; returns once it is `ready`."""
        command = ("xss-lock", "-s", self._session.number, "--", "i3lock", "-n", "-c", "203040")
        self._locker = _program("xss-lock", command, self._log, {**self._environment, "DISPLAY": self.display})
        self._locker.start()
        self._locker.wait_ready(ready, START_LIMIT_S)

    def stop_locker(self) -> None:
        """End the locker; the screen is then as open as it is without one."""
        if self._locker is not None:
            self._locker.end()

    def stop(self) -> None:
        """End both."""
        self.stop_locker()
        if self._server is not None:
            self._server.end()

    def is_locked(self) -> bool:
        """Tell whether the locker's window covers the screen.

        Raises:
            SessionsFailedError: the screen does not say.
        """
        # A window that closes while they are listed fails the first look, not the next.
        found = self._look() or self._look()
        if found is None:
            raise SessionsFailedError(f"the screen {self.display} does not say what is on it")
        return b'"i3lock"' in found

    def _look(self) -> bytes | None:
        """Return the list of windows on the screen, None if there is none to be had."""
        xwininfo = find_program("xwininfo") or "xwininfo"
        command = [xwininfo, "-display", self.display, "-root", "-children"]
        try:
            found = subprocess.run(command, capture_output=True, timeout=_LOOK_LIMIT_S, check=False)  # noqa: S603  # as above
        except (OSError, subprocess.TimeoutExpired):
            return None
        return found.stdout if found.returncode == 0 else None


class Desk:
    """A desk with these sessions; `start` may follow `stop`. With `lockers` False nothing happens on any screen.

    What is started dies with the thread that started it.
    """

    def __init__(self, folder: Path, sessions: Sequence[DeskSession], *, lockers: bool = True) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self.sessions = tuple(sessions)
        self._notes = folder / "notes"
        self._behaviour = folder / "behaviour.json"
        self._lockers = lockers
        self._screens: dict[str, _Screen] = {}
        (folder / "bus.conf").write_text(_BUS_CONF.format(here=folder))
        self._bus = _program(
            "dbus-daemon",
            ("dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork", "--nopidfile"),
            folder / "bus.log",
        )
        self._logind: Program | None = None

    @property
    def bus_address(self) -> str:
        """D-Bus's address of the bus, as in DBUS_SYSTEM_BUS_ADDRESS."""
        return f"unix:path={self.folder / 'bus'}"

    @property
    def environment(self) -> dict[str, str]:
        """What a program at this desk finds in its environment."""
        return {"DBUS_SYSTEM_BUS_ADDRESS": self.bus_address}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start everything.

        Raises:
            SessionsUnavailableError: a program is missing; one sentence.
            SessionsFailedError: a part did not start.
        """
        if reason := why_not():
            raise SessionsUnavailableError(reason)
        self._notes.touch()
        self.behave()
        try:
            for session in self.sessions if self._lockers else ():
                screen = _Screen(session, self.folder, self.environment)
                self._screens[session.number] = screen
                screen.start()
            self.start_bus()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything; safe to call twice."""
        self.stop_bus()
        for screen in self._screens.values():
            screen.stop()
        self._screens.clear()

    def start_bus(self) -> None:
        """Start the bus, logind and the lockers.

        Raises:
            SessionsFailedError: one of them did not start.
        """
        (self.folder / "bus").unlink(missing_ok=True)
        self._bus.start()
        self._bus.wait_ready((self.folder / "bus").exists, START_LIMIT_S)
        self.start_logind()
        for number, screen in self._screens.items():
            self._start_locker(number, screen)

    def _start_locker(self, number: str, screen: _Screen) -> None:
        watched = self._asked_for(number)
        screen.start_locker(lambda: self._asked_for(number) > watched)

    def stop_bus(self) -> None:
        """End the bus and everything that hangs on it, lockers too: what was locked is open then."""
        for screen in self._screens.values():
            screen.stop_locker()
        self.stop_logind()
        self._bus.end()

    def start_logind(self) -> None:
        """Start logind; lockers that run stay with it.

        Raises:
            SessionsFailedError: it did not start.
        """
        locked = {number for number, screen in self._screens.items() if screen.display and screen.is_locked()}
        ready = self.folder / "logind.ready"
        ready.unlink(missing_ok=True)
        parameters: dict[str, object] = {
            "notes": str(self._notes),
            "behaviour": str(self._behaviour),
            "ready": str(ready),
        }
        parameters["sessions"] = [
            [
                session.number,
                session.seat,
                1_000 + at,
                session.user,
                session.active,
                session.kind,
                session.number in locked,
            ]
            for at, session in enumerate(self.sessions)
        ]
        command = (PYTHON, "-m", "dbusmock", "--system", "-t", str(_DOUBLE), "-p", json.dumps(parameters))
        self._logind = _program("logind", command, self._log, self.environment)
        self._logind.start()
        self._logind.wait_ready(ready.exists, START_LIMIT_S)

    def stop_logind(self) -> None:
        """End logind alone."""
        if self._logind is not None:
            self._logind.end()

    # What one sees and does at the desk

    def behave(self, *, delay_ms: int = 0, deaf: bool = False) -> None:
        """Let logind take `delay_ms` for everything from now on, or take note of it and do nothing."""
        ready = self._behaviour.with_suffix(".new")
        ready.write_text(json.dumps({"delay_ms": delay_ms, "deaf": deaf}))
        ready.replace(self._behaviour)

    def notes(self) -> list[Note]:
        """Return what logind was told so far, in order."""
        lines = [line.split() for line in self._notes.read_text("utf-8").splitlines()]
        return [Note(int(at_us), member, number) for at_us, member, number in lines]

    def is_locked(self, number: str) -> bool:
        """Tell whether the lock window of a session is there.

        Raises:
            SessionsFailedError: its screen does not say.
        """
        return self._screens[number].is_locked()

    @property
    def _log(self) -> Path:
        return self.folder / "logind.log"

    def _asked_for(self, number: str) -> int:
        """Return how often a locker asked where its session is, which it then listens to."""
        return self._log.read_text("utf-8").count(f'GetSession "{number}"')
