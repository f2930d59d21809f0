# SPDX-License-Identifier: EUPL-1.2
"""Schedules compiled to instants: local weekly times and public holidays become sorted toggles in UTC.

A tuple of toggles opens at its first element, closes at the second, and so on. Pure, but not standard library only: the
holidays of the German Länder come from the `holidays` package, the zones from zoneinfo.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import holidays

from cardservice.access.rules import NEVER_MS

SPECIAL_DAY = 7
HORIZON_DAYS = 400
ALWAYS: tuple[int, ...] = (-NEVER_MS,)
# The package knows cities with a holiday of their own too; a Land has two letters.
LAENDER: tuple[str, ...] = tuple(code for code in holidays.country_holidays("DE").subdivisions if len(code) == 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """On `day` (0 Monday .. 6 Sunday, 7 special day) from `start_minute` until before `end_minute`, local wall time."""

    day: int
    start_minute: int
    end_minute: int


@dataclass(frozen=True, slots=True)
class SpecialDays:
    """Days with hours of their own (start minute, end minute), whatever weekday or holiday they are; none: shut."""

    days: frozenset[date]
    hours: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A week of intervals; on a public holiday of `land` only the intervals of day 7 hold.

    On a day in `special` only its hours hold; of two, the first.
    """

    intervals: tuple[Interval, ...]
    land: str | None = None
    special: tuple[SpecialDays, ...] = ()

    def hours(self, day: date) -> tuple[tuple[int, int], ...]:
        """Return start and end minute of every interval of a day."""
        for special in self.special:
            if day in special.days:
                return special.hours
        kind = SPECIAL_DAY if is_public_holiday(self.land, day) else day.weekday()
        return tuple((one.start_minute, one.end_minute) for one in self.intervals if one.day == kind)


def compile_schedule(schedule: Schedule | None, zone: str, from_ms: int, days: int = HORIZON_DAYS) -> tuple[int, ...]:
    """Return the toggles of `schedule` in time zone `zone` for `days` from the day before `from_ms`; None is always.

    Both changes of summer time are right: 02:30 on the day it does not exist is 03:30; on the day it exists twice, an
    interval that begins then begins at the first and one that ends then ends at the second.
    """
    if schedule is None:
        return ALWAYS
    tz = ZoneInfo(zone)
    first = datetime.fromtimestamp(from_ms / 1000, tz).date() - timedelta(days=1)
    spans: list[tuple[int, int]] = []
    for offset in range(days):
        day = first + timedelta(days=offset)
        spans.extend(
            (min(_instants(day, start_minute, tz)), max(_instants(day, end_minute, tz)))
            for start_minute, end_minute in schedule.hours(day)
        )
    return _toggles(spans)


def is_public_holiday(land: str | None, day: date) -> bool:
    """Tell whether a day is a public holiday of a Land; no Land has none."""
    return land is not None and day in _public_holidays(land, day.year)


@lru_cache(maxsize=256)
def _public_holidays(land: str, year: int) -> frozenset[date]:
    return frozenset(holidays.country_holidays("DE", subdiv=land, years=year))


def _instants(day: date, minute: int, tz: ZoneInfo) -> tuple[int, ...]:
    """Return the instants a local time is: one, two where the clock is set back, the later where it is skipped."""
    local = datetime.combine(day, time(0)) + timedelta(minutes=minute)
    both = tuple(int(local.replace(tzinfo=tz, fold=fold).timestamp() * 1000) for fold in (0, 1))
    skipped = both[0] > both[1]
    return both[:1] if skipped else both


def _toggles(spans: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Merge spans that touch or overlap, so that the toggles strictly rise."""
    merged: list[int] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += (start, end)
    return tuple(merged)


def within(toggles: Sequence[int], from_ms: int | None, until_ms: int | None) -> tuple[int, ...]:
    """Return `toggles` cut to the validity `from_ms` (inclusive) .. `until_ms` (exclusive); None sets no bound."""
    low = -NEVER_MS if from_ms is None else from_ms
    high = NEVER_MS if until_ms is None else until_ms
    ends = list(toggles) + ([NEVER_MS] if len(toggles) % 2 else [])
    spans = [(max(low, ends[i]), min(high, ends[i + 1])) for i in range(0, len(ends), 2)]
    kept = _toggles(spans)
    return kept[:-1] if kept and kept[-1] == NEVER_MS else kept
