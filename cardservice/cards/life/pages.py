# SPDX-License-Identifier: EUPL-1.2
"""The page of one card: its history and the steps of its life; and giving or losing cards from the page of a person."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.cards.api import CardReference
from cardservice.cards.desk import giver_of
from cardservice.cards.life.api import LEND
from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.rules import TEMPORARY
from cardservice.cards.life.service import Gift
from cardservice.cards.pages import GIVEN, KEY, PATH, SAID
from cardservice.cards.register import CardLife
from cardservice.cards.rules import HELP, ISSUE, TRANSITIONS, CardState
from cardservice.cards.service import NewState
from cardservice.errors import Conflict, NotFound
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import KeepLook, Look
from cardservice.web.once import Asked
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

_REFUSED: Final = marked("That does not go: by what the card is now, by its profile, or because it is your own.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page shows it."}}


def life_pages(desk: LifeDesk, gate: Gate, pages: Pages, keep_look: KeepLook) -> APIRouter:
    """Return the pages; whose card they show is told who looked."""
    router = APIRouter(
        prefix=PATH, tags=["people"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422)
    )
    _add_card(router, desk, (gate, pages, keep_look))
    _add_person(router, desk, gate)
    return router


def _add_card(router: APIRouter, desk: LifeDesk, web: tuple[Gate, Pages, KeepLook]) -> None:
    gate, pages, keep_look = web

    async def shown(actor: Actor, language: Language, person: int, card: str, message: str | None) -> HTMLResponse:
        life = await asyncio.to_thread(_of, desk, person, card, actor)
        events = await asyncio.to_thread(desk.history, card, actor.reaches)
        await asyncio.to_thread(keep_look, Look("cards_read", actor, person))
        content: dict[str, Any] = {"person": person, "life": life, "events": events}
        content |= {"said": SAID, "key": secrets.token_hex(16)}
        return pages.page("card_life.html", language, actor=actor, message=message, **content, **_may(life, actor))

    @router.get("/{person}/cards/{card}", summary="One card: its history, and the steps of its life")
    async def one(
        person: PersonNumber,
        card: CardReference,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.read"))],
    ) -> HTMLResponse:
        return await shown(actor, language, person, card, None)

    def add(way: str, operation: str, make: Callable[[Asked, str, Mapping[str, str], Actor], Any]) -> None:
        @router.post(
            f"/{{person}}/cards/{{card}}/{way}",
            summary=f"The card: {way}",
            name=f"card_{way}",
            response_model=None,
            responses=_SEES_OTHER,
        )
        async def change(
            person: PersonNumber,
            card: CardReference,
            request: Request,
            language: PageLanguage,
            actor: Annotated[Actor, Depends(gate.allows(operation))],
        ) -> Response:
            form = await read_form(request)
            said = {name: text for name, text in form.items() if name in {"state", "reason"}}
            asked = asked_by(actor, _key(form), f"cards.{way}", {"card": card, **said})
            await asyncio.to_thread(_of, desk, person, card, actor)
            try:
                await asyncio.to_thread(make, asked, card, form, actor)
            except Conflict:
                return await shown(actor, language, person, card, _REFUSED)
            return _back(person)

    add("step", ISSUE, lambda asked, card, form, actor: desk.step(asked, card, _step(form), giver_of(actor, ISSUE)))
    add(
        "replacement",
        ISSUE,
        lambda asked, card, _, actor: desk.replace(asked, card, Gift(0, "employee"), giver_of(actor, ISSUE)),
    )
    add("hand-back", LEND, lambda asked, card, _, actor: desk.hand_back(asked, card, giver_of(actor, LEND)))


def _add_person(router: APIRouter, desk: LifeDesk, gate: Gate) -> None:
    @router.post("/{person}/lost", summary="Report all their cards lost", response_model=None, responses=_SEES_OTHER)
    async def lost(
        person: PersonNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(HELP))]
    ) -> Response:
        asked = asked_by(actor, _key(await read_form(request)), "cards.lost", {"person": person})
        await asyncio.to_thread(desk.report_lost, asked, person, giver_of(actor, HELP))
        return _back(person)

    @router.post("/{person}/give", summary="Order a card for them", response_model=None, responses=_SEES_OTHER)
    async def give(
        person: PersonNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(ISSUE))]
    ) -> Response:
        form = await read_form(request)
        profile = form.get("profile", "")
        if profile not in GIVEN:
            raise ApiProblem(422, "invalid", f"profile: allowed are {', '.join(GIVEN)}")
        asked = asked_by(actor, _key(form), "cards.give", {"person": person, "profile": profile})
        await asyncio.to_thread(desk.give, asked, Gift(person, profile), giver_of(actor, ISSUE))
        return _back(person)


def _may(life: CardLife, actor: Actor) -> dict[str, Any]:
    """Return the steps that somebody may make with a card now."""
    issues, lends = (allowed(OPERATIONS[of], actor.roles) for of in (ISSUE, LEND))
    ours = {end for (start, end), step in TRANSITIONS.items() if start is life.line.state and step.operation == ISSUE}
    steps = {end: reasons for end, reasons in life.next_states.items() if end in ours} if issues else {}
    in_use = life.line.state in {CardState.ACTIVE, CardState.SUSPENDED, CardState.REVOKED, CardState.EXPIRED}
    temporary = life.line.profile == TEMPORARY
    return {
        "steps": steps,
        "may_replace": issues and in_use and not temporary,
        "may_hand_back": lends and temporary and life.line.state in {CardState.ACTIVE, CardState.REVOKED},
    }


def _of(desk: LifeDesk, person: int, card: str, actor: Actor) -> CardLife:
    life = desk.register.one(card, actor.reaches)
    if life.line.person != person:
        raise NotFound(f"there is no card {card} of person {person}")
    return life


def _step(form: Mapping[str, str]) -> NewState:
    wanted = form.get("state", "")
    if wanted not in set(CardState):
        raise ApiProblem(422, "invalid", "state: one of a card's")
    return NewState(CardState(wanted), form.get("reason") or None)


def _key(form: Mapping[str, str]) -> str:
    key = form.get("key", "")
    if KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key


def _back(person: int) -> Response:
    return RedirectResponse(f"{PATH}/{person}", 303, headers={"Cache-Control": "no-store"})
