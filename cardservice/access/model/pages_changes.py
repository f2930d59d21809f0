# SPDX-License-Identifier: EUPL-1.2
"""Pages that add, change and remove what has a code: a form, what it would do to whom, and only then the change.

A preview is an address: whoever has to confirm their password first comes back to it with everything they typed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.access.model.api import CodeOf, by
from cardservice.access.model.desk import (
    KINDS,
    PREVIEW,
    SEES_OTHER,
    Desk,
    EffectLine,
    Kind,
    Visit,
    choices,
    demand_choices,
    differences,
    document_field,
    names_of,
    pages_router,
    see_other,
    typed_of,
)
from cardservice.access.model.forms import BODIES, MAX_SPECIAL, SECONDS, TYPED, Typed, cleaned, code_of
from cardservice.access.model.refusals import Fault, faults_of
from cardservice.access.model.seen import ChangedMeanwhile, marks_of, rests_on
from cardservice.access.model.service import Check
from cardservice.access.schedules import LAENDER
from cardservice.errors import CardServiceError
from cardservice.web.gate import Actor
from cardservice.web.pages import PageLanguage
from cardservice.web.problems import ApiProblem
from cardservice.web.session_guard import read_form


@dataclass(frozen=True, slots=True)
class _Form:
    """One form as somebody left it: of which entry (None: a new one), what it holds, and what it rests on."""

    kind: Kind
    code: str | None
    typed: Typed
    marks: str


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a form: its effects, its faults, or what somebody changed meanwhile."""

    effects: Sequence[EffectLine] | None = None
    faults: Sequence[Fault] = ()
    conflict: Sequence[tuple[str, str, str]] = ()


def changes_pages(desk: Desk) -> APIRouter:
    """Return the pages of every kind."""
    router = pages_router("access model")
    for kind in KINDS:
        _Forms(desk, kind).add_to(router)
    return router


