# SPDX-License-Identifier: EUPL-1.2
"""Schedules compiled to instants: summer time, midnight, holidays, validity."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.access.rules import NEVER_MS, inside
from cardservice.access.schedules import (
    ALWAYS,
    LAENDER,
    SPECIAL_DAY,
    Interval,
    Schedule,
    SpecialDays,
    compile_schedule,
    within,
)

BERLIN = "Europe/Berlin"
SUNDAY = 6


def utc_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def spans(schedule: Schedule, day: str, days: int = 3, zone: str = BERLIN) -> list[tuple[str, str]]:
    """Compile around `day` and return each open span in UTC."""
    toggles = compile_schedule(schedule, zone, utc_ms(f"{day}T12:00"), days)
    instants = [datetime.fromtimestamp(at / 1000, UTC).strftime("%m-%d %H:%M") for at in toggles]
    return list(zip(instants[::2], instants[1::2], strict=True))


def weekly(day: int, start: str, end: str, land: str | None = None) -> Schedule:
    return Schedule((Interval(day, _minute(start), _minute(end)),), land)


def _minute(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)


def test_no_schedule_is_always() -> None:
    assert compile_schedule(None, BERLIN, 0) == ALWAYS


def test_local_time_follows_summer_time() -> None:
    """Seven in the morning is 06:00 UTC in winter and 05:00 UTC in summer."""
    assert spans(weekly(2, "7:00", "18:00"), "2026-01-14") == [("01-14 06:00", "01-14 17:00")]
    assert spans(weekly(2, "7:00", "18:00"), "2026-07-15") == [("07-15 05:00", "07-15 16:00")]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("1:00", "4:00", [("03-29 00:00", "03-29 02:00")]),
        ("2:30", "4:00", [("03-29 01:30", "03-29 02:00")]),
        ("1:00", "2:30", [("03-29 00:00", "03-29 01:30")]),
        ("2:00", "3:00", []),
        ("2:30", "3:15", []),
    ],
)
def test_the_hour_that_does_not_exist(start: str, end: str, expected: list[tuple[str, str]]) -> None:
    """On 29 March 2026 02:30 is 03:30, and what would end before it begins does not happen."""
    assert spans(weekly(SUNDAY, start, end), "2026-03-29") == expected


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2:30", "4:00", [("10-25 00:30", "10-25 03:00")]),
        ("1:00", "2:30", [("10-24 23:00", "10-25 01:30")]),
        ("2:15", "2:45", [("10-25 00:15", "10-25 01:45")]),
        ("3:00", "4:00", [("10-25 02:00", "10-25 03:00")]),
    ],
)
def test_the_hour_that_exists_twice(start: str, end: str, expected: list[tuple[str, str]]) -> None:
    """On 25 October 2026 an interval begins at the first 02:30 and ends at the second."""
    assert spans(weekly(SUNDAY, start, end), "2026-10-25") == expected


def test_days_are_as_long_as_they_are() -> None:
    """A whole day has 23, 24 or 25 hours, and 24:00 is the next midnight."""
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-14", 24)):
        opens, closes = compile_schedule(weekly(SUNDAY, "0:00", "24:00"), BERLIN, utc_ms(f"{day}T12:00"), 3)
        assert closes - opens == hours * 3_600_000


def test_spans_that_meet_at_midnight_are_one() -> None:
    schedule = Schedule((Interval(0, 22 * 60, 1440), Interval(1, 0, 6 * 60)))
    assert spans(schedule, "2026-01-12") == [("01-12 21:00", "01-13 05:00")]


def test_overlapping_intervals_are_one() -> None:
    schedule = Schedule((Interval(2, 480, 720), Interval(2, 600, 1000), Interval(2, 500, 510)))
    assert spans(schedule, "2026-01-14") == [("01-14 07:00", "01-14 15:40")]


def test_the_day_before_counts_so_that_a_night_shift_goes_on() -> None:
    """Compiled after midnight, the span still begins where it began yesterday."""
    now = utc_ms("2026-01-13T00:30")
    schedule = Schedule((Interval(0, 22 * 60, 1440), Interval(1, 0, 6 * 60)))
    assert compile_schedule(schedule, BERLIN, now)[:2] == (utc_ms("2026-01-12T21:00"), utc_ms("2026-01-13T05:00"))


def test_a_public_holiday_is_no_weekday() -> None:
    """1 May 2026, a Friday: only intervals of the special day hold, in the Länder where it is one."""
    closed = weekly(4, "7:00", "18:00", "NW")
    assert spans(closed, "2026-05-01") == []
    assert spans(weekly(4, "7:00", "18:00"), "2026-05-01") == [("05-01 05:00", "05-01 16:00")]
    assert spans(weekly(SPECIAL_DAY, "10:00", "12:00", "NW"), "2026-05-01") == [("05-01 08:00", "05-01 10:00")]


def test_holidays_are_those_of_the_land() -> None:
    """Fronleichnam (4 June 2026, a Thursday) is one in Nordrhein-Westfalen and none in Berlin."""
    assert spans(weekly(3, "7:00", "18:00", "NW"), "2026-06-04") == []
    assert spans(weekly(3, "7:00", "18:00", "BE"), "2026-06-04") == [("06-04 05:00", "06-04 16:00")]


def test_without_a_land_there_are_no_special_days() -> None:
    assert compile_schedule(weekly(SPECIAL_DAY, "0:00", "24:00"), BERLIN, utc_ms("2026-01-01T12:00")) == ()


OFFICE = tuple(Interval(day, 8 * 60, 16 * 60) for day in range(5))
CHRISTMAS_EVE, BRIDGE_DAY = date(2026, 12, 24), date(2027, 1, 4)


def test_a_special_day_has_its_own_hours_and_no_others() -> None:
    """A half day is shorter, a closing day is shut, whatever weekday it is; the days around are as ever."""
    half = SpecialDays(frozenset({CHRISTMAS_EVE}), ((8 * 60, 12 * 60),))
    shut = SpecialDays(frozenset({BRIDGE_DAY}))
    schedule = Schedule(OFFICE, "NW", (half, shut))
    assert spans(schedule, "2026-12-24") == [("12-23 07:00", "12-23 15:00"), ("12-24 07:00", "12-24 11:00")]
    assert spans(schedule, "2027-01-04", 4) == [("01-05 07:00", "01-05 15:00"), ("01-06 07:00", "01-06 15:00")]


def test_a_special_day_on_a_holiday_or_a_sunday_opens_all_the_same() -> None:
    """Elections are held on Sundays: what is said of the one day beats what is said of all like it."""
    election, holiday = date(2026, 9, 13), date(2026, 12, 25)
    schedule = Schedule(OFFICE, "NW", (SpecialDays(frozenset({election, holiday}), ((6 * 60, 20 * 60),)),))
    assert ("09-13 04:00", "09-13 18:00") in spans(schedule, "2026-09-13")
    assert spans(schedule, "2026-12-25", 3) == [("12-24 07:00", "12-24 15:00"), ("12-25 05:00", "12-25 19:00")]


def test_a_day_in_two_groups_has_the_hours_of_the_first() -> None:
    """It is refused when it is entered; should it stand there all the same, the answer is always the same one."""
    day = frozenset({CHRISTMAS_EVE})
    both = (SpecialDays(day, ((480, 540),)), SpecialDays(day))
    assert Schedule(OFFICE, None, both).hours(CHRISTMAS_EVE) == ((480, 540),)
    assert Schedule(OFFICE, None, both[::-1]).hours(CHRISTMAS_EVE) == ()


def test_every_land_is_known() -> None:
    assert len(LAENDER) == 16
    new_year = utc_ms("2027-01-01T12:00")
    for land in LAENDER:
        assert inside(compile_schedule(weekly(SPECIAL_DAY, "0:00", "24:00", land), BERLIN, new_year, 3), new_year)


def test_the_horizon_is_more_than_a_year() -> None:
    now = utc_ms("2026-01-14T12:00")
    last = compile_schedule(weekly(2, "7:00", "18:00"), BERLIN, now)[-1]
    assert datetime.fromtimestamp(last / 1000, UTC).date() > date(2026, 1, 14) + timedelta(days=390)


def test_another_zone_has_its_own_midnight() -> None:
    assert spans(weekly(2, "0:00", "24:00"), "2026-01-14", zone="Atlantic/Azores") == [("01-14 01:00", "01-15 01:00")]


INTERVALS = st.builds(
    lambda day, start, length: Interval(day, start, min(1440, start + length)),
    st.integers(0, 7),
    st.integers(0, 1439),
    st.integers(1, 1440),
)


@given(st.lists(INTERVALS, max_size=8), st.sampled_from([None, "NW", "BY"]), st.integers(0, 800))
def test_toggles_strictly_rise_and_come_in_pairs(intervals: list[Interval], land: str | None, start_day: int) -> None:
    """Any schedule compiles to something a binary search can be run on."""
    toggles = compile_schedule(
        Schedule(tuple(intervals), land), BERLIN, start_day * 86_400_000 + utc_ms("2026-01-01"), 40
    )
    assert len(toggles) % 2 == 0
    assert list(toggles) == sorted(set(toggles))


@pytest.mark.parametrize(
    ("toggles", "from_ms", "until_ms", "kept"),
    [
        (ALWAYS, None, None, ALWAYS),
        (ALWAYS, 5, None, (5,)),
        (ALWAYS, None, 5, (-NEVER_MS, 5)),
        (ALWAYS, 5, 9, (5, 9)),
        (ALWAYS, 9, 5, ()),
        (ALWAYS, 5, 5, ()),
        ((), 5, 9, ()),
        ((10, 20, 30, 40), None, None, (10, 20, 30, 40)),
        ((10, 20, 30, 40), 15, 35, (15, 20, 30, 35)),
        ((10, 20, 30, 40), 20, 30, ()),
        ((10, 20, 30, 40), 40, None, ()),
        ((10, 20, 30), 25, None, (30,)),
        ((10, 20, 30), None, 35, (10, 20, 30, 35)),
    ],
)
def test_within_cuts_to_the_validity(
    toggles: tuple[int, ...], from_ms: int | None, until_ms: int | None, kept: tuple[int, ...]
) -> None:
    assert within(toggles, from_ms, until_ms) == kept


@given(
    st.lists(st.integers(0, 60), unique=True, max_size=8).map(lambda numbers: tuple(sorted(numbers))),
    st.none() | st.integers(-5, 65),
    st.none() | st.integers(-5, 65),
)
def test_within_is_both_at_every_instant(toggles: tuple[int, ...], from_ms: int | None, until_ms: int | None) -> None:
    kept = within(toggles, from_ms, until_ms)
    for at in range(-10, 71):
        valid = (from_ms is None or from_ms <= at) and (until_ms is None or at < until_ms)
        assert inside(kept, at) is (inside(toggles, at) and valid)


def test_an_unknown_zone_is_not_taken_for_another() -> None:
    with pytest.raises(KeyError):
        compile_schedule(weekly(0, "7:00", "8:00"), "Europe/Nowhere", 0)
    assert ZoneInfo(BERLIN).key == BERLIN
