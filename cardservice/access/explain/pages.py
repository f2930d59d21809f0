# SPDX-License-Identifier: EUPL-1.2
"""The page that explains why somebody may pass at a point, or why not. The question stands in no address."""

import asyncio
import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from pydantic import ValidationError

from cardservice.access.explain.api import InquiryBody, described
from cardservice.access.explain.record import Lookups
from cardservice.access.explain.sentences import Writer
from cardservice.access.explain.service import Explainer, Inquiry
from cardservice.errors import Conflict, NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.looks import Look
from cardservice.web.pages import PageLanguage, Pages
from cardservice.web.problems import documented
from cardservice.web.session_guard import read_form

PATH: Final = "/access/explain"
_INVALID: Final = marked("Please give a login and the code of a point.")
_UNKNOWN: Final = marked("There is no such point or nobody of that login, or it cannot be told who is meant.")


def explain_page(explainer: Explainer, lookups: Lookups, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page."""
    router = APIRouter(
        prefix=PATH, tags=["access"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )
    administrator = Annotated[Actor, Depends(gate.allows("access.explain"))]
    # One at a time: taps are answered by the same processor.
    turn = asyncio.Lock()

    @router.get("", summary="Ask why somebody may pass, or why not")
    async def ask(language: PageLanguage, actor: administrator) -> HTMLResponse:
        return pages.page("explain.html", language, actor=actor, **_EMPTY)

    @router.post("", summary="Why somebody may pass, or why not")
    async def answer(request: Request, language: PageLanguage, actor: administrator) -> HTMLResponse:
        form = await read_form(request)
        typed = {name: form.get(name, "").strip() for name in ("login", "point")}
        try:
            body = InquiryBody.model_validate({**_about(typed["login"]), "point": typed["point"], "language": language})
        except ValidationError:
            return pages.page("explain.html", language, actor=actor, **{**_EMPTY, **typed, "message": _INVALID})
        actor.require_point(body.point)
        try:
            async with turn:
                explained = await asyncio.to_thread(
                    explainer.explain, Inquiry(body.point, login=body.login, person=body.person)
                )
        except (Conflict, NotFound):
            return pages.page("explain.html", language, actor=actor, **{**_EMPTY, **typed, "message": _UNKNOWN})
        look = Look("explained", actor, explained.asked_about, {"point": body.point})
        await asyncio.to_thread(lookups.look, look)
        writer = Writer(language, explained.time_zone)
        answers = [described(one, writer) for one in explained.answers]
        content = {**_EMPTY, **typed, "answers": answers, "at_ms": explained.at_ms}
        return pages.page("explain.html", language, actor=actor, **content)

    return router


def _about(typed: str) -> dict[str, str | int]:
    """Return whom a text means: a login, or a person by their number (`#17`), as who has no login."""
    found = _NUMBER.fullmatch(typed)
    return {"login": typed} if found is None else {"person": int(found[1])}


_NUMBER: Final = re.compile(r"#([0-9]{1,15})")
_EMPTY: Final[dict[str, Any]] = {"login": "", "point": "", "message": None, "answers": None, "at_ms": None}
