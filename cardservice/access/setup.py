# SPDX-License-Identifier: EUPL-1.2
"""Setting up zones, schedules, points and rules in one transaction, by name.

The first installation and the demonstration city come in this way; editing single entries follows with the access
model's own pages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import store
from cardservice.access.options.rules import Options
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import LAENDER, Interval
from cardservice.database import row_id, write
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import directory_group, person

# A place's own rule for the options of its points; raises ValueError naming the option and what is allowed.
OptionRule = Callable[[Options], None]
_NO_OPTIONS: Final[Options] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ZoneSetup:
    """A zone; `parent` is the code of a zone named before it."""

    code: str
    name: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleSetup:
    """Weekly intervals; on public holidays of `land` only those of day 7 hold."""

    code: str
    name: str
    intervals: tuple[Interval, ...]
    land: str | None = None


@dataclass(frozen=True, slots=True)
class PointClassSetup:
    """What points have in common. Durations in milliseconds."""

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


@dataclass(frozen=True, slots=True)
class RuleSetup:
    """A grant or block: one of `group` (name) and `login`, one of `point`, `zone` and `use`."""

    group: str | None = None
    login: str | None = None
    point: str | None = None
    zone: str | None = None
    use: Use | None = None
    schedule: str | None = None
    effect: Literal["grant", "block"] = "grant"
    valid_from_ms: int | None = None
    valid_until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AccessSetup:
    """Everything at once, in the order it is stored."""

    zones: Sequence[ZoneSetup] = ()
    schedules: Sequence[ScheduleSetup] = ()
    point_classes: Sequence[PointClassSetup] = ()
    points: Sequence[PointSetup] = ()
    rules: Sequence[RuleSetup] = field(default=())


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
            _Writer(connection, organisation_id, option_rules).store(setup)
            changes.append(connection, "access", [0])
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        raise Conflict(f"the setup contradicts what is stored: {error.orig}") from error


class _Writer:
    """Turns names into row numbers while storing."""

    def __init__(self, connection: Connection, organisation_id: int, option_rules: Mapping[Use, OptionRule]) -> None:
        self._connection = connection
        self._organisation_id = organisation_id
        self._option_rules = option_rules

    def store(self, setup: AccessSetup) -> None:
        for zone in setup.zones:
            self._insert(
                store.zone,
                code=zone.code,
                name=zone.name,
                parent_id=self._number(store.zone, zone.parent),
                organisation_id=self._organisation_id,
            )
        for schedule in setup.schedules:
            self._schedule(schedule)
        for point_class in setup.point_classes:
            self._point_class(point_class)
        for point in setup.points:
            self._point(point)
        for rule in setup.rules:
            self._rule(rule)

    def _schedule(self, schedule: ScheduleSetup) -> None:
        if schedule.land is not None and schedule.land not in LAENDER:
            raise Conflict(f"schedule {schedule.code}: {schedule.land!r} is no Land; allowed are {', '.join(LAENDER)}")
        number = self._insert(store.schedule, code=schedule.code, name=schedule.name, land=schedule.land)
        for interval in schedule.intervals:
            self._insert(
                store.schedule_interval,
                schedule_id=number,
                day=interval.day,
                start_minute=interval.start_minute,
                end_minute=interval.end_minute,
            )

    def _point_class(self, point_class: PointClassSetup) -> None:
        self._insert(
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
        )

    def _point(self, point: PointSetup) -> None:
        try:
            ZoneInfo(point.time_zone)
        except (KeyError, ValueError, OSError):
            raise Conflict(f"point {point.code}: {point.time_zone!r} is no time zone; Europe/Berlin is one") from None
        self._insert(
            store.point,
            organisation_id=self._organisation_id,
            code=point.code,
            name=point.name,
            use=point.use.value,
            zone_id=self._number(store.zone, point.zone),
            point_class_id=self._number(store.point_class, point.point_class),
            time_zone=point.time_zone,
            agent=point.agent,
            reader=point.reader,
            options=self._checked(point),
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
        self._insert(
            store.access_rule,
            organisation_id=self._organisation_id,
            effect=rule.effect,
            group_id=self._number(directory_group, rule.group, directory_group.c.name),
            person_id=self._number(person, rule.login, person.c.login),
            point_id=self._number(store.point, rule.point),
            zone_id=self._number(store.zone, rule.zone),
            use=rule.use.value if rule.use else None,
            schedule_id=self._number(store.schedule, rule.schedule),
            valid_from_ms=rule.valid_from_ms,
            valid_until_ms=rule.valid_until_ms,
        )

    def _insert(self, table: sa.Table, **values: Any) -> int:
        return row_id(self._connection.execute(sa.insert(table).values(**values)))

    def _number(self, table: sa.Table, name: str | None, column: sa.Column[Any] | None = None) -> int | None:
        """Return the row number of what is called `name`, None for no name.

        Raises:
            NotFound: nothing is called so.
            Conflict: more than one is called so.
        """
        if name is None:
            return None
        kind = table.name.replace("_", " ")
        named = sa.select(table.c.id).where((table.c.code if column is None else column) == name)
        if "present" in table.c:
            named = named.where(table.c.present)
        found = self._connection.execute(named.limit(2)).scalars().all()
        if not found:
            raise NotFound(f"there is no {kind} {name!r}")
        if len(found) > 1:
            raise Conflict(f"there is more than one {kind} {name!r}")
        return int(found[0])
