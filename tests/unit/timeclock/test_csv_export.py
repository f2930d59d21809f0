# SPDX-License-Identifier: EUPL-1.2
"""A month as a spreadsheet: read back by another reader, in both languages, and never run as a formula."""

import csv
import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.timeclock.csv_export import month_csv
from cardservice.timeclock.rules import Kind
from cardservice.timeclock.service import BookingView, DayView, MonthView


def booking(kind: Kind, text: str, point: str = "pforte") -> BookingView:
    day, clock = text.split()
    return BookingView(kind, date.fromisoformat(day), clock, "UTC+01:00", point)


def day(number: int, *bookings: BookingView, minutes: int = 0, **flags: bool) -> DayView:
    states = {"running": False, "end_missing": False, "start_missing": False} | flags
    return DayView(date(2026, 3, number), bookings, minutes, **states)


def month(*days: DayView, complete: bool = True) -> MonthView:
    return MonthView(2026, 3, days, sum(one.worked_minutes for one in days), complete)


MARCH = month(
    day(1),
    day(16, booking(Kind.IN, "2026-03-16 22:00"), booking(Kind.OUT, "2026-03-17 05:43"), minutes=463),
    day(18, booking(Kind.IN, "2026-03-18 08:00"), end_missing=True),
)


def rows(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";", strict=True))


def test_one_line_a_booking_with_the_days_total_on_its_last():
    assert month_csv(MARCH, "de", byte_order_mark=False).decode() == (
        "Arbeitstag;Datum;Uhrzeit;Zeitzone;Buchung;Terminal;Gearbeitet;Hinweis\r\n"
        "16.03.2026;16.03.2026;22:00;UTC+01:00;Kommen;pforte;;\r\n"
        "16.03.2026;17.03.2026;05:43;UTC+01:00;Gehen;pforte;7:43;\r\n"
        "18.03.2026;18.03.2026;08:00;UTC+01:00;Kommen;pforte;0:00;Ende fehlt\r\n"
        "Summe;;;;;;7:43;\r\n"
    )


def test_the_same_in_english():
    english = rows(month_csv(MARCH, "en", byte_order_mark=False))
    assert english[0] == ["Working day", "Date", "Time", "Time zone", "Booking", "Terminal", "Worked", "Remark"]
    assert english[2] == ["2026-03-16", "2026-03-17", "05:43", "UTC+01:00", "Out", "pforte", "7:43", ""]
    assert english[-1] == ["Total", "", "", "", "", "", "7:43", ""]


def test_excel_gets_its_mark_and_others_do_not():
    """With the byte order mark the content is the same behind it."""
    plain, marked = (month_csv(MARCH, "de", byte_order_mark=mark) for mark in (False, True))
    assert marked == b"\xef\xbb\xbf" + plain


def test_every_remark_of_a_day_is_told():
    views = day(2, booking(Kind.OUT, "2026-03-02 16:00"), start_missing=True, running=True, end_missing=True)
    table = rows(month_csv(month(views, complete=False), "de", byte_order_mark=False))
    assert table[1][-1] == "läuft noch, Ende fehlt, Beginn fehlt"
    assert table[2][-1] == "unvollständig: zu viele Buchungen"


@pytest.mark.parametrize("point", ["=1+1", "+49", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_no_cell_is_run_as_a_formula(point):
    table = rows(month_csv(month(day(2, booking(Kind.IN, "2026-03-02 08:00", point))), "de", byte_order_mark=False))
    assert table[1][5] == f"'{point}"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30))
def test_whatever_a_terminal_is_called_comes_back_as_it_was(point):
    """Semicolons, quotation marks and line ends stay inside their cell; no row has another number of cells."""
    view = month(day(2, booking(Kind.IN, "2026-03-02 08:00", point)))
    table = rows(month_csv(view, "en", byte_order_mark=True))
    assert {len(row) for row in table} == {8}
    assert table[1][5].removeprefix("'") == point.removeprefix("'")
