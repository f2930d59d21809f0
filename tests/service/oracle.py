# SPDX-License-Identifier: EUPL-1.2
"""Who may pass, said a second time: slowly, from the plain facts, without a line of the service's own rules.

Local time is read off a list of all minutes of a day; groups are added until none is added; zones are climbed step by
step. Instants are milliseconds since 1970-01-01T00:00:00Z.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import holidays

SPECIAL_DAY = 7
NO_USE = {
    "stock": "card_not_issued",
    "in_production": "card_not_issued",
    "produced": "card_not_issued",
    "ready_for_pickup": "card_not_issued",
    "suspended": "card_suspended",
    "revoked": "card_revoked",
    "expired": "card_expired",
    "returned": "card_revoked",
    "erased": "card_revoked",
    "destroyed": "card_revoked",
}


@dataclass
class Person:
    enabled: bool = True
    present: bool = True
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass
class Card:
    state: str
    holder: str | None
    from_ms: int | None = None
    until_ms: int | None = None


@dataclass
class Schedule:
    """Intervals are (day, start minute, end minute)."""

    intervals: list[tuple[int, int, int]]
    land: str | None


@dataclass
class PointClass:
    level: int
    freshness_ms: int
    stale_permits: bool
    levels: list[tuple[str, int]] = field(default_factory=list)


@dataclass
class Point:
    use: str
    zone: str
    point_class: str
    time_zone: str


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
    """Everything by name. A group's members are ("person", name) or ("group", name)."""

    people: dict[str, Person] = field(default_factory=dict)
    groups: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    cards: dict[bytes, Card] = field(default_factory=dict)
    zones: dict[str, str | None] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    classes: dict[str, PointClass] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)


@cache
def minutes_of(zone: str, day: date) -> tuple[tuple[int, int], ...]:
    """Return every minute of a local day: its instant, and what a clock on the wall shows (minutes since midnight)."""
    minutes = []
    tz = ZoneInfo(zone)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    for _ in range(54 * 60):
        local = moment.astimezone(tz)
        if local.date() == day:
            minutes.append((int(moment.timestamp() * 1000), local.hour * 60 + local.minute))
        moment += timedelta(minutes=1)
    return tuple(minutes)


def shown_at(zone: str, day: date, minute: int) -> list[int]:
    """Return when the wall clock shows `minute` of `day`; where it skips that, when it shows an hour more."""
    if minute == 24 * 60:
        day, minute = day + timedelta(days=1), 0
    for later in (0, 60):
        found = [at for at, wall in minutes_of(zone, day) if wall == minute + later]
        if found:
            return found
    raise AssertionError(f"{zone} never shows minute {minute} on {day}")


@cache
def holidays_of(land: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("DE", subdiv=land, years=year))


def is_open(schedule: Schedule | None, zone: str, at_ms: int) -> bool:
    """Say whether the schedule holds: an interval begins when first shown and ends when last shown."""
    if schedule is None:
        return True
    today = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone)).date()
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        special = schedule.land is not None and day in holidays_of(schedule.land, day.year)
        kind = SPECIAL_DAY if special else day.weekday()
        for wanted, start, end in schedule.intervals:
            if wanted == kind and shown_at(zone, day, start)[0] <= at_ms < shown_at(zone, day, end)[-1]:
                return True
    return False


def groups_of(facts: Facts, person: str) -> set[str]:
    inside: set[str] = set()
    while True:
        found = {
            name
            for name, members in facts.groups.items()
            if ("person", person) in members or any(("group", one) in members for one in inside)
        }
        if found == inside:
            return inside
        inside = found


def names(facts: Facts, rule: Rule, person: str, point_name: str) -> bool:
    kind, subject = rule.subject
    if kind == "person" and subject != person:
        return False
    if kind == "group" and subject not in groups_of(facts, person):
        return False
    point = facts.points[point_name]
    zones, zone = [], point.zone
    while zone is not None:
        zones.append(zone)
        zone = facts.zones[zone]
    kind, target = rule.target
    return target in {"point": [point_name], "use": [point.use], "zone": zones}[kind]


def holds(facts: Facts, rule: Rule, zone: str, at_ms: int) -> bool:
    if rule.from_ms is not None and at_ms < rule.from_ms:
        return False
    if rule.until_ms is not None and at_ms >= rule.until_ms:
        return False
    return is_open(facts.schedules[rule.schedule] if rule.schedule else None, zone, at_ms)


def out_of_time(card: Card, person: Person, at_ms: int) -> set[str]:
    """Return every true reason why now is not the time; which of two is told does not matter."""
    reasons = set()
    for of, from_ms, until_ms in (("card", card.from_ms, card.until_ms), ("person", person.from_ms, person.until_ms)):
        if from_ms is not None and at_ms < from_ms:
            reasons.add(f"{of}_not_yet_valid")
        if until_ms is not None and at_ms >= until_ms:
            reasons.add(f"{of}_expired")
    return reasons


def not_granted(facts: Facts, naming: list[Rule]) -> set[str]:
    """Outside its times, or never granted; a grant whose times never come may be called either."""
    if not naming:
        return {"no_grant"}
    for rule in naming:
        bounded = rule.from_ms is not None and rule.until_ms is not None and rule.from_ms >= rule.until_ms
        if rule.schedule is None and not bounded:
            return {"outside_schedule"}
    return {"outside_schedule", "no_grant"}


@dataclass(frozen=True)
class Question:
    credential: bytes
    point: str
    level: int
    at_ms: int
    age_ms: int


def refusal_of_card(facts: Facts, question: Question) -> set[str]:
    card = facts.cards.get(question.credential)
    if card is None:
        return {"card_unknown"}
    if card.state != "active":
        return {NO_USE[card.state]}
    if card.holder is None:
        return {"no_holder"}
    person = facts.people[card.holder]
    if not person.present:
        return {"person_left"}
    if not person.enabled:
        return {"person_disabled"}
    return out_of_time(card, person, question.at_ms)


def answers(facts: Facts, question: Question) -> set[str]:
    """Return the reasons that are right; more than one where the order of two true ones is nobody's concern."""
    if question.point not in facts.points:
        return {"point_unknown"}
    refused = refusal_of_card(facts, question)
    if refused:
        return refused
    point = facts.points[question.point]
    rules = facts.classes[point.point_class]
    if question.age_ms > rules.freshness_ms and not rules.stale_permits:
        return {"directory_stale"}
    holder = facts.cards[question.credential].holder
    naming = [rule for rule in facts.rules if names(facts, rule, holder, question.point)]
    now = [rule for rule in naming if holds(facts, rule, point.time_zone, question.at_ms)]
    if any(rule.effect == "block" for rule in now):
        return {"blocked"}
    if not any(rule.effect == "grant" for rule in now):
        return not_granted(facts, [rule for rule in naming if rule.effect == "grant"])
    timed = [
        level for schedule, level in rules.levels if is_open(facts.schedules[schedule], point.time_zone, question.at_ms)
    ]
    return {"granted" if question.level >= max(timed, default=rules.level) else "level_too_low"}
