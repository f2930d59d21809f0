# SPDX-License-Identifier: EUPL-1.2
"""REST routes of the record: its open part, which names nobody, and the lines that somebody else let one open."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from cardservice.approvals.api import ApprovalNumber
from cardservice.approvals.desk import ApprovalDesk
from cardservice.audit.rules import Filter, Line, Position, Stream, entry_of
from cardservice.audit.service import AuditTrail, KeepLooks, Opened
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import Limit, Text
from cardservice.web.requests import PROBLEMS

Instant = Annotated[int | None, Query(ge=0, lt=MAX_INSTANT_MS)]
# Instant, epoch and sequence of a line, and its stream.
CURSOR: Final = r"^[0-9]{1,15}\.[0-9]{1,15}\.[0-9]{1,15}\.(audit|access|sign_in)$"
Cursor = Annotated[str | None, Query(max_length=64, pattern=CURSOR, description="The cursor of the page before.")]


class AuditLine(BaseModel):
    """The open part of one line; `entry` is what it is called when it is to be opened."""

    entry: str
    stream: Stream
    at_ms: int
    facts: dict[str, str | int | bool | None]


class AuditPage(BaseModel):
    """Lines, the newest first; go on with `after` = `cursor`, None: those are all."""

    lines: list[AuditLine]
    cursor: str | None


class OpenedAuditLine(AuditLine):
    """The same with what was sealed; `erased`: it had a sealed part, which is gone."""

    who: str | None
    about: str | None
    reason: str | None
    erased: bool


class OpenedPage(BaseModel):
    """The lines of one approved request, readable until `until_ms`."""

    approval: int
    until_ms: int
    lines: list[OpenedAuditLine]


@dataclass(frozen=True, slots=True)
class Auditing:
    """What routes and pages of the record need: the record, the requests, and what keeps each look."""

    trail: AuditTrail
    desk: ApprovalDesk
    keep: KeepLooks

    def opened(self, actor: Actor, number: int) -> Opened:
        """Return the lines of an approved request; see `AuditTrail.opened`."""
        return self.trail.opened(self.desk.approvals, self.keep, actor, number)


def audit_router(auditing: Auditing, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/audit", tags=["audit"], responses=PROBLEMS)
    # One at a time: taps are answered by the same processor.
    turn = asyncio.Lock()

    @router.get("", summary="What was asked for, looked up and signed in: the open part, which names nobody")
    async def lines(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        _: Annotated[Actor, Depends(gate.allows("audit.read"))],
        stream: Stream | None = None,
        operation: Annotated[Text, Query(description="Or a look-up's kind, or a sign-in's end.")] = None,
        request: Annotated[Text, Query(description="The id of the request.")] = None,
        account: Annotated[Text, Query(description="The account of a system.")] = None,
        from_ms: Instant = None,
        until_ms: Instant = None,
        after: Cursor = None,
        limit: Limit = 100,
    ) -> AuditPage:
        wanted = Filter(stream, operation, request, account, from_ms, until_ms)
        below = None if after is None else position_of(after)
        async with turn:
            found = await asyncio.to_thread(auditing.trail.lines, wanted, below, limit)
        cursor = cursor_of(found[-1]) if len(found) == limit else None
        return AuditPage(lines=[AuditLine(**_open_part(line)) for line in found], cursor=cursor)

    @router.post("/opened/{approval}", summary="The lines of an approved request of one's own, with names")
    async def opened(
        approval: ApprovalNumber, actor: Annotated[Actor, Depends(gate.allows("journal.read_opened"))]
    ) -> OpenedPage:
        async with turn:
            found = await asyncio.to_thread(auditing.opened, actor, approval)
        told = [
            OpenedAuditLine(**_open_part(one.line), who=one.who, about=one.about, reason=one.reason, erased=one.erased)
            for one in found.lines
        ]
        return OpenedPage(approval=approval, until_ms=found.until_ms, lines=told)

    return router


def cursor_of(line: Line) -> str:
    """Return what goes on below a line."""
    return f"{line.at_ms}.{line.place.epoch}.{line.place.sequence}.{line.place.stream}"


def position_of(cursor: str) -> Position:
    """Return where a list goes on; the cursor fits `CURSOR`."""
    at_ms, epoch, sequence, stream = cursor.split(".")
    return int(at_ms), int(epoch), int(sequence), stream


def _open_part(line: Line) -> dict[str, object]:
    return {
        "entry": entry_of(line.place),
        "stream": Stream(line.place.stream),
        "at_ms": line.at_ms,
        "facts": dict(line.facts),
    }
