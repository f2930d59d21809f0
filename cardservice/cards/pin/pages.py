# SPDX-License-Identifier: EUPL-1.2
"""The pages of PINs: a person's at the desk, with the letter that shows a new one once; one's own at My card."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.cards.life.forms import SEES_OTHER, confirm_first, see_other
from cardservice.cards.pages import PATH
from cardservice.cards.pin.api import HAND_OUT, READ, TAKE, UNLOCK, tries_of
from cardservice.cards.pin.desk import OwnPin, PinOffice
from cardservice.cards.pin.rules import MAX_DIGITS, MIN_DIGITS, TRIES
from cardservice.clock import Clock
from cardservice.errors import Conflict
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import KeepLook, Look
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.web.problems import documented
from cardservice.web.session_guard import read_form

OWN: Final = "/my/pin"
_RIGHTS: Final = {"may_hand_out": HAND_OUT, "may_unlock": UNLOCK, "may_take": TAKE}
_NOT_OWN: Final = marked("Nobody hands a PIN to themselves. Please choose your own at My card.")
_NOT_NEEDED: Final = marked("They need no PIN: they have left, or all their cards have come to their end.")
_UNFIT: Final = marked(
    "This cannot be your PIN. Please type the same one twice: 4 to 12 digits, not one digit again and again, no digits "
    "that follow each other, and another one than before."
)


def pin_pages(office: PinOffice, clock: Clock, web: tuple[Gate, Pages, KeepLook]) -> APIRouter:
    """Return the pages of the desk; whose PIN they are about is told who looked."""
    gate, pages, keep_look = web
    router = APIRouter(
        prefix=f"{PATH}/{{person}}/pin",
        tags=["people"],
        default_response_class=HTMLResponse,
        responses=documented(401, 403, 404, 409, 422, 503),
    )

    def shown(actor: Actor, language: Language, person: int, message: str | None = None) -> HTMLResponse:
        found, view = office.view(person, actor.reaches)
        keep_look(Look("person_and_cards_read", actor, person))
        content: dict[str, Any] = {"person": found, "changed_ms": view.changed_ms, "tries": tries_of(view)}
        content |= {name: allowed(OPERATIONS[of], actor.roles) for name, of in _RIGHTS.items()}
        return pages.page("pin.html", language, actor=actor, message=message, most=TRIES, **content)

    @router.get("", summary="Somebody's PIN: whether there is one, and wrong tries", response_model=None)
    async def one(
        person: PersonNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows(READ))],
    ) -> Response:
        # Whatever is done here needs the password of a moment ago.
        first = confirm_first(request, f"{PATH}/{person}/pin")
        return await asyncio.to_thread(shown, actor, language, person) if first is None else first

    @router.post("", summary="Hand out a new PIN: a letter that is shown once", name="hand out a PIN")
    async def letter(
        person: PersonNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows(HAND_OUT))],
    ) -> HTMLResponse:
        await read_form(request)
        try:
            found, made = await asyncio.to_thread(office.hand_out, person, actor.reaches, actor.person)
        except Conflict as error:
            message = _NOT_OWN if isinstance(error, OwnPin) else _NOT_NEEDED
            return await asyncio.to_thread(shown, actor, language, person, message)
        return pages.page(
            "pin_letter.html", language, actor=actor, person=found, pin=made, made_ms=clock.now_ms(), most=TRIES
        )

    @router.post("/unlock", summary="Forget wrong PINs", response_model=None, responses=SEES_OTHER, name="unlock a PIN")
    async def unlock(
        person: PersonNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(UNLOCK))]
    ) -> Response:
        await read_form(request)
        await asyncio.to_thread(office.unlock, person, actor.reaches)
        return see_other(f"{PATH}/{person}/pin")

    @router.post("/end", summary="Take a PIN away", response_model=None, responses=SEES_OTHER, name="take a PIN away")
    async def take_away(
        person: PersonNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(TAKE))]
    ) -> Response:
        await read_form(request)
        await asyncio.to_thread(office.take_away, person, actor.reaches)
        return see_other(f"{PATH}/{person}/pin")

    return router


def own_pin_pages(office: PinOffice, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page where somebody chooses their own PIN, after their password."""
    router = own_pages()
    may = gate.allows("my.pin")

    def shown(actor: Actor, language: Language, **content: Any) -> HTMLResponse:
        view = office.own(actor.own)
        told: dict[str, Any] = {"changed_ms": view.changed_ms, "tries": tries_of(view), "message": None, "done": False}
        told |= {"least": MIN_DIGITS, "longest": MAX_DIGITS, **content}
        return pages.page("my_pin.html", language, actor=actor, **told)

    @router.get(
        "/pin",
        summary="My PIN: whether I have one, and a form for a new one",
        response_model=None,
        response_class=HTMLResponse,
    )
    async def form(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("my.card"))]
    ) -> Response:
        first = confirm_first(request, OWN)
        return await asyncio.to_thread(shown, actor, language) if first is None else first

    @router.post("/pin", summary="Choose my PIN", response_class=HTMLResponse, name="choose my PIN")
    async def choose(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(may)]) -> HTMLResponse:
        form = await read_form(request)
        try:
            await asyncio.to_thread(office.choose, actor.own, form.get("pin", ""), form.get("again", ""))
        except Conflict:
            return await asyncio.to_thread(shown, actor, language, message=_UNFIT)
        return await asyncio.to_thread(shown, actor, language, done=True)

    return router
