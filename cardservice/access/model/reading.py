# SPDX-License-Identifier: EUPL-1.2
"""What the pages of the access model show beside single entries, each as of one moment and within somebody's reach."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.access import store
from cardservice.access.model.service import By
from cardservice.access.model.store import StoredRule
from cardservice.access.model.territory import Territory
from cardservice.access.plan.rules import CODED, in_order
from cardservice.access.plan.store import stored_parts
from cardservice.access.review.store import access_review, access_review_item, owners, under_review, zone_owner
from cardservice.access.rules import Level
from cardservice.access.setup_parts import (
    AccessSetup,
    PointClassSetup,
    PointSetup,
    ScheduleSetup,
    SpecialDaysSetup,
    ZoneSetup,
)
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import NotFound
from cardservice.people.register import containing, within
from cardservice.people.store import directory_group, organisation, person

# A query names so many row numbers at once.
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Around:
    """Everything that has a code, and what of it somebody holds."""

    model: AccessSetup
    zones_held: frozenset[str]
    points_held: frozenset[str]
    everything: bool
    # Zone -> the group that answers for it; zone, or door -> since when it is locked down.
    owners: Mapping[str, str]
    locked: Mapping[str, int]
    locked_doors: Mapping[str, int]
    now_ms: int


class Map:
    """Finds its way in what `Around` holds."""

    def __init__(self, around: Around) -> None:
        self.around = around
        model = around.model
        self.zones: Mapping[str, ZoneSetup] = {one.code: one for one in model.zones}
        self.points: Mapping[str, PointSetup] = {one.code: one for one in model.points}
        self.classes: Mapping[str, PointClassSetup] = {one.code: one for one in model.point_classes}
        self.schedules: Mapping[str, ScheduleSetup] = {one.code: one for one in model.schedules}
        self.special_days: Mapping[str, SpecialDaysSetup] = {one.code: one for one in model.special_days}

    @cached_property
    def inside(self) -> Mapping[str | None, Sequence[ZoneSetup]]:
        """Zone -> the zones right inside it that are held; None: the outermost of those."""
        found: dict[str | None, list[ZoneSetup]] = {}
        for zone in self.zones.values():
            if zone.code in self.around.zones_held:
                found.setdefault(zone.parent if zone.parent in self.around.zones_held else None, []).append(zone)
        return found

    @cached_property
    def held_points(self) -> Sequence[PointSetup]:
        """The points that are held, by code."""
        return [one for code, one in sorted(self.points.items()) if code in self.around.points_held]

    @cached_property
    def of_zone(self) -> Mapping[str, Sequence[PointSetup]]:
        """Zone -> the points right inside it that are held."""
        found: dict[str, list[PointSetup]] = {}
        for one in self.held_points:
            found.setdefault(one.zone, []).append(one)
        return found

    def held_zones(self) -> Iterator[tuple[int, ZoneSetup]]:
        """Yield the zones that are held as they lie in each other, with how deep each lies."""

        def below(code: str | None, depth: int) -> Iterator[tuple[int, ZoneSetup]]:
            for zone in self.inside.get(code, ()):
                yield depth, zone
                yield from below(zone.code, depth + 1)

        return below(None, 0)

    def chain(self, zone: str | None) -> list[ZoneSetup]:
        """Return a zone and those around it, innermost first."""
        found: list[ZoneSetup] = []
        while zone is not None and zone in self.zones and len(found) < store.MAX_ZONE_DEPTH:
            found.append(self.zones[zone])
            zone = self.zones[zone].parent
        return found

    def owner_of(self, zone: str | None) -> tuple[str, ZoneSetup] | None:
        """Return which group answers for a zone, and for which zone it was named: the nearest around."""
        owned = ((self.around.owners[one.code], one) for one in self.chain(zone) if one.code in self.around.owners)
        return next(owned, None)

    def demands(self, point: PointSetup) -> list["Demanded"]:
        """Return what is demanded at a point, each with where that comes from; what does not count now is marked."""
        kind = self.classes[point.point_class]
        found = [Demanded(kind.level, kind.people, "class", kind.name, counts=True)]
        found += [
            Demanded(one.level, one.people, "class", kind.name, self.schedules[one.schedule], counts=True)
            for one in kind.demands
        ]
        spared = point.exception is not None and point.exception.until_ms > self.around.now_ms
        found += [
            Demanded(zone.level, 1, "zone", zone.name, counts=not spared)
            for zone in self.chain(point.zone)
            if zone.level is not None
        ]
        return found

    def least(self, point: PointSetup) -> Level:
        """Return what a point demands where no hours of its class say otherwise."""
        return max(Level(one.level) for one in self.demands(point) if one.counts and one.schedule is None)


@dataclass(frozen=True, slots=True)
class Demanded:
    """A proof and a number of people demanded, by a class or a zone of this name; in a schedule or always."""

    level: Level
    people: int
    source: str
    name: str
    schedule: ScheduleSetup | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answers for a grant (its own group, or that of a zone around), and when that was last done in a review."""

    owner: str | None
    confirmed_ms: int | None
    waiting: str | None


@dataclass(frozen=True, slots=True)
class Someone:
    """A person a grant may name."""

    number: int
    name: str
    login: str | None
    department: str | None
    subject_id: str


