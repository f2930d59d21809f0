# SPDX-License-Identifier: EUPL-1.2
"""Simulated sessions of one PC, for demonstration and tests where no logind can be had; they tell an observer."""

from collections.abc import Callable, Sequence

from cardservice.workstations.ports import SessionFault, Unlocked

# (user, whether their session is locked); called for every change, in order, in the event loop.
SessionObserver = Callable[[str, bool], None]


def _ignore(_user: str, _locked: bool) -> None:
    """Nobody watches."""


class SimulatedSessions:
    """Sessions of `users`, locked at first; fulfils `cardservice.workstations.ports.Sessions`.

    With `everyone` whoever comes has a session: a PC at which all of the city are logged on.
    """

    def __init__(
        self, users: Sequence[str] = (), *, observer: SessionObserver = _ignore, everyone: bool = False
    ) -> None:
        self._locked = dict.fromkeys(users, True)
        self._observer = observer
        self._everyone = everyone
        self._broken: str | None = None
        self._stuck = False

    async def unlock(self, user: str) -> Unlocked:
        """Unlock the session of `user`.

        Raises:
            SessionFault: it is broken (`break_down`).
        """
        self._must_work()
        if user not in self._locked and not self._everyone:
            return "no_session"
        self._set(user, locked=False)
        return "unlocked"

    async def lock(self, user: str | None) -> None:
        """Lock the session of `user`, None: all.

        Raises:
            SessionFault: it is broken (`break_down`).
        """
        self._must_work()
        if self._stuck:
            return
        for one in list(self._locked):
            if user in (None, one):
                self._set(one, locked=True)

    async def locked(self, user: str | None) -> bool | None:
        """Return whether the session of `user` (None: every session) is locked.

        Raises:
            SessionFault: it is broken (`break_down`).
        """
        self._must_work()
        found = [locked for one, locked in self._locked.items() if user in (None, one)]
        return all(found) if found else None

    async def close(self) -> None:
        """Nothing is held."""

    def break_down(self, reason: str) -> None:
        """From now on every call fails with `reason`; the sessions stay as they are."""
        self._broken = reason

    def stick(self) -> None:
        """From now on a session does not lock, though it is told to."""
        self._stuck = True

    def repair(self) -> None:
        """End what `break_down` and `stick` began."""
        self._broken, self._stuck = None, False

    def _must_work(self) -> None:
        if self._broken is not None:
            raise SessionFault(f"simulated sessions: {self._broken}")

    def _set(self, user: str, *, locked: bool) -> None:
        if self._locked.get(user) is not locked:
            self._locked[user] = locked
            self._observer(user, locked)


def build(*, seat: str = "seat0") -> SimulatedSessions:
    """Make the sessions of a simulated PC; the agent calls this for the adapter its settings name."""
    del seat
    return SimulatedSessions(everyone=True)
