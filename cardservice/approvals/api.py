# SPDX-License-Identifier: EUPL-1.2
"""REST routes of requests that a second person has to approve. For people alone: no account of a system approves."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.approvals.desk import ApprovalDesk
from cardservice.approvals.rules import MAX_HOURS, MAX_REASON, USUAL_HOURS, State
from cardservice.approvals.service import Seen, Verdict, Wish
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER, AfterNumber, Limit
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

ApprovalNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The request.")]
Reason = Annotated[str, Field(min_length=1, max_length=MAX_REASON, examples=["Beschwerde vom 12. Mai"])]
_DIGEST = r"^[0-9a-f]{64}$"
StateWanted = Annotated[State | None, Query(description="What they are now.")]


class RequestBody(Body):
    """What is asked for: a kind with its content, why, and for how long it waits for an answer."""

    kind: Annotated[str, Field(min_length=1, max_length=40, examples=["journal.open"])]
    content: Annotated[dict[str, Any], Field(examples=[{"entries": ["audit.1764000000.17"]}])]
    reason: Reason
    hours: Annotated[int, Field(ge=1, le=MAX_HOURS)] = USUAL_HOURS


class ApproveBody(Body):
    """`digest` is that of the request as it was read: nothing else is approved."""

    digest: Annotated[str, Field(pattern=_DIGEST, examples=["0" * 64])]


class RejectBody(ApproveBody):
    """The same with a reason, which the asker reads."""

    reason: Reason


class Approval(BaseModel):
    """One request; `own` and `may_decide` are about whoever reads it. `digest` is of all that a decision rests on."""

    number: int
    kind: str
    content: dict[str, Any]
    reason: str
    asked_by: str
    asked_ms: int
    expires_ms: int
    state: State
    digest: str
    own: bool
    may_decide: bool
    answered_by: str | None
    answered_ms: int | None
    answer_reason: str | None


class ApprovalPage(BaseModel):
    """Requests, the newest first; go on with `after` = `cursor`, None: those are all."""

    approvals: list[Approval]
    cursor: str | None


def approvals_router(desk: ApprovalDesk, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/approvals", tags=["approvals"], responses=PROBLEMS)
    reader = Annotated[Actor, Depends(gate.allows("approvals.read"))]

    @router.get("", summary="Requests of one's own, and those one may decide on")
    async def list_approvals(
        actor: reader, state: StateWanted = None, after: AfterNumber = "0", limit: Limit = 100
    ) -> ApprovalPage:
        found = await asyncio.to_thread(desk.approvals.list, actor, state, int(after), limit)
        cursor = str(found[-1].request.number) if len(found) == limit else None
        return ApprovalPage(approvals=[_approval(seen) for seen in found], cursor=cursor)

    @router.get("/{approval}", summary="One request")
    async def one(approval: ApprovalNumber, actor: reader) -> Approval:
        return _approval(await asyncio.to_thread(desk.approvals.one, actor, approval))

    @router.post("", summary="Ask for something that somebody else has to approve")
    async def request(
        body: RequestBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(gate.allows("approvals.request"))]
    ) -> Approval:
        wish = Wish(body.kind, body.content, body.reason, body.hours)
        number = await asyncio.to_thread(desk.request, actor, key, wish)
        return _approval(await asyncio.to_thread(desk.approvals.one, actor, number))

    _add_answers(router, desk, gate)
    return router


def _add_answers(router: APIRouter, desk: ApprovalDesk, gate: Gate) -> None:
    decider = Annotated[Actor, Depends(gate.allows("approvals.decide"))]

    async def decided(actor: Actor, key: str, number: int, verdict: Verdict) -> Approval:
        await asyncio.to_thread(desk.decide, actor, key, number, verdict)
        return _approval(await asyncio.to_thread(desk.approvals.one, actor, number))

    @router.post("/{approval}/approve", summary="Approve exactly this; what was asked for happens now")
    async def approve(approval: ApprovalNumber, body: ApproveBody, key: IdempotencyKey, actor: decider) -> Approval:
        return await decided(actor, key, approval, Verdict(approve=True, shown=body.digest))

    @router.post("/{approval}/reject", summary="Reject it; nothing happens")
    async def reject(approval: ApprovalNumber, body: RejectBody, key: IdempotencyKey, actor: decider) -> Approval:
        return await decided(actor, key, approval, Verdict(approve=False, shown=body.digest, reason=body.reason))

    @router.post("/{approval}/withdraw", summary="Take back what one asked for oneself")
    async def withdraw(
        approval: ApprovalNumber,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows("approvals.withdraw"))],
    ) -> Approval:
        await asyncio.to_thread(desk.withdraw, actor, key, approval)
        return _approval(await asyncio.to_thread(desk.approvals.one, actor, approval))


def _approval(seen: Seen) -> Approval:
    request, answer = seen.request, seen.request.answer
    return Approval(
        number=request.number,
        kind=request.kind,
        content=dict(request.content),
        reason=request.reason,
        asked_by=request.asked_by.login,
        asked_ms=request.asked_ms,
        expires_ms=request.expires_ms,
        state=seen.state,
        digest=request.digest,
        own=seen.own,
        may_decide=seen.may_decide,
        answered_by=None if answer is None else answer.by.login,
        answered_ms=None if answer is None else answer.at_ms,
        answer_reason=None if answer is None else answer.reason,
    )
