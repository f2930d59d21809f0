# SPDX-License-Identifier: EUPL-1.2
"""My bookings of the month, on both databases: every booking on one day of one month, hours as calculated by hand."""

import random
from collections import Counter
from datetime import datetime

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock
from unit.timeclock.book import BERLIN, at
from unit.timeclock.oracle import MINUTE_MS, worked_minutes
from unit.timeclock.terminal import ANNA, BEN, book, permitted, secret

from cardservice.database import Databases, write
from cardservice.pseudonyms import pseudonym_of
from cardservice.timeclock.csv_export import month_csv
from cardservice.timeclock.place import TimeClock
from cardservice.timeclock.service import DayView, MonthView, TimeSheets
from cardservice.timeclock.store import MAX_SHEET, timeclock_booking


@pytest.fixture
def now(clock: FakeClock) -> FakeClock:
    clock.wall_ms = at("2026-12-15 12:00")
    return clock


@pytest.fixture
def time_clock(now: FakeClock) -> TimeClock:
    return TimeClock(secret, now)


@pytest.fixture
def sheets(databases: Databases, now: FakeClock) -> TimeSheets:
    return TimeSheets(databases.record, secret, now)


def worked(view: MonthView) -> dict[int, int]:
    """Minutes by day of the month, where there are any."""
    return {day.day.day: day.worked_minutes for day in view.days if day.worked_minutes}


def flagged(view: MonthView, flag: str) -> list[int]:
    return [day.day.day for day in view.days if getattr(day, flag)]


def on_the_wall(at_ms: int) -> str:
    """An instant as `shown` has it."""
    moment = datetime.fromtimestamp(at_ms / 1_000, BERLIN)
    return f"{moment:%m-%d %H:%M} UTC{moment.isoformat()[-6:]}"


def shown(day: DayView) -> list[tuple[str, str]]:
    return [
        (booking.kind.value, f"{booking.date:%m-%d} {booking.clock} {booking.utc_offset}") for booking in day.bookings
    ]


def test_both_months_of_the_change_of_time(databases, time_clock, sheets):
    """The night of 28 March is an hour shorter, that of 24 October an hour longer; both are of the day they began."""
    book(
        databases.record,
        time_clock,
        permitted("2026-03-27 08:00"),
        permitted("2026-03-27 16:30"),
        permitted("2026-03-28 22:00"),
        permitted("2026-03-29 06:00"),
        permitted("2026-10-24 22:00"),
        permitted("2026-10-25 06:00"),
        permitted("2026-10-26 08:00"),
        permitted("2026-10-26 12:15"),
    )
    march, october = sheets.month(ANNA, 2026, 3), sheets.month(ANNA, 2026, 10)
    assert (len(march.days), len(october.days)) == (31, 31)
    assert worked(march) == {27: 510, 28: 420}
    assert worked(october) == {24: 540, 26: 255}
    assert (march.worked_minutes, october.worked_minutes) == (930, 795)
    assert shown(march.days[27]) == [("in", "03-28 22:00 UTC+01:00"), ("out", "03-29 06:00 UTC+02:00")]
    assert shown(october.days[23]) == [("in", "10-24 22:00 UTC+02:00"), ("out", "10-25 06:00 UTC+01:00")]
    assert march.days[28].bookings == october.days[24].bookings == ()


def test_the_night_into_the_next_month(databases, time_clock, sheets):
    """It is in the month it began, with its end, and in no other."""
    book(databases.record, time_clock, permitted("2026-04-30 22:00"), permitted("2026-05-01 06:00"))
    april, may = sheets.month(ANNA, 2026, 4), sheets.month(ANNA, 2026, 5)
    assert worked(april) == {30: 480}
    assert len(april.days[29].bookings) == 2
    assert (worked(may), [day for day in may.days if day.bookings]) == ({}, [])
    assert flagged(may, "start_missing") == []


def test_what_is_missing_or_still_running_is_flagged(databases, time_clock, sheets, now):
    """A forgotten end, a forgotten coming, and the day on which somebody works at this moment."""
    book(
        databases.record,
        time_clock,
        permitted("2026-12-07 08:00"),
        permitted("2026-12-08 08:00"),
        permitted("2026-12-08 12:00"),
        permitted("2026-12-09 16:00", "out"),
        permitted("2026-12-15 08:00:30"),
    )
    december = sheets.month(ANNA, 2026, 12)
    assert flagged(december, "end_missing") == [7]
    assert flagged(december, "start_missing") == [9]
    assert flagged(december, "running") == [15]
    assert worked(december) == {8: 240, 15: 240}
    assert sheets.this_month() == (2026, 12)
    now.wall_ms = at("2026-12-31 23:30")
    assert worked(sheets.month(ANNA, 2026, 12)) == {8: 240}
    assert flagged(sheets.month(ANNA, 2026, 12), "end_missing") == [7, 15]


