# SPDX-License-Identifier: EUPL-1.2
"""Random zones, special days, schedules, classes, points, rules and lockdowns, kept twice: stored, and as facts.

Now and then something is entered that must be refused; that it is, and says why, is part of every random city.
"""

import random
import re
from datetime import date

import pytest
import sqlalchemy as sa
from service.facts import DAY_MS, HOUR_MS, Demand, Facts, Point, PointClass, Rule, Schedule, Zone
from service.fake_clock import FakeClock
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access import setup, store
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval
from cardservice.database import write
from cardservice.doors import store as doors
from cardservice.doors.rules import check_options
from cardservice.errors import Conflict
from cardservice.people.store import directory_group

ZONES_OF_TIME = ("Europe/Berlin", "Europe/Berlin", "Atlantic/Azores", "UTC")
# Minutes around which something happens: midnight, and the hours that are skipped or come twice.
MINUTES = (0, 1, 30, 59, 60, 61, 90, 119, 120, 121, 150, 179, 180, 181, 420, 720, 1080, 1380, 1439, 1440)
USES = ("door", "door", "door", "door", "timeclock", "workstation", "workstation", "printer", "canteen")
LEVELS = tuple(level.value for level in Level)
OPTION_RULES = {Use.DOOR: check_options}
# Days on which clocks change or a year ends, days beside them and beside holidays, holidays of some Länder and of all,
# and the days that are near when a city begins.
SPECIAL_DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        *("2026-03-17", "2026-03-18", "2026-03-22", "2026-03-28", "2026-03-29", "2026-04-05", "2026-05-01"),
        *("2026-06-04", "2026-06-05", "2026-07-12", "2026-10-24", "2026-10-25", "2026-10-26", "2026-11-01"),
        *("2026-12-24", "2026-12-25", "2026-12-31", "2027-01-06", "2027-03-28"),
    )
)


