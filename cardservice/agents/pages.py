# SPDX-License-Identifier: EUPL-1.2
"""The pages of agents, for facilities and administrators: all of them as they are now, one of them, and its lock."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.agents.register import AgentLine, AgentRegister
from cardservice.agents.resources import AgentName
from cardservice.clock import Clock
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, time_of_day
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import documented
from cardservice.web.session_guard import read_form
from cardservice.web.traces import MAX_REASON

PATH: Final = "/agents"
# Not below it: agents themselves connect there.
ONE: Final = "/agent"
# More than this and what an agent says of a moment cannot be relied on.
CLOCK_MS: Final = 5_000
USES: Final[Mapping[str, str]] = {
    "door": marked("Door"),
    "workstation": marked("PC"),
    "timeclock": marked("Time clock"),
    "printer": marked("Printer"),
    "canteen": marked("Canteen"),
}
# What a point of each use does while its agent cannot reach the centre.
AWAY: Final[Mapping[str, str]] = {
    "door": marked(
        "Doors do not open by card: nothing is decided without the centre. They open from inside as they always do, "
        "and a door that was released locks again in its time."
    ),
    "workstation": marked("PCs are not unlocked by card. Taking the card away still locks them."),
    "timeclock": marked("Nobody can book their time; the terminal says so."),
    "printer": marked("No document is released. Documents go on waiting."),
    "canteen": marked("Nobody can pay by card. No money is moved."),
}
KEPT: Final = marked("What happened there meanwhile is kept on the agent and handed over once the centre is back.")
_REASON_MISSING: Final = marked("Please say why, in up to 200 characters. Nothing was changed.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the agent's page shows it."}}


def agents_pages(agents: AgentRegister, clock: Clock, gate: Gate, pages: Pages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        tags=["agents"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )

    def content(**more: Any) -> dict[str, Any]:
        now_ms = clock.now_ms()
        common = {"now_ms": now_ms, "clock_ms": CLOCK_MS, "uses": USES, "away": AWAY, "kept": KEPT}
        return {**common, "time_of_day": time_of_day(now_ms), **more}

    async def shown(actor: Actor, language: Language, code: str, message: str | None = None) -> HTMLResponse:
        line, points = await asyncio.to_thread(agents.one, code, actor.reaches)
        may_lock = allowed(OPERATIONS["agents.lock"], actor.roles)
        served = sorted({point.use for point in points}, key=list(USES).index)
        found = content(agent=line, points=points, served=served, may_lock=may_lock, message=message)
        return pages.page("agent.html", language, actor=actor, **found)

    @router.get(PATH, summary="All agents and their readers, as they are now")
    async def all_agents(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("agents.read"))]
    ) -> HTMLResponse:
        lines = await asyncio.to_thread(agents.list, actor.reaches)
        return pages.page("agents.html", language, actor=actor, **content(agents=_away_first(lines)))

    @router.get(f"{ONE}/{{agent}}", summary="One agent, its readers and points")
    async def one(
        agent: AgentName, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("agents.read"))]
    ) -> HTMLResponse:
        return await shown(actor, language, agent)

    @router.post(
        f"{ONE}/{{agent}}/state", summary="Lock an agent, or trust it again", response_model=None, responses=_SEES_OTHER
    )
    async def switch(
        agent: AgentName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("agents.lock"))],
    ) -> Response:
        form = await read_form(request)
        reason = form.get("reason", "").strip()
        if not reason or len(reason) > MAX_REASON or not reason.isprintable():
            return await shown(actor, language, agent, _REASON_MISSING)
        await asyncio.to_thread(agents.lock, agent, actor.reaches, locked=form.get("locked") == "1")
        return RedirectResponse(f"{ONE}/{agent}", 303, headers={"Cache-Control": "no-store"})

    return router


def _away_first(lines: tuple[AgentLine, ...]) -> list[AgentLine]:
    """Return what needs somebody first: those that are away though they should not be."""
    return sorted(lines, key=lambda line: (line.online, line.locked, line.agent))
