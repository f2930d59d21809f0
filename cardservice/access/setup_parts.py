# SPDX-License-Identifier: EUPL-1.2
"""Zones, schedules, points and rules as somebody writes them down: by name. `access/setup.py` stores them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final, Literal

from cardservice.access.options.rules import Options
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval

_NO_OPTIONS: Final[Options] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ZoneSetup:
    """A zone; `parent` is the code of a zone named before it.

    With `level`, every point inside demands that at least, unless it has an exception.
    """

    code: str
    name: str
    parent: str | None = None
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class SpecialDaysSetup:
    """Days that are neither weekdays nor public holidays, by a code: half days, closing days."""

    code: str
    name: str
    days: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class SpecialHours:
    """What holds on the days of a group: hours (start minute, end minute); none: shut."""

    days: str
    hours: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ScheduleSetup:
    """Weekly intervals; on public holidays of `land` only those of day 7 hold, on special days only their hours."""

    code: str
    name: str
    intervals: tuple[Interval, ...]
    land: str | None = None
    special: tuple[SpecialHours, ...] = ()


@dataclass(frozen=True, slots=True)
class DemandSetup:
    """What is demanded while a schedule holds, instead of what the class demands otherwise."""

    schedule: str
    level: Level
    people: int = 1


@dataclass(frozen=True, slots=True)
class PointClassSetup:
    """What points have in common. Durations in milliseconds.

    `level` and `people` are demanded where none of `demands` is in force; of several in force the most. A second person
    has `second_within_ms`. With the `directory_check` "live" the directory itself is asked about the holder before a
    permit.
    """

    code: str
    name: str
    methods: tuple[Literal["desfire", "piv", "attested"], ...] = ("desfire",)
    level: Level = Level.CARD
    freshness_ms: int = 12 * 3_600_000
    stale_policy: Literal["deny", "permit"] = "deny"
    journal_mode: Literal["full", "refusals", "counts"] = "refusals"
    open_ms: int = 5_000
    answer_budget_ms: int = 300
    tap_budget_ms: int = 3_000
    people: int = 1
    second_within_ms: int = 10_000
    directory_check: Literal["copy", "live"] = "copy"
    demands: tuple[DemandSetup, ...] = ()


@dataclass(frozen=True, slots=True)
class LevelException:
    """Leave for a point to demand less than its zone, until an instant."""

    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class PointSetup:
    """One point: where, of which class, served by which agent's reader.

    `options` are flat and for the place of its use alone, whose rules say what may stand there.
    """

    code: str
    name: str
    zone: str
    point_class: str
    agent: str | None = None
    reader: str | None = None
    use: Use = Use.DOOR
    time_zone: str = "Europe/Berlin"
    options: Options = field(default_factory=lambda: _NO_OPTIONS)
    exception: LevelException | None = None


@dataclass(frozen=True, slots=True)
class RuleSetup:
    """A grant or block: one of `group` (name) and `login`, one of `point`, `zone` and `use`.

    `subject_id` (directory:stable id) tells whom a name means that several have, or nobody any more.
    """

    group: str | None = None
    login: str | None = None
    point: str | None = None
    zone: str | None = None
    use: Use | None = None
    schedule: str | None = None
    effect: Literal["grant", "block"] = "grant"
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None
    subject_id: str | None = None


@dataclass(frozen=True, slots=True)
class AccessSetup:
    """Everything at once, in the order it is stored."""

    zones: Sequence[ZoneSetup] = ()
    schedules: Sequence[ScheduleSetup] = ()
    point_classes: Sequence[PointClassSetup] = ()
    points: Sequence[PointSetup] = ()
    rules: Sequence[RuleSetup] = ()
    special_days: Sequence[SpecialDaysSetup] = ()
