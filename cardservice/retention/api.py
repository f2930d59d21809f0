# SPDX-License-Identifier: EUPL-1.2
"""The REST route of retention, for whoever watches over it: each limit and how it is kept. It changes nothing."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from cardservice.clock import Clock
from cardservice.retention.rules import Standing, is_late
from cardservice.retention.service import Retention
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import PROBLEMS


class KeptLimit(BaseModel):
    """One limit. Instants are Unix milliseconds, None: there is nothing, or there was no run yet.

    `reason` says why it is longer than usual. `overdue_ms` is for how long the oldest should be gone; erasing runs once
    an hour, and after a day it is `late`.
    """

    limit: str
    days: int
    usual_days: int
    reason: str | None
    oldest_ms: int | None
    erased_ms: int | None
    overdue_ms: int
    late: bool
    last_run_ms: int | None
    last_erased: int | None


class Kept(BaseModel):
    """Every limit by name; `doubt` says why nothing is erased at the moment."""

    limits: list[KeptLimit]
    doubt: str | None


def kept(retention: Retention, now_ms: int) -> Kept:
    """Return how every limit is kept at this moment. Blocks.

    Raises:
        DatabaseUnavailable: a store cannot be read.
    """
    limits = sorted((_limit(one, now_ms) for one in retention.standing()), key=lambda one: one.limit)
    return Kept(limits=limits, doubt=retention.doubtful())


def retention_router(retention: Retention, clock: Clock, gate: Gate) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api/v1", tags=["retention"], responses=PROBLEMS)

    @router.get("/retention", summary="For how long what concerns people is kept, and how far erasing is")
    async def read(_: Annotated[Actor, Depends(gate.allows("retention.read"))]) -> Kept:
        return await asyncio.to_thread(kept, retention, clock.now_ms())

    return router


def _limit(one: Standing, now_ms: int) -> KeptLimit:
    overdue_ms = one.overdue_ms(now_ms)
    return KeptLimit(
        limit=one.name,
        days=one.days,
        usual_days=one.usual_days,
        reason=one.reason,
        oldest_ms=one.oldest_ms,
        erased_ms=one.ends_ms(),
        overdue_ms=overdue_ms,
        late=is_late(overdue_ms),
        last_run_ms=one.ran_ms,
        last_erased=one.erased,
    )
