# SPDX-License-Identifier: EUPL-1.2
"""The sessions of a PC whose adapter cannot be used: nothing is unlocked, so there is nothing to lock."""

from pathlib import Path

import structlog

from cardservice.workstations.ports import SessionFault, Unlocked
from readers.unlocked import UnlockedNotes

_log = structlog.get_logger("readers.no_sessions")


class NoSessions:
    """Fulfils `cardservice.workstations.ports.Sessions`; `why` is for the administrator."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def unlock(self, user: str) -> Unlocked:
        """Unlock nothing.

        Raises:
            SessionFault: always.
        """
        raise SessionFault(self._why)

    async def lock(self, user: str | None) -> None:
        """Nothing: nothing was unlocked here."""

    async def locked(self, user: str | None) -> bool | None:
        """Know nothing."""
        return None

    async def close(self) -> None:
        """Nothing is held."""


class KeptNotes(UnlockedNotes):
    """The notes of an agent that can lock nothing: what one before it left stays on the disk for one that can."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        if self.found:
            _log.critical("session_stays_open", reason="an agent before this one left it unlocked")
        self.found = False

    def _write(self) -> None:
        """Nothing: nothing becomes of what was found, and nothing is added to it."""
