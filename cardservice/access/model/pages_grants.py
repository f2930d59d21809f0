# SPDX-License-Identifier: EUPL-1.2
"""The pages of grants and blocks: found, looked at, added, changed, ended, removed, and that undone.

What somebody searches for may be a name: it is sent as a form and stands in no address. A person stands in addresses by
number.
"""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.access.model.api import by
from cardservice.access.model.desk import (
    PREVIEW,
    SEES_OTHER,
    Desk,
    EffectLine,
    Visit,
    Words,
    choices,
    done_of,
    names_of,
    pages_router,
    see_other,
    typed_of,
)
from cardservice.access.model.documents import rule_of, shown_rule
from cardservice.access.model.forms import Typed, cleaned, grant_body, typed_grant
from cardservice.access.model.grants import GrantNumber
from cardservice.access.model.reading import Map
from cardservice.access.model.refusals import Fault, Refused, faults_of
from cardservice.access.model.seen import is_sealed, marks_of
from cardservice.access.model.store import RulesWanted, StoredRule
from cardservice.access.model.wording import HINTS
from cardservice.access.setup_parts import PointSetup, RuleSetup
from cardservice.errors import CardServiceError, NotFound
from cardservice.web.gate import Actor
from cardservice.web.i18n import marked
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.pages import PageLanguage, parts_of
from cardservice.web.problems import ApiProblem
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

PATH: Final = "/access/grants"
MAX_SHOWN: Final = 200
MAX_READ: Final = 5_000
MAX_FOUND: Final = 20
MAX_TEXT: Final = 200
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_NUMBER: Final = re.compile(r"[0-9]{1,15}")


def grants_pages(desk: Desk) -> APIRouter:
    """Return the pages."""
    router = pages_router("access model")
    _add_lists(router, desk)
    _add_lookups(router, desk)
    _add_new(router, desk)
    _add_one(router, desk)
    return router


