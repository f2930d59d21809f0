# SPDX-License-Identifier: EUPL-1.2
"""A person's month at the time clock: every booking, what was worked each day, and what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from cardservice.clock import Clock
from cardservice.database import read
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock import store
from cardservice.timeclock.days import USUAL_ZONE, Span, day_of, span_of, utc_offset, wall_clock
from cardservice.timeclock.rules import MINUTE_MS, REACH_MS, Booking, Kind, Shift, ShiftState, shifts_of

FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2999


@dataclass(frozen=True, slots=True)
class BookingView:
    """One booking as its terminal's clock showed it; `utc_offset` is "UTC+01:00"."""

    kind: Kind
    date: date
    clock: str
    utc_offset: str
    point: str


@dataclass(frozen=True, slots=True)
class DayView:
    """One day: its own bookings and those after midnight that belong to a shift of this day, in the order made."""

    day: date
    bookings: tuple[BookingView, ...]
    worked_minutes: int
    running: bool
    end_missing: bool
    start_missing: bool


@dataclass(frozen=True, slots=True)
class MonthView:
    """Every day of a month. Not `complete`: there were more bookings than one month's page takes."""

    year: int
    month: int
    days: tuple[DayView, ...]
    worked_minutes: int
    complete: bool


class TimeSheets:
    """Answers what somebody has booked. `secret` is the one that this use's pseudonyms are made with."""

    def __init__(
        self, engine: Engine, secret: Callable[[], bytes], clock: Clock, *, time_zone: str = USUAL_ZONE
    ) -> None:
        self._engine = engine
        self._secret = secret
        self._clock = clock
        self._zone = ZoneInfo(time_zone)

    def this_month(self) -> tuple[int, int]:
        """Return year and month as the calendar shows them now."""
        today = day_of(self._clock.now_ms(), self._zone)
        return today.year, today.month

    def month(self, person: int, year: int, month: int) -> MonthView:
        """Return the month of `person` (a row number).

        Raises:
            ValueError: there is no such month, or not one of the years 2000 to 2999.
            DatabaseUnavailable: the record store cannot be read.
        """
        if not FIRST_YEAR <= year <= LAST_YEAR:
            raise ValueError(f"year {year}: must be from {FIRST_YEAR} to {LAST_YEAR}")
        days = _days_of(year, month)
        whole = span_of(days[0], self._zone, len(days))
        pseudonym = pseudonym_of(self._secret(), person)
        with read(self._engine) as connection:
            # A shift may begin before the month's first booking, and end after its last.
            found = store.sheet(connection, pseudonym, whole.from_ms - REACH_MS, whole.until_ms + REACH_MS)
        now_ms = self._clock.now_ms()
        shifts = shifts_of(found[: store.MAX_SHEET], now_ms)
        views = tuple(self._day(day, shifts, now_ms) for day in days)
        return MonthView(
            year=year,
            month=month,
            days=views,
            worked_minutes=sum(view.worked_minutes for view in views),
            complete=len(found) <= store.MAX_SHEET,
        )

    def _day(self, day: date, shifts: Sequence[Shift], now_ms: int) -> DayView:
        span = span_of(day, self._zone)
        own = [shift for shift in shifts if _begins_in(shift, span)]
        states = {shift.state for shift in own}
        return DayView(
            day=day,
            bookings=tuple(self._booking(booking) for shift in own for booking in shift.bookings),
            worked_minutes=sum(shift.worked_by(now_ms) for shift in own) // MINUTE_MS,
            running=ShiftState.RUNNING in states,
            end_missing=ShiftState.END_MISSING in states,
            start_missing=ShiftState.START_MISSING in states,
        )

    def _booking(self, booking: Booking) -> BookingView:
        return BookingView(
            kind=booking.kind,
            date=day_of(booking.at_ms, self._zone),
            clock=wall_clock(booking.at_ms, self._zone),
            utc_offset=utc_offset(booking.at_ms, self._zone),
            point=booking.point,
        )


def _begins_in(shift: Shift, span: Span) -> bool:
    return span.from_ms <= shift.began_ms < span.until_ms


def _days_of(year: int, month: int) -> list[date]:
    first = date(year, month, 1)
    return [day for offset in range(31) if (day := first + timedelta(days=offset)).month == month]
