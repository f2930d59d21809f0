# SPDX-License-Identifier: EUPL-1.2
"""The directories for the pages of the running service: how each copy is, whom holds keep, who counts for a while."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Engine

from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.database import read
from cardservice.errors import DatabaseUnavailable, NotFound, Overloaded
from cardservice.people.holds import store as hold_store
from cardservice.people.holds.rules import Loss
from cardservice.people.holds.service import HoldDesk, HoldView, list_holds
from cardservice.people.movers import store as mover_store
from cardservice.people.movers.service import MoverDesk, WindowView
from cardservice.people.overview import Overview, ask_for_reading, overviews
from cardservice.people.register import within
from cardservice.people.status import DirectoryStatus
from cardservice.people.store import directory_group, organisation, person
from cardservice.web.reach import Reach

MAX_DEPARTMENTS: Final = 200
MAX_NAMES: Final = 200
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence of somebody who looked at a directory: `severity` is ok, warning or error."""

    severity: str
    text: str


# Looks at the directory of this name once and says what it offers and what is missing. Takes up to a minute; blocks.
Check = Callable[[str], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Around:
    """What the running service has of its directories: their state, taking notice of what was asked, a look at one."""

    statuses: Callable[[], Sequence[DirectoryStatus]]
    look: Callable[[], None]
    check: Check


@dataclass(frozen=True, slots=True)
class DirectoryView:
    """One directory: what the running copy says, and what is stored of it. `age_ms` None: never read completely."""

    status: DirectoryStatus
    stored: Overview

    @property
    def age_ms(self) -> int | None:
        """How long ago the copy was last proved to be current."""
        return self.status.age_ms if self.status.age_ms < UNKNOWN_AGE_MS else None

    @property
    def asked_ms(self) -> int | None:
        """When somebody asked for a whole reading that has not come yet."""
        asked_ms = self.stored.asked_ms
        return asked_ms if asked_ms is not None and asked_ms > (self.stored.read_ms or 0) else None


@dataclass(frozen=True, slots=True)
class Held:
    """How many of one department a hold keeps; `department` None: the directory says none."""

    department: str | None
    lost: int
    disabled: int


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody in a hold, for whoever may read people. Never to be logged."""

    person: int
    name: str
    department: str | None
    loss: Loss


@dataclass(frozen=True, slots=True)
class ShownHold:
    """A hold and whom it keeps: by department, and by name as far as the one who looks may see them."""

    hold: HoldView
    departments: tuple[Held, ...]
    names: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class ShownWindow:
    """A window of a mover; `person` and `name` are None where the one who looks may not see them."""

    window: WindowView
    group: str
    person: int | None
    name: str | None


class DirectoryDesk:
    """What the pages ask and have done. Everything blocks; raises DatabaseUnavailable besides what is named."""

    def __init__(self, state: Engine, clock: Clock, around: Around) -> None:
        self._state, self._clock, self._around = state, clock, around
        self._checking = threading.Lock()
        self.holds = HoldDesk(state, clock, around.look)
        self.movers = MoverDesk(state, around.look)

    def directories(self) -> list[DirectoryView]:
        """Return every directory, in the order of the settings."""
        statuses = self._around.statuses()
        stored = overviews(self._state, [one.directory for one in statuses], self._clock.now_ms())
        return [DirectoryView(status, one) for status, one in zip(statuses, stored, strict=True)]

    def shown_holds(self, reaches: Sequence[Reach]) -> list[ShownHold]:
        """Return every hold that stands; of its people those are named that one of `reaches` holds, at most 200."""
        holds = list_holds(self._state)
        with read(self._state) as connection:
            return [
                ShownHold(
                    hold,
                    tuple(Held(*row) for row in connection.execute(_departments(hold.number))),
                    tuple(
                        Named(row.id, row.name, row.department, Loss(row.loss))
                        for row in connection.execute(_names(hold.number, reaches))
                    ),
                )
                for hold in holds
            ]

    def shown_windows(self, reaches: Sequence[Reach], after: int, limit: int) -> list[ShownWindow]:
        """Return windows of movers in the order of their numbers, those after the number `after`."""
        with read(self._state) as connection:
            return [
                ShownWindow(
                    WindowView(row.id, row.directory, row.left_ms, row.until_ms, row.counts, row.ended_by),
                    row.group_name,
                    *((row.person_id, row.name) if row.visible else (None, None)),
                )
                for row in connection.execute(_windows(reaches, after, limit))
            ]

    def read_anew(self, name: str) -> int:
        """Have everything of a directory read again now; return when that was asked.

        Raises:
            NotFound: there is none of this name.
        """
        self._require(name)
        now_ms = self._clock.now_ms()
        ask_for_reading(self._state, [name], now_ms)
        try:
            self._around.look()
        except DatabaseUnavailable as error:
            # It is asked and stored; whoever looks next carries it out.
            _log.warning("directory.reading_waits", error=str(error))
        return now_ms

    def check(self, name: str) -> Sequence[Finding]:
        """Look at a directory once, beside the copy that follows it.

        Raises:
            NotFound: there is none of this name.
            Overloaded: somebody else has one looked at just now.
        """
        self._require(name)
        if not self._checking.acquire(blocking=False):
            raise Overloaded("a directory is being looked at already; try again in a minute")
        try:
            return self._around.check(name)
        finally:
            self._checking.release()

    def _require(self, name: str) -> None:
        if name not in {one.directory for one in self._around.statuses()}:
            raise NotFound(f"there is no directory {name!r}")


_KEPT: Final = hold_store.directory_hold_person


def _departments(hold: int) -> sa.Select[Any]:
    lost, disabled = (sa.func.sum(sa.case((_KEPT.c.loss == loss.value, 1), else_=0)) for loss in Loss)
    counted = sa.select(person.c.department, lost, disabled).join(_KEPT, _KEPT.c.person_id == person.c.id)
    largest = counted.where(_KEPT.c.hold_id == hold).group_by(person.c.department)
    return largest.order_by(sa.func.count().desc(), person.c.department).limit(MAX_DEPARTMENTS)


def _names(hold: int, reaches: Sequence[Reach]) -> sa.Select[Any]:
    kept = sa.select(person.c.id, person.c.name, person.c.department, _KEPT.c.loss)
    kept = kept.join(_KEPT, _KEPT.c.person_id == person.c.id)
    kept = kept.join(organisation, person.c.organisation_id == organisation.c.id)
    return kept.where(_KEPT.c.hold_id == hold, within(reaches)).order_by(person.c.name, person.c.id).limit(MAX_NAMES)


def _windows(reaches: Sequence[Reach], after: int, limit: int) -> sa.Select[Any]:
    table = mover_store.directory_window
    visible = sa.case((within(reaches), 1), else_=0).label("visible")
    columns = (table, person.c.name, visible, directory_group.c.name.label("group_name"))
    found = sa.select(*columns).join(person, table.c.person_id == person.c.id)
    found = found.join(organisation, person.c.organisation_id == organisation.c.id)
    found = found.join(directory_group, table.c.group_id == directory_group.c.id)
    return found.where(table.c.id > after).order_by(table.c.id).limit(limit)
