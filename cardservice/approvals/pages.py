# SPDX-License-Identifier: EUPL-1.2
"""The pages of requests: what waits for me, what I asked for, what became of it, and one of them to decide on."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.approvals.api import ApprovalNumber
from cardservice.approvals.desk import ApprovalDesk
from cardservice.approvals.rules import MAX_REASON, Refusal, State
from cardservice.approvals.service import NotDecided, Verdict
from cardservice.errors import Conflict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, spoken, translated
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.session_guard import read_form

PATH: Final = "/approvals"
MAX_SHOWN: Final = 50
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_STATES: Final[Mapping[str, str]] = {
    State.OPEN: marked("waits for an answer"),
    State.APPROVED: marked("approved"),
    State.REJECTED: marked("rejected"),
    State.WITHDRAWN: marked("withdrawn"),
    State.EXPIRED: marked("expired without an answer"),
}
_REFUSED: Final[Mapping[Refusal, str]] = {
    Refusal.OWN: marked("This is your own request. Somebody else has to decide on it."),
    Refusal.FOREIGN: marked("Only whoever asked can withdraw the request."),
    Refusal.DECIDED: marked("The request has its answer already. Nothing was changed; below is what was decided."),
    Refusal.EXPIRED: marked("The request has expired, so nothing can be decided any more. It can be made anew."),
    Refusal.CHANGED: marked("This is not what you were shown. Nothing was decided; please read the request again."),
}
_NOT_NOW: Final = marked("It cannot be carried out now. Nothing was decided; please read the request again.")
_NO_REASON: Final = marked("Please give a reason: whoever asked reads it.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of the request shows it."}}


def approvals_pages(desk: ApprovalDesk, gate: Gate, pages: Pages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=PATH, tags=["approvals"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )
    reader = Annotated[Actor, Depends(gate.allows("approvals.read"))]

    @router.get("", summary="Requests: what I may decide on, mine, and what became of others")
    async def all_requests(language: PageLanguage, actor: reader) -> HTMLResponse:
        def lists() -> dict[str, Any]:
            open_now = desk.approvals.list(actor, State.OPEN, limit=MAX_SHOWN)
            newest = desk.approvals.list(actor, limit=MAX_SHOWN)
            return {
                "may_decide": allowed(OPERATIONS["approvals.decide"], actor.roles),
                "may_ask": allowed(OPERATIONS["approvals.request"], actor.roles),
                "deciding": [seen for seen in open_now if seen.may_decide],
                "mine": [seen for seen in open_now if seen.own],
                "history": [seen for seen in newest if seen.state is not State.OPEN],
            }

        words = spoken(language, _STATES)
        return pages.page("approvals.html", language, actor=actor, states=words, **await asyncio.to_thread(lists))

    @router.get("/{approval}", summary="One request")
    async def one(approval: ApprovalNumber, language: PageLanguage, actor: reader) -> HTMLResponse:
        return await _shown(desk, pages, actor, language, approval)

    _add_answers(router, desk, gate, pages)
    return router


def _add_answers(router: APIRouter, desk: ApprovalDesk, gate: Gate, pages: Pages) -> None:
    decider = Annotated[Actor, Depends(gate.allows("approvals.decide"))]

    async def answered(actor: Actor, language: Language, number: int, act: Callable[[], object]) -> Response:
        try:
            await asyncio.to_thread(act)
        except NotDecided as error:
            return await _shown(desk, pages, actor, language, number, _REFUSED[error.why])
        except Conflict:
            return await _shown(desk, pages, actor, language, number, _NOT_NOW)
        return RedirectResponse(f"{PATH}/{number}", 303, headers={"Cache-Control": "no-store"})

    @router.post("/{approval}/approve", summary="Approve it", response_model=None, responses=_SEES_OTHER)
    async def approve(approval: ApprovalNumber, request: Request, language: PageLanguage, actor: decider) -> Response:
        form = await read_form(request)
        key, verdict = _key(form), Verdict(approve=True, shown=form.get("digest", ""))
        return await answered(actor, language, approval, lambda: desk.decide(actor, key, approval, verdict))

    @router.post("/{approval}/reject", summary="Reject it", response_model=None, responses=_SEES_OTHER)
    async def reject(approval: ApprovalNumber, request: Request, language: PageLanguage, actor: decider) -> Response:
        form = await read_form(request)
        reason = form.get("reason", "").strip()
        if not reason or len(reason) > MAX_REASON or not reason.isprintable():
            return await _shown(desk, pages, actor, language, approval, _NO_REASON)
        key, verdict = _key(form), Verdict(approve=False, shown=form.get("digest", ""), reason=reason)
        return await answered(actor, language, approval, lambda: desk.decide(actor, key, approval, verdict))

    @router.post("/{approval}/withdraw", summary="Withdraw it", response_model=None, responses=_SEES_OTHER)
    async def withdraw(
        approval: ApprovalNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("approvals.withdraw"))],
    ) -> Response:
        key = _key(await read_form(request))
        return await answered(actor, language, approval, lambda: desk.withdraw(actor, key, approval))


async def _shown(  # noqa: PLR0913, PLR0917  # who sees what in which language, and why it is not what they hoped for
    desk: ApprovalDesk, pages: Pages, actor: Actor, language: Language, number: int, message: str | None = None
) -> HTMLResponse:
    seen = await asyncio.to_thread(desk.approvals.one, actor, number)
    content: dict[str, Any] = {
        "seen": seen,
        "facts": await asyncio.to_thread(seen.kind.describe, seen.request.content, language),
        "state": translated(language, _STATES[seen.state]),
        "result": None if seen.kind.result is None else seen.kind.result.format(number),
        "key": secrets.token_hex(16),
        "message": message,
    }
    return pages.page("approval.html", language, actor=actor, **content)


def _key(form: Mapping[str, str]) -> str:
    """Return the key that the page made, so that a form that is sent twice is one answer.

    Raises:
        ApiProblem: 422, it is none.
    """
    key = form.get("key", "")
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key
