# SPDX-License-Identifier: EUPL-1.2
"""What a file of the access model says, in one order, and how two of them differ. Pure."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, replace
from typing import Any, Final, TypeVar

from cardservice.access.setup_parts import AccessSetup, PointSetup, RuleSetup, ScheduleSetup, ZoneSetup
from cardservice.errors import Conflict

# What has a code, in the order it is stored; the order of the tables in a file, too.
CODED: Final = ("zones", "special_days", "schedules", "point_classes", "points")
KINDS: Final[Mapping[str, str]] = {
    "zones": "zone",
    "special_days": "special days",
    "schedules": "schedule",
    "point_classes": "point class",
    "points": "point",
    "rules": "rule",
}
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Changed:
    """Something that is there before and after; `fields` says what of it changes: name -> (before, after)."""

    before: Any
    after: Any
    fields: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What of one kind comes, changes and goes."""

    kind: str
    added: tuple[Any, ...]
    changed: tuple[Changed, ...]
    removed: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.removed)


def in_order(setup: AccessSetup) -> AccessSetup:
    """Return the same model in the one order of a file: zones by their way down the tree, the rest by code."""
    return AccessSetup(
        zones=_by_tree(setup.zones),
        special_days=[replace(one, days=tuple(sorted(set(one.days)))) for one in sorted(setup.special_days, key=_code)],
        schedules=[_schedule_in_order(one) for one in sorted(setup.schedules, key=_code)],
        point_classes=[
            replace(one, demands=tuple(sorted(one.demands, key=_every_field)))
            for one in sorted(setup.point_classes, key=_code)
        ],
        points=sorted(setup.points, key=_code),
        rules=sorted(setup.rules, key=_every_field),
    )


def differences(before: AccessSetup, after: AccessSetup) -> list[Difference]:
    """Return what has to be done to get from one model to the other; both in order."""
    found = [_difference(kind, getattr(before, kind), getattr(after, kind), _code) for kind in CODED]
    return [*found, _rule_difference(before.rules, after.rules)]


def totals(found: Sequence[Difference]) -> dict[str, int]:
    """Return how many parts come, change and go."""
    return {what: sum(len(getattr(one, what)) for one in found) for what in ("added", "changed", "removed")}


def points_touched(model: AccessSetup, zones: AbstractSet[str], classes: AbstractSet[str]) -> list[PointSetup]:
    """Return the points of these classes, and those in these zones or in zones inside them."""
    inside: set[str | None] = set(zones)
    for zone in _by_tree(model.zones):
        if zone.parent in inside:
            inside.add(zone.code)
    return [point for point in model.points if point.point_class in classes or point.zone in inside]


def require_whole(model: AccessSetup, deepest: int) -> None:
    """Refuse a model that names what it does not have, or whose zones lie in each other, or too deep.

    Raises:
        Conflict: names the part, the field and the code that is missing.
    """
    codes = {kind: {one.code for one in getattr(model, kind)} for kind in CODED}
    for part, field_name, kind, code in _references(model):
        if code is not None and code not in codes[kind]:
            raise Conflict(f"{part}.{field_name}: there is no {KINDS[kind]} {code!r} in the file")
    depth: dict[str | None, int] = {None: 0}
    for zone in _by_tree(model.zones):
        if zone.parent not in depth:
            raise Conflict(f"zone {zone.code!r}.parent: it lies in itself, by way of {zone.parent!r}")
        depth[zone.code] = depth[zone.parent] + 1
        if depth[zone.code] > deepest:
            raise Conflict(f"zone {zone.code!r}.parent: allowed are {deepest} zones inside one another")


