# SPDX-License-Identifier: EUPL-1.2
"""The page of one card: its history and the steps of its life; and giving or losing cards from the page of a person."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.cards.api import CardReference
from cardservice.cards.desk import giver_of
from cardservice.cards.life.api import LEND
from cardservice.cards.life.card_page import CardPage
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.forms import SEES_OTHER, back_to, key_of, require_sure
from cardservice.cards.life.lending_pages import add_lending
from cardservice.cards.life.loss_pages import add_loss_pages
from cardservice.cards.life.questions import add_questions
from cardservice.cards.life.service import Gift
from cardservice.cards.life.stock_pages import stock_pages
from cardservice.cards.pages import GIVEN, PATH
from cardservice.cards.rules import FOR_GOOD, HELP, ISSUE, CardState
from cardservice.cards.service import NewState
from cardservice.errors import Conflict
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import KeepLook
from cardservice.web.once import Asked
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

_REFUSED: Final = marked("That does not go: by what the card is now, by its profile, or because it is your own.")


def life_pages(desk: LifeDesk, gate: Gate, pages: Pages, keep_look: KeepLook) -> APIRouter:
    """Return the pages, the one of blank cards among them; whose card they show is told who looked."""
    router = APIRouter()
    router.include_router(_people_pages(desk, gate, pages, keep_look))
    router.include_router(stock_pages(desk, gate, pages))
    return router


def _people_pages(desk: LifeDesk, gate: Gate, pages: Pages, keep_look: KeepLook) -> APIRouter:
    router = APIRouter(
        prefix=PATH, tags=["people"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 409, 422)
    )
    page = CardPage(desk, gate, pages, keep_look)
    _add_card(router, page)
    add_questions(router, page)
    add_lending(router, page)
    _add_gift(router, desk, gate)
    add_loss_pages(router, desk, (gate, pages, keep_look))
    return router


def _add_card(router: APIRouter, page: CardPage) -> None:
    desk = page.desk

    @router.get("/{person}/cards/{card}", summary="One card: its history, and the steps of its life")
    async def one(
        person: PersonNumber,
        card: CardReference,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(page.gate.allows("cards.read"))],
    ) -> HTMLResponse:
        return await page.shown(actor, language, person, card)

    def add(way: str, operation: str, make: Callable[[Asked, str, Mapping[str, str], Actor], Any]) -> None:
        @router.post(
            f"/{{person}}/cards/{{card}}/{way}",
            summary=f"The card: {way}",
            name=f"card_{way}",
            response_model=None,
            responses=SEES_OTHER,
        )
        async def change(
            person: PersonNumber,
            card: CardReference,
            request: Request,
            language: PageLanguage,
            actor: Annotated[Actor, Depends(page.gate.allows(operation))],
        ) -> Response:
            form = await read_form(request)
            said = {name: text for name, text in form.items() if name in {"state", "reason"}}
            asked = asked_by(actor, key_of(form), f"cards.{way}", {"card": card, **said})
            await page.life(person, card, actor)
            try:
                await asyncio.to_thread(make, asked, card, form, actor)
            except Conflict:
                return await page.shown(actor, language, person, card, _REFUSED)
            return back_to(person)

    add("step", ISSUE, lambda asked, card, form, actor: desk.step(asked, card, _step(form), giver_of(actor, ISSUE)))
    add("revocation", HELP, lambda asked, card, form, actor: desk.step(asked, card, _end(form), giver_of(actor, HELP)))
    add(
        "replacement",
        ISSUE,
        lambda asked, card, _, actor: desk.replace(asked, card, Gift(0, "employee"), giver_of(actor, ISSUE)),
    )
    add("hand-back", LEND, lambda asked, card, _, actor: desk.hand_back(asked, card, giver_of(actor, LEND)))


def _add_gift(router: APIRouter, desk: LifeDesk, gate: Gate) -> None:
    @router.post("/{person}/give", summary="Order a card for them", response_model=None, responses=SEES_OTHER)
    async def give(
        person: PersonNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(ISSUE))]
    ) -> Response:
        form = await read_form(request)
        profile = form.get("profile", "")
        if profile not in GIVEN:
            raise ApiProblem(422, "invalid", f"profile: allowed are {', '.join(GIVEN)}")
        asked = asked_by(actor, key_of(form), "cards.give", {"person": person, "profile": profile})
        await asyncio.to_thread(desk.give, asked, Gift(person, profile), giver_of(actor, ISSUE))
        return back_to(person)


def _step(form: Mapping[str, str]) -> NewState:
    wanted = form.get("state", "")
    if wanted not in set(CardState):
        raise ApiProblem(422, "invalid", "state: one of a card's")
    if CardState(wanted) in FOR_GOOD:
        require_sure(form)
    return NewState(CardState(wanted), form.get("reason") or None)


def _end(form: Mapping[str, str]) -> NewState:
    require_sure(form)
    return NewState(CardState.REVOKED, form.get("reason") or None)
