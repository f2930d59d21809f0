# SPDX-License-Identifier: EUPL-1.2
"""The REST route that says what a changed access model would do to whom. It stores nothing."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from cardservice.access.explain.record import Lookups
from cardservice.access.plan import words
from cardservice.access.plan.effects import Effect
from cardservice.access.plan.service import Outlook, Plans
from cardservice.web.gate import Actor, Gate
from cardservice.web.looks import Look
from cardservice.web.requests import PROBLEMS, Body

MAX_FILE_TEXT = 2 * 1024 * 1024
MAX_LINES = 500
MAX_LISTED = 1_000


class WhatIfBody(Body):
    """A file as `cardservice access export` prints it, changed; or memberships alone. `listed`: how many to name."""

    file: Annotated[str, Field(max_length=MAX_FILE_TEXT)]
    listed: Annotated[int, Field(ge=0, le=MAX_LISTED)] = 0


class EffectCount(BaseModel):
    """How many people it happens to at any point, and how many pairs of person and point."""

    people: int
    pairs: int


class EffectOn(BaseModel):
    """One person and point."""

    effect: Effect
    point: str
    name: str
    login: str | None


class WhatIf(BaseModel):
    """What would change, in words, and what that does within the time from `from_ms` until `until_ms`."""

    from_ms: int
    until_ms: int
    changes: list[str]
    effects: dict[Effect, EffectCount]
    people: list[EffectOn]


def plan_router(plans: Plans, lookups: Lookups, gate: Gate) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/api/v1/access", tags=["access"], responses=PROBLEMS)
    administrator = Annotated[Actor, Depends(gate.allows("access.what_if"))]
    # One at a time: taps are answered by the same processor, and on SQLite nobody else can write meanwhile.
    turn = asyncio.Lock()

    @router.post("/what-if", summary="Who would gain and lose what if the access model was another one")
    async def what_if(body: WhatIfBody, caller: administrator) -> WhatIf:
        async with turn:
            outlook = await asyncio.to_thread(plans.what_if, body.file.encode(), listed=body.listed)
        if outlook.listed:
            look = Look("what_if", caller, facts={"listed": len(outlook.listed)})
            await asyncio.to_thread(lookups.look, look)
        return _answer(outlook)

    return router


def _answer(outlook: Outlook) -> WhatIf:
    counts = {effect: outlook.effects.count(effect) for effect in Effect}
    return WhatIf(
        from_ms=outlook.from_ms,
        until_ms=outlook.until_ms,
        changes=list(words.lines(outlook.differences, MAX_LINES)),
        effects={effect: EffectCount(people=count.people, pairs=count.pairs) for effect, count in counts.items()},
        people=[EffectOn(effect=one.effect, point=one.point, name=one.name, login=one.login) for one in outlook.listed],
    )
