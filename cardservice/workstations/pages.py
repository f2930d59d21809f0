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
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, spoken
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.workstations.rules import SENTENCES, AnswerCode, WorkstationOptions, is_login

_TEXTS: Final[Mapping[str, str]] = {
    "title": marked("My workstations"),
    "as_of": marked("As of"),
    "each_time": marked("The PC decides anew each time."),
    "session": marked("Your card unlocks your own session. Your login: {login}"),
    "no_logon": marked("Log on by yourself first: the card logs nobody on."),
    "point": marked("PC"),
    "remark": marked("When you take the card away"),
    "locked": marked("is locked at once"),
    "locked_after": marked("is locked unless the same card is back within {seconds} s"),
    "left_open": marked("stays open until the screen saver locks it"),
    "empty": marked("Your card unlocks no PC at the moment."),
    "later": marked("Not to be unlocked with your card at the moment"),
    "why": marked("Why"),
    "more": marked("This page does not show all PCs; missing:"),
    "no_card": marked("No card for PCs is registered for you. Please ask at the card desk."),
    "out_of_use": marked("Your card unlocks no PC:"),
    "privacy": marked("The PCs alone know this. Doors, time clock, printers and canteen know nothing of it."),
}


def workstations_page(
    view: Callable[[int], OwnView], login_of: Callable[[int], str | None], gate: Gate, pages: Pages
) -> APIRouter:
    """Return the page; it shows whoever signed in what their own card does and nobody else's.

    `view` returns what somebody's card does at the PCs, and blocks; `login_of` whose session it would unlock.
    """
    router = own_pages()

    def shown(actor: Actor, language: Language) -> HTMLResponse:
        texts, login = spoken(language, _TEXTS), login_of(actor.own)
        content = own_points_content(
            view(actor.own), language, texts, lambda one: _removal(one.point.options, language)
        )
        if is_login(login):
            content["facts"] = (texts["session"].format(login=login), texts["no_logon"])
        else:
            german, english = SENTENCES[AnswerCode.NO_LOGIN]
            content["trouble"] = content["trouble"] or (german if language == "de" else english)
        return pages.page("own_points.html", language, _TEXTS, actor=actor, **content)

    @router.get("/pc", summary="The PCs my card unlocks now", response_class=HTMLResponse)
    async def workstations(
        actor: Annotated[Actor, Depends(gate.allows("my.pc"))], language: PageLanguage
    ) -> HTMLResponse:
        # Hundreds of PCs are not put into a page where taps are answered.
        return await asyncio.to_thread(shown, actor, language)

    return router


def _removal(options: Options, language: Language) -> str:
    """Return what happens to the session when the card is taken away, in words."""
    texts, said = spoken(language, _TEXTS), WorkstationOptions.parse(options)
    if said.removal == "none":
        return texts["left_open"]
    if not said.grace_ms:
        return texts["locked"]
    seconds = f"{said.grace_ms / 1_000:.10g}"
    return texts["locked_after"].format(seconds=seconds.replace(".", ",") if language == "de" else seconds)