def _references(model: AccessSetup) -> Iterator[tuple[str, str, str, str | None]]:
    """Yield part, field, kind and code of everything that names something else."""
    for zone in model.zones:
        yield f"zone {zone.code!r}", "parent", "zones", zone.parent
    for schedule in model.schedules:
        for special in schedule.special:
            yield f"schedule {schedule.code!r}", "special.days", "special_days", special.days
    for point_class in model.point_classes:
        for demand in point_class.demands:
            yield f"point_class {point_class.code!r}", "demands.schedule", "schedules", demand.schedule
    for point in model.points:
        yield f"point {point.code!r}", "zone", "zones", point.zone
        yield f"point {point.code!r}", "point_class", "point_classes", point.point_class
    for rule in model.rules:
        for name, kind in (("point", "points"), ("zone", "zones"), ("schedule", "schedules")):
            yield f"{rule.effect} for {rule.group or rule.login!r}", name, kind, getattr(rule, name)


def _by_tree(zones: Sequence[ZoneSetup]) -> list[ZoneSetup]:
    """Return every zone after the one it lies in; zones in a circle, which nobody can enter, come last."""
    inside: dict[str | None, list[ZoneSetup]] = {}
    for zone in sorted(zones, key=_code, reverse=True):
        inside.setdefault(zone.parent, []).append(zone)
    found: list[ZoneSetup] = []
    waiting = list(inside.pop(None, ()))
    while waiting:
        zone = waiting.pop()
        found.append(zone)
        waiting += inside.pop(zone.code, ())
    left = {zone.code for rest in inside.values() for zone in rest}
    return found + sorted((zone for zone in zones if zone.code in left), key=_code)


def _schedule_in_order(schedule: ScheduleSetup) -> ScheduleSetup:
    special = (replace(one, hours=tuple(sorted(one.hours))) for one in schedule.special)
    return replace(
        schedule,
        intervals=tuple(sorted(schedule.intervals, key=_every_field)),
        special=tuple(sorted(special, key=lambda one: one.days)),
    )


def _code(part: Any) -> str:
    return str(part.code)


def _every_field(part: Any) -> tuple[tuple[bool, str | int], ...]:
    """Return a key that orders parts by each of their fields in turn; what is not set comes first."""
    values = (getattr(part, field.name) for field in fields(part))
    return tuple((value is not None, "" if value is None else value) for value in values)


def _difference(
    kind: str, before: Iterable[Part], after: Iterable[Part], key: Callable[[Part], Hashable]
) -> Difference:
    old, new = {key(one): one for one in before}, {key(one): one for one in after}
    return Difference(
        kind,
        added=tuple(one for name, one in new.items() if name not in old),
        changed=tuple(changed(old[name], one) for name, one in new.items() if name in old and old[name] != one),
        removed=tuple(one for name, one in old.items() if name not in new),
    )


def _rule_difference(before: Sequence[RuleSetup], after: Sequence[RuleSetup]) -> Difference:
    """Rules have no code: one that goes and one that comes with the same subject and target are one that changes."""
    gone, come = Counter(before) - Counter(after), Counter(after) - Counter(before)
    removed, added = list(gone.elements()), list(come.elements())
    of_subject: dict[Hashable, list[RuleSetup]] = {}
    for rule in reversed(removed):
        of_subject.setdefault(_who_and_where(rule), []).append(rule)
    pairs, new = [], []
    for rule in added:
        old = of_subject.get(_who_and_where(rule))
        if old:
            pairs.append(changed(old.pop(), rule))
        else:
            new.append(rule)
    left = [rule for rules in of_subject.values() for rule in rules]
    return Difference("rules", tuple(new), tuple(pairs), tuple(sorted(left, key=_every_field)))


def _who_and_where(rule: RuleSetup) -> Hashable:
    return (rule.effect, rule.group, rule.login, rule.subject_id, rule.point, rule.zone, rule.use)


def changed(before: Any, after: Any) -> Changed:
    """Return which fields of two parts of one kind differ."""
    names = [field.name for field in fields(before)]
    pairs = {name: (getattr(before, name), getattr(after, name)) for name in names}
    return Changed(before, after, {name: pair for name, pair in pairs.items() if pair[0] != pair[1]})
