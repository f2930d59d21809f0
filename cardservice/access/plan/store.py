# SPDX-License-Identifier: EUPL-1.2
"""Reads the stored model as a file has it, and stores the difference to another, with the checks of every setup."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access import store
from cardservice.access.options.rules import Options
from cardservice.access.plan.rules import CODED, KINDS, Difference, points_touched
from cardservice.access.review.store import under_review
from cardservice.access.rules import NEVER_MS, Level, Use
from cardservice.access.schedules import Interval
from cardservice.access.setup import Writer
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
from cardservice.errors import Conflict
from cardservice.people.store import directory_group, person

_TABLES: Final[Mapping[str, sa.Table]] = {
    "zones": store.zone,
    "special_days": store.special_day_group,
    "schedules": store.schedule,
    "point_classes": store.point_class,
    "points": store.point,
}
_CLASS_COLUMNS: Final = (
    *("code", "name", "freshness_ms", "stale_policy", "journal_mode", "open_ms", "answer_budget_ms", "tap_budget_ms"),
    *("people", "second_within_ms", "directory_check"),
)


def stored_model(connection: Connection) -> AccessSetup:
    """Return everything that is stored, by name."""
    coded = {kind: stored_parts(connection, kind) for kind in CODED}
    return AccessSetup(**coded, rules=list(_rules(connection)))


def stored_parts(connection: Connection, kind: str) -> list[Any]:
    """Return everything of one of the kinds that have a code."""
    return list(_READ[kind](connection))


def _zones(connection: Connection) -> Iterator[ZoneSetup]:
    zones = {row.id: row for row in connection.execute(sa.select(store.zone))}
    for row in zones.values():
        yield ZoneSetup(
            row.code,
            row.name,
            None if row.parent_id is None else zones[row.parent_id].code,
            None if row.level is None else Level(row.level),
        )


def _codes(connection: Connection, table: sa.Table) -> dict[int, str]:
    return {row.id: row.code for row in connection.execute(sa.select(table.c.id, table.c.code))}


def _special_days(connection: Connection) -> Iterator[SpecialDaysSetup]:
    days: dict[int, list[Any]] = {}
    for row in connection.execute(sa.select(store.special_day)):
        days.setdefault(row.group_id, []).append(row.day)
    for row in connection.execute(sa.select(store.special_day_group)):
        yield SpecialDaysSetup(row.code, row.name, tuple(days.get(row.id, ())))


def _schedules(connection: Connection) -> Iterator[ScheduleSetup]:
    groups = _codes(connection, store.special_day_group)
    intervals: dict[int, list[Interval]] = {}
    for row in connection.execute(sa.select(store.schedule_interval)):
        intervals.setdefault(row.schedule_id, []).append(Interval(row.day, row.start_minute, row.end_minute))
    hours: dict[int, list[tuple[int, int]]] = {}
    for row in connection.execute(sa.select(store.schedule_special_interval)):
        hours.setdefault(row.special_id, []).append((row.start_minute, row.end_minute))
    special: dict[int, list[SpecialHours]] = {}
    for row in connection.execute(sa.select(store.schedule_special)):
        one = SpecialHours(groups[row.group_id], tuple(hours.get(row.id, ())))
        special.setdefault(row.schedule_id, []).append(one)
    for row in connection.execute(sa.select(store.schedule)):
        parts = tuple(intervals.get(row.id, ())), row.land, tuple(special.get(row.id, ()))
        yield ScheduleSetup(row.code, row.name, *parts)


def _classes(connection: Connection) -> Iterator[PointClassSetup]:
    schedules = _codes(connection, store.schedule)
    demands: dict[int, list[DemandSetup]] = {}
    for row in connection.execute(sa.select(store.point_class_level)):
        demand = DemandSetup(schedules[row.schedule_id], Level(row.level), row.people)
        demands.setdefault(row.point_class_id, []).append(demand)
    for row in connection.execute(sa.select(store.point_class)):
        plain = {name: getattr(row, name) for name in _CLASS_COLUMNS}
        methods: Any = tuple(row.methods.split(","))
        yield PointClassSetup(**plain, methods=methods, level=Level(row.level), demands=tuple(demands.get(row.id, ())))


def _points(connection: Connection) -> Iterator[PointSetup]:
    zones, classes = _codes(connection, store.zone), _codes(connection, store.point_class)
    rows = connection.execute(sa.select(store.level_exception))
    exceptions = {row.point_id: LevelException(row.until_ms, row.reason) for row in rows}
    for row in connection.execute(sa.select(store.point)):
        yield PointSetup(
            code=row.code,
            name=row.name,
            zone=zones[row.zone_id],
            point_class=classes[row.point_class_id],
            agent=row.agent,
            reader=row.reader,
            use=Use(row.use),
            time_zone=row.time_zone,
            options=_options(row.options),
            exception=exceptions.get(row.id),
        )


def _options(text: str) -> Options:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if store.are_options(found) else {}


_READ: Final[Mapping[str, Callable[[Connection], Iterator[Any]]]] = {
    "zones": _zones,
    "special_days": _special_days,
    "schedules": _schedules,
    "point_classes": _classes,
    "points": _points,
}


def _rules(connection: Connection) -> Iterator[RuleSetup]:
    zones, schedules = _codes(connection, store.zone), _codes(connection, store.schedule)
    points = _codes(connection, store.point)
    groups = _subjects(connection, directory_group, directory_group.c.name, store.access_rule.c.group_id)
    people = _subjects(connection, person, person.c.login, store.access_rule.c.person_id)
    for row in connection.execute(sa.select(store.access_rule)):
        group, login = groups.get(row.group_id, (None, None)), people.get(row.person_id, (None, None))
        yield RuleSetup(
            group=group[0],
            login=login[0],
            point=None if row.point_id is None else points[row.point_id],
            zone=None if row.zone_id is None else zones[row.zone_id],
            use=None if row.use is None else Use(row.use),
            schedule=None if row.schedule_id is None else schedules[row.schedule_id],
            effect=row.effect,
            valid_from_ms=row.valid_from_ms,
            valid_until_ms=row.valid_until_ms,
            subject_id=group[1] or login[1],
        )


def _subjects(
    connection: Connection, table: sa.Table, name: sa.Column[Any], column: sa.Column[Any]
) -> dict[int | None, tuple[str, str | None]]:
    """Return row number -> name of everybody a rule names, with their stable id where the name alone does not tell."""
    present = sa.select(name).where(table.c.present, name.is_not(None)).group_by(name)
    doubtful = set(connection.execute(present.having(sa.func.count() > 1)).scalars())
    named = sa.select(table.c.id, name.label("known_as"), table.c.present, table.c.directory, table.c.stable_id)
    rows = connection.execute(named.where(table.c.id.in_(sa.select(column).where(column.is_not(None)))))
    return {
        row.id: (
            row.known_as or "",
            f"{row.directory}:{row.stable_id}"
            if not row.present or not row.known_as or row.known_as in doubtful
            else None,
        )
        for row in rows
    }


class Replacer(Writer):
    """Stores what comes and changes; what has a code that is there already takes its place."""

    def replace(self, found: Sequence[Difference], after: AccessSetup, now_ms: int) -> None:
        """Bring what is stored from one model to another.

        Raises:
            NotFound: a name it refers to does not exist.
            Conflict: a value is out of its bounds or contradicts another, what goes is still in use, or a grant that a
                review waits for would get a later end.
        """
        reviewed = under_review(self._connection, now_ms)
        of_kind = {one.kind: one for one in found}
        new = {kind: [*one.added, *(pair.after for pair in one.changed)] for kind, one in of_kind.items()}
        rules = of_kind["rules"]
        for rule in rules.removed:
            self._connection.execute(sa.delete(store.access_rule).where(store.access_rule.c.id == self._row_of(rule)))
        new["schedules"] = _with_moved_days(new["schedules"], new["special_days"], after.schedules)
        # A zone may move below one that is new.
        moved = {zone.code for zone in new["zones"]}
        new["zones"] = [zone for zone in after.zones if zone.code in moved]
        self.store(AccessSetup(**{kind: new[kind] for kind in CODED}))
        for pair in rules.changed:
            self.change_rule(self._row_of(pair.before), pair.before, pair.after, reviewed)
        self.store(AccessSetup(rules=rules.added))
        for kind in reversed(CODED):
            self._remove(kind, [one.code for one in of_kind[kind].removed])
        if new["zones"] or new["point_classes"]:
            classes = {one.code for one in new["point_classes"]}
            self._require_every_level(points_touched(after, {zone.code for zone in new["zones"]}, classes))

    def _insert(self, table: sa.Table, **values: Any) -> int:
        if "code" in table.c:
            same = sa.select(table.c.id).where(table.c.code == values["code"])
            number = self._connection.execute(same).scalar()
            if number is not None:
                # Whose it is does not change by what a file says.
                kept = {name: value for name, value in values.items() if name != "organisation_id"}
                self._connection.execute(sa.update(table).where(table.c.id == number).values(**kept))
                self._clear(table, int(number))
                return int(number)
        return super()._insert(table, **values)

    def _clear(self, table: sa.Table, number: int) -> None:
        """Delete what belongs to one row and is stored anew with it."""
        special = sa.select(store.schedule_special.c.id).where(store.schedule_special.c.schedule_id == number)
        belonging: dict[sa.Table, list[tuple[sa.Table, sa.ColumnElement[bool]]]] = {
            store.special_day_group: [(store.special_day, store.special_day.c.group_id == number)],
            store.schedule: [
                (store.schedule_interval, store.schedule_interval.c.schedule_id == number),
                (store.schedule_special_interval, store.schedule_special_interval.c.special_id.in_(special)),
                (store.schedule_special, store.schedule_special.c.schedule_id == number),
            ],
            store.point_class: [(store.point_class_level, store.point_class_level.c.point_class_id == number)],
            store.point: [(store.level_exception, store.level_exception.c.point_id == number)],
        }
        for of_row, condition in belonging.get(table, []):
            self._connection.execute(sa.delete(of_row).where(condition))

    def _remove(self, kind: str, codes: Sequence[str]) -> None:
        table = _TABLES[kind]
        for code in codes:
            number = self._number(table, code)
            if number is None:
                continue
            self._require_unlocked(kind, code, number)
            self._clear(table, number)
            try:
                with self._connection.begin_nested():
                    self._connection.execute(sa.delete(table).where(table.c.id == number))
            except sa.exc.IntegrityError:
                raise Conflict(f"{KINDS[kind]} {code!r} goes, but is still in use") from None

    def _require_unlocked(self, kind: str, code: str, number: int) -> None:
        lockdown = store.door_lockdown.c
        place = {"zones": lockdown.zone_id, "points": lockdown.point_id}.get(kind)
        if place is None:
            return
        if self._connection.execute(sa.select(lockdown.id).where(place == number)).first() is not None:
            raise Conflict(f"{KINDS[kind]} {code!r} goes, but is locked down; end the lockdown first")

    def change_rule(self, number: int, before: RuleSetup, after: RuleSetup, reviewed: Mapping[int, str]) -> None:
        """Change hours and bounds of one row where it stands: whoever owns a grant, or reviews it, refers to it.

        Raises:
            NotFound: there is no such schedule.
            Conflict: a review waits for an answer about it, and it would get a later end.
        """
        if number in reviewed and _ends_ms(after) > _ends_ms(before):
            where = after.point or after.zone or after.use
            raise Conflict(
                f"grant at {where}: review {reviewed[number]} waits for an answer about it, and this is none: take over"
                " its end as it is stored now, or answer in the review first"
            )
        hours = {"schedule_id": self._number(store.schedule, after.schedule)}
        bounds = {"valid_from_ms": after.valid_from_ms, "valid_until_ms": after.valid_until_ms}
        changed = sa.update(store.access_rule).where(store.access_rule.c.id == number)
        self._connection.execute(changed.values(**hours, **bounds))

    def _row_of(self, rule: RuleSetup) -> int:
        """Return the row number of a stored rule; of equal ones, the first."""
        return int(self._connection.execute(self._same(rule).limit(1)).scalar_one())

    def _same(self, rule: RuleSetup) -> sa.Select[int]:
        columns = store.access_rule.c
        wanted = {**self._numbers(rule), "effect": rule.effect, "use": None if rule.use is None else rule.use.value}
        wanted |= {"valid_from_ms": rule.valid_from_ms, "valid_until_ms": rule.valid_until_ms}
        equal = [columns[name].is_(None) if value is None else columns[name] == value for name, value in wanted.items()]
        return sa.select(columns.id).where(*equal).order_by(columns.id)

    def _numbers(self, rule: RuleSetup) -> dict[str, int | None]:
        return {
            "group_id": self._subject(directory_group, rule.group, directory_group.c.name, rule.subject_id),
            "person_id": self._subject(person, rule.login, person.c.login, rule.subject_id),
            "point_id": self._number(store.point, rule.point),
            "zone_id": self._number(store.zone, rule.zone),
            "schedule_id": self._number(store.schedule, rule.schedule),
        }

    def _require_every_level(self, points: Sequence[PointSetup]) -> None:
        """Refuse a zone or class that demands of its points, which did not change, what they cannot give."""
        for point in points:
            if point.exception is None:
                zone = self._number(store.zone, point.zone)
                self._require_zones_level(point.code, zone, self._number(store.point_class, point.point_class))


def _with_moved_days(
    schedules: Sequence[ScheduleSetup], groups: Sequence[SpecialDaysSetup], every: Sequence[ScheduleSetup]
) -> list[ScheduleSetup]:
    """Return these schedules and all that name a group of days that comes or changes: their days are checked anew."""
    moved, codes = {group.code for group in groups}, {one.code for one in schedules}
    return [one for one in every if one.code in codes or any(special.days in moved for special in one.special)]


def _ends_ms(rule: RuleSetup) -> int:
    return NEVER_MS if rule.valid_until_ms is None else rule.valid_until_ms
