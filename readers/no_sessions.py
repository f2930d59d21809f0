# SPDX-License-Identifier: EUPL-1.2
"""The sessions of a PC whose adapter cannot be used: every call says why, nothing is ever unlocked."""

from cardservice.workstations.ports import SessionFault, Unlocked


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
        """Lock nothing: nothing was unlocked here.

        Raises:
            SessionFault: always.
        """
        raise SessionFault(self._why)

    async def locked(self, user: str | None) -> bool | None:
        """Know nothing."""
        return None

    async def close(self) -> None:
        """Nothing is held."""
