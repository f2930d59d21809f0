# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which of their documents wait for their card."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Header
from fastapi.responses import HTMLResponse

from cardservice.printing.ports import HeldJob, Spooler, SpoolerError
from cardservice.web.pages import Language, Pages, language_of
from cardservice.web.problems import documented
from cardservice.web.signin import SignIn

_ZONE: Final = ZoneInfo("Europe/Berlin")
_TEXTS: Final[dict[Language, dict[str, str]]] = {
    "de": {
        "title": "Meine wartenden Dokumente",
        "language": "Sprache",
        "other": "English",
        "other_code": "en",
        "empty": "Es wartet nichts.",
        "trouble": "Das Drucksystem antwortet nicht.",
        "document": "Dokument",
        "since": "Seit",
        "hint": (
            "Halten Sie Ihre Karte an den Leser eines Druckers, dann kommen sie dort heraus. "
            "Nach einem Tag werden sie gelöscht."
        ),
    },
    "en": {
        "title": "My waiting documents",
        "language": "Language",
        "other": "Deutsch",
        "other_code": "de",
        "empty": "Nothing is waiting.",
        "trouble": "The print system does not answer.",
        "document": "Document",
        "since": "Since",
        "hint": "Hold your card to a printer's reader and they come out there. After a day they are deleted.",
    },
}


def waiting_page(
    spooler: Spooler, owner_of: Callable[[int], Awaitable[str | None]], sign_in: SignIn, pages: Pages
) -> APIRouter:
    """Return the page; it shows whoever signed in their own documents and nobody else's."""
    router = APIRouter(prefix="/my", tags=["my"], responses=documented(401, 422, 429, 503))

    @router.get("/printing", summary="My documents that wait", response_class=HTMLResponse)
    async def waiting(
        person: Annotated[int, Depends(sign_in)],
        lang: Language | None = None,
        accept_language: Annotated[str, Header()] = "de",
    ) -> HTMLResponse:
        language, owner = language_of(lang, accept_language), await owner_of(person)
        jobs: tuple[HeldJob, ...] = ()
        trouble = False
        if owner is not None:
            try:
                jobs = tuple(await spooler.held(owner))
            except SpoolerError:
                trouble = True
        shown = [{"title": job.title, "since": _since(job.since_ms, language)} for job in jobs]
        return pages.page("waiting.html", lang=language, t=_TEXTS[language], jobs=shown, trouble=trouble)

    return router


def _since(at_ms: int, language: Language) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, _ZONE)
    return f"{at:%d.%m. %H:%M}" if language == "de" else f"{at:%m-%d %H:%M}"
