# SPDX-License-Identifier: EUPL-1.2
"""What an administrator sees of windows and ends of them, in whatever program; the running service carries it out."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy.engine import Engine

from cardservice.database import read, write
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people.movers import store
from cardservice.people.movers.rules import MAX_WINDOWS
from cardservice.people.status import instant

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WindowView:
    """One window as a list shows it. `counts`: it is why somebody counts in a group now.

    It does not while they are in no other department group. `ended_by` ended it (its `until_ms` is 0 then), and the
    running service has yet to carry that out.
    """

    number: int
    directory: str
    left_ms: int
    until_ms: int
    counts: bool
    ended_by: str | None


@dataclass(frozen=True, slots=True)
class Mover:
    """Whose window it is and in which group, for an administrator. Never to be logged."""

    window: WindowView
    name: str
    login: str | None
    group: str


def list_movers(engine: Engine, after: int = 0, limit: int = MAX_WINDOWS) -> list[Mover]:
    """Return the windows in the order of their numbers, those after the number `after` and at most `limit`.

    Raises:
        DatabaseUnavailable: the state store cannot be read.
    """
    with read(engine) as connection:
        rows = store.list_windows(connection, after, limit)
    return [Mover(_view(row), row.name, row.login, row.group_name) for row in rows]


def end_window(engine: Engine, number: int, by: str) -> WindowView:
    """End a window, once; the running service carries it out within a second, or at its next start.

    Raises:
        NotFound: there is no such window, or it is over.
        Conflict: somebody ended it before.
        DatabaseUnavailable: the state store cannot be written.
    """
    with write(engine) as connection:
        row = store.lock(connection, number)
        if row is None:
            raise NotFound(f"there is no window {number}, or it is over")
        if row.ended_by is not None:
            raise Conflict(f"window {number} was ended by {row.ended_by}: the running service is to apply it")
        store.end(connection, number, by)
    return replace(_view(row), until_ms=store.ENDED_MS, ended_by=by)


def describe_mover(mover: Mover) -> str:
    """Return a window as an administrator reads it."""
    window, who = mover.window, f"{mover.name} ({mover.login or 'no login'})"
    if window.ended_by is not None:
        says = f"ended by {window.ended_by}: the running service is to apply it"
    elif window.counts:
        says = f"counts until {instant(window.until_ms)}"
    else:
        says = f"in no other department now; would count again until {instant(window.until_ms)}"
    return (
        f"window {window.number}: {who} left “{mover.group}” at {instant(window.left_ms)}, directory "
        f"{window.directory}; {says}"
    )


class MoverDesk:
    """The windows for the API of the running service, whose copies are told by `look` to carry out what was ended."""

    def __init__(self, engine: Engine, look: Callable[[], None]) -> None:
        self._engine, self._look = engine, look

    def list(self, after: int, limit: int) -> list[WindowView]:
        """Return windows in the order of their numbers; raises as `list_movers`."""
        return [mover.window for mover in list_movers(self._engine, after, limit)]

    def end(self, number: int, *, by: str) -> WindowView:
        """End a window and have that carried out; raises as `end_window`."""
        ended = end_window(self._engine, number, by)
        try:
            self._look()
        except DatabaseUnavailable as error:
            # It is ended and stored; whoever looks next carries it out.
            _log.warning("directory.end_waits", error=str(error))
        return ended


def _view(row: Any) -> WindowView:
    return WindowView(row.id, row.directory, row.left_ms, row.until_ms, row.counts, row.ended_by)
