# SPDX-License-Identifier: EUPL-1.2
"""The tables of a file: how each part of the model is written down, and read again.

What somebody may leave out is left out where it is the ordinary value, so that a file says what is special.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cardservice.access.plan.effects import Membership
from cardservice.access.plan.reading import Table
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval
from cardservice.access.setup_parts import (
    DemandSetup,
    LevelException,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    SpecialDaysSetup,
    SpecialHours,
    ZoneSetup,
)
from cardservice.instants import MAX_INSTANT_MS

MAX_CODE: Final = 64
MAX_NAME: Final = 200
MAX_DIRECTORY_NAME: Final = 4_096
MAX_DAYS: Final = 5_000
MAX_INTERVALS: Final = 500
MAX_PARTS: Final = 200
DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "holiday")
_HOURS: Final = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")
_LEVELS: Final = tuple(level.name.lower() for level in Level)
_CLASS: Final[Mapping[str, Any]] = {field.name: field.default for field in fields(PointClassSetup)}
_CLASS_NUMBERS: Final = ("freshness_ms", "open_ms", "answer_budget_ms", "tap_budget_ms", "people", "second_within_ms")


def write_zone(zone: ZoneSetup) -> dict[str, Any]:
    """Return the table of a zone."""
    level = None if zone.level is None else _level_name(zone.level)
    return _set(code=zone.code, name=zone.name, parent=zone.parent, level=level)


def read_zone(table: Table) -> ZoneSetup:
    """Return the zone of a table."""
    return ZoneSetup(
        code=table.text("code", MAX_CODE),
        name=table.text("name", MAX_NAME),
        parent=table.maybe_text("parent", MAX_CODE),
        level=_level(table) if "level" in table else table.anything("level"),
    )


def write_special_days(special: SpecialDaysSetup) -> dict[str, Any]:
    """Return the table of a group of special days."""
    return _set(code=special.code, name=special.name, days=list(special.days))


def read_special_days(table: Table) -> SpecialDaysSetup:
    """Return the group of special days of a table."""
    return SpecialDaysSetup(
        table.text("code", MAX_CODE), table.text("name", MAX_NAME), tuple(sorted(set(table.dates("days", MAX_DAYS))))
    )


def write_schedule(schedule: ScheduleSetup) -> dict[str, Any]:
    """Return the table of a schedule."""
    of_day: dict[str, list[str]] = {}
    for interval in schedule.intervals:
        of_day.setdefault(DAYS[interval.day], []).append(_hours((interval.start_minute, interval.end_minute)))
    special = [{"days": one.days, "hours": [_hours(hours) for hours in one.hours]} for one in schedule.special]
    return _set(code=schedule.code, name=schedule.name, land=schedule.land, **of_day, special=special or None)


def read_schedule(table: Table) -> ScheduleSetup:
    """Return the schedule of a table."""
    code, name, land = table.text("code", MAX_CODE), table.text("name", MAX_NAME), table.maybe_text("land", 2)
    intervals = tuple(Interval(day, *hours) for day, key in enumerate(DAYS) for hours in _read_hours(table, key))
    special = []
    for part in table.parts("special", MAX_PARTS):
        special.append(SpecialHours(part.text("days", MAX_CODE), _read_hours(part, "hours")))
        part.done()
    return ScheduleSetup(code, name, intervals, land, tuple(special))


def write_class(point_class: PointClassSetup) -> dict[str, Any]:
    """Return the table of a point class; level and freshness always stand there."""
    ordinary = {
        key: value
        for key in (*_CLASS_NUMBERS, "stale_policy", "journal_mode", "directory_check")
        if (value := getattr(point_class, key)) != _CLASS[key] or key == "freshness_ms"
    }
    demands = [
        _set(schedule=one.schedule, level=_level_name(one.level), people=one.people) for one in point_class.demands
    ]
    return _set(
        code=point_class.code,
        name=point_class.name,
        methods=list(point_class.methods),
        level=_level_name(point_class.level),
        **ordinary,
        demands=demands or None,
    )


def read_class(table: Table) -> PointClassSetup:
    """Return the point class of a table."""
    code, name = table.text("code", MAX_CODE), table.text("name", MAX_NAME)
    methods = table.items("methods", "of desfire, piv, attested", 3)
    if not methods or len(set(map(str, methods))) != len(methods) or not set(map(str, methods)) <= _METHODS:
        raise table.place.refused("methods", methods, "a list of some of desfire, piv, attested, each once")
    level = _level(table)
    rest: dict[str, Any] = {key: table.number(key, _CLASS[key], most=_MOST_MS) for key in _CLASS_NUMBERS}
    rest |= {key: table.choice(key, allowed, _CLASS[key]) for key, allowed in _CLASS_TEXTS.items()}
    demands = []
    for part in table.parts("demands", MAX_PARTS):
        demands.append(DemandSetup(part.text("schedule", MAX_CODE), _level(part), part.number("people", 1)))
        part.done()
    return PointClassSetup(code, name, tuple(methods), level, **rest, demands=tuple(demands))


_MOST_MS: Final = 2**31 - 1
_METHODS: Final = frozenset({"desfire", "piv", "attested"})
_CLASS_TEXTS: Final[Mapping[str, tuple[str, ...]]] = {
    "stale_policy": ("deny", "permit"),
    "journal_mode": ("full", "refusals", "counts"),
    "directory_check": ("copy", "live"),
}


def write_point(point: PointSetup) -> dict[str, Any]:
    """Return the table of a point; what it is used for and where it is always stands there."""
    exception = point.exception
    return _set(
        code=point.code,
        name=point.name,
        use=point.use.value,
        zone=point.zone,
        point_class=point.point_class,
        time_zone=None if point.time_zone == "Europe/Berlin" else point.time_zone,
        agent=point.agent,
        reader=point.reader,
        options=dict(sorted(point.options.items())) or None,
        exception=None if exception is None else {"until": instant(exception.until_ms), "reason": exception.reason},
    )


def read_point(table: Table) -> PointSetup:
    """Return the point of a table; its place's rules check the options."""
    return PointSetup(
        code=table.text("code", MAX_CODE),
        name=table.text("name", MAX_NAME),
        use=Use(table.choice("use", [use.value for use in Use])),
        zone=table.text("zone", MAX_CODE),
        point_class=table.text("point_class", MAX_CODE),
        time_zone=table.text("time_zone", MAX_CODE, "Europe/Berlin"),
        agent=table.maybe_text("agent", 40),
        reader=table.maybe_text("reader", 127),
        options=_options(table),
        exception=_exception(table.part("exception")),
    )