class Reading:
    """Answers for the pages. Everything blocks and may raise DatabaseUnavailable."""

    def __init__(self, state: Engine, clock: Clock) -> None:
        self._state, self._clock = state, clock

    @property
    def now_ms(self) -> int:
        """The present, for what a page compares with it."""
        return self._clock.now_ms()

    def map(self, by: By) -> Map:
        """Return everything that has a code, and what of it is within reach."""
        with read(self._state) as connection:
            parts = {kind: stored_parts(connection, kind) for kind in CODED}
            territory = Territory(connection, by.reaches)
            points = territory.points()
            held = frozenset(
                code for code, row in points.items() if territory.holds_point(code, row.organisation, row.zone)
            )
            zones = frozenset(one.code for one in parts["zones"] if territory.holds_zone(one.code))
            owned = sa.select(store.zone.c.code, directory_group.c.name).join_from(zone_owner, store.zone)
            owned = owned.join(directory_group, zone_owner.c.group_id == directory_group.c.id)
            locked = sa.select(store.zone.c.code, store.door_lockdown.c.since_ms).join_from(
                store.door_lockdown, store.zone
            )
            doors = sa.select(store.point.c.code, store.door_lockdown.c.since_ms).join_from(
                store.door_lockdown, store.point
            )
            return Map(
                Around(
                    in_order(AccessSetup(**parts)),
                    zones,
                    held,
                    territory.everything,
                    {row.code: row.name for row in connection.execute(owned.where(directory_group.c.present))},
                    {row.code: row.since_ms for row in connection.execute(locked)},
                    {row.code: row.since_ms for row in connection.execute(doors)},
                    self.now_ms,
                )
            )

    def answered(self, rules: Iterable[StoredRule]) -> dict[int, Answered]:
        """Return who answers for which grant, and what reviews say of it, by the numbers of grants."""
        numbers = [one.number for one in rules if one.rule.effect == "grant"]
        with read(self._state) as connection:
            known, waiting = owners(connection), under_review(connection, self.now_ms)
            places = _places(connection, numbers)
            of_grant = {number: known.of(number, places.get(number)) for number in numbers}
            names = _group_names(connection, {one for one in of_grant.values() if one is not None})
            confirmed = _confirmed(connection, numbers)
        return {
            number: Answered(names.get(group or 0), confirmed.get(number), waiting.get(number))
            for number, group in of_grant.items()
        }

    def uses_of(self, schedule: str) -> int:
        """Return how many grants and blocks hold in a schedule."""
        counted = sa.select(sa.func.count()).select_from(store.access_rule).join(store.schedule)
        with read(self._state) as connection:
            return int(connection.execute(counted.where(store.schedule.c.code == schedule)).scalar_one())

    def groups(self, text: str, limit: int) -> list[str]:
        """Return the names of groups that contain a text."""
        named = sa.select(directory_group.c.name).where(directory_group.c.present).distinct()
        named = named.where(containing(directory_group.c.name, text)).order_by(directory_group.c.name).limit(limit)
        with read(self._state) as connection:
            return [str(row.name) for row in connection.execute(named)]

    def someone(self, number: int, by: By) -> Someone:
        """Return one person.

        Raises:
            NotFound: there is none of this number within reach.
        """
        with read(self._state) as connection:
            row = connection.execute(_PEOPLE.where(within(by.reaches), person.c.id == number)).first()
        if row is None:
            raise NotFound(f"there is no person {number}")
        return _someone(row)

    def people(self, text: str, by: By, limit: int) -> list[Someone]:
        """Return people who are called so or have this login, by name: those that whoever asks may list at all."""
        called = sa.or_(containing(person.c.name, text), containing(person.c.login, text))
        wanted = _PEOPLE.where(within(by.reaches), person.c.present, person.c.login.is_not(None), called)
        with read(self._state) as connection:
            rows = connection.execute(wanted.order_by(person.c.name, person.c.id).limit(limit))
            return [_someone(row) for row in rows]


_PEOPLE: Final = sa.select(person, organisation.c.code.label("organisation")).join(
    organisation, person.c.organisation_id == organisation.c.id
)


def _someone(row: Any) -> Someone:
    return Someone(row.id, row.name, row.login, row.department, f"{row.directory}:{row.stable_id}")


def _places(connection: Connection, numbers: Sequence[int]) -> dict[int, int | None]:
    """Return the zone of each grant: its own, or that of its point."""
    rule = store.access_rule.c
    where = sa.func.coalesce(rule.zone_id, store.point.c.zone_id).label("zone")
    chosen = sa.select(rule.id, where).join_from(store.access_rule, store.point, isouter=True)
    return {row.id: row.zone for some in _some(numbers) for row in connection.execute(chosen.where(rule.id.in_(some)))}


def _group_names(connection: Connection, numbers: Iterable[int]) -> dict[int, str]:
    named = sa.select(directory_group.c.id, directory_group.c.name)
    return {
        row.id: row.name
        for some in _some(sorted(numbers))
        for row in connection.execute(named.where(directory_group.c.id.in_(some)))
    }


def _confirmed(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    """Return when each grant was last kept or renewed in a review."""
    item = access_review_item.c
    last = sa.select(item.rule_id, sa.func.max(item.answered_ms).label("at_ms")).join(access_review)
    last = last.where(item.verdict.in_(("keep", "renew"))).group_by(item.rule_id)
    return {
        row.rule_id: row.at_ms
        for some in _some(numbers)
        for row in connection.execute(last.where(item.rule_id.in_(some)))
    }


def _some(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + _AT_ONCE] for start in range(0, len(numbers), _AT_ONCE))
