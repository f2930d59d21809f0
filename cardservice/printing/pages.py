# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which of their documents wait for their card."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.printing.ports import HeldJob, Spooler, SpoolerError
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages, when
from cardservice.web.signin import SignIn

_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {
        "title": "Meine wartenden Dokumente",
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
        "empty": "Nothing is waiting.",
        "trouble": "The print system does not answer.",
        "document": "Document",
        "since": "Since",
        "hint": "Hold your card to a printer's reader and they come out there. After a day they are deleted.",
    },
}


def waiting_page(spooler: Spooler, owner_of: Callable[[int], str | None], sign_in: SignIn, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in their own documents and nobody else's."""
    router = own_pages()

    @router.get("/printing", summary="My documents that wait", response_class=HTMLResponse)
    async def waiting(person: Annotated[int, Depends(sign_in)], language: PageLanguage) -> HTMLResponse:
        owner = owner_of(person)
        jobs: tuple[HeldJob, ...] = ()
        trouble = False
        if owner is not None:
            try:
                jobs = tuple(await spooler.held(owner))
            except SpoolerError:
                trouble = True
        shown = [{"title": job.title, "since": when(job.since_ms, language, year=False)} for job in jobs]
        return pages.page("waiting.html", language, _TEXTS, jobs=shown, trouble=trouble)

    return router
