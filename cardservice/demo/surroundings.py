# SPDX-License-Identifier: EUPL-1.2
"""What stands around the places of the demonstration: printers with a real cupsd, a PC with a session that locks.

Each is there if this machine can have it; where it cannot, `why_no_printers` and `why_no_desk` say why.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cardservice.workstations.ports import SessionFault
from city import building, people
from integrations.cups import POLICIES
from integrations.logind import LogindSessions
from rig import cups
from rig.cups import Cups
from rig.errors import RigError
from rig.pdf import one_page
from rig.program import free_port
from rig.sessions import Desk, DeskSession

# Whose PC stands in the building office.
PC_USER: Final = people.ANNA.login
_SESSION: Final = "c1"
_NOT_STARTED: Final = "nothing has been started"

_LOCK_ATTEMPTS: Final = 20
_LOCK_PAUSE_S: Final = 0.25


class Around:
    """Printers and PC. `start` once, `stop` always."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cups: Cups | None = None
        self._desk: Desk | None = None
        self.why_no_printers = self.why_no_desk = _NOT_STARTED
        # Documents are sent to cupsd by accounts every Debian has; each stands for somebody of the city.
        self.accounts = {citizen.login: account for citizen, account in zip(people.CITIZENS, cups.USERS, strict=False)}

    def start(self) -> None:
        """Start what can be had here."""
        printers = [str(place.options["printer"]) for place in building.PLACES if place.use == "printer"]
        try:
            self._cups = Cups(POLICIES, printers).start()
            self.why_no_printers = ""
        except RigError as error:
            self.why_no_printers = str(error)
        try:
            self._desk = desk = Desk(self._folder / "desk", [DeskSession(_SESSION, PC_USER)]).start()
            # In a thread of its own: whoever starts the city may have an event loop already.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, _lock(desk)).result()
            self.why_no_desk = ""
        except (RigError, SessionFault) as error:
            self.why_no_desk = str(error)
            if self._desk is not None:
                self._desk.stop()
                self._desk = None

    def stop(self) -> None:
        """Stop all of it."""
        for part in (self._cups, self._desk):
            if part is not None:
                part.stop()

    def service_settings(self) -> Mapping[str, Any]:
        """Return what the service is told about printing."""
        if self._cups is None:
            return {}
        return {"printing": {"socket": str(self._cups.socket)}, "printing.accounts": self.accounts}

    def agent_settings(self) -> Mapping[str, Any]:
        """Return what the places' agent is told."""
        adapter = "logind" if self._desk is not None else "simulated_io.sessions"
        return {"sessions": adapter, "kiosk_port": free_port()}

    @property
    def bus_address(self) -> str | None:
        """The PC's system bus, None if there is none."""
        return None if self._desk is None else self._desk.bus_address

    def pc_locked(self) -> bool | None:
        """Tell whether the PC's screen is locked; None if there is no screen here that says so."""
        try:
            return None if self._desk is None else self._desk.is_locked(_SESSION)
        except RigError:
            return None

    def print_something(self, login: str, title: str) -> None:
        """Send a page to the waiting queue as somebody of the city.

        Raises:
            RigError: there is no spooler, or it does not take it.
        """
        if self._cups is None or login not in self.accounts:
            raise RigError(self.why_no_printers or f"{login} has no account to print with")
        with tempfile.NamedTemporaryFile(suffix=".pdf") as file:
            file.write(one_page(title))
            file.flush()
            Path(file.name).chmod(0o644)
            self._cups.submit(self.accounts[login], Path(file.name), title=title)

    def printed(self) -> Mapping[str, int]:
        """Return how many documents each printer has put out."""
        return {name: len(arrived_ns) for name, arrived_ns in self.arrivals_ns().items()}

    def arrivals_ns(self) -> Mapping[str, Sequence[int]]:
        """Return when each printer's documents were out, oldest first: Unix nanoseconds."""
        if self._cups is None:
            return {}
        return {
            name: [printer.arrived_ns(document) for document in printer.documents()]
            for name, printer in self._cups.printers.items()
        }


async def _lock(desk: Desk) -> None:
    """Leave the PC as its user did in the evening; asked again for a while, for the locker may not listen yet."""
    pc = LogindSessions(address=desk.bus_address)
    try:
        for _ in range(_LOCK_ATTEMPTS):
            await pc.lock(None)
            await asyncio.sleep(_LOCK_PAUSE_S)
            if desk.is_locked(_SESSION):
                return
    finally:
        await pc.close()
