# SPDX-License-Identifier: EUPL-1.2
"""REST routes of agents: which are online, what they serve; lock one that is not to be trusted; what taps came to."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.access.rules import Use
from cardservice.agents.register import AgentLine, AgentRegister
from cardservice.agents.tap_lines import TapLine, TapsWanted
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import Limit
from cardservice.web.requests import PROBLEMS, Body

AgentName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="The agent.")]


class ReasonBody(Body):
    """Why; kept with the caller's name."""

    reason: Annotated[str, Field(min_length=1, max_length=200, examples=["Gerät gestohlen"])]


class AgentList(BaseModel):
    """Every agent within reach, by name."""

    agents: list[AgentLine]


class TapPage(BaseModel):
    """Taps in the order of the journal; go on with `after` = `cursor`, None: those are all for now."""

    taps: list[TapLine]
    cursor: str | None


def agents_router(agents: AgentRegister, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["agents"], responses=PROBLEMS)
    changes = gate.allows("agents.lock")

    @router.get("/agents", summary="The agents, and which are online")
    async def list_agents(caller: Annotated[Actor, Depends(gate.allows("agents.read"))]) -> AgentList:
        return AgentList(agents=list(await asyncio.to_thread(agents.list, caller.reaches)))

    @router.post("/agents/{agent}/lock", summary="Stop trusting an agent: it is cut off")
    async def lock(agent: AgentName, _: ReasonBody, caller: Annotated[Actor, Depends(changes)]) -> AgentLine:
        return await asyncio.to_thread(agents.lock, agent, caller.reaches, locked=True)

    @router.post("/agents/{agent}/unlock", summary="Trust an agent again")
    async def unlock(agent: AgentName, _: ReasonBody, caller: Annotated[Actor, Depends(changes)]) -> AgentLine:
        return await asyncio.to_thread(agents.lock, agent, caller.reaches, locked=False)

    return router


def taps_router(lines: Callable[[TapsWanted, int], tuple[TapLine, ...]], gate: Gate) -> APIRouter:
    """Return the route of taps."""
    router = APIRouter(prefix="/api/v1", tags=["taps"], responses=PROBLEMS)

    @router.get("/taps", summary="What came of taps of one use, as far as their points keep it")
    async def list_taps(
        caller: Annotated[Actor, Depends(gate.allows("taps.read"))],
        use: Use,
        permit: bool | None = None,
        after: Annotated[str | None, Query(max_length=32, pattern=r"^[0-9]{1,15}\.[0-9]{1,15}$")] = None,
        limit: Limit = 100,
    ) -> TapPage:
        found = await asyncio.to_thread(lines, TapsWanted(use, after, caller.points, permit), limit)
        return TapPage(taps=list(found), cursor=found[-1].cursor if len(found) == limit else None)

    return router
