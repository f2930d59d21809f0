# SPDX-License-Identifier: EUPL-1.2
"""The pages of people outside the directory: lists, one of them, a form to add and to change, and the end.

Who somebody searches for is a name: it is sent as a form and stands in no address.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.errors import Conflict, NotFound
from cardservice.people.outsiders import forms
from cardservice.people.outsiders.api import GroupNumber, OutsiderNumber, who_of
from cardservice.people.outsiders.forms import Unfit, outsider_words
from cardservice.people.outsiders.rules import MAX_GROUP_NAME, State
from cardservice.people.outsiders.service import Outsiders
from cardservice.people.outsiders.views import OutsidersWanted, OutsiderView, Sponsor, Which
from cardservice.web.etags import etag_of
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, spoken
from cardservice.web.login_paths import CONFIRM
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, parts_of
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session import SignedIn
from cardservice.web.session_guard import read_form

PATH: Final = "/outsiders"
MAX_SHOWN: Final = 100
MAX_SPONSORS: Final = 12
_KEY: Final = re.compile(r"[0-9a-f]{32}")
Done = Literal["added", "changed", "ended", ""]
Listed = Literal["here", "soon", "no_sponsor", "ended"]
_LISTS: Final[Mapping[str, str]] = {
    Which.HERE: marked("All who are here"),
    Which.SOON: marked("Ends within 30 days"),
    Which.NO_SPONSOR: marked("Nobody answers for them"),
    Which.ENDED: marked("Have ended"),
}
_DONE: Final[Mapping[str, str]] = {
    "added": marked("Added. From now on a card can be given to them."),
    "changed": marked("Changed. It holds from the next tap on."),
    "ended": marked("Ended. Every card of theirs is refused everywhere from now on; you can extend the time again."),
}
_CHANGED_MEANWHILE: Final = marked("Somebody changed this meanwhile. Nothing was changed; please look again.")
_ERASED: Final = marked("The name is erased. Nothing can be changed any more; please add the person anew.")
_NO_REASON: Final = marked("Please say why, in up to 200 characters.")
_NO_GROUP_NAME: Final = marked("Please type a name, up to 80 characters.")
_IN_USE: Final = marked("Somebody is in this group. Please take them out of it first.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; a page shows it."}}


@dataclass(frozen=True, slots=True)
class Typed:
    """What a form holds, what is wrong with it, and who may be meant by the sponsor that was typed."""

    values: Mapping[str, str]
    faults: Mapping[str, str] = field(default_factory=dict)
    sponsors: Sequence[Sponsor] = ()
    chosen: int | None = None


@dataclass(frozen=True, slots=True)
class _Desk:
    """What every page uses."""

    outsiders: Outsiders
    pages: Pages
    keep_look: KeepLook

    async def listed(self, actor: Actor, language: Language, which: Which, text: str = "") -> HTMLResponse:
        """Show one list, with how many the others have."""
        wanted = OutsidersWanted(Which.ALL if text else which, text or None)
        rows = await asyncio.to_thread(self.outsiders.soonest, wanted, actor.reaches, MAX_SHOWN + 1)
        found, more = parts_of(rows, MAX_SHOWN)
        found = [one for one in found if one.state is not State.ERASED]
        urgent = {}
        for one in (Which.SOON, Which.NO_SPONSOR):
            these = await asyncio.to_thread(self.outsiders.soonest, OutsidersWanted(one), actor.reaches, MAX_SHOWN + 1)
            urgent[one.value] = f"{MAX_SHOWN}+" if len(these) > MAX_SHOWN else str(len(these))
        if found:
            await asyncio.to_thread(self.keep_look, look_at_list("people_listed", actor, [one.person for one in found]))
        content: dict[str, Any] = {"found": found, "more": more, "which": which.value, "text": text, "urgent": urgent}
        content |= {"lists": spoken(language, _LISTS), **outsider_words(language), **_may(actor)}
        return self.pages.page("outsiders.html", language, actor=actor, **content)

    async def one(
        self, actor: Actor, language: Language, number: int, *, done: str = "", message: str | None = None
    ) -> HTMLResponse:
        """Show one of them."""
        found = await asyncio.to_thread(self.outsiders.one, number, actor.reaches)
        await asyncio.to_thread(self.keep_look, Look("person_read", actor, number))
        content: dict[str, Any] = {"one": found, "done": _DONE.get(done), "message": message}
        content |= {"key": secrets.token_hex(16), **outsider_words(language), **_may(actor)}
        return self.pages.page("outsider.html", language, actor=actor, **content)

    async def form(self, actor: Actor, language: Language, typed: Typed, before: OutsiderView | None) -> HTMLResponse:
        """Show the form of somebody new, or of somebody who is there."""
        groups = await asyncio.to_thread(self.outsiders.groups)
        now_ms = self.outsiders.now_ms()
        days = {"today": forms.first_day(now_ms), "latest": forms.latest_day(now_ms, self.outsiders.bounds)}
        key = typed.values.get("key", "") if not typed.faults else secrets.token_hex(16)
        content: dict[str, Any] = {"before": before, "typed": typed, "groups": groups, **days}
        content |= {"key": key or secrets.token_hex(16), **outsider_words(language)}
        content["seen"] = None if before is None else etag_of(before.head())
        return self.pages.page("outsider_form.html", language, actor=actor, **content)

    def sponsor(self, actor: Actor, form: Mapping[str, str]) -> tuple[int | None, Sequence[Sponsor]]:
        """Return whom a form names as sponsor, and who else may be meant. Blocks."""
        text = form.get("sponsor", "").strip()[: forms.MAX_TYPED]
        found = self.outsiders.sponsors(text, who_of(actor), MAX_SPONSORS) if text and text.isprintable() else ()
        chosen = forms.number_of(form.get("sponsor_number", ""))
        if text and chosen not in {one.person for one in found}:
            # What was typed last counts: whoever was chosen before is none of those who are called so.
            fitting = [one for one in found if one.login == text] or found
            chosen = fitting[0].person if len(fitting) == 1 else None
        return chosen, found


def outsiders_pages(outsiders: Outsiders, gate: Gate, pages: Pages, keep_look: KeepLook) -> APIRouter:
    """Return the pages; whom they show is told who looked."""
    router = APIRouter(
        prefix=PATH, tags=["people"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )
    desk = _Desk(outsiders, pages, keep_look)
    _add_lists(router, desk, gate)
    _add_new(router, desk, gate)
    _add_groups(router, desk, gate)
    # Last: what stands in the address is a number only where it is no word of the pages before.
    _add_one(router, desk, gate)
    _add_end(router, desk, gate)
    return router


def _add_lists(router: APIRouter, desk: _Desk, gate: Gate) -> None:
    reads = gate.allows("outsiders.read")

    @router.get("", summary="Who is here, who ends soon, for whom nobody answers")
    async def lists(
        language: PageLanguage, actor: Annotated[Actor, Depends(reads)], which: Listed = "here"
    ) -> HTMLResponse:
        return await desk.listed(actor, language, Which(which))

    @router.post("/search", summary="Those who are called so")
    async def search(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        text = _search_text(await read_form(request), "text")
        return await desk.listed(actor, language, Which.HERE, text)

    @router.post("/sponsors", summary="Who could answer for somebody and is called so")
    async def sponsors(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        form = await read_form(request)
        text = _search_text(form, "sponsor")
        named = {"sponsor": text} if text else {}
        chosen, found = await asyncio.to_thread(desk.sponsor, actor, named)
        typed = Typed({}, sponsors=found, chosen=chosen)
        return desk.pages.page("outsider_sponsors.html", language, actor=actor, typed=typed, asked=bool(text))


def _add_new(router: APIRouter, desk: _Desk, gate: Gate) -> None:
    @router.get("/new", summary="The form to add somebody", response_model=None)
    async def empty(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("outsiders.read"))]
    ) -> Response:
        return _confirm_first(request, f"{PATH}/new") or await desk.form(actor, language, Typed({}), None)

    @router.post("", summary="Add somebody", response_model=None, responses=_SEES_OTHER)
    async def add(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("outsiders.add"))]
    ) -> Response:
        form = await read_form(request)
        chosen, found = await asyncio.to_thread(desk.sponsor, actor, form)
        try:
            wish = forms.wish_of(form, chosen)
            asked = asked_by(actor, _key(form), "outsiders.add", {**form, "form_token": ""})
            made = await asyncio.to_thread(desk.outsiders.add, wish, who_of(actor), asked)
        except Unfit as unfit:
            return await desk.form(actor, language, Typed(form, unfit.faults, found, chosen), None)
        except (Conflict, NotFound) as error:
            return await desk.form(actor, language, Typed(form, forms.faults_of(error), found, chosen), None)
        return _see_other(f"{PATH}/{made['person']}?done=added")


def _add_one(router: APIRouter, desk: _Desk, gate: Gate) -> None:
    reads = gate.allows("outsiders.read")

    @router.get("/{person}", summary="One person outside the directory")
    async def one(
        person: OutsiderNumber, language: PageLanguage, actor: Annotated[Actor, Depends(reads)], done: Done = ""
    ) -> HTMLResponse:
        return await desk.one(actor, language, person, done=done)

    @router.get("/{person}/change", summary="The form to change or extend", response_model=None)
    async def form_of(
        person: OutsiderNumber, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> Response:
        found = await asyncio.to_thread(desk.outsiders.one, person, actor.reaches)
        if found.state is State.ERASED:
            return await desk.one(actor, language, person, message=_ERASED)
        if (elsewhere := _confirm_first(request, f"{PATH}/{person}/change")) is not None:
            return elsewhere
        await asyncio.to_thread(desk.keep_look, Look("person_read", actor, person))
        typed = Typed(forms.typed_of(found), sponsors=(found.sponsor,), chosen=found.sponsor.person)
        return await desk.form(actor, language, typed, found)

    @router.post("/{person}/change", summary="Change or extend", response_model=None, responses=_SEES_OTHER)
    async def change(
        person: OutsiderNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("outsiders.change"))],
    ) -> Response:
        form = await read_form(request)
        found = await asyncio.to_thread(desk.outsiders.one, person, actor.reaches)
        if form.get("seen") != etag_of(found.head()):
            return await desk.one(actor, language, person, message=_CHANGED_MEANWHILE)
        chosen, others = await asyncio.to_thread(desk.sponsor, actor, form)
        offered = others or (found.sponsor,)
        try:
            wish = forms.wish_of(form, chosen, found)
            await asyncio.to_thread(desk.outsiders.change, person, wish, who_of(actor), _same_as(found))
        except Unfit as unfit:
            return await desk.form(actor, language, Typed(form, unfit.faults, offered, chosen), found)
        except (Conflict, NotFound) as error:
            return await desk.form(actor, language, Typed(form, forms.faults_of(error), offered, chosen), found)
        return _see_other(f"{PATH}/{person}?done=changed")


def _add_end(router: APIRouter, desk: _Desk, gate: Gate) -> None:
    @router.post("/{person}/end", summary="Let the time end now", response_model=None, responses=_SEES_OTHER)
    async def end(
        person: OutsiderNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("outsiders.end"))],
    ) -> Response:
        form = await read_form(request)
        reason = form.get("reason", "").strip()
        if not reason or len(reason) > forms.MAX_TYPED or not reason.isprintable():
            return await desk.one(actor, language, person, message=_NO_REASON)
        asked = asked_by(actor, _key(form), "outsiders.end", {"person": person, "reason": reason})
        try:
            await asyncio.to_thread(desk.outsiders.end, person, who_of(actor), reason, asked)
        except Conflict:
            return await desk.one(actor, language, person, message=_ERASED)
        return _see_other(f"{PATH}/{person}?done=ended")


def _add_groups(router: APIRouter, desk: _Desk, gate: Gate) -> None:
    changes = gate.allows("outsiders.groups")

    async def shown(actor: Actor, language: Language, message: str | None = None, name: str = "") -> HTMLResponse:
        groups = await asyncio.to_thread(desk.outsiders.groups)
        content: dict[str, Any] = {"groups": groups, "message": message, "name": name, **_may(actor)}
        return desk.pages.page("outsider_groups.html", language, actor=actor, key=secrets.token_hex(16), **content)

    @router.get("/groups", summary="The groups that people outside the directory can be in")
    async def groups(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("outsiders.read"))]
    ) -> HTMLResponse:
        return await shown(actor, language)

    @router.post("/groups", summary="Add a group", response_model=None, responses=_SEES_OTHER)
    async def add(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(changes)]) -> Response:
        form = await read_form(request)
        name = form.get("name", "").strip()
        if not name or len(name) > MAX_GROUP_NAME or not name.isprintable():
            return await shown(actor, language, _NO_GROUP_NAME, name[:MAX_GROUP_NAME])
        asked = asked_by(actor, _key(form), "outsiders.add_group", {"name": name})
        try:
            await asyncio.to_thread(desk.outsiders.add_group, name, asked)
        except Conflict as error:
            return await shown(actor, language, next(iter(forms.faults_of(error).values())), name)
        return _see_other(f"{PATH}/groups")

    @router.post("/groups/{group}/remove", summary="Remove a group", response_model=None, responses=_SEES_OTHER)
    async def remove(group: GroupNumber, language: PageLanguage, actor: Annotated[Actor, Depends(changes)]) -> Response:
        try:
            await asyncio.to_thread(desk.outsiders.remove_group, group)
        except Conflict:
            return await shown(actor, language, _IN_USE)
        return _see_other(f"{PATH}/groups")


def _same_as(found: OutsiderView) -> Any:
    def require(shown: Mapping[str, Any]) -> None:
        if shown != found.head():
            raise Conflict("somebody changed it meanwhile")

    return require


def _may(actor: Actor) -> dict[str, bool]:
    return {
        "may_change": allowed(OPERATIONS["outsiders.change"], actor.roles),
        "may_group": allowed(OPERATIONS["outsiders.groups"], actor.roles),
        "may_see_cards": allowed(OPERATIONS["cards.read"], actor.roles),
    }


def _confirm_first(request: Request, path: str) -> RedirectResponse | None:
    """Return the way to typing the password before a long form, None where that was done a moment ago."""
    signed_in = getattr(request.state, "signed_in", None)
    if isinstance(signed_in, SignedIn) and not signed_in.confirmed:
        return _see_other(f"{CONFIRM}?next={quote(path, safe='')}")
    return None


def _search_text(form: Mapping[str, str], name: str) -> str:
    text = form.get(name, "").strip()
    if len(text) > forms.MAX_TYPED or not text.isprintable():
        raise ApiProblem(422, "invalid", f"{name}: up to {forms.MAX_TYPED} characters")
    return text


def _key(form: Mapping[str, str]) -> str:
    key = form.get("key", "")
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key


def _see_other(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})
