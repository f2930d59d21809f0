# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: the bookings of a month, as a table and as CSV."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse

from cardservice.timeclock.csv_export import month_csv
from cardservice.timeclock.days import hours_and_minutes
from cardservice.timeclock.sentences import KINDS
from cardservice.timeclock.service import DayView, MonthView, TimeSheets
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, translated
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.web.problems import ApiProblem

Month = Annotated[str | None, Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="For example 2026-11.")]

_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("My times"),
    "months": marked("Months"),
    "before": marked("Month before"),
    "after": marked("Month after"),
    "csv": marked("Download as CSV"),
    "day": marked("Day"),
    "bookings": marked("Bookings"),
    "worked": marked("Worked"),
    "total": marked("Total"),
    "empty": marked("There are no bookings in this month."),
    "incomplete": marked("There are more bookings than this page shows."),
    "running": marked("still running"),
    "end_missing": marked("The end is missing. Please hand it in."),
    "start_missing": marked("The beginning is missing. Please hand it in."),
    "privacy": marked(
        "These times are kept by the time clock alone. Doors, printers and canteen know nothing of them."
    ),
}
_MONTHS: Final[dict[Language, tuple[str, ...]]] = {
    "de": (
        *("Januar", "Februar", "März", "April", "Mai", "Juni"),
        *("Juli", "August", "September", "Oktober", "November", "Dezember"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
_DAYS: Final[dict[Language, tuple[str, ...]]] = {
    "de": ("Mo", "Di", "Mi", "Do", "Fr", "Sa", "So"),
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}


def time_pages(sheets: TimeSheets, gate: Gate, pages: Pages) -> APIRouter:
    """Return the pages; each shows whoever signed in their own bookings and nobody else's."""
    router = own_pages()
    me = Annotated[Actor, Depends(gate.allows("my.time"))]

    @router.get("/time", summary="My bookings of a month", response_class=HTMLResponse)
    async def month(actor: me, language: PageLanguage, month: Month = None) -> HTMLResponse:
        view = await _month(sheets, actor.own, month)
        return pages.page("month.html", language, _TEXTS, actor=actor, **_content(view, language, sheets.this_month()))

    @router.get(
        "/time.csv",
        summary="My bookings of a month as CSV",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}, "description": "RFC 4180, semicolons, UTF-8"}},
    )
    async def month_as_csv(actor: me, language: PageLanguage, month: Month = None) -> Response:
        view = await _month(sheets, actor.own, month)
        content = month_csv(view, language, byte_order_mark=language == "de")
        name = (
            f"zeiten-{view.year}-{view.month:02}.csv" if language == "de" else f"times-{view.year}-{view.month:02}.csv"
        )
        return Response(
            content,
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    return router


async def _month(sheets: TimeSheets, person: int, month: str | None) -> MonthView:
    year, number = sheets.this_month() if month is None else (int(month[:4]), int(month[5:]))
    try:
        return await asyncio.to_thread(sheets.month, person, year, number)
    except ValueError as error:
        raise ApiProblem(422, "invalid", str(error)) from error


def _content(view: MonthView, language: Language, this_month: tuple[int, int]) -> dict[str, Any]:
    return {
        "month_name": f"{_MONTHS[language][view.month - 1]} {view.year}",
        "this": _code(view.year, view.month),
        "before": _code(*_moved(view.year, view.month, -1)),
        "after": _code(*_moved(view.year, view.month, 1)) if (view.year, view.month) < this_month else None,
        "complete": view.complete,
        "days": [_day(day, language) for day in view.days if day.bookings],
        "total": hours_and_minutes(view.worked_minutes),
    }


def _day(day: DayView, language: Language) -> dict[str, Any]:
    german = language == "de"
    flags = {"running": day.running, "end_missing": day.end_missing, "start_missing": day.start_missing}
    return {
        "name": f"{_DAYS[language][day.day.weekday()]} {day.day.day}{'.' if german else ''}",
        "bookings": [
            {"kind": KINDS[one.kind].de if german else KINDS[one.kind].en, "clock": one.clock} for one in day.bookings
        ],
        "worked": hours_and_minutes(day.worked_minutes),
        "remark": " ".join(translated(language, _TEXTS[name]) for name, is_so in flags.items() if is_so),
    }


def _moved(year: int, month: int, by: int) -> tuple[int, int]:
    number = year * 12 + month - 1 + by
    return number // 12, number % 12 + 1


def _code(year: int, month: int) -> str:
    return f"{year}-{month:02}"
