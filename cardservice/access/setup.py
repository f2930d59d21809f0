# SPDX-License-Identifier: EUPL-1.2
"""Setting up zones, schedules, points and rules in one transaction, by name; what contradicts itself is refused.

The first installation and the demonstration city come in this way; editing single entries follows with the access
model's own pages.
"""

import json
from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import store
from cardservice.access.options.rules import Options
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import LAENDER, SPECIAL_DAY, is_public_holiday
from cardservice.access.setup_parts import (
    AccessSetup,
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
from cardservice.database import row_id, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import directory_group, person

# What callers need together with `apply`.
__all__ = [
    "AccessSetup",
    "DemandSetup",
    "LevelException",
    "OptionRule",
    "PointClassSetup",
    "PointSetup",
    "RuleSetup",
    "ScheduleSetup",
    "SpecialDaysSetup",
    "SpecialHours",
    "ZoneSetup",
    "apply",
]

# A place's own rule for the options of its points; raises ValueError naming the option and what is allowed.
OptionRule = Callable[[Options], None]
MOST_PEOPLE: Final = frozenset({1, 2})
_MINUTES_OF_A_DAY: Final = 1_440
DIRECTORY_CHECKS: Final = ("copy", "live")


def apply(
    engine: Engine,
    organisation_id: int,
    setup: AccessSetup,
    option_rules: Mapping[Use, OptionRule] = MappingProxyType({}),
) -> None:
    """Store `setup`, all or nothing; `option_rules` check the points' options, a use without one has none.

    Raises:
        NotFound: a name it refers to does not exist.
        Conflict: a code is taken, or a value is out of its bounds.
    """
    try:
        with write(engine) as connection:
            Writer(connection, organisation_id, option_rules).store(setup)
            changes.append(connection, "access", [0])
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        raise Conflict(f"the setup contradicts what is stored: {error.orig}") from error


class Writer:
    """Turns names into row numbers while storing, in the caller's transaction."""

    def __init__(self, connection: Connection, organisation_id: int, option_rules: Mapping[Use, OptionRule]) -> None:
        self._connection = connection
        self._organisation_id = organisation_id
        self._option_rules = option_rules

    def store(self, setup: AccessSetup) -> None:
        """Store everything, each part after what it refers to.

        Raises:
            NotFound: a name it refers to does not exist.
            Conflict: a value is out of its bounds, or contradicts another.
        """
        for zone in setup.zones:
            self._require_shallow(zone)
            self._insert(
                store.zone,
                code=zone.code,
                name=zone.name,
                parent_id=self._number(store.zone, zone.parent),
                organisation_id=self._organisation_id,
                level=None if zone.level is None else int(zone.level),
            )
        for special_days in setup.special_days:
            self._special_days(special_days)
        for schedule in setup.schedules:
            self._schedule(schedule)
        for point_class in setup.point_classes:
            self._point_class(point_class)
        for point in setup.points:
            self._point(point)
        for rule in setup.rules:
            self._rule(rule)

    def _require_shallow(self, zone: ZoneSetup) -> None:
        """Refuse a zone so deep that those around it could be overlooked.

        Raises:
            Conflict: it would lie in too many others.
        """
        around = store.zones_around(self._connection, self._number(store.zone, zone.parent))
        if len(around) >= store.MAX_ZONE_DEPTH:
            raise Conflict(f"zone {zone.code}: a zone lies in {store.MAX_ZONE_DEPTH - 1} others at most")

    def _schedule(self, schedule: ScheduleSetup) -> None:
        if schedule.land is not None and schedule.land not in LAENDER:
            raise Conflict(f"schedule {schedule.code}: {schedule.land!r} is no Land; allowed are {', '.join(LAENDER)}")
        number = self._insert(store.schedule, code=schedule.code, name=schedule.name, land=schedule.land)
        for interval in schedule.intervals:
            if interval.day not in range(SPECIAL_DAY + 1):
                raise Conflict(f"schedule {schedule.code}: day {interval.day}; 0 is Monday, 6 Sunday, 7 a holiday")
            _require_hours(f"schedule {schedule.code}, day {interval.day}", interval.start_minute, interval.end_minute)
            self._insert(
                store.schedule_interval,
                schedule_id=number,
                day=interval.day,
                start_minute=interval.start_minute,
                end_minute=interval.end_minute,
            )

        self._special_hours(schedule, number)

    def _special_days(self, special_days: SpecialDaysSetup) -> None:
        number = self._insert(store.special_day_group, code=special_days.code, name=special_days.name)
        rows = [{"group_id": number, "day": day} for day in sorted(set(special_days.days))]
        if rows:
            self._connection.execute(sa.insert(store.special_day), rows)

    def _special_hours(self, schedule: ScheduleSetup, number: int) -> None:
        """Store a schedule's special days; which hours hold on a day must be beyond doubt.

        Raises:
            Conflict: a day is in two of its groups, or a public holiday too.
        """
        of_group: dict[date, str] = {}
        for special in schedule.special:
            group = self._number(store.special_day_group, special.days)
            days = sa.select(store.special_day.c.day).where(store.special_day.c.group_id == group)
            for day in sorted(self._connection.execute(days).scalars()):
                if is_public_holiday(schedule.land, day):
                    raise Conflict(
                        f"schedule {schedule.code}: {day} is one of {special.days} and a public holiday in"
                        f" {schedule.land}; take it out of {special.days}, or use another group here"
                    )
                if day in of_group:
                    raise Conflict(
                        f"schedule {schedule.code}: {day} is one of {of_group[day]} and of {special.days};"
                        " a day may be in one group of a schedule only"
                    )
                of_group[day] = special.days
            of_schedule = self._insert(store.schedule_special, schedule_id=number, group_id=group)
            for start_minute, end_minute in special.hours:
                _require_hours(f"schedule {schedule.code}, {special.days}", start_minute, end_minute)
                minutes = {"start_minute": start_minute, "end_minute": end_minute}
                self._insert(store.schedule_special_interval, special_id=of_schedule, **minutes)

    def _point_class(self, point_class: PointClassSetup) -> None:
        if point_class.directory_check not in DIRECTORY_CHECKS:
            raise Conflict(f"point class {point_class.code}: directory_check is one of {', '.join(DIRECTORY_CHECKS)}")
        for people in (point_class.people, *(demand.people for demand in point_class.demands)):
            if people not in MOST_PEOPLE:
                raise Conflict(f"point class {point_class.code}: one or two people can be demanded, not {people}")
        number = self._insert(
            store.point_class,
            code=point_class.code,
            name=point_class.name,
            methods=",".join(point_class.methods),
            level=int(point_class.level),
            freshness_ms=point_class.freshness_ms,
            stale_policy=point_class.stale_policy,
            journal_mode=point_class.journal_mode,
            open_ms=point_class.open_ms,
            answer_budget_ms=point_class.answer_budget_ms,
            tap_budget_ms=point_class.tap_budget_ms,
            people=point_class.people,
            second_within_ms=point_class.second_within_ms,
            directory_check=point_class.directory_check,
        )
        for demand in point_class.demands:
            self._insert(
                store.point_class_level,
                point_class_id=number,
                schedule_id=self._number(store.schedule, demand.schedule),
                level=int(demand.level),
                people=demand.people,
            )

    def _point(self, point: PointSetup) -> None:
        try:
            ZoneInfo(point.time_zone)
        except (KeyError, ValueError, OSError):
            raise Conflict(f"point {point.code}: {point.time_zone!r} is no time zone; Europe/Berlin is one") from None
        zone, point_class = self._number(store.zone, point.zone), self._number(store.point_class, point.point_class)
        if point.exception is None:
            self._require_zones_level(point.code, zone, point_class)
        number = self._insert(
            store.point,
            organisation_id=self._organisation_id,
            code=point.code,
            name=point.name,
            use=point.use.value,
            zone_id=zone,
            point_class_id=point_class,
            time_zone=point.time_zone,
            agent=point.agent,
            reader=point.reader,
            options=self._checked(point),
        )
        if point.exception is not None:
            if not point.exception.reason.strip():
                raise Conflict(f"point {point.code}: an exception needs a reason")
            until = {"until_ms": point.exception.until_ms, "reason": point.exception.reason}
            self._insert(store.level_exception, point_id=number, **until)

    def _require_zones_level(self, code: str, zone: int | None, point_class: int | None) -> None:
        """Refuse a point that would demand less than a zone around it.

        Raises:
            Conflict: names the zone, both levels and the way to an exception.
        """
        least = store.least_level(self._connection, point_class)
        for demanding in store.zones_around(self._connection, zone):
            if demanding.level is not None and least < demanding.level:
                raise Conflict(
                    f"point {code}: its class accepts {Level(least).name.lower()}, but zone {demanding.code} demands"
                    f" {Level(demanding.level).name.lower()}: take another class, or give the point an exception with"
                    " a reason and an end date"
                )

    def _checked(self, point: PointSetup) -> str:
        """Return the text of a point's options.

        Raises:
            Conflict: the place of its use does not know one, or allows other values.
        """
        if not store.are_options(point.options):
            wrong = [name for name, value in point.options.items() if not store.is_option(name, value)]
            raise Conflict(
                f"point {point.code}: options {wrong or len(point.options)}; allowed are {store.MAX_OPTIONS} names of"
                f" a-z, 0-9 and _, with texts of {store.MAX_OPTION_TEXT} characters, numbers, true or false"
            )
        rule = self._option_rules.get(point.use)
        if point.options and rule is None:
            raise Conflict(f"point {point.code}: points of the use {point.use.value} have no options")
        if rule is not None:
            try:
                rule(point.options)
            except ValueError as error:
                raise Conflict(f"point {point.code}: {error}") from None
        return json.dumps(dict(point.options), sort_keys=True, ensure_ascii=False)

    def _rule(self, rule: RuleSetup) -> None:
        try:
            self._store_rule(rule)
        except (NotFound, Conflict) as error:
            where = rule.point or rule.zone or (rule.use and rule.use.value) or "nowhere"
            raise type(error)(f"{rule.effect} at {where}: {error}") from None

    def _store_rule(self, rule: RuleSetup) -> None:
        self._insert(
            store.access_rule,
            organisation_id=self._organisation_id,
            effect=rule.effect,
            group_id=self._subject(directory_group, rule.group, directory_group.c.name, rule.subject_id),
            person_id=self._subject(person, rule.login, person.c.login, rule.subject_id),
            point_id=self._number(store.point, rule.point),
            zone_id=self._number(store.zone, rule.zone),
            use=rule.use.value if rule.use else None,
            schedule_id=self._number(store.schedule, rule.schedule),
            valid_from_ms=rule.valid_from_ms,
            valid_until_ms=rule.valid_until_ms,
        )

    def _subject(self, table: sa.Table, name: str | None, column: sa.Column[Any], stable_id: str | None) -> int | None:
        """Return the row number of a group or person, by their stable id if there is one.

        Raises:
            NotFound: there is nobody of that id, or of that name.
            Conflict: more than one is called so.
        """
        if name is None or stable_id is None:
            return self._number(table, name, column)
        directory, _, known_as = stable_id.rpartition(":")
        by_id = sa.select(table.c.id).where(table.c.directory == directory, table.c.stable_id == known_as)
        found = self._connection.execute(by_id).scalar()
        if found is None:
            raise NotFound(f"there is no {table.name.replace('_', ' ')} {stable_id!r}")
        return int(found)

    def _insert(self, table: sa.Table, **values: Any) -> int:
        """Add one row; whoever replaces what is there stores it in another way."""
        return row_id(self._connection.execute(sa.insert(table).values(**values)))

    def _number(self, table: sa.Table, name: str | None, column: sa.Column[Any] | None = None) -> int | None:
        """Return the row number of what is called `name`, None for no name.

        Raises:
            NotFound: nothing is called so.
            Conflict: more than one is called so.
        """
        if name is None:
            return None
        return store.number_of(self._connection, table.c.code if column is None else column, name)


def _require_hours(where: str, start_minute: int, end_minute: int) -> None:
    if not 0 <= start_minute < end_minute <= _MINUTES_OF_A_DAY:
        raise Conflict(
            f"{where}: from minute {start_minute} to {end_minute}; hours begin at 0 or later, end after they begin and"
            f" at {_MINUTES_OF_A_DAY} at the latest"
        )
