# SPDX-License-Identifier: EUPL-1.2
"""The steps of a grant or block: other times, its end now, gone for good; and the way back from the last two."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    choices,
    differences,
    document_field,
    names_of,
    pages_router,
    see_other,
    typed_of,
)
from cardservice.access.model.documents import shown_rule
from cardservice.access.model.forms import Typed, cleaned, times_body, typed_grant
from cardservice.access.model.grants import GrantNumber
from cardservice.access.model.pages_grants import PATH, as_json, listed
from cardservice.access.model.refusals import Fault, faults_of
from cardservice.access.model.seen import ChangedMeanwhile, is_sealed, marks_of, rests_on, sealed
from cardservice.access.model.service import Model, NewTimes
from cardservice.access.model.store import RulesWanted, StoredRule
from cardservice.access.model.undo import offer_of, rule_of_offer
from cardservice.errors import CardServiceError
from cardservice.web.gate import Actor
from cardservice.web.pages import PageLanguage
from cardservice.web.problems import ApiProblem
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

STEPS: Final = ("change", "end", "remove")
_FIELDS: Final = frozenset({"schedule", "valid_from", "valid_until"})


@dataclass(frozen=True, slots=True)
class _Step:
    """One step of a grant: which, what its form holds, and what that rests on."""

    name: str
    stored: StoredRule
    typed: Typed
    marks: str

    def act(self, actor: Actor, now_ms: int) -> Callable[[Model], Any]:
        """Return the step, to be rehearsed or done.

        Raises:
            Refused, Conflict: the form cannot be read.
        """
        # No marks at all are none of this grant.
        number, check = self.stored.number, rests_on(self.marks or "-", shown_rule)
        if self.name == "remove":
            return lambda model: model.remove_rule(number, by(actor), check)
        if self.name == "end":
            times = NewTimes(self.stored.rule.schedule, self.stored.rule.valid_from_ms, now_ms)
        else:
            body = times_body(cleaned(self.typed), shown_rule(self.stored))
            times = NewTimes(body.schedule, body.valid_from_ms, body.valid_until_ms)
        return lambda model: model.change_rule(number, times, by(actor), check)


def grant_steps_pages(desk: Desk) -> APIRouter:
    """Return the pages."""
    router = pages_router("access model")
    for step in STEPS:
        _add_step(router, desk, step)
    _add_undo(router, desk)
    return router


def _add_step(router: APIRouter, desk: Desk, step: str) -> None:
    gate = desk.gate

    @router.get(f"/grants/{{grant}}/{step}", summary=f"What a step would do: {step}", name=f"ask {step} grant")
    async def ask(
        grant: GrantNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows(PREVIEW))],
    ) -> HTMLResponse:
        stored = await asyncio.to_thread(desk.model.rule, grant, by(actor))
        held, visit = typed_of(request), Visit(language, actor)
        previewed = held.pop("step", "") == "preview"
        marks = held.get("marks", "") if previewed else _marks(stored)
        asked = _Step(step, stored, _typed(stored, held if previewed else {}), marks)
        if step == "change" and not previewed:
            return await _page(desk, visit, asked)
        try:
            act = asked.act(actor, desk.reading.now_ms)
            effects = await desk.weighed(lambda: desk.rehearsal.of(act))
        except (CardServiceError, ApiProblem) as error:
            return await _refused(desk, visit, asked, error)
        return await _page(desk, visit, asked, effects=effects)

    @router.post(
        f"/grants/{{grant}}/{step}",
        summary=f"A step of a grant or block: {step}",
        name=f"{step} grant",
        response_model=None,
        responses=SEES_OTHER,
    )
    async def do(
        grant: GrantNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("grants.change"))],
    ) -> Response:
        held = await read_form(request)
        stored = await asyncio.to_thread(desk.model.rule, grant, by(actor))
        asked = _Step(step, stored, _typed(stored, held), held.get("marks", ""))
        try:
            await asyncio.to_thread(asked.act(actor, desk.reading.now_ms), desk.model)
        except (CardServiceError, ApiProblem) as error:
            return await _refused(desk, Visit(language, actor), asked, error)
        return see_other(_afterwards(actor, step, stored, undone="undo" in held))


def _typed(stored: StoredRule, held: Typed) -> dict[str, str]:
    return typed_grant(shown_rule(stored)) | {name: text for name, text in held.items() if name in _FIELDS}


def _marks(stored: StoredRule) -> str:
    return marks_of(shown_rule(stored).model_dump(mode="json"))


async def _refused(desk: Desk, visit: Visit, asked: _Step, error: CardServiceError | ApiProblem) -> HTMLResponse:
    """Say why a step cannot be done; of what somebody changed meanwhile, what it is now beside what was typed."""
    if not isinstance(error, ChangedMeanwhile):
        return await _page(desk, visit, asked, faults=faults_of(error, "grants"))
    stored = await asyncio.to_thread(desk.model.rule, asked.stored.number, by(visit.actor))
    now = typed_grant(shown_rule(stored))
    conflict = [
        (name, text, asked.typed.get(name, "")) for name, text in now.items() if document_field(name) in error.fields
    ]
    again = replace(asked, stored=stored, marks=_marks(stored))
    return await _page(desk, visit, again, changed=True, conflict=conflict)


async def _page(
    desk: Desk,
    visit: Visit,
    asked: _Step,
    *,
    effects: Sequence[EffectLine] | None = None,
    faults: Sequence[Fault] = (),
    **content: Any,
) -> HTMLResponse:
    around = await desk.map(visit.actor)
    now = typed_grant(shown_rule(asked.stored))
    content = {"changed": False, "conflict": (), "effects": effects, **content}
    content |= {"one": asked.stored, "typed": asked.typed, "step": asked.name, "marks": asked.marks}
    content |= {"choices": choices(around), "names": names_of(around), "differences": differences(now, asked.typed)}
    return desk.page("grant_step.html", visit, faults=faults, **content)


def _afterwards(actor: Actor, step: str, stored: StoredRule, *, undone: bool) -> str:
    """Return where to go after a step: what was ended or removed can be had back there."""
    token = actor.form_token
    if step == "remove":
        offer = offer_of(stored.rule)
        return f"{PATH}?{urlencode({'offer': offer, 'seal': sealed(token, offer)})}"
    address = f"{PATH}/{stored.number}"
    if step == "end":
        until = stored.rule.valid_until_ms
        was = "" if until is None else f"@{until}"
        return f"{address}?{urlencode({'was': was, 'seal': sealed(token, f'{stored.number} {was}')})}"
    return f"{address}?done={'restored' if undone else 'saved'}"


def _add_undo(router: APIRouter, desk: Desk) -> None:
    @router.post(
        "/grants/restore", summary="Have a grant back that was just removed", response_model=None, responses=SEES_OTHER
    )
    async def restore(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(desk.gate.allows("grants.change"))]
    ) -> Response:
        held = await read_form(request)
        offer, seal = held.get("offer", ""), held.get("seal", "")
        if not is_sealed(actor.form_token, offer, seal):
            raise ApiProblem(422, "invalid", "offer: no page of this session made it")
        try:
            # The same offer is the same request, however often it comes.
            asked = asked_by(actor, f"restore-{seal}", "grants.add", offer)
            added = await asyncio.to_thread(desk.model.add_rule, asked, rule_of_offer(offer), by(actor), as_json)
        except (CardServiceError, ApiProblem) as error:
            faults = faults_of(error, "grants")
            content: dict[str, Any] = {"asked_for": {}, "text": "", "offer": None, "faults": faults}
            return await listed(desk, Visit(language, actor), RulesWanted(), **content)
        return see_other(f"{PATH}/{added['grant']}?done=restored")