def _add_lists(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("grants.read")

    @router.get("/grants", summary="Grants and blocks")
    async def every(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(reads)],
        group: Words = "",
        point: Words = "",
        zone: Words = "",
        schedule: Words = "",
        effect: Words = "",
        passing: Words = "",
    ) -> HTMLResponse:
        asked = {"group": group, "point": point, "zone": zone, "schedule": schedule, "effect": effect}
        asked = {name: text for name, text in asked.items() if text}
        wanted = RulesWanted(effect or None, group or None, None, point or None, zone or None, None, schedule or None)
        content: dict[str, Any] = {"asked_for": asked | ({"passing": passing} if passing else {}), "text": ""}
        offer, seal = (request.query_params.get(name, "") for name in ("offer", "seal"))
        offered = bool(offer) and is_sealed(actor.form_token, offer, seal)
        content |= {"offer": offer if offered else None, "seal": seal}
        return await listed(
            desk, Visit(language, actor), wanted, passing=passing or None, done=done_of(request), **content
        )

    @router.post("/grants/search", summary="Grants and blocks, as one types")
    async def search(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        text = _searched(await read_form(request))
        content: dict[str, Any] = {"asked_for": {}, "text": text, "offer": None}
        return await listed(desk, Visit(language, actor), RulesWanted(), fits=_contains(text.casefold()), **content)


async def listed(
    desk: Desk,
    visit: Visit,
    wanted: RulesWanted,
    *,
    passing: str | None = None,
    fits: Callable[[StoredRule, Map], bool] = lambda _rule, _around: True,
    **content: Any,
) -> HTMLResponse:
    """Show grants by the name of whom they are for, then by place."""
    around = await desk.map(visit.actor)
    point = around.points.get(passing or "")
    bears = _bears_on(around, point) if point is not None else (lambda _: passing is None)
    rules = await asyncio.to_thread(
        desk.model.rules, wanted, by(visit.actor), 0, MAX_READ, lambda one: bears(one) and fits(one, around)
    )
    ordered = sorted(rules, key=_by_holder)
    shown, more = parts_of(ordered, MAX_SHOWN)
    answered = await asyncio.to_thread(desk.reading.answered, shown)
    content |= {"rules": shown, "more": more, "answered": answered, "names": names_of(around), "map": around}
    return desk.page("grants.html", visit, now_ms=around.around.now_ms, **{"done": None, **content})


def _by_holder(one: StoredRule) -> tuple[str, str, int]:
    place = one.rule.point or one.rule.zone or str(one.rule.use)
    return ((one.rule.group or one.rule.login or "").casefold(), place, one.number)


def _bears_on(around: Map, point: PointSetup) -> Callable[[StoredRule], bool]:
    """Return what tells whether a grant or block holds at a point: its own, of a zone around it, or of its use."""
    zones = {zone.code for zone in around.chain(point.zone)}
    return lambda one: one.rule.point == point.code or one.rule.zone in zones or one.rule.use == point.use


def _contains(small: str) -> Callable[[StoredRule, Map], bool]:
    """Return what tells whether a grant's holder, place or schedule is called so."""

    def fits(one: StoredRule, around: Map) -> bool:
        rule = one.rule
        point, zone = around.points.get(rule.point or ""), around.zones.get(rule.zone or "")
        words = (rule.group, rule.login, rule.point, rule.zone, rule.schedule)
        names = (point and point.name, zone and zone.name)
        return any(small in word.casefold() for word in (*words, *names) if word)

    return fits


def _searched(form: Mapping[str, str]) -> str:
    text = form.get("text", "").strip()
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ApiProblem(422, "invalid", f"text: up to {MAX_TEXT} characters")
    return text


def _add_lookups(router: APIRouter, desk: Desk) -> None:
    asks = desk.gate.allows(PREVIEW)

    @router.get("/choose/groups", summary="Names of groups that a field offers as one types")
    async def groups(language: PageLanguage, actor: Annotated[Actor, Depends(asks)], group: Words = "") -> HTMLResponse:
        found = await asyncio.to_thread(desk.reading.groups, group, MAX_FOUND) if group else []
        return desk.page("access_options.html", Visit(language, actor), options=[(name, "") for name in found])

    @router.get("/choose/points", summary="Codes of points that a field offers as one types")
    async def points(language: PageLanguage, actor: Annotated[Actor, Depends(asks)], point: Words = "") -> HTMLResponse:
        around, small = await desk.map(actor), point.casefold()
        fitting = [one for one in around.held_points if small in one.code.casefold() or small in one.name.casefold()]
        options = [(one.code, one.name) for one in fitting[:MAX_FOUND]]
        return desk.page("access_options.html", Visit(language, actor), options=options)

    @router.get("/choose/person", summary="Look for the person a grant is to name")
    async def look(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(asks)]) -> HTMLResponse:
        content: dict[str, Any] = {"text": "", "found": (), "rest": _rest(request)}
        return desk.page("access_person.html", Visit(language, actor), **content)

    @router.post("/choose/person", summary="The people that are called so")
    async def people(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(asks)]) -> HTMLResponse:
        text = _searched(await read_form(request))
        found = await asyncio.to_thread(desk.reading.people, text, by(actor), MAX_FOUND) if text else []
        return desk.page("access_person.html", Visit(language, actor), text=text, found=found, rest=_rest(request))


def _rest(request: Request) -> str:
    """Return what else a new grant's form holds, as the rest of an address."""
    kept = {name: text for name, text in typed_of(request, _CARRIED).items() if text}
    return urlencode(kept)


_CARRIED: Final = ("effect", "point", "zone", "use", "schedule", "valid_from", "valid_until")


