# SPDX-License-Identifier: EUPL-1.2
"""The pages of one's own card: everything stored about whoever is signed in, and reporting a card as lost."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.access.rules import Reason
from cardservice.access.sentences import SENTENCES
from cardservice.errors import NotFound
from cardservice.mycard.service import Look, MyCard, OwnCard, Refusal
from cardservice.people.outsiders.forms import outsider_words
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, spoken, translated
from cardservice.web.login_paths import CONFIRM
from cardservice.web.pages import Language, PageLanguage, Pages, own_pages
from cardservice.web.problems import ApiProblem
from cardservice.web.session import SignedIn
from cardservice.web.session_guard import read_form

PATH: Final = "/my"
LOST: Final = "/my/lost"
_Card = Annotated[str, Query(max_length=36, description="The card's reference.")]

_USES: Final[Mapping[str, str]] = {
    "door": marked("Doors"),
    "workstation": marked("PCs"),
    "timeclock": marked("Time clock"),
    "printer": marked("Printers"),
    "canteen": marked("Canteen"),
    "piv": marked("Certificate"),
}
# Where the items of a use are shown one by one.
_PAGES: Final = {"timeclock": "/my/time", "printer": "/my/printing", "canteen": "/my/canteen"}
_STATES: Final[Mapping[str, str]] = {
    "stock": marked("in stock"),
    "in_production": marked("being made"),
    "produced": marked("made"),
    "ready_for_pickup": marked("ready to be collected"),
    "active": marked("in use"),
    "suspended": marked("suspended"),
    "revoked": marked("blocked for good"),
    "expired": marked("expired"),
    "returned": marked("returned"),
    "erased": marked("erased"),
    "destroyed": marked("destroyed"),
}
_ITEMS: Final[Mapping[str, str]] = {
    "taps": marked("Taps in the record, as far as the point keeps them"),
    "taps_high": marked("The same at doors that demand card and PIN"),
    "bookings": marked("Bookings"),
    "unbooked": marked("Taps that became no booking"),
    "releases": marked("Released documents: number, printer and time, no content"),
    "payments": marked("Payments at tills"),
    "movements": marked("Movements on your canteen money"),
    "access": marked("Questions about your access"),
    "sign_in": marked("Sign-ins to these pages"),
    "audit": marked("Changes you asked for"),
}
_ENTRY: Final[Mapping[str, str]] = {
    "name": marked("Name"),
    "login": marked("Login"),
    "mail": marked("E-mail"),
    "personnel_number": marked("Personnel number"),
    "department": marked("Department"),
    "cost_centre": marked("Cost centre"),
}
_HAPPENED: Final[Mapping[str, str]] = {
    "explained": marked("Your access was looked up"),
    "what_if": marked("A change that concerns you was tried out"),
    "person_read": marked("Your entry of the directory was looked at"),
    "cards_read": marked("Your cards were looked at"),
    "badge_made": marked("The badge of your card was made, with your photo"),
    "person_and_cards_read": marked("Your entry of the directory and your cards were looked at"),
    "journal_opened": marked("Lines of the record that name you were opened, after somebody else had approved it"),
    "signed_in": marked("You signed in"),
    "refused": marked("Somebody tried to sign in with your name and a wrong password"),
    "confirmed": marked("You confirmed your password"),
    "not_confirmed": marked("A wrong password was given to confirm a change"),
    "signed_out": marked("You signed out"),
}
_SYSTEM: Final = marked("the system %(name)s")
_OTHER: Final = marked("Something about you was put on record")


def my_card_pages(mine: MyCard, gate: Gate, pages: Pages, *, printing: bool) -> APIRouter:
    """Return the pages; each is about whoever signed in and nobody else.

    `printing` says that there is a page of one's own documents.
    """
    router = own_pages()
    me = Annotated[Actor, Depends(gate.allows("my.card"))]
    pages_of = {use: path for use, path in _PAGES.items() if printing or use != "printer"}

    def shown(actor: Actor, language: Language, *, reported: bool) -> HTMLResponse:
        found = mine.record(actor.own)
        content: dict[str, Any] = {
            "cards": [_card(one, language) for one in found.cards],
            "entry": [(translated(language, _ENTRY[name]), value) for name, value in found.entry.directory.items()],
            "pin_ms": found.entry.pin_changed_ms,
            "sessions": found.entry.sessions,
            "sessions_end_ms": found.entry.sessions_end_ms,
            "uses": [(use, items, pages_of.get(use)) for use, items in found.uses.items()],
            "records": found.records,
            "looks": [_look(one, language) for one in found.looks],
            "sign_ins": [_look(one, language) for one in found.sign_ins],
            "refusals": [_refusal(one, language) for one in found.refusals],
            "use_words": spoken(language, _USES),
            "item_words": spoken(language, _ITEMS),
            "reported": reported,
            "leavers_days": mine.leavers_days,
            "outsiders": mine.outsiders(actor.own),
            **outsider_words(language),
        }
        return pages.page("my_card.html", language, actor=actor, **content)

    @router.get("", summary="My card: what is stored, who looked, why refused", response_class=HTMLResponse)
    async def my_card(actor: me, language: PageLanguage, reported: bool = False) -> HTMLResponse:
        return await asyncio.to_thread(shown, actor, language, reported=reported)

    _add_lost(router, mine, gate, pages)
    return router


def _add_lost(router: APIRouter, mine: MyCard, gate: Gate, pages: Pages) -> None:
    @router.get("/lost", summary="The question before my card is blocked", response_model=None)
    async def ask(
        actor: Annotated[Actor, Depends(gate.allows("my.card"))], request: Request, language: PageLanguage, card: _Card
    ) -> Response:
        found = next((one for one in await asyncio.to_thread(mine.cards, actor.own) if one.reference == card), None)
        if found is None:
            raise NotFound("you have no such card")
        signed_in = getattr(request.state, "signed_in", None)
        if isinstance(signed_in, SignedIn) and not signed_in.confirmed:
            back = quote(f"{LOST}?card={found.reference}", safe="")
            return _see_other(f"{CONFIRM}?next={back}")
        return pages.page("lost.html", language, actor=actor, card=_card(found, language))

    @router.post("/lost", summary="Block my lost card for everything at once", response_model=None)
    async def report(actor: Annotated[Actor, Depends(gate.allows("my.lost"))], request: Request) -> Response:
        form = await read_form(request)
        if form.get("sure") != "1":
            raise ApiProblem(422, "invalid", "sure: say that the card is to be blocked for good")
        await asyncio.to_thread(mine.report_lost, actor.own, form.get("card", ""))
        return _see_other(f"{PATH}?reported=1")


def _card(one: OwnCard, language: Language) -> dict[str, Any]:
    return {
        "reference": one.reference,
        "short": one.reference[:8],
        "active": one.state.value == "active",
        "state": translated(language, _STATES[one.state.value]),
        "valid_until_ms": one.valid_until_ms,
        "suspended_until_ms": one.suspended_until_ms,
        "uses": ", ".join(translated(language, _USES[use]) for use in one.known_as),
        "reportable": one.reportable,
    }


def _look(one: Look, language: Language) -> dict[str, Any]:
    what = translated(language, _HAPPENED.get(one.what, _OTHER))
    who = translated(language, _SYSTEM) % {"name": one.who} if one.by == "system" else one.who
    return {"at_ms": one.at_ms, "what": what, "where": one.where, "who": who}


def _refusal(one: Refusal, language: Language) -> dict[str, Any]:
    words = SENTENCES.get(Reason(one.reason)) if one.reason in set(Reason) else None
    why = one.reason if words is None else words.holder_de if language == "de" else words.holder_en
    return {"at_ms": one.at_ms, "use": translated(language, _USES[one.use]), "point": one.point, "why": why}


def _see_other(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})