class _Forms:
    """The forms of one kind."""

    def __init__(self, desk: Desk, kind: Kind) -> None:
        self._desk, self._kind = desk, kind

    def add_to(self, router: APIRouter) -> None:
        """Add the pages of this kind."""
        self._add_new(router)
        self._add_change(router)
        self._add_remove(router)

    def _add_new(self, router: APIRouter) -> None:
        kind, gate = self._kind, self._desk.gate
        address = f"/new/{kind.single}"

        @router.get(address, summary=f"A form for a new entry: {kind.single}", name=f"new {kind.single}")
        async def blank(
            request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(PREVIEW))]
        ) -> HTMLResponse:
            return await self._asked(request, Visit(language, actor), None)

        @router.post(
            address,
            summary=f"Add an entry: {kind.single}",
            name=f"add {kind.single}",
            response_model=None,
            responses=SEES_OTHER,
        )
        async def add(
            request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(kind.operation))]
        ) -> Response:
            return await self._stored(request, Visit(language, actor), None)

    def _add_change(self, router: APIRouter) -> None:
        kind, gate = self._kind, self._desk.gate
        address = f"{kind.path.removeprefix('/access')}/{{code}}/change"

        @router.get(address, summary=f"The form of an entry: {kind.single}", name=f"form {kind.single}")
        async def form(
            code: CodeOf,
            request: Request,
            language: PageLanguage,
            actor: Annotated[Actor, Depends(gate.allows(PREVIEW))],
        ) -> HTMLResponse:
            return await self._asked(request, Visit(language, actor), code)

        @router.post(
            address,
            summary=f"Change an entry: {kind.single}",
            name=f"change {kind.single}",
            response_model=None,
            responses=SEES_OTHER,
        )
        async def change(
            code: CodeOf,
            request: Request,
            language: PageLanguage,
            actor: Annotated[Actor, Depends(gate.allows(kind.operation))],
        ) -> Response:
            return await self._stored(request, Visit(language, actor), code)

    def _add_remove(self, router: APIRouter) -> None:
        kind, gate = self._kind, self._desk.gate
        address = f"{kind.path.removeprefix('/access')}/{{code}}/remove"

        @router.get(address, summary=f"What removing an entry would do: {kind.single}", name=f"ask {kind.single}")
        async def ask(
            code: CodeOf, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(PREVIEW))]
        ) -> HTMLResponse:
            return await self._removal(Visit(language, actor), code)

        @router.post(
            address,
            summary=f"Remove an entry: {kind.single}",
            name=f"remove {kind.single}",
            response_model=None,
            responses=SEES_OTHER,
        )
        async def remove(
            code: CodeOf,
            request: Request,
            language: PageLanguage,
            actor: Annotated[Actor, Depends(gate.allows(kind.operation))],
        ) -> Response:
            check = rests_on((await read_form(request)).get("marks", ""), kind.show)
            try:
                await asyncio.to_thread(self._desk.model.remove, kind.name, code, by(actor), check)
            except ChangedMeanwhile as changed:
                return await self._removal(Visit(language, actor), code, changed)
            except (CardServiceError, ApiProblem) as error:
                return await self._removal(Visit(language, actor), code, error)
            return see_other(f"{kind.every}?done=removed")

    async def _shown(self, visit: Visit, code: str) -> Any:
        return self._kind.show(await asyncio.to_thread(self._desk.model.part, self._kind.name, code, by(visit.actor)))

    async def _asked(self, request: Request, visit: Visit, code: str | None) -> HTMLResponse:
        """Show the form as it stands, or what the fields in the address would do."""
        held = typed_of(request)
        shown = None if code is None else await self._shown(visit, code)
        marks = "" if shown is None else marks_of(shown.model_dump(mode="json"))
        if held.pop("step", "") != "preview":
            typed = {**held, **({} if shown is None else TYPED[self._kind.name](shown))}
            return await self._page(visit, _Form(self._kind, code, typed, marks), shown)
        form = _Form(self._kind, code, held, _marks(held, code))
        return await self._tried(visit, form, shown)

    async def _tried(self, visit: Visit, form: _Form, shown: Any | None) -> HTMLResponse:
        """Show what a form would do, or why it cannot be."""
        try:
            form, part = self._read(form, shown)
            check = rests_on(form.marks, self._kind.show)
            rehearsal = self._desk.rehearsal
            effects = await self._desk.weighed(
                lambda: rehearsal.of(lambda model: model.put(self._kind.name, part, by(visit.actor), check))
            )
        except ChangedMeanwhile as changed:
            return await self._changed(visit, form, changed)
        except (CardServiceError, ApiProblem) as error:
            outcome = _Outcome(faults=faults_of(error, self._kind.name))
            return await self._page(visit, form, shown, outcome)
        return await self._page(visit, form, shown, _Outcome(effects))

    async def _stored(self, request: Request, visit: Visit, code: str | None) -> Response:
        """Store what was previewed; where that cannot be, show the form again."""
        held = await read_form(request)
        for name in ("form_token", "reason"):
            held.pop(name, None)
        form = _Form(self._kind, code, held, _marks(held, code))
        shown = None if code is None else await self._shown(visit, code)
        try:
            form, part = self._read(form, shown)
            check = rests_on(form.marks, self._kind.show)
            await asyncio.to_thread(self._store, part, visit, check)
        except ChangedMeanwhile as changed:
            return await self._changed(visit, form, changed)
        except (CardServiceError, ApiProblem) as error:
            outcome = _Outcome(faults=faults_of(error, self._kind.name))
            return await self._page(visit, form, shown, outcome)
        return see_other(f"{self._kind.path}/{part.code}?done=saved")

    def _store(self, part: Any, visit: Visit, check: Check) -> None:
        """Store an entry; that it is what is to be already, because a form was sent twice, is no conflict."""
        try:
            self._desk.model.put(self._kind.name, part, by(visit.actor), check)
        except ChangedMeanwhile as changed:
            if self._kind.show(part).model_dump(mode="json") != changed.now:
                raise

    def _read(self, form: _Form, shown: Any | None) -> tuple[_Form, Any]:
        """Return the form without spaces around its texts, and the entry it says.

        Raises:
            Refused, Conflict: it says none.
        """
        typed = cleaned(form.typed)
        code = code_of(typed) if form.code is None else form.code
        part = self._kind.part_of(code, BODIES[self._kind.name](typed, shown))
        return replace(form, typed=typed), part

    async def _changed(self, visit: Visit, form: _Form, changed: ChangedMeanwhile) -> HTMLResponse:
        """Show what somebody changed meanwhile beside what was typed; sent again, it rests on what is there now."""
        shown = await self._shown(visit, form.code or "")
        now = TYPED[self._kind.name](shown)
        conflict = [
            (name, text, form.typed.get(name, ""))
            for name, text in now.items()
            if document_field(name) in changed.fields
        ]
        again = replace(form, marks=marks_of(shown.model_dump(mode="json")))
        return await self._page(visit, again, shown, _Outcome(conflict=conflict))

    async def _page(
        self, visit: Visit, form: _Form, shown: Any | None, outcome: _Outcome | None = None
    ) -> HTMLResponse:
        outcome = outcome or _Outcome()
        around = await self._desk.map(visit.actor)
        before: Mapping[str, str] = {} if shown is None else TYPED[self._kind.name](shown)
        content: dict[str, Any] = {"choices": choices(around), "names": names_of(around), "laender": LAENDER}
        content |= {"demand_choices": demand_choices(visit.language), "seconds": SECONDS}
        groups = list(around.special_days.values())[:MAX_SPECIAL]
        return self._desk.page(
            "access_form.html",
            visit,
            faults=outcome.faults,
            kind=self._kind,
            code=form.code,
            name=before.get("name"),
            typed=form.typed,
            marks=form.marks,
            effects=outcome.effects,
            conflict=outcome.conflict,
            differences=differences(before, form.typed),
            groups=groups,
            document_field=document_field,
            **content,
        )

    async def _removal(
        self, visit: Visit, code: str, refused: CardServiceError | ApiProblem | None = None
    ) -> HTMLResponse:
        """Ask whether an entry is to go, with what that does to whom, or say why it cannot."""
        shown = await self._shown(visit, code)
        marks = marks_of(shown.model_dump(mode="json"))
        effects: Sequence[EffectLine] | None = None
        changed = isinstance(refused, ChangedMeanwhile)
        faults = () if refused is None or changed else faults_of(refused, self._kind.name)
        if not faults:
            check, rehearsal = rests_on(marks, self._kind.show), self._desk.rehearsal
            try:
                effects = await self._desk.weighed(
                    lambda: rehearsal.of(lambda model: model.remove(self._kind.name, code, by(visit.actor), check))
                )
            except (CardServiceError, ApiProblem) as error:
                faults = faults_of(error, self._kind.name)
        content = {"kind": self._kind, "code": code, "name": TYPED[self._kind.name](shown)["name"], "marks": marks}
        return self._desk.page("access_remove.html", visit, faults=faults, effects=effects, changed=changed, **content)


def _marks(held: dict[str, str], code: str | None) -> str:
    """Take what a form rests on; an old entry's form without any rests on nothing that is stored."""
    marks = held.pop("marks", "")
    return marks or ("" if code is None else "-")