def test_a_clock_set_back_changes_no_order(databases, time_clock, sheets):
    """A going booked at an earlier time than its coming ends it all the same, and counts nothing."""
    book(databases.record, time_clock, permitted("2026-03-16 08:30", "in"), permitted("2026-03-16 07:45", "out"))
    march = sheets.month(ANNA, 2026, 3)
    assert [kind for kind, _ in shown(march.days[15])] == ["in", "out"]
    assert (march.worked_minutes, flagged(march, "end_missing"), flagged(march, "start_missing")) == (0, [], [])


def test_a_month_shows_one_person_only(databases, time_clock, sheets):
    """Not a colleague, and nobody under another use's secret."""
    book(databases.record, time_clock, permitted("2026-03-16 08:00"), permitted("2026-03-16 09:00", person=BEN))
    assert [len(sheets.month(person, 2026, 3).days[15].bookings) for person in (ANNA, BEN)] == [1, 1]
    other = TimeSheets(databases.record, lambda: b"secret of the canteen", FakeClock())
    assert not any(day.bookings for day in other.month(ANNA, 2026, 3).days)


@pytest.mark.parametrize(("year", "month"), [(2026, 0), (2026, 13), (1999, 12), (3000, 1), (-1, 1), (10**9, 1)])
def test_a_month_there_is_none_of_is_refused(sheets, year, month):
    with pytest.raises(ValueError, match=r"year|month"):
        sheets.month(ANNA, year, month)


@pytest.mark.parametrize(("year", "month", "days"), [(2026, 2, 28), (2028, 2, 29), (2026, 12, 31), (2999, 12, 31)])
def test_every_month_has_its_days(sheets, year, month, days):
    view = sheets.month(ANNA, year, month)
    assert [day.day.day for day in view.days] == list(range(1, days + 1))
    assert (view.worked_minutes, view.complete) == (0, True)


def test_a_month_too_full_says_so(databases, sheets):
    """What one page reads is bounded; it never looks as if it were everything."""
    pseudonym, from_ms = pseudonym_of(secret(), ANNA), at("2026-03-02 00:00")
    row = {"pseudonym": pseudonym, "kind": "in", "point": "pforte", "recorded_ms": 0, "source": "terminal"}
    rows = [row | {"event": f"pforte/1/{n}", "at_ms": from_ms + n * MINUTE_MS} for n in range(MAX_SHEET)]
    with write(databases.record) as connection:
        connection.execute(sa.insert(timeclock_booking), rows)
    assert sheets.month(ANNA, 2026, 3).complete
    with write(databases.record) as connection:
        connection.execute(sa.insert(timeclock_booking), row | {"event": "pforte/1/last", "at_ms": from_ms})
    view = sheets.month(ANNA, 2026, 3)
    assert not view.complete
    assert sum(len(day.bookings) for day in view.days) == MAX_SHEET
    assert "unvollständig" in month_csv(view, "de", byte_order_mark=False).decode()


def test_no_booking_is_in_two_months_and_none_in_none(databases, time_clock, sheets):
    """Half a year of taps at random hours: each booking on one day of one month, each day as the oracle counts it."""
    rng, now_ms, taps = random.Random(20_260_325), at("2026-03-25 08:00"), []
    while now_ms < at("2026-08-05 12:00"):
        now_ms += rng.choice((3, 5, 9, 14, 24)) * 60 * MINUTE_MS + rng.randrange(90 * MINUTE_MS)
        taps.append(permitted(now_ms, rng.choice((None, None, "in", "out", "break_start", "break_end"))))
    answers = book(databases.record, time_clock, *taps)
    made = [(str(a.facts["kind"]), tap.at_ms) for tap, a in zip(taps, answers, strict=True) if a.done]
    views = [sheets.month(ANNA, 2026, month) for month in range(2, 10)]
    listed = Counter(booking for view in views for day in view.days for booking in shown(day))
    assert listed == Counter((kind, on_the_wall(at_ms)) for kind, at_ms in made)
    # Hours lie between two of them: what is shown of a booking is that booking's alone.
    assert len(listed) == len(made) > 150
    for day in (day for view in views for day in view.days):
        from_ms, until_ms = at(f"{day.day} 00:00"), at(f"{day.day} 23:59:59") + 1_000
        assert day.worked_minutes == worked_minutes(made, from_ms, until_ms, at("2026-12-15 12:00"))


def test_the_month_as_a_file(databases, time_clock, sheets):
    """What the page shows is what the spreadsheet says."""
    book(databases.record, time_clock, permitted("2026-03-16 08:01"), permitted("2026-03-16 15:44"))
    lines = month_csv(sheets.month(ANNA, 2026, 3), "de", byte_order_mark=True).decode("utf-8-sig").splitlines()
    assert lines[1:] == [
        "16.03.2026;16.03.2026;08:01;UTC+01:00;Kommen;pforte;;",
        "16.03.2026;16.03.2026;15:44;UTC+01:00;Gehen;pforte;7:43;",
        "Summe;;;;;;7:43;",
    ]
