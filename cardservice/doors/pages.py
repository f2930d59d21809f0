# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which doors their card opens at this moment, and why others do not open just now."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.access.own.page import own_points_content
from cardservice.access.own.service import OwnView
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.web.signin import SignIn

_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {
        "title": "Meine Türen",
        "as_of": "Stand:",
        "each_time": "Am Leser wird jedes Mal neu entschieden.",
        "point": "Tür",
        "remark": "Jetzt",
        "opens": "offen für Sie",
        "empty": "Zurzeit öffnet Ihre Karte keine Tür.",
        "later": "Zurzeit nicht offen für Sie",
        "why": "Warum",
        "more": "Diese Seite zeigt nicht alle Türen; es fehlen:",
        "no_card": "Für Sie ist keine Karte für Türen registriert. Bitte wenden Sie sich an die Kartenstelle.",
        "out_of_use": "Ihre Karte öffnet keine Tür:",
        "privacy": "Das wissen die Türen allein. Zeiterfassung, Drucker, Kantine und PCs wissen nichts davon.",
    },
    "en": {
        "title": "My doors",
        "as_of": "As of",
        "each_time": "The reader decides anew each time.",
        "point": "Door",
        "remark": "Now",
        "opens": "open for you",
        "empty": "Your card opens no door at the moment.",
        "later": "Not open for you at the moment",
        "why": "Why",
        "more": "This page does not show all doors; missing:",
        "no_card": "No card for doors is registered for you. Please ask at the card desk.",
        "out_of_use": "Your card opens no door:",
        "privacy": "The doors alone know this. Time clock, printers, canteen and PCs know nothing of it.",
    },
}


def doors_page(view: Callable[[int], OwnView], sign_in: SignIn, pages: Pages) -> APIRouter:
    """Return the page; it shows whoever signed in what their own card does and nobody else's.

    `view` returns what somebody's card does at the doors; it blocks.
    """
    router = own_pages()

    def shown(person: int, language: Language) -> HTMLResponse:
        texts = _TEXTS[language]
        content = own_points_content(view(person), language, texts, lambda _: texts["opens"])
        return pages.page("own_points.html", language, _TEXTS, **content)

    @router.get("/doors", summary="The doors my card opens now", response_class=HTMLResponse)
    async def doors(person: Annotated[int, Depends(sign_in)], language: PageLanguage) -> HTMLResponse:
        # Hundreds of doors are not put into a page where taps are answered.
        return await asyncio.to_thread(shown, person, language)

    return router
