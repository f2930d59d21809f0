# SPDX-License-Identifier: EUPL-1.2
"""How much work bookings add up to: calculated by hand, and minute by minute against an independent oracle."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.timeclock.book import BERLIN, at, came, paused, resumed, went
from unit.timeclock.oracle import missing_ends, worked_minutes

from cardservice.timeclock.days import span_of
from cardservice.timeclock.rules import MINUTE_MS, Booking, Kind, ShiftState, shifts_of, worked_between

LATER = "2026-12-31 12:00"


def worked(day: str, *bookings: Booking, now: str = LATER) -> str:
    """The total of `day` as the terminal shows it."""
    now_ms, span = at(now), span_of(date.fromisoformat(day), BERLIN)
    minutes, rest = divmod(worked_between(shifts_of(bookings, now_ms), *span, now_ms), MINUTE_MS)
    assert rest == 0
    return f"{minutes // 60}:{minutes % 60:02}"


def states(*bookings: Booking, now: str = LATER) -> list[str]:
    return [shift.state.value for shift in shifts_of(bookings, at(now))]


def test_a_day_with_a_break():
    day = (came("2026-03-16 08:01"), paused("2026-03-16 12:00"), resumed("2026-03-16 12:31"), went("2026-03-16 16:32"))
    assert worked("2026-03-16", *day) == "8:00"
    assert states(*day) == ["ended"]


def test_two_stretches_are_two_shifts_of_one_day():
    day = (came("2026-03-16 08:00"), went("2026-03-16 12:00"), came("2026-03-16 14:00"), went("2026-03-16 17:30"))
    assert worked("2026-03-16", *day) == "7:30"
    assert states(*day) == ["ended", "ended"]


def test_what_people_read_off_the_clock_is_what_counts():
    """08:01:59 is 08:01: the total is the difference of the times shown, whatever the seconds were."""
    assert worked("2026-03-16", came("2026-03-16 08:01:59"), went("2026-03-16 16:32:01")) == "8:31"
    assert worked("2026-03-16", came("2026-03-16 08:01:01"), went("2026-03-16 16:32:59")) == "8:31"


@pytest.mark.parametrize(
    ("now", "expected"),
    [("2026-03-16 08:00", "0:00"), ("2026-03-16 08:00:59", "0:00"), ("2026-03-16 09:30", "1:30")],
)
def test_work_under_way_counts_up_to_now(now, expected):
    assert worked("2026-03-16", came("2026-03-16 08:00"), now=now) == expected


def test_a_break_under_way_does_not_count():
    day = (came("2026-03-16 08:00"), paused("2026-03-16 12:00"))
    assert worked("2026-03-16", *day, now="2026-03-16 12:45") == "4:00"
    assert shifts_of(day, at("2026-03-16 12:45"))[0].on_break


def test_going_home_from_a_break_ends_the_day_where_the_break_began():
    day = (came("2026-03-16 08:00"), paused("2026-03-16 12:00"), went("2026-03-16 12:30"))
    assert worked("2026-03-16", *day) == "4:00"
    assert states(*day) == ["ended"]


def test_work_over_midnight_belongs_to_the_day_it_began():
    night = (
        came("2026-03-16 22:00"),
        paused("2026-03-17 02:00"),
        resumed("2026-03-17 02:30"),
        went("2026-03-17 06:00"),
    )
    assert worked("2026-03-16", *night) == "7:30"
    assert worked("2026-03-17", *night) == "0:00"


def test_the_night_that_is_an_hour_shorter():
    """29 March 2026, 02:00 is 03:00: from 22:00 to 06:00 are seven hours."""
    assert worked("2026-03-28", came("2026-03-28 22:00"), went("2026-03-29 06:00")) == "7:00"
    assert worked("2026-03-29", came("2026-03-29 01:30"), went("2026-03-29 03:30")) == "1:00"
    assert worked("2026-03-29", came("2026-03-29 00:00"), went("2026-03-29 23:59")) == "22:59"


def test_the_night_that_is_an_hour_longer():
    """25 October 2026, 03:00 is 02:00 again: from 22:00 to 06:00 are nine hours, and 02:30 comes twice."""
    assert worked("2026-10-24", came("2026-10-24 22:00"), went("2026-10-25 06:00")) == "9:00"
    assert worked("2026-10-25", came("2026-10-25 02:30"), went("2026-10-25 02:30", second=True)) == "1:00"
    assert worked("2026-10-25", came("2026-10-25 02:45"), went("2026-10-25 02:15", second=True)) == "0:30"


def test_a_break_through_the_change_of_time():
    """On 25 October from the first 02:30 to the second is an hour; on 29 March from 01:45 to 03:15 is half of one."""
    autumn = (
        came("2026-10-24 22:00"),
        paused("2026-10-25 02:30"),
        resumed("2026-10-25 02:30", second=True),
        went("2026-10-25 06:00"),
    )
    assert worked("2026-10-24", *autumn) == "8:00"
    spring = (
        came("2026-03-28 22:00"),
        paused("2026-03-29 01:45"),
        resumed("2026-03-29 03:15"),
        went("2026-03-29 06:00"),
    )
    assert worked("2026-03-28", *spring) == "6:30"


def test_a_forgotten_end_invents_no_work():
    """The day shows it; what was booked to its end still counts, the next day is whole."""
    days = (came("2026-03-16 08:00"), came("2026-03-17 08:00"), went("2026-03-17 16:00"))
    assert (worked("2026-03-16", *days), worked("2026-03-17", *days)) == ("0:00", "8:00")
    assert states(*days) == ["end_missing", "ended"]
    half = (came("2026-03-16 08:00"), paused("2026-03-16 12:00"), resumed("2026-03-16 12:30"))
    assert worked("2026-03-16", *half) == "4:00"
    assert states(*half) == ["end_missing"]


def test_nothing_runs_for_ever():
    """24 hours are counted at most; 26 after the coming its end is missing, and what comes then is no part of it."""
    duty = came("2026-03-16 08:00")
    assert worked("2026-03-16", duty, went("2026-03-17 08:10")) == "24:00"
    assert worked("2026-03-16", duty, now="2026-03-17 09:59") == "24:00"
    rest = (paused("2026-03-16 12:00"), resumed("2026-03-16 14:00"))
    assert worked("2026-03-16", duty, *rest, went("2026-03-17 09:00")) == "22:00"
    assert states(duty, now="2026-03-17 10:00") == ["running"]
    assert states(duty, now="2026-03-17 10:01") == ["end_missing"]
    assert states(duty, went("2026-03-17 10:00")) == ["ended"]
    assert states(duty, went("2026-03-17 10:01")) == ["end_missing", "start_missing"]
    assert worked("2026-03-16", duty, went("2026-03-17 10:01")) == "0:00"


def test_what_no_coming_belongs_to_counts_nothing():
    day = (went("2026-03-16 16:00"), paused("2026-03-16 17:00"), resumed("2026-03-16 18:00"))
    assert worked("2026-03-16", *day) == "0:00"
    assert states(*day) == ["start_missing"] * 3


def test_a_booking_that_repeats_the_one_before_changes_nothing():
    day = (
        came("2026-03-16 08:00"),
        resumed("2026-03-16 09:00"),
        paused("2026-03-16 12:00"),
        paused("2026-03-16 12:10"),
        resumed("2026-03-16 12:30"),
        went("2026-03-16 16:30"),
    )
    assert worked("2026-03-16", *day) == "8:00"
    assert states(*day) == ["ended"]


@pytest.mark.parametrize("back", ["2026-03-16 07:00", "2026-03-15 12:00", "2019-01-01 00:00"])
def test_a_clock_set_back_makes_nothing_negative(back):
    """Whatever is booked at an earlier time than the booking before, no total is below zero."""
    for later in (went, paused, resumed, came):
        day = (came("2026-03-16 08:00"), later(back), went("2026-03-16 16:00"))
        shifts = shifts_of(day, at("2026-03-16 07:30"))
        assert min(shift.worked_by(at(back)) for shift in shifts) >= 0
    assert worked("2026-03-16", came("2026-03-16 08:00"), went(back)) == "0:00"
    assert worked("2026-03-16", came("2026-03-16 08:00"), now=back) == "0:00"


def test_a_clock_an_hour_back_costs_no_more_than_that_hour():
    day = (came("2026-03-16 08:00"), paused("2026-03-16 12:00"), resumed("2026-03-16 11:30"), went("2026-03-16 15:30"))
    assert worked("2026-03-16", *day) == "8:00"


def test_a_clock_set_back_in_a_break_makes_no_shift_longer_than_a_day():
    day = (came("2026-03-16 08:00"), paused("2026-03-16 20:00"), resumed("2026-03-16 06:00"), went("2026-03-17 08:00"))
    assert worked("2026-03-16", *day) == "24:00"


MONDAY_MS = at("2026-03-23 00:00")
STEPS = st.one_of(st.integers(0, 5 * MINUTE_MS), st.integers(0, 10 * 3_600_000), st.integers(0, 30 * 3_600_000))


@st.composite
def weeks(draw) -> list[tuple[str, int]]:
    """Any bookings in any order, the clock going on; over the week of the change to summer time."""
    found, now_ms = [], MONDAY_MS
    for kind, step in draw(st.lists(st.tuples(st.sampled_from(list(Kind)), STEPS), max_size=14)):
        now_ms += step
        found.append((kind.value, now_ms))
    return found


@given(weeks(), st.integers(0, 40 * 3_600_000))
def test_every_minute_counts_as_the_oracle_says(week, after_ms):
    """Each day of the week, whatever was booked: the same minutes, and as many missing ends."""
    now_ms = (week[-1][1] if week else MONDAY_MS) + after_ms
    shifts = shifts_of([Booking(Kind(kind), at_ms, "pforte") for kind, at_ms in week], now_ms)
    for day in range(20, 32):
        span = span_of(date(2026, 3, day), BERLIN)
        assert worked_between(shifts, *span, now_ms) == worked_minutes(week, *span, now_ms) * MINUTE_MS
    assert sum(shift.state is ShiftState.END_MISSING for shift in shifts) == missing_ends(week, now_ms)


@given(weeks())
def test_every_booking_is_in_exactly_one_shift(week):
    """Nothing is dropped or counted twice, and the order within a shift is the order made."""
    bookings = [Booking(Kind(kind), at_ms, str(number)) for number, (kind, at_ms) in enumerate(week)]
    shifts = shifts_of(bookings, week[-1][1] if week else MONDAY_MS)
    assert sorted(int(b.point) for shift in shifts for b in shift.bookings) == list(range(len(week)))
    assert all([int(b.point) for b in s.bookings] == sorted(int(b.point) for b in s.bookings) for s in shifts)


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.integers(-40 * 3_600_000, 40 * 3_600_000)), max_size=12))
def test_no_order_of_clocks_makes_a_negative_or_endless_shift(jumps):
    """With a clock that jumps to and fro, each shift counts from 0 to 24 hours."""
    now_ms, bookings = MONDAY_MS, []
    for kind, jump in jumps:
        now_ms += jump
        bookings.append(Booking(kind, now_ms, "pforte"))
    for shift in shifts_of(bookings, now_ms):
        assert 0 <= shift.worked_by(now_ms) <= 24 * 3_600_000