def _add_new(router: APIRouter, desk: Desk) -> None:
    @router.get("/new/grant", summary="A form for a new grant or block, or what that would do")
    async def form(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(desk.gate.allows(PREVIEW))]
    ) -> HTMLResponse:
        held = typed_of(request)
        if held.pop("step", "") != "preview":
            return await _form(desk, Visit(language, actor), held)
        try:
            held = cleaned(held)
            rule = await _rule(desk, actor, held)
            effects = await desk.weighed(lambda: desk.rehearsal.of_rule(rule, by(actor)))
        except (CardServiceError, ApiProblem) as error:
            return await _form(desk, Visit(language, actor), held, faults=faults_of(error, "grants"))
        return await _form(desk, Visit(language, actor), held, effects=effects)

    @router.post("/new/grant", summary="Grant or block", response_model=None, responses=SEES_OTHER)
    async def add(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(desk.gate.allows("grants.change"))]
    ) -> Response:
        held = await read_form(request)
        key = held.pop("key", "")
        for name in ("form_token", "reason"):
            held.pop(name, None)
        if _KEY.fullmatch(key) is None:
            raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
        try:
            held = cleaned(held)
            rule = await _rule(desk, actor, held)
            asked = asked_by(actor, key, "grants.add", held)
            added = await asyncio.to_thread(desk.model.add_rule, asked, rule, by(actor), as_json)
        except (CardServiceError, ApiProblem) as error:
            return await _form(desk, Visit(language, actor), held, faults=faults_of(error, "grants"))
        return see_other(f"{PATH}/{added['grant']}?done=added")


async def _rule(desk: Desk, actor: Actor, typed: Typed) -> RuleSetup:
    """Return the grant or block a form says; the person it names is within reach."""
    holder: dict[str, str | None] = {}
    if number := typed.get("person", ""):
        if _NUMBER.fullmatch(number) is None or int(number) > MAX_NUMBER:
            raise Refused(Fault("person", HINTS["person"]))
        try:
            someone = await asyncio.to_thread(desk.reading.someone, int(number), by(actor))
        except NotFound:
            raise Refused(Fault("person", marked("There is nobody of this number whom you may name."))) from None
        holder = {"login": someone.login, "subject_id": someone.subject_id}
    return rule_of(grant_body(typed, holder))


async def _form(
    desk: Desk,
    visit: Visit,
    typed: Typed,
    *,
    faults: Sequence[Fault] = (),
    effects: Sequence[EffectLine] | None = None,
) -> HTMLResponse:
    around = await desk.map(visit.actor)
    person = None
    number = typed.get("person", "")
    if _NUMBER.fullmatch(number) and int(number) <= MAX_NUMBER:
        try:
            person = await asyncio.to_thread(desk.reading.someone, int(number), by(visit.actor))
        except NotFound:
            person = None
    rest = urlencode({name: typed[name] for name in _CARRIED if typed.get(name)})
    content: dict[str, Any] = {"choices": choices(around), "names": names_of(around), "person": person, "rest": rest}
    content |= {"key": secrets.token_hex(16), "everything": around.around.everything}
    return desk.page("grant_form.html", visit, faults=faults, typed=typed, effects=effects, differences=(), **content)


def as_json(stored: StoredRule) -> dict[str, Any]:
    """Return a grant as an answer that is kept holds it."""
    return shown_rule(stored).model_dump(mode="json")


def _add_one(router: APIRouter, desk: Desk) -> None:
    gate = desk.gate

    @router.get("/grants/{grant}", summary="One grant or block")
    async def one(
        grant: GrantNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("grants.read"))],
    ) -> HTMLResponse:
        stored = await asyncio.to_thread(desk.model.rule, grant, by(actor))
        was, seal = (request.query_params.get(name, "") for name in ("was", "seal"))
        ended = bool(seal) and is_sealed(actor.form_token, f"{grant} {was}", seal)
        return await _shown(desk, Visit(language, actor), stored, done=done_of(request), was=was if ended else None)


async def _shown(desk: Desk, visit: Visit, stored: StoredRule, **content: Any) -> HTMLResponse:
    around = await desk.map(visit.actor)
    shown = shown_rule(stored)
    answered = await asyncio.to_thread(desk.reading.answered, [stored])
    marks = marks_of(shown.model_dump(mode="json"))
    content |= {"one": stored, "shown": shown, "answered": answered.get(stored.number), "names": names_of(around)}
    content |= {"typed": typed_grant(shown), "marks": marks, "map": around, "now_ms": around.around.now_ms}
    return desk.page("grant.html", visit, **content)