def _options(table: Table) -> Mapping[str, Any]:
    options = table.anything("options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise table.place.refused("options", options, "a table of the options of the point's use")
    return options


def _exception(table: Table | None) -> LevelException | None:
    if table is None:
        return None
    until_ms = table.instant("until")
    if until_ms is None:
        raise table.place.refused("until", None, "date and time with a zone, as 2026-12-31T23:00:00Z")
    found = LevelException(until_ms, table.text("reason", MAX_NAME))
    table.done()
    return found


def write_rule(rule: RuleSetup) -> dict[str, Any]:
    """Return the table of a grant or block."""
    return _set(
        group=rule.group,
        login=rule.login,
        subject_id=rule.subject_id,
        point=rule.point,
        zone=rule.zone,
        use=None if rule.use is None else rule.use.value,
        schedule=rule.schedule,
        valid_from=None if rule.valid_from_ms is None else instant(rule.valid_from_ms),
        valid_until=None if rule.valid_until_ms is None else instant(rule.valid_until_ms),
    )


def read_rule(table: Table, effect: str) -> RuleSetup:
    """Return the grant or block of a table."""
    subjects = [key for key in ("group", "login") if key in table]
    targets = [key for key in ("point", "zone", "use") if key in table]
    if len(subjects) != 1:
        raise table.place.refused(None, subjects or None, "one of group and login")
    if len(targets) != 1:
        raise table.place.refused(None, targets or None, "one of point, zone and use")
    return RuleSetup(
        group=table.foreign_text("group", MAX_DIRECTORY_NAME),
        login=table.foreign_text("login", MAX_DIRECTORY_NAME),
        subject_id=table.foreign_text("subject_id", MAX_NAME),
        point=table.maybe_text("point", MAX_CODE),
        zone=table.maybe_text("zone", MAX_CODE),
        use=Use(table.choice("use", [use.value for use in Use])) if "use" in table else table.anything("use"),
        schedule=table.maybe_text("schedule", MAX_CODE),
        effect="block" if effect == "block" else "grant",
        valid_from_ms=table.instant("valid_from"),
        valid_until_ms=table.instant("valid_until"),
    )


def write_membership(membership: Membership) -> dict[str, Any]:
    """Return the table of somebody who joins or leaves a group."""
    return _set(
        group=membership.group,
        login=membership.login,
        member_group=membership.member_group,
        change="joins" if membership.joins else "leaves",
    )


def read_membership(table: Table) -> Membership:
    """Return who joins or leaves which group, of a table: somebody by login, or a whole group."""
    if ("login" in table) == ("member_group" in table):
        raise table.place.refused(None, None, "one of login and member_group")
    return Membership(
        group=table.foreign_text("group", MAX_DIRECTORY_NAME) or "",
        login=table.foreign_text("login", MAX_DIRECTORY_NAME),
        member_group=table.foreign_text("member_group", MAX_DIRECTORY_NAME),
        joins=table.choice("change", ("joins", "leaves")) == "joins",
    )


def _set(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _level_name(level: int) -> str:
    return Level(level).name.lower()


def _level(table: Table) -> Level:
    return Level[table.choice("level", _LEVELS).upper()]


def _hours(minutes: tuple[int, int]) -> str:
    """Return hours as somebody writes them: 07:30-18:00."""
    start, end = minutes
    return f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


def _read_hours(table: Table, key: str) -> tuple[tuple[int, int], ...]:
    found: list[tuple[int, int]] = []
    for text in table.items(key, "times of day", MAX_INTERVALS):
        match = _HOURS.fullmatch(text) if isinstance(text, str) else None
        numbers: Sequence[int] = [int(one) for one in match.groups()] if match else (0, 0, 0, 0)
        start, end = numbers[0] * 60 + numbers[1], numbers[2] * 60 + numbers[3]
        if max(numbers[1], numbers[3]) > 59 or not start < end <= 1_440:
            raise table.place.refused(key, text, "times of day as 07:30-18:00, the end after the start and up to 24:00")
        found.append((start, end))
    return tuple(found)


def instant(at_ms: int) -> datetime | int:
    """Return an instant as a file has it: as date and time, as a number where no calendar has it."""
    if not 0 <= at_ms < MAX_INSTANT_MS:
        return at_ms
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
