# SPDX-License-Identifier: EUPL-1.2
"""Calendar days and wall clocks of a time zone, as UTC instants in milliseconds."""

from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

# Where the terminals are, if nobody says otherwise.
USUAL_ZONE: Final = "Europe/Berlin"


class Span(NamedTuple):
    """From an instant to before another."""

    from_ms: int
    until_ms: int


def day_of(at_ms: int, zone: ZoneInfo) -> date:
    """Return the date the calendar shows at this instant."""
    return datetime.fromtimestamp(at_ms / 1_000, zone).date()


def span_of(first: date, zone: ZoneInfo, days: int = 1) -> Span:
    """Return when `days` days from `first` on begin and end; a day has 23 to 25 hours."""
    return Span(_midnight_ms(first, zone), _midnight_ms(first + timedelta(days=days), zone))


def wall_clock(at_ms: int, zone: ZoneInfo) -> str:
    """Return what a clock on the wall shows, as "08:01"."""
    return f"{datetime.fromtimestamp(at_ms / 1_000, zone):%H:%M}"


def utc_offset(at_ms: int, zone: ZoneInfo) -> str:
    """Return how far local time is from UTC, as "UTC+02:00": it tells the two 02:30 of one night in October apart."""
    return f"UTC{datetime.fromtimestamp(at_ms / 1_000, zone).isoformat()[-6:]}"


def hours_and_minutes(minutes: int) -> str:
    """Return a duration as "7:43"."""
    return f"{minutes // 60}:{minutes % 60:02}"


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(0), zone).timestamp()) * 1_000
