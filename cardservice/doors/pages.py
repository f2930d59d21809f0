# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which doors their card opens at this moment, and why others do not open just now."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.access.own.page import own_points_content
from cardservice.access.own.service import OwnView
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, spoken
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages

_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("My doors"),
    "as_of": marked("As of"),
    "each_time": marked("The reader decides anew each time."),
    "point": marked("Door"),
    "remark": marked("Now"),
    "opens": marked("open for you"),
    "empty": marked("Your card opens no door at the moment."),
    "later": marked("Not open for you at the moment"),
    "why": marked("Why"),
    "more": marked("This page does not show all doors; missing:"),
    "no_card": marked("No card for doors is registered for you. Please ask at the card desk."),
    "out_of_use": marked("Your card opens no door:"),
    "privacy": marked("The doors alone know this. Time clock, printers, canteen and PCs know nothing of it."),
}


def doors_page(view: Callable[[int], OwnView], gate: Gate, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in what their own card does and nobody else's.

    `view` returns what somebody's card does at the doors; it blocks.
    """
    router = own_pages()

    def shown(actor: Actor, language: Language) -> HTMLResponse:
        texts = spoken(language, _TEXTS)
        content = own_points_content(view(actor.own), language, texts, lambda _: texts["opens"])
        return pages.page("own_points.html", language, _TEXTS, actor=actor, **content)

    @router.get("/doors", summary="The doors my card opens now", response_class=HTMLResponse)
    async def doors(actor: Annotated[Actor, Depends(gate.allows("my.doors"))], language: PageLanguage) -> HTMLResponse:
        # Hundreds of doors are not put into a page where taps are answered.
        return await asyncio.to_thread(shown, actor, language)

    return router
