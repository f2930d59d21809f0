# SPDX-License-Identifier: EUPL-1.2
"""`Sessions` over logind: whose sessions there are on the seat, unlock, lock, and what they say of themselves.

Interface: org.freedesktop.login1(5). Locking and unlocking are requests: logind passes them on to the locker in the
session as a signal, and `LockedHint` is what the locker says afterwards.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from cardservice.workstations.ports import SessionFault, Unlocked
from integrations.logind.bus import BusRefused, SystemBus

MANAGER: Final = "/org/freedesktop/login1"
CALL_S: Final = 2.0
# More than any seat has; the rest of a longer list is not looked at.
MAX_SESSIONS: Final = 64
_MANAGER: Final = "org.freedesktop.login1.Manager"
_SESSION: Final = "org.freedesktop.login1.Session"
_GRAPHICAL: Final = frozenset({"x11", "wayland", "mir"})
# A session that ended between two questions.
_GONE: Final = frozenset(
    {
        "org.freedesktop.login1.NoSuchSession",
        "org.freedesktop.DBus.Error.UnknownObject",
        "org.freedesktop.DBus.Error.UnknownMethod",
    }
)


@dataclass(frozen=True, slots=True)
class _Session:
    number: str
    user: str
    graphical: bool
    active: bool
    locked: bool


class LogindSessions:
    """The sessions of one seat; fulfils `cardservice.workstations.ports.Sessions`.

    `address` is D-Bus's address of the bus; None: DBUS_SYSTEM_BUS_ADDRESS, or the system's own.
    """

    def __init__(self, seat: str = "seat0", *, address: str | None = None, call_s: float = CALL_S) -> None:
        self._seat = seat
        self._bus = SystemBus(address)
        self._call_s = call_s

    async def unlock(self, user: str) -> Unlocked:
        """Unlock the session of `user` on the seat; with several of them, the one at the screen.

        Raises:
            SessionFault: it is not certain that logind passed it on.
        """
        async with self._in_time("unlock"):
            own = [session for session in await self._sessions() if session.user == user]
            done = False
            for session in _at_the_screen(own):
                done = await self._tell("UnlockSession", session) or done
            return "unlocked" if done else "no_session"

    async def lock(self, user: str | None) -> None:
        """Lock all that `user` (None: anybody) has open on the seat.

        Raises:
            SessionFault: it is not certain that logind passed it on.
        """
        async with self._in_time("lock"):
            for session in await self._sessions():
                if user is None or session.user == user:
                    await self._tell("LockSession", session)

    async def locked(self, user: str | None) -> bool | None:
        """Return whether all that `user` (None: anybody) has open on the seat says that it is locked.

        Raises:
            SessionFault: logind did not answer.
        """
        async with self._in_time("ask"):
            found = [session.locked for session in await self._sessions() if user is None or session.user == user]
            return all(found) if found else None

    async def close(self) -> None:
        """Disconnect from the bus. Never raises."""
        await self._bus.close()

    async def _tell(self, member: str, session: _Session) -> bool:
        try:
            await self._bus.call(MANAGER, f"{_MANAGER}.{member}", "s", [session.number])
        except BusRefused as refused:
            if refused.name not in _GONE:
                raise
            return False
        return True

    async def _sessions(self) -> list[_Session]:
        """Return what people have open on the seat: no remote logins, no greeter, nothing that is being closed."""
        (rows,) = await self._bus.call(MANAGER, f"{_MANAGER}.ListSessions")
        # Remote logins and services have none, and there may be any number of them.
        here = [(number, user, path) for number, _uid, user, seat, path in rows if seat == self._seat]
        found = []
        for number, user, path in here[:MAX_SESSIONS]:
            session = await self._session(number, user, path)
            if session is not None:
                found.append(session)
        return found

    async def _session(self, number: str, user: str, path: str) -> _Session | None:
        try:
            (values,) = await self._bus.call(path, "org.freedesktop.DBus.Properties.GetAll", "s", [_SESSION])
        except BusRefused as refused:
            if refused.name not in _GONE:
                raise
            return None
        said: dict[str, Any] = {name: value.value for name, value in values.items()}
        if said.get("Class", "user") != "user" or said.get("Remote") or said.get("State") == "closing":
            return None
        return _Session(
            number=number,
            user=user,
            graphical=said.get("Type") in _GRAPHICAL,
            active=said.get("Active") is True,
            locked=said.get("LockedHint") is True,
        )

    @asynccontextmanager
    async def _in_time(self, what: str) -> AsyncIterator[None]:
        """End a call after `call_s` seconds, and name no one where it fails."""
        try:
            async with asyncio.timeout(self._call_s):
                yield
        except TimeoutError:
            raise SessionFault(f"logind: {what}: no answer within {self._call_s} s") from None
        except (ValueError, TypeError) as error:
            raise SessionFault(f"logind: {what}: an answer that is none ({type(error).__name__})") from None


def _at_the_screen(own: list[_Session]) -> list[_Session]:
    """Return the graphical ones, the active one before all; a text console only where there is nothing else."""
    graphical = [session for session in own if session.graphical] or own
    return [session for session in graphical if session.active] or graphical


def build(*, seat: str = "seat0") -> LogindSessions:
    """Make the sessions of this PC; the agent calls this for the adapter its settings name."""
    return LogindSessions(seat)
