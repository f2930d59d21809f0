# SPDX-License-Identifier: EUPL-1.2
"""Two pages for everybody, without signing in: what is stored and for how long, and the accessibility statement.

The figures are handed over from the constants and settings that the code obeys; nothing else says them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from cardservice.web.i18n import marked
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.problems import documented

# What each limit ends, in the order in which they are shown.
KEPT_WORDS: Final[Mapping[str, str]] = {
    "doors": marked("Who was at a door"),
    "doors_high": marked("Who was at a door that demands card and PIN"),
    "workstations": marked("Who was at a PC"),
    "timeclock_taps": marked("Refused taps at time clocks"),
    "time_bookings": marked("Bookings of working time"),
    "unbooked_taps": marked("Taps at time clocks that became no booking"),
    "canteen_taps": marked("Refused taps at tills"),
    "canteen_requests": marked("What tills asked for, so that asking twice books once"),
    "canteen_books": marked("Whose a payment or top-up in the canteen was, from the end of its year"),
    "printing": marked("Taps at printers, and which document was released where"),
    "unknown_points": marked("Taps at readers that belong to no point"),
    "security_log": marked("Sign-ins, and who asked for which change"),
    "lookups": marked("Who looked at whose data, and who decided on grants"),
    "decisions": marked("Who decided, in lists of reviews, requests, holds and keys"),
    "leavers": marked("Name and login of people who left, and whose canteen account was whose"),
    "sessions": marked("Sessions of these pages"),
    "answers": marked("Answers to systems, for requests sent twice"),
    "door_requests": marked("Requests to open doors from afar"),
    "deliveries": marked("Events that wait to be sent to other systems"),
}


@dataclass(frozen=True, slots=True)
class Longer:
    """Something that is kept here for longer than usual, and why."""

    name: str
    days: int
    usual_days: int
    reason: str

    @property
    def what(self) -> str:
        """What it is, as a message."""
        return KEPT_WORDS[self.name]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what deletes itself is kept; `days` by the names of the settings."""

    session_idle_minutes: int
    session_hours: int
    guess_minutes: int
    device_days: int
    language_days: int
    printing_days: int
    door_request_days: int
    answer_hours: int
    outsider_days: int
    days: Mapping[str, int]
    longer: tuple[Longer, ...]


@dataclass(frozen=True, slots=True)
class Contacts:
    """Whom to ask; None: the settings name nobody."""

    organisation: str
    data_protection: str | None
    accessibility: str | None
    accessibility_authority: str | None


def public_pages(contacts: Contacts, retention: Retention, pages: Pages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(tags=["public"], default_response_class=HTMLResponse, responses=documented(422))

    @router.get("/privacy", summary="What is stored, why, and for how long")
    async def privacy(language: PageLanguage) -> HTMLResponse:
        return pages.page("privacy.html", language, contacts=contacts, kept=retention)

    @router.get("/accessibility", summary="The accessibility statement")
    async def accessibility(language: PageLanguage) -> HTMLResponse:
        return pages.page("accessibility.html", language, contacts=contacts)

    return router
