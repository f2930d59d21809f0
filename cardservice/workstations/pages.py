# SPDX-License-Identifier: EUPL-1.2
"""An employee's own page: which PCs their card unlocks at this moment, whose session, and what taking it away does."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from cardservice.access.options.rules import Options
from cardservice.access.own.page import own_points_content
from cardservice.access.own.service import OwnView
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.web.signin import SignIn
from cardservice.workstations.rules import SENTENCES, AnswerCode, WorkstationOptions, is_login

_TEXTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "de": {
        "title": "Meine Arbeitsplätze",
        "as_of": "Stand:",
        "each_time": "Am PC wird jedes Mal neu entschieden.",
        "session": "Ihre Karte entsperrt Ihre eigene Sitzung. Ihr Anmeldename: {login}",
        "no_logon": "Anmelden müssen Sie sich vorher selbst: Die Karte meldet niemanden an.",
        "point": "PC",
        "remark": "Wenn Sie die Karte entnehmen",
        "locked": "wird sofort gesperrt",
        "locked_after": "wird gesperrt, wenn dieselbe Karte nicht innerhalb von {seconds} s zurück ist",
        "left_open": "bleibt offen, bis der Bildschirmschoner sperrt",
        "empty": "Zurzeit entsperrt Ihre Karte keinen PC.",
        "later": "Zurzeit nicht mit Ihrer Karte zu entsperren",
        "why": "Warum",
        "more": "Diese Seite zeigt nicht alle PCs; es fehlen:",
        "no_card": "Für Sie ist keine Karte für PCs registriert. Bitte wenden Sie sich an die Kartenstelle.",
        "out_of_use": "Ihre Karte entsperrt keinen PC:",
        "privacy": "Das wissen die PCs allein. Türen, Zeiterfassung, Drucker und Kantine wissen nichts davon.",
    },
    "en": {
        "title": "My workstations",
        "as_of": "As of",
        "each_time": "The PC decides anew each time.",
        "session": "Your card unlocks your own session. Your login: {login}",
        "no_logon": "Log on by yourself first: the card logs nobody on.",
        "point": "PC",
        "remark": "When you take the card away",
        "locked": "is locked at once",
        "locked_after": "is locked unless the same card is back within {seconds} s",
        "left_open": "stays open until the screen saver locks it",
        "empty": "Your card unlocks no PC at the moment.",
        "later": "Not to be unlocked with your card at the moment",
        "why": "Why",
        "more": "This page does not show all PCs; missing:",
        "no_card": "No card for PCs is registered for you. Please ask at the card desk.",
        "out_of_use": "Your card unlocks no PC:",
        "privacy": "The PCs alone know this. Doors, time clock, printers and canteen know nothing of it.",
    },
}


def workstations_page(
    view: Callable[[int], OwnView], login_of: Callable[[int], str | None], sign_in: SignIn, pages: Pages
) -> APIRouter:
    """Return the page; it shows whoever signed in what their own card does and nobody else's.

    `view` returns what somebody's card does at the PCs, and blocks; `login_of` whose session it would unlock.
    """
    router = own_pages()

    def shown(person: int, language: Language) -> HTMLResponse:
        texts, login = _TEXTS[language], login_of(person)
        content = own_points_content(view(person), language, texts, lambda one: _removal(one.point.options, language))
        if is_login(login):
            content["facts"] = (texts["session"].format(login=login), texts["no_logon"])
        else:
            german, english = SENTENCES[AnswerCode.NO_LOGIN]
            content["trouble"] = content["trouble"] or (german if language == "de" else english)
        return pages.page("own_points.html", language, _TEXTS, **content)

    @router.get("/pc", summary="The PCs my card unlocks now", response_class=HTMLResponse)
    async def workstations(person: Annotated[int, Depends(sign_in)], language: PageLanguage) -> HTMLResponse:
        # Hundreds of PCs are not put into a page where taps are answered.
        return await asyncio.to_thread(shown, person, language)

    return router


def _removal(options: Options, language: Language) -> str:
    """Return what happens to the session when the card is taken away, in words."""
    texts, said = _TEXTS[language], WorkstationOptions.parse(options)
    if said.removal == "none":
        return texts["left_open"]
    if not said.grace_ms:
        return texts["locked"]
    seconds = f"{said.grace_ms / 1_000:.10g}"
    return texts["locked_after"].format(seconds=seconds.replace(".", ",") if language == "de" else seconds)
