# SPDX-License-Identifier: EUPL-1.2
"""The sessions of one PC, as the agent beside it needs them. Adapters live below `integrations/`."""

from typing import Literal, Protocol

Unlocked = Literal["unlocked", "no_session"]


class SessionFault(Exception):
    """The sessions cannot be reached, or refused; the message says what failed, for the administrator, never who."""


class Sessions(Protocol):
    """What people have open on this PC's seat. In the event loop; every call ends within a few seconds.

    A `user` is a login name and is compared as it is. What happens elsewhere (remote logins, other seats) is not seen.
    """

    async def unlock(self, user: str) -> Unlocked:
        """Unlock the session of `user`, never anybody else's; `no_session` if they have none here.

        Raises:
            SessionFault: it is not certain that it was unlocked.
        """
        ...

    async def lock(self, user: str | None) -> None:
        """Lock what `user` has open here; None: every session of the seat. No session at all is no fault.

        Raises:
            SessionFault: it is not certain that it was locked.
        """
        ...

    async def locked(self, user: str | None) -> bool | None:
        """Return whether all of it says that it is locked (`LockedHint`); None if there is no session.

        Raises:
            SessionFault: it could not be asked.
        """
        ...

    async def close(self) -> None:
        """Give everything back; the sessions stay as they are. Never raises."""
        ...
