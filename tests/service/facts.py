# SPDX-License-Identifier: EUPL-1.2
"""The plain facts of a city, as somebody would write them down: everything by name.

Instants are milliseconds since 1970-01-01T00:00:00Z.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cache

import holidays

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


@cache
def _holidays(land: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("DE", subdiv=land, years=year))


def is_holiday(land: str | None, day: date) -> bool:
    return land is not None and day in _holidays(land, day.year)


@dataclass
class Person:
    """`locked_out`: the directory says that the account is, until `lock_ends_ms` if it says when that ends.

    `sponsor`: who answers for somebody whom no directory names.
    """

    enabled: bool = True
    present: bool = True
    from_ms: int | None = None
    until_ms: int | None = None
    locked_out: bool = False
    lock_ends_ms: int | None = None
    sponsor: str | None = None


@dataclass
class Card:
    """`suspension_ends_ms` is of a suspended card only; None: until somebody ends it."""

    state: str
    holder: str | None
    from_ms: int | None = None
    until_ms: int | None = None
    suspension_ends_ms: int | None = None


@dataclass
class Zone:
    parent: str | None = None
    level: int | None = None


@dataclass
class Schedule:
    """Intervals are (day, start minute, end minute); `special` is group of special days -> (start, end) minutes."""

    intervals: list[tuple[int, int, int]]
    land: str | None = None
    special: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


@dataclass
class Demand:
    schedule: str
    level: int
    people: int = 1


@dataclass
class PointClass:
    level: int
    freshness_ms: int
    stale_permits: bool
    people: int = 1
    demands: list[Demand] = field(default_factory=list)


@dataclass
class Point:
    use: str
    zone: str
    point_class: str
    time_zone: str
    escape_route: bool = False
    exception_until_ms: int | None = None


@dataclass
class Rule:
    effect: str
    subject: tuple[str, str]
    target: tuple[str, str]
    schedule: str | None = None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass
class Facts:
    """Everything by name. A group's members are ("person", name) or ("group", name); lockdowns are zone -> group.

    `door_locks` are the same of single doors.
    `lock_out_stops` are the uses at which an account that is locked out in the directory is refused.
    """

    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    cards: dict[bytes, Card] = field(default_factory=dict)
    zones: dict[str, Zone] = field(default_factory=dict)
    special_days: dict[str, set[date]] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    classes: dict[str, PointClass] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    lockdowns: dict[str, str | None] = field(default_factory=dict)
    door_locks: dict[str, str | None] = field(default_factory=dict)
    lock_out_stops: frozenset[str] = frozenset({"workstation"})

    def zones_around(self, zone: str | None) -> Iterator[str]:
        """Name a zone and those it lies in, innermost first."""
        while zone is not None:
            yield zone
            zone = self.zones[zone].parent

    def least_level(self, point_class: str) -> int:
        """Return the least a class ever accepts."""
        kind = self.classes[point_class]
        return min([kind.level, *(demand.level for demand in kind.demands)])

    def demanding_zones(self, zone: str, point_class: str) -> list[str]:
        """Return the zones around `zone` that demand more than the class ever accepts."""
        least = self.least_level(point_class)
        return [one for one in self.zones_around(zone) if (self.zones[one].level or 0) > least]

    def doubtful_days(self, schedule: Schedule) -> dict[date, set[str]]:
        """Return the days whose hours would not be clear -> the groups of special days that hold it."""
        groups_of: dict[date, set[str]] = {}
        for name in schedule.special:
            for day in self.special_days[name]:
                groups_of.setdefault(day, set()).add(name)
        return {day: groups for day, groups in groups_of.items() if len(groups) > 1 or is_holiday(schedule.land, day)}
