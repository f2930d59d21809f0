# SPDX-License-Identifier: EUPL-1.2
"""Taps at a time clock, as the tap desk hands them to the place."""

import itertools
from typing import Any

from sqlalchemy.engine import Engine
from support.points import a_point
from unit.timeclock.book import at

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.places import Answer, PermittedTap
from cardservice.database import write
from cardservice.timeclock.place import TimeClock

ANNA, BEN = 4711, 4712
_NUMBERS = itertools.count(1)


def secret() -> bytes:
    return b"timeclock pseudonyms of a test.."


def clock_point(code: str = "pforte", **options: Any) -> PointRecord:
    return a_point(code, Use.TIMECLOCK, options=options)


def permitted(when: str | int, choice: str | None = None, *, person: int = ANNA, **changes: Any) -> PermittedTap:
    """A permitted tap with an event of its own; `changes`: event, point."""
    values: dict[str, Any] = {"event": f"pforte/1/{next(_NUMBERS)}", "point": clock_point()} | changes
    return PermittedTap(at_ms=at(when) if isinstance(when, str) else when, person=person, choice=choice, **values)


def book(engine: Engine, clock: TimeClock, *taps: PermittedTap) -> list[Answer]:
    """Record the taps in one transaction, as the recorder does with those that wait."""
    with write(engine) as connection:
        return [clock.record(connection, tap) for tap in taps]