class RandomAccess:
    """Does the same thing to the database and to the facts: what somebody enters who manages access."""

    def __init__(self, engine: Engine, clock: FakeClock, seed: int) -> None:
        self.facts = Facts()
        self.random = random.Random(seed)
        self.refused = 0
        self._engine = engine
        self._clock = clock
        self._number = 0
        # Groups of the service's own: name -> row number.
        self._own_groups: dict[str, int] = {}

    def _new(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"

    def _bounds(self) -> tuple[int | None, int | None]:
        return self._instant(None, None, -30, 20, 100, 300, 500), self._instant(None, None, -30, 20, 100, 300, 500)

    def _instant(self, *days: int | None) -> int | None:
        """Return an instant on the day that is one of `days` from now."""
        chosen = self.random.choice(days)
        return None if chosen is None else self._clock.now_ms() + chosen * DAY_MS + self.random.randrange(DAY_MS)

    def _apply(self, **parts: object) -> None:
        everything = setup.AccessSetup(**{name: [part] for name, part in parts.items()})
        setup.apply(self._engine, 1, everything, OPTION_RULES)

    def _refuse(self, *words: str, **parts: object) -> None:
        """Enter what must be refused with a message that has all of `words`."""
        with pytest.raises(Conflict) as refused:
            self._apply(**parts)
        assert [word for word in words if word not in str(refused.value)] == []
        self.refused += 1

    def _hours(self, most: int) -> list[tuple[int, int]]:
        hours = [sorted(self.random.sample(MINUTES, 2)) for _ in range(self.random.randrange(most + 1))]
        return [(start, end) for start, end in hours]

    def add_zone(self) -> None:
        name = self._new("z")
        # Deep rather than broad: the newest zone is the likeliest to have another inside.
        parent = self.random.choice([None, *self.facts.zones, *list(self.facts.zones)[-1:] * 2])
        level = self.random.choice((None, None, None, *LEVELS[1:]))
        self.facts.zones[name] = Zone(parent, level)
        self._apply(zones=setup.ZoneSetup(name, name, parent, None if level is None else Level(level)))

    def set_zone_level(self) -> None:
        """Nobody can enter this yet; whatever the points inside accept, it counts."""
        name, level = self.random.choice(list(self.facts.zones)), self.random.choice((None, None, *LEVELS[1:]))
        self.facts.zones[name].level = level
        self._change(sa.update(store.zone).values(level=level).where(store.zone.c.code == name))

    def add_special_days(self) -> None:
        name = self._new("h")
        days = set(self.random.sample(SPECIAL_DAYS, self.random.randrange(1, 6)))
        self.facts.special_days[name] = days
        self._apply(special_days=setup.SpecialDaysSetup(name, name, tuple(days)))

    def change_special_days(self) -> None:
        """Take a day out of a group, or put one in that leaves the hours of every schedule clear."""
        name, day = self.random.choice(list(self.facts.special_days)), self.random.choice(SPECIAL_DAYS)
        days = self.facts.special_days[name]
        group = store.special_day.c.group_id == _number(store.special_day_group, name)
        if day in days:
            days.remove(day)
            self._change(sa.delete(store.special_day).where(group, store.special_day.c.day == day))
            return
        days.add(day)
        if any(self.facts.doubtful_days(schedule) for schedule in self.facts.schedules.values()):
            days.remove(day)
            return
        number = _number(store.special_day_group, name)
        self._change(sa.insert(store.special_day).values(group_id=number, day=day))

    def add_schedule(self) -> None:
        name = self._new("s")
        intervals = []
        for _ in range(self.random.randrange(1, 9)):
            start, end = sorted(self.random.sample(MINUTES, 2))
            intervals.append((self.random.choice((0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 7)), start, end))
        groups = list(self.facts.special_days)
        chosen = self.random.sample(groups, min(len(groups), self.random.choice((0, 1, 2, 2, 3))))
        special = {group: self._hours(2) for group in chosen}
        schedule = Schedule(intervals, self.random.choice((None, "NW", "BY", "BE")), special)
        self._refuse_doubtful(name, schedule)
        self.facts.schedules[name] = schedule
        self._apply(schedules=_entry(name, schedule))

    def _refuse_doubtful(self, name: str, schedule: Schedule) -> None:
        """Take out the groups that make a day's hours doubtful, each after it was refused."""
        while doubtful := self.facts.doubtful_days(schedule):
            with pytest.raises(Conflict, match=f"^schedule {name}: ") as refused:
                self._apply(schedules=_entry(name, schedule))
            said = str(refused.value)
            named = re.findall(r"\bh\d+\b", said)
            assert set(named) <= doubtful[date.fromisoformat(re.search(r"\d{4}-\d\d-\d\d", said)[0])]
            assert len(named) > 1 or f"holiday in {schedule.land}" in said
            self.refused += 1
            del schedule.special[named[-1]]

    def add_class(self) -> None:
        name = self._new("c")
        freshness_ms = self.random.choice((60_000, HOUR_MS))
        kind = PointClass(self.random.choice(LEVELS), freshness_ms, self.random.random() < 0.3)
        kind.people = self.random.choice((1, 1, 2))
        kind.demands = [self._demand() for _ in range(self.random.choice((0, 0, 1, 2, 3)))]
        self.facts.classes[name] = kind
        self._apply(
            point_classes=setup.PointClassSetup(
                name,
                name,
                level=Level(kind.level),
                freshness_ms=freshness_ms,
                stale_policy="permit" if kind.stale_permits else "deny",
                people=kind.people,
                demands=tuple(setup.DemandSetup(one.schedule, Level(one.level), one.people) for one in kind.demands),
            )
        )

    def _demand(self) -> Demand:
        schedule = self.random.choice(list(self.facts.schedules))
        return Demand(schedule, self.random.choice(LEVELS), self.random.choice((1, 1, 2)))

    def add_demand(self) -> None:
        """Nobody can enter this yet; it may be less than a zone demands."""
        name, demand = self.random.choice(list(self.facts.classes)), self._demand()
        self.facts.classes[name].demands.append(demand)
        values = {"level": demand.level, "people": demand.people}
        numbers = {
            "point_class_id": _number(store.point_class, name),
            "schedule_id": _number(store.schedule, demand.schedule),
        }
        self._change(sa.insert(store.point_class_level).values(**numbers, **values))

    def drop_demands(self) -> None:
        name = self.random.choice(list(self.facts.classes))
        self.facts.classes[name].demands.clear()
        of_class = store.point_class_level.c.point_class_id == _number(store.point_class, name)
        self._change(sa.delete(store.point_class_level).where(of_class))

    def _exception_end(self) -> int:
        days = self.random.choice((-3, 2, 5, 20, 100, 300))
        return self._clock.now_ms() + days * DAY_MS + self.random.randrange(DAY_MS)

    def add_point(self) -> None:
        name = self._new("d")
        point = Point(
            self.random.choice(USES),
            self.random.choice(list(self.facts.zones)),
            self.random.choice(list(self.facts.classes)),
            self.random.choice(ZONES_OF_TIME),
        )
        point.escape_route = point.use == "door" and self.random.random() < 0.2
        demanding = self.facts.demanding_zones(point.zone, point.point_class)
        if demanding:
            said = (f"point {name}: ", demanding[0], Level(self.facts.least_level(point.point_class)).name.lower())
            self._refuse(*said, points=_point(name, point))
        if demanding or self.random.random() < 0.1:
            point.exception_until_ms = self._exception_end()
        self.facts.points[name] = point
        self._apply(points=_point(name, point))

    def set_exception(self) -> None:
        """End a point's exception, or give it one; nobody can enter either yet."""
        name = self.random.choice(list(self.facts.points))
        point, of_point = self.facts.points[name], store.level_exception.c.point_id == _number(store.point, name)
        if point.exception_until_ms is not None and self.random.random() < 0.5:
            point.exception_until_ms = None
            self._change(sa.delete(store.level_exception).where(of_point))
            return
        values = {"until_ms": self._exception_end(), "reason": "building"}
        if point.exception_until_ms is None:
            values["point_id"] = _number(store.point, name)
            self._change(sa.insert(store.level_exception).values(**values))
        else:
            self._change(sa.update(store.level_exception).values(**values).where(of_point))
        point.exception_until_ms = values["until_ms"]

    def add_rule(self) -> None:
        present = [("person", name) for name, person in self.facts.people.items() if person.present]
        subject = self.random.choice([("group", name) for name in self.facts.groups] * 2 + present)
        targets = [("point", name) for name in self.facts.points] + [("zone", name) for name in self.facts.zones]
        target = self.random.choice([*targets, ("use", self.random.choice(USES))])
        schedule = self.random.choice([None, *self.facts.schedules])
        effect = self.random.choice(("grant",) * 5 + ("block",))
        bounds = self._bounds() if self.random.random() < 0.4 else (None, None)
        self.facts.rules.append(Rule(effect, subject, target, schedule, *bounds))
        self._apply(
            rules=setup.RuleSetup(
                group=subject[1] if subject[0] == "group" else None,
                login=subject[1] if subject[0] == "person" else None,
                point=target[1] if target[0] == "point" else None,
                zone=target[1] if target[0] == "zone" else None,
                use=Use(target[1]) if target[0] == "use" else None,
                schedule=schedule,
                effect=effect,
                valid_from_ms=bounds[0],
                valid_until_ms=bounds[1],
            )
        )

    def drop_rule(self) -> None:
        """Take back the oldest rule."""
        if not self.facts.rules:
            return
        del self.facts.rules[0]
        oldest = sa.select(sa.func.min(store.access_rule.c.id)).scalar_subquery()
        self._change(sa.delete(store.access_rule).where(store.access_rule.c.id == oldest))

    def begin_lockdown(self) -> None:
        """Lock down a zone around some point, mostly but for a group: one that stands already, or like it."""
        around = [zone for point in self.facts.points.values() for zone in self.facts.zones_around(point.zone)]
        free = [zone for zone in around if zone not in self.facts.lockdowns]
        if not free:
            return
        zone, passing = self.random.choice(free), self._passing()
        self.facts.lockdowns[zone] = passing
        with write(self._engine) as connection:
            self._lock(connection, {"zone_id": doors.zone_number(connection, zone)}, passing)

    def begin_door_lockdown(self) -> None:
        """Lock down a single door, mostly but for a group."""
        free = [
            code for code, one in self.facts.points.items() if one.use == "door" and code not in self.facts.door_locks
        ]
        if not free:
            return
        door, passing = self.random.choice(free), self._passing()
        self.facts.door_locks[door] = passing
        with write(self._engine) as connection:
            self._lock(connection, {"point_id": doors.door_number(connection, door)}, passing)

    def _passing(self) -> str | None:
        if self.random.random() >= 0.8:
            return None
        every = (*self.facts.lockdowns.values(), *self.facts.door_locks.values())
        standing = {name for name in every if name in self.facts.groups}
        members = {one for name in standing for one in (*self.facts.groups[name], ("group", name))}
        alike = [name for name, inside in self.facts.groups.items() if name in standing or inside & members]
        return self.random.choice([one for one in self.facts.groups if one not in self._own_groups] + alike * 3)

    def _lock(self, connection: Connection, place: dict[str, int], passing: str | None) -> None:
        group = None if passing is None else group_number(connection, passing)
        row = {**place, "since_ms": 1, "by": "desk", "reason": "drill", "passing_group_id": group}
        assert doors.begin_lockdown(connection, row)
        changes.append(connection, "access", [0])

    def end_lockdown(self) -> None:
        if not self.facts.lockdowns:
            return
        zone = self.random.choice(list(self.facts.lockdowns))
        del self.facts.lockdowns[zone]
        with write(self._engine) as connection:
            assert doors.end_lockdown(connection, doors.zone_number(connection, zone))
            changes.append(connection, "access", [0])

    def end_door_lockdown(self) -> None:
        if not self.facts.door_locks:
            return
        door = self.random.choice(list(self.facts.door_locks))
        del self.facts.door_locks[door]
        with write(self._engine) as connection:
            assert doors.end_door_lockdown(connection, doors.door_number(connection, door))
            changes.append(connection, "access", [0])

    def _change(self, statement: sa.Executable) -> None:
        """Store what no use case stores yet."""
        with write(self._engine) as connection:
            connection.execute(statement)
            changes.append(connection, "access", [0])


def group_number(connection: Connection, name: str) -> int:
    """Return the row number of the one group that is called so."""
    named = sa.select(directory_group.c.id).where(directory_group.c.name == name, directory_group.c.present)
    return int(connection.execute(named).scalar_one())


def _entry(name: str, schedule: Schedule) -> setup.ScheduleSetup:
    intervals = tuple(Interval(*interval) for interval in schedule.intervals)
    special = tuple(setup.SpecialHours(group, tuple(hours)) for group, hours in schedule.special.items())
    return setup.ScheduleSetup(name, name, intervals, schedule.land, special)


def _point(name: str, point: Point) -> setup.PointSetup:
    until_ms = point.exception_until_ms
    return setup.PointSetup(
        name,
        name,
        point.zone,
        point.point_class,
        use=Use(point.use),
        time_zone=point.time_zone,
        options={"escape_route": True} if point.escape_route else {},
        exception=None if until_ms is None else setup.LevelException(until_ms, "building"),
    )


def _number(table: sa.Table, code: str) -> sa.ScalarSelect[int]:
    return sa.select(table.c.id).where(table.c.code == code).scalar_subquery()
