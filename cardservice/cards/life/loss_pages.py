# SPDX-License-Identifier: EUPL-1.2
"""Reporting somebody's cards lost: the question that names the person and what ends, and what ended."""

import asyncio
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.cards.api import MAX_OF_A_PERSON
from cardservice.cards.desk import giver_of
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.forms import confirm_first, key_of, require_sure
from cardservice.cards.pages import PATH, SAID, USES
from cardservice.cards.register import CardsWanted
from cardservice.cards.rules import ENDED, HELP
from cardservice.people.register import PeopleRegister
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.looks import KeepLook, Look
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form


def add_loss_pages(router: APIRouter, desk: LifeDesk, web: tuple[Gate, Pages, KeepLook]) -> None:
    """Add the question and its answer; whose cards they show is told who looked."""
    gate, pages, keep_look = web
    people = PeopleRegister(desk.state)

    @router.get("/{person}/lost", summary="The question before all their cards end", response_model=None)
    async def ask(
        person: PersonNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.read"))],
    ) -> Response:
        found = await asyncio.to_thread(people.one, person, actor.reaches)
        first = confirm_first(request, f"{PATH}/{person}/lost")
        if first is not None:
            return first
        wanted = CardsWanted(person=person)
        cards, _ = await asyncio.to_thread(desk.register.list, wanted, actor.reaches, 0, MAX_OF_A_PERSON)
        await asyncio.to_thread(keep_look, Look("person_and_cards_read", actor, person))
        content: dict[str, Any] = {"person": found, "cards": [one for one in cards if one.state not in ENDED]}
        content |= {"said": SAID, "key": secrets.token_hex(16)}
        return pages.page("person_lost.html", language, actor=actor, **content)

    @router.post("/{person}/lost", summary="Report all their cards lost, and show what ended")
    async def lost(
        person: PersonNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows(HELP))],
    ) -> HTMLResponse:
        form = await read_form(request)
        require_sure(form)
        asked = asked_by(actor, key_of(form), "cards.lost", {"person": person})
        # Sent again, as by reloading the page, it is answered the same and nothing ends twice.
        ended = await asyncio.to_thread(desk.report_lost, asked, person, giver_of(actor, HELP))
        found = await asyncio.to_thread(people.one, person, actor.reaches)
        content: dict[str, Any] = {"person": found, "ended": ended, "uses": [USES[use] for use in ended["uses_ended"]]}
        return pages.page("person_lost_done.html", language, actor=actor, **content)
