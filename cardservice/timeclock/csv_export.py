# SPDX-License-Identifier: EUPL-1.2
"""A month's bookings as a table for spreadsheets: RFC 4180 with semicolons, UTF-8, German or English. Pure.

One line a booking; the last of a day carries what was worked that day, the last of all the month's total.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cardservice.timeclock.days import hours_and_minutes
from cardservice.timeclock.sentences import KINDS
from cardservice.timeclock.service import BookingView, DayView, MonthView
from cardservice.web.pages import Language

BYTE_ORDER_MARK: Final = "\ufeff"
# A cell that begins with one of these, or with its wide form, would be run as a formula.
_RUNS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True)
class _Words:
    """The words of one language."""

    heads: Sequence[str]
    date_format: str
    total: str
    remarks: Mapping[str, str]


_WORDS: Final[Mapping[Language, _Words]] = MappingProxyType(
    {
        "de": _Words(
            ("Arbeitstag", "Datum", "Uhrzeit", "Zeitzone", "Buchung", "Terminal", "Gearbeitet", "Hinweis"),
            "%d.%m.%Y",
            "Summe",
            {
                "running": "läuft noch",
                "end_missing": "Ende fehlt",
                "start_missing": "Beginn fehlt",
                "incomplete": "unvollständig: zu viele Buchungen",
            },
        ),
        "en": _Words(
            ("Working day", "Date", "Time", "Time zone", "Booking", "Terminal", "Worked", "Remark"),
            "%Y-%m-%d",
            "Total",
            {
                "running": "still running",
                "end_missing": "end missing",
                "start_missing": "start missing",
                "incomplete": "incomplete: too many bookings",
            },
        ),
    }
)


def month_csv(view: MonthView, language: Language, *, byte_order_mark: bool) -> bytes:
    """Return the month as a CSV file; German Excel knows UTF-8 by the byte order mark only."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerows([_harmless(cell) for cell in row] for row in _rows(view, language))
    return ((BYTE_ORDER_MARK if byte_order_mark else "") + text.getvalue()).encode()


def _rows(view: MonthView, language: Language) -> Iterator[Sequence[str]]:
    words = _WORDS[language]
    yield words.heads
    for day in view.days:
        for number, booking in enumerate(day.bookings, start=1):
            yield _booking_row(day, booking, language, is_last=number == len(day.bookings))
    remark = "" if view.complete else words.remarks["incomplete"]
    yield (words.total, "", "", "", "", "", hours_and_minutes(view.worked_minutes), remark)


def _booking_row(day: DayView, booking: BookingView, language: Language, *, is_last: bool) -> Sequence[str]:
    words, kind = _WORDS[language], KINDS[booking.kind]
    return (
        f"{day.day:{words.date_format}}",
        f"{booking.date:{words.date_format}}",
        booking.clock,
        booking.utc_offset,
        kind.de if language == "de" else kind.en,
        booking.point,
        hours_and_minutes(day.worked_minutes) if is_last else "",
        ", ".join(_remarks(day, words)) if is_last else "",
    )


def _remarks(day: DayView, words: _Words) -> Iterator[str]:
    flags = {"running": day.running, "end_missing": day.end_missing, "start_missing": day.start_missing}
    return (words.remarks[name] for name, is_so in flags.items() if is_so)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_RUNS) else cell
