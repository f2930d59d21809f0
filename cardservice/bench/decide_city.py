# SPDX-License-Identifier: EUPL-1.2
"""The city that `cardservice bench decide` asks: random and repeatable, with everything the access model has.

A person is in 5 groups; every card has a validity. A point is granted to 6 groups, in three of ten to 3 of them only at
office hours of a year of working days; one of ten blocks a group at night; two of ten demand a PIN at night; one of
fifty demands two people. `NOW_MS` is a Tuesday noon.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cardservice.access.rules import (
    REFUSED,
    CardRecord,
    CompiledPeriod,
    Decision,
    Level,
    PointRecord,
    Reason,
    Tap,
    Timed,
    TimedLevel,
    Use,
    Window,
)
from cardservice.access.schedules import Interval, Schedule, compile_schedule
from cardservice.access.snapshot import ShardedMap, Snapshot, same_number

TAPS: Final = 20_000
NOW_MS: Final = int(datetime(2026, 11, 17, 12, tzinfo=UTC).timestamp()) * 1_000
DAY_MS: Final = 86_400_000
_ZONE: Final = "Europe/Berlin"
_GROUPS_OF_A_PERSON: Final = 5
_GROUPS_OF_A_POINT: Final = 6
_YEAR_MS: Final = 365 * DAY_MS
_VALIDITY: Final = Window(
    NOW_MS - _YEAR_MS, NOW_MS + _YEAR_MS, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.CARD_EXPIRED]
)
_OFFICE: Final = Schedule(tuple(Interval(day, 7 * 60, 19 * 60) for day in range(5)), land="NW")
_NIGHT: Final = Schedule(
    tuple(Interval(day, start, end) for day in range(8) for start, end in ((0, 6 * 60), (20 * 60, 24 * 60)))
)
_GRANTED: Final = Decision(permit=True, reason=Reason.GRANTED, open_ms=5_000)


@dataclass(frozen=True, slots=True)
class Size:
    """How large the city is."""

    name: str
    people: int
    points: int
    groups: int


SIZES: Final = (Size("S", 10_000, 500, 200), Size("L", 100_000, 5_000, 2_000), Size("XL", 1_000_000, 5_000, 2_000))


@dataclass(frozen=True, slots=True)
class City:
    """A snapshot, taps of random cards in it, and how long the snapshot took to build from its records."""

    snapshot: Snapshot
    taps: Sequence[Tap]
    build_s: float


def build(size: Size) -> City:
    """Build the city of one size; the same every time."""
    rng = random.Random(size.people)  # noqa: S311  # a repeatable city, not a secret
    points = {point.code: point for point in _points(size, rng)}
    keys = [b"\x01" + number.to_bytes(12, "big") for number in rng.sample(range(2**60), size.people)]
    rows = list(_cards(size, keys, rng))
    began_s = time.perf_counter()
    snapshot = Snapshot(1, ShardedMap.of(rows), points, CompiledPeriod(0, NOW_MS * 2))
    build_s = time.perf_counter() - began_s
    return City(snapshot, _taps(snapshot, keys, rng), build_s)


def cards_alone(size: Size) -> Snapshot:
    """Build the cards one by one, as the service does from the rows of its database, and no points."""
    rng = random.Random(size.people)  # noqa: S311  # a repeatable city, not a secret
    keys = (b"\x01" + rng.randbytes(12) for _ in range(size.people))
    return Snapshot(1, ShardedMap.of(_cards(size, keys, rng)), {}, CompiledPeriod(0, NOW_MS * 2))


def _cards(
    size: Size, keys: "Sequence[bytes] | Iterator[bytes]", rng: random.Random
) -> Iterator[tuple[bytes, CardRecord]]:
    groups = [same_number(group) for group in range(1, size.groups + 1)]
    for row, key in enumerate(keys, start=1):
        # Two numbers as two rows of a database are.
        yield key, CardRecord(None, _VALIDITY, tuple(rng.sample(groups, _GROUPS_OF_A_PERSON)), row, row + size.people)


def _points(size: Size, rng: random.Random) -> Iterator[PointRecord]:
    office, night = (compile_schedule(schedule, _ZONE, NOW_MS - DAY_MS) for schedule in (_OFFICE, _NIGHT))
    for number in range(size.points):
        groups = [same_number(group) for group in rng.sample(range(1, size.groups + 1), _GROUPS_OF_A_POINT + 1)]
        blocked, granted = groups[0], groups[1:]
        in_time = _GROUPS_OF_A_POINT // 2 if number % 10 < 3 else 0
        yield PointRecord(
            code=f"door-{number}",
            use=Use.DOOR,
            always=frozenset(granted[in_time:]),
            timed=(Timed(office, frozenset(granted[:in_time])),) if in_time else (),
            blocks=(Timed(night, frozenset({blocked})),) if number % 10 == 3 else (),
            level=Level.CARD,
            timed_levels=(TimedLevel(night, Level.CARD_PIN),) if number % 10 in {4, 5} else (),
            freshness_ms=43_200_000,
            stale_permits=False,
            granted=_GRANTED,
            people=2 if number % 50 == 6 else 1,
            by_clock=number % 10 in {3, 4, 5},
            compiled_from_ms=NOW_MS - DAY_MS,
            compiled_until_ms=NOW_MS + _YEAR_MS,
        )


def _taps(snapshot: Snapshot, keys: Sequence[bytes], rng: random.Random) -> list[Tap]:
    """Return taps of random cards, half of them at a point that admits them; keys are fresh objects, as when parsed."""
    points = list(snapshot.points.values())
    by_group: dict[int, list[str]] = {}
    for point in points:
        for group in point.turn_to(NOW_MS).granted:
            by_group.setdefault(group, []).append(point.code)
    taps = []
    for number in range(TAPS):
        key = rng.choice(keys)
        record = snapshot.card(key)
        if record is None:
            raise AssertionError("the key was just put in")
        admitted = [code for group in record.subjects for code in by_group.get(group, ())]
        code = rng.choice(admitted) if number % 2 and admitted else rng.choice(points).code
        taps.append(Tap(code, bytes(bytearray(key)), Level.CARD))
    return taps
