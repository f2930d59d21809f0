# SPDX-License-Identifier: EUPL-1.2
"""Who gains and who loses what when points or groups change. Pure.

Every person is one bit of a number: who passes a point at a moment is a few operations on such numbers, however many
people there are. Lockdowns are left out, they pass; so is what a person's cards are like.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from cardservice.access.rules import NEVER_MS, REFUSED, Moment, PointRecord, Reason
from cardservice.errors import Conflict

# Edges of schedules at one point: no hours of people's change every minute.
MAX_MOMENTS: Final = 10_000
_NOBODY: Final = Moment(-NEVER_MS, NEVER_MS, 0, frozenset(), 0, None, REFUSED[Reason.NO_GRANT])


@unique
class Effect(StrEnum):
    """What a change does to somebody at a point, at some moment at least."""

    GAINS = "gains"
    LOSES = "loses"
    NEEDS_MORE = "needs_more"
    NEEDS_LESS = "needs_less"


@dataclass(frozen=True, slots=True)
class Membership:
    """Somebody (by login) or everybody of a group joins a group, or leaves it."""

    group: str
    login: str | None
    member_group: str | None
    joins: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many people it happens to at any point, and how many pairs of person and point."""

    people: int
    pairs: int


@dataclass(slots=True)
class Effects:
    """What happens to whom: for each point and effect one number with a bit for each person."""

    at: list[tuple[str, Effect, int]] = field(default_factory=list)

    def count(self, effect: Effect) -> Count:
        """Return how many it happens to."""
        people = pairs = 0
        for _, found, who in self.at:
            if found is effect:
                people |= who
                pairs += who.bit_count()
        return Count(people.bit_count(), pairs)

    def pairs(self, limit: int) -> Iterator[tuple[str, Effect, int]]:
        """Yield point, effect and number of a person, at most `limit`."""
        for point, effect, who in self.at:
            for number in _bits(who):
                if limit <= 0:
                    return
                yield point, effect, number
                limit -= 1


class People:
    """Who is one of which subjects: groups, and a person of their own (a negative number)."""

    def __init__(self, subjects: Sequence[Iterable[int]]) -> None:
        members: dict[int, bytearray] = {}
        for number, found in enumerate(subjects):
            for subject in found:
                members.setdefault(subject, bytearray(len(subjects) // 8 + 1))[number // 8] |= 1 << number % 8
        self._of_subject = {subject: int.from_bytes(bits, "little") for subject, bits in members.items()}
        self._known: dict[frozenset[int], int] = {}

    def among(self, subjects: frozenset[int]) -> int:
        """Return everybody who is one of `subjects`."""
        found = self._known.get(subjects)
        if found is None:
            found = 0
            for subject in subjects:
                found |= self._of_subject.get(subject, 0)
            self._known[subjects] = found
        return found

    def passing(self, moment: Moment) -> int:
        """Return everybody who is granted and not blocked."""
        blocked = frozenset() if moment.restriction is None else moment.restriction.blocked
        return self.among(moment.granted) & ~self.among(blocked)


@dataclass(frozen=True, slots=True)
class Side:
    """The city before or after the change."""

    points: Mapping[str, PointRecord]
    people: People


def effects(before: Side, after: Side, from_ms: int, until_ms: int) -> Effects:
    """Return what happens to whom at any moment from `from_ms` (inclusive) until `until_ms` (exclusive).

    Raises:
        Conflict: the hours at a point change more often than anybody's do.
    """
    found = Effects()
    same_people = before.people is after.people
    for code in sorted(before.points.keys() | after.points.keys()):
        old, new = before.points.get(code), after.points.get(code)
        if same_people and old == new:
            continue
        who = dict.fromkeys(Effect, 0)
        for at_ms in _moments(old, new, from_ms, until_ms):
            was, is_now = _moment(old, at_ms), _moment(new, at_ms)
            passed, passes = before.people.passing(was), after.people.passing(is_now)
            who[Effect.GAINS] |= passes & ~passed
            who[Effect.LOSES] |= passed & ~passes
            who[Effect.NEEDS_MORE] |= passed & passes if _exceeds(is_now, was) else 0
            who[Effect.NEEDS_LESS] |= passed & passes if _exceeds(was, is_now) else 0
        found.at += [(code, effect, people) for effect, people in who.items() if people]
    return found


def _moments(old: PointRecord | None, new: PointRecord | None, from_ms: int, until_ms: int) -> list[int]:
    """Return every instant at which anything changes by itself; what holds holds until the next."""
    found = {from_ms}
    for point in (old, new):
        if point is not None:
            floor = () if point.floor is None else (point.floor,)
            for entry in (*point.timed, *point.blocks, *point.timed_levels, *floor):
                found.update(at_ms for at_ms in entry.toggles if from_ms < at_ms < until_ms)
    if len(found) > MAX_MOMENTS:
        raise Conflict(f"the schedules at one point change {len(found)} times in these days; allowed are {MAX_MOMENTS}")
    return sorted(found)


def _moment(point: PointRecord | None, at_ms: int) -> Moment:
    return _NOBODY if point is None else point.turn_to(at_ms)


def _exceeds(one: Moment, other: Moment) -> bool:
    """Tell whether `one` demands a stronger proof or more people."""
    return one.level > other.level or _people(one) > _people(other)


def _people(moment: Moment) -> int:
    return 1 if moment.restriction is None else moment.restriction.people


def _bits(number: int) -> Iterator[int]:
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
