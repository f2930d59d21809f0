# SPDX-License-Identifier: EUPL-1.2
"""The page that locks one door down and ends that again: a lockdown whose place is a door.

Unlike lockdowns of zones it is open to whoever is bound to some doors, for those.
"""

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.doors.api import DoorCode
from cardservice.doors.desk import OPERATION, PATH, WORDS, Desk, confirmed, may, usable
from cardservice.doors.desk_lockdowns import NO_GROUP, NO_REASON, NOT_KEPT, NOTHING_TYPED, SEES_OTHER
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.web.gate import Actor
from cardservice.web.pages import Language, PageLanguage
from cardservice.web.problems import documented
from cardservice.web.session_guard import read_form

LOCKED: Final = f"{PATH}/locked"


def lock_pages(desk: Desk) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=LOCKED,
        tags=["doors"],
        default_response_class=HTMLResponse,
        responses=documented(401, 403, 404, 422, 503),
    )
    page = _Page(desk)

    @router.get("/{door}", summary="One door: its lockdown, or what begins one")
    async def one(
        door: DoorCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows(OPERATION))],
    ) -> HTMLResponse:
        actor.require_point(door)
        return await page.shown(request, language, actor, door)

    @router.post("/{door}", summary="Lock a door down", response_model=None, responses=SEES_OTHER)
    async def begin(
        door: DoorCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("doors.lock_door"))],
    ) -> Response:
        actor.require_point(door)
        form = await read_form(request)
        typed = {name: form.get(name, "").strip() for name in NOTHING_TYPED}
        if not usable(typed["reason"]):
            return await page.shown(request, language, actor, door, status=422, message=NO_REASON, typed=typed)
        try:
            await asyncio.to_thread(
                desk.doors.lockdowns.begin_at_door,
                door,
                by=actor.name,
                reason=typed["reason"],
                passing=typed["passing"] or None,
            )
        except (NotFound, Conflict):
            return await page.shown(request, language, actor, door, status=422, message=NO_GROUP, typed=typed)
        except CardServiceError:
            return await page.shown(request, language, actor, door, status=503, message=NOT_KEPT, typed=typed)
        return _to_all_doors()

    @router.post("/{door}/end", summary="End the lockdown of a door", response_model=None, responses=SEES_OTHER)
    async def end(
        door: DoorCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("doors.end_door_lock"))],
    ) -> Response:
        actor.require_point(door)
        try:
            await asyncio.to_thread(desk.doors.lockdowns.end_at_door, door, by=actor.name)
        except NotFound:
            raise
        except CardServiceError:
            return await page.shown(request, language, actor, door, status=503, message=NOT_KEPT)
        return _to_all_doors()

    return router


class _Page:
    """The page of one door."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def shown(  # who looks at what, and what became of it
        self, request: Request, language: Language, actor: Actor, code: str, *, status: int = 200, **more: Any
    ) -> HTMLResponse:
        """Return it as the door is now."""
        board = await self._desk.boards.now(fresh=True)
        door = board.door(code)
        if door is None:
            raise NotFound(f"there is no door {code!r}")
        known = board.zones or {}
        around = [known[one].name for one in board.zones_locked_around(door) if one in known]
        content = {
            **WORDS,
            "door": door,
            "names": {zone: one.name for zone, one in known.items()},
            "standing": board.lockdown_of_door(code),
            "around": around,
            "may_lock": may(actor, "doors.lock_door"),
            "may_end": may(actor, "doors.end_door_lock"),
            "confirmed": confirmed(request),
            "message": None,
            "typed": NOTHING_TYPED,
            **more,
        }
        return self._desk.pages.page("door_lock.html", language, actor=actor, status=status, **content)


def _to_all_doors() -> RedirectResponse:
    return RedirectResponse(PATH, 303, headers={"Cache-Control": "no-store"})
