# SPDX-License-Identifier: EUPL-1.2
"""The pages of people and their cards, for whoever helps them: search, one person, suspend a card and undo that.

What somebody searches for is a name: it is sent as a form and stands in no address.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.cards.api import MAX_OF_A_PERSON, CardReference
from cardservice.cards.desk import CardDesk, giver_of
from cardservice.cards.life.rules import PROFILES, TEMPORARY
from cardservice.cards.register import CardsWanted
from cardservice.cards.rules import HELP, SUSPENSION_REASONS, CardState
from cardservice.cards.service import NewState, OwnCard
from cardservice.errors import Conflict, NotFound
from cardservice.people.outsiders.forms import outsider_words
from cardservice.people.register import PeopleRegister, PeopleWanted, PersonView
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, parts_of
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

PATH: Final = "/people"
MAX_FOUND: Final = 50
MAX_TEXT: Final = 200
KEY: Final = re.compile(r"[0-9a-f]{32}")
# What these pages do; revoking is for good and not among it.
_STEPS: Final = (CardState.SUSPENDED, CardState.ACTIVE)
SAID: Final[Mapping[str, str]] = {
    "active": marked("active"),
    "suspended": marked("suspended"),
    "revoked": marked("revoked"),
    "expired": marked("expired"),
    "stock": marked("in stock"),
    "in_production": marked("in production"),
    "produced": marked("produced"),
    "ready_for_pickup": marked("ready for pickup"),
    "returned": marked("returned"),
    "erased": marked("erased"),
    "destroyed": marked("destroyed"),
    "forgotten": marked("left at home"),
    "missing": marked("missing"),
    "long_absence": marked("long absence"),
    "investigation": marked("being looked into"),
    "pin_blocked": marked("PIN blocked"),
    "lost": marked("lost"),
    "stolen": marked("stolen"),
    "damaged": marked("damaged"),
    "left": marked("has left"),
    "replaced": marked("replaced"),
    "employee": marked("employee"),
    "trainee": marked("trainee"),
    "external": marked("external"),
    "council_member": marked("council member"),
    "visitor": marked("visitor"),
    "canteen_guest": marked("canteen guest"),
    "temporary": marked("temporary"),
}
# What a card may be for, as `Profile.uses` names it, in the order of the pages.
USES: Final[Mapping[str, str]] = {
    "door": marked("Doors"),
    "timeclock": marked("Time clock"),
    "printer": marked("Printers"),
    "canteen": marked("Canteen"),
    "piv": marked("Certificate"),
}
# Profiles that somebody is given a card for; a temporary one is lent.
GIVEN: Final = tuple(name for name in PROFILES if name != TEMPORARY)
_CHANGED_MEANWHILE: Final = marked("The card has changed meanwhile. Nothing was changed; this is what it is now.")
_OWN_CARD: Final = marked("A colleague has to do this: nobody activates their own card again. Nothing was changed.")
Suspended = Annotated[
    str, Query(pattern=r"^[0-9a-f-]{0,36}$", description="The card that was suspended a moment ago: it can be undone.")
]
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the person's page shows it."}}


def people_pages(people: PeopleRegister, desk: CardDesk, web: tuple[Gate, Pages], keep_look: KeepLook) -> APIRouter:
    """Return the pages; whom they show is told who looked."""
    gate, pages = web
    router = APIRouter(
        prefix=PATH, tags=["people"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )

    @router.get("", summary="Look for somebody")
    async def search(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("people.read"))]
    ) -> HTMLResponse:
        return pages.page(
            "people.html", language, actor=actor, text="", found=(), more=False, **_words(actor, language)
        )

    @router.post("", summary="The people that are called so")
    async def found(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("people.read"))]
    ) -> HTMLResponse:
        text = (await read_form(request)).get("text", "").strip()
        if len(text) > MAX_TEXT or not text.isprintable():
            raise ApiProblem(422, "invalid", f"text: up to {MAX_TEXT} characters")
        these: Sequence[PersonView] = ()
        more = False
        if text:
            wanted = PeopleWanted(text)
            rows = await asyncio.to_thread(people.list, wanted, actor.reaches, 0, MAX_FOUND + 1)
            these, more = parts_of(rows, MAX_FOUND)
        if these:
            await asyncio.to_thread(keep_look, look_at_list("people_listed", actor, [one.person for one in these]))
        content = {"text": text, "found": these, "more": more, **_words(actor, language)}
        return pages.page("people.html", language, actor=actor, **content)

    _add_person(router, people, desk, (gate, pages, keep_look))
    return router


def _add_person(router: APIRouter, people: PeopleRegister, desk: CardDesk, web: tuple[Gate, Pages, KeepLook]) -> None:
    gate, pages, keep_look = web

    async def shown(
        actor: Actor, language: Language, number: int, message: str | None = None, suspended: str = ""
    ) -> HTMLResponse:
        person = await asyncio.to_thread(people.one, number, actor.reaches)
        groups = await asyncio.to_thread(people.groups, number, actor.reaches)
        wanted = CardsWanted(person=number)
        cards, _ = await asyncio.to_thread(desk.register.list, wanted, actor.reaches, 0, MAX_OF_A_PERSON)
        await asyncio.to_thread(keep_look, Look("person_and_cards_read", actor, number))
        content: dict[str, Any] = {"person": person, "groups": groups, "cards": cards, "message": message}
        content |= {"reasons": SUSPENSION_REASONS, "said": SAID, "key": secrets.token_hex(16)}
        content |= {"profiles": [PROFILES[name] for name in GIVEN], "uses": USES}
        content |= {"suspended": suspended, **_words(actor, language)}
        return pages.page("person.html", language, actor=actor, **content)

    @router.get("/{person}", summary="One person, their groups and cards")
    async def one(
        person: PersonNumber,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.read"))],
        suspended: Suspended = "",
    ) -> HTMLResponse:
        return await shown(actor, language, person, suspended=suspended)

    @router.post(
        "/{person}/cards/{card}/state",
        summary="Suspend a card, or activate it again",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def change(
        person: PersonNumber,
        card: CardReference,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.change"))],
    ) -> Response:
        form = await read_form(request)
        new, key = _new_state(form), form.get("key", "")
        if KEY.fullmatch(key) is None:
            raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
        life = await asyncio.to_thread(desk.register.one, card, actor.reaches)
        if life.line.person != person:
            raise NotFound(f"there is no card {card} of person {person}")
        content = {"card": card, "state": new.state, "reason": new.reason}
        try:
            asked = asked_by(actor, key, "cards.change", content)
            await asyncio.to_thread(desk.change, asked, card, new, giver_of(actor, HELP))
        except OwnCard:
            return await shown(actor, language, person, _OWN_CARD)
        except Conflict:
            return await shown(actor, language, person, _CHANGED_MEANWHILE)
        undo = f"?suspended={card}" if new.state is CardState.SUSPENDED else ""
        return RedirectResponse(f"{PATH}/{person}{undo}", 303, headers={"Cache-Control": "no-store"})


# What the page of a person offers besides, and the operation that is.
_MAY: Final = {"may_change": "cards.change", "may_issue": "cards.issue", "may_explain": "access.explain"}


def _words(actor: Actor, language: Language) -> dict[str, Any]:
    """Return what templates call people outside the directory, and what somebody may do with cards."""
    may = {name: allowed(OPERATIONS[of], actor.roles) for name, of in _MAY.items()}
    return {**outsider_words(language), **may}


def _new_state(form: Mapping[str, str]) -> NewState:
    """Return what a form asks for.

    Raises:
        ApiProblem: 422, it is no step of these pages, or the reason is none of those that fit.
    """
    wanted, reason = form.get("state", ""), form.get("reason") or None
    state = next((step for step in _STEPS if step == wanted), None)
    if state is None or (reason in SUSPENSION_REASONS) != (state is CardState.SUSPENDED):
        raise ApiProblem(422, "invalid", "state, reason: suspended with a reason, or active without one")
    return NewState(state, reason, None)
