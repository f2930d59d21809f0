# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which of their documents wait for their card."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.printing.ports import HeldJob, Spooler, SpoolerError
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.pages import PageLanguage, Pages, own_pages, when

_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("My waiting documents"),
    "empty": marked("Nothing is waiting."),
    "trouble": marked("The print system does not answer."),
    "document": marked("Document"),
    "since": marked("Since"),
    "hint": marked("Hold your card to a printer's reader and they come out there. After a day they are deleted."),
}


def waiting_page(spooler: Spooler, owner_of: Callable[[int], str | None], gate: Gate, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in their own documents and nobody else's."""
    router = own_pages()

    @router.get("/printing", summary="My documents that wait", response_class=HTMLResponse)
    async def waiting(
        actor: Annotated[Actor, Depends(gate.allows("my.printing"))], language: PageLanguage
    ) -> HTMLResponse:
        owner = owner_of(actor.own)
        jobs: tuple[HeldJob, ...] = ()
        trouble = False
        if owner is not None:
            try:
                jobs = tuple(await spooler.held(owner))
            except SpoolerError:
                trouble = True
        shown = [{"title": job.title, "since": when(job.since_ms, language, year=False)} for job in jobs]
        return pages.page("waiting.html", language, _TEXTS, actor=actor, jobs=shown, trouble=trouble)

    return router
