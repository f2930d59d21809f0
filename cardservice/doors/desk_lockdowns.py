# SPDX-License-Identifier: EUPL-1.2
"""The pages that lock zones down and end that again: which zone, then how many doors that is, then the deed.

They are about all doors, so nobody who is bound to some of them is let in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.doors.api import ZoneCode
from cardservice.doors.desk import PATH, WORDS, Desk, confirmed, may, usable
from cardservice.doors.desk_board import Board
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.web.gate import Actor
from cardservice.web.i18n import marked
from cardservice.web.pages import Language, PageLanguage
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.session_guard import read_form

NO_REASON: Final = marked("Please say why, in up to 200 characters. Nothing was locked.")
NO_GROUP: Final = marked("No group, or more than one, is called so. Nothing was locked.")
NOT_KEPT: Final = marked(
    "Something went wrong on the way. What stands below is how it is now; look whether it is what you want, and try "
    "again if it is not."
)
SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of all doors shows it."}}
NOTHING_TYPED: Final = {"reason": "", "passing": ""}
_Show = Callable[..., Awaitable[HTMLResponse]]


def lockdown_pages(desk: Desk) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=f"{PATH}/lockdowns",
        tags=["doors"],
        default_response_class=HTMLResponse,
        responses=documented(401, 403, 404, 422, 503),
    )
    shows = desk.gate.allows("doors.lockdowns")

    @router.get("", summary="Which zones can be locked down")
    async def choose(language: PageLanguage, actor: Annotated[Actor, Depends(shows)]) -> HTMLResponse:
        _require_all_doors(actor)
        board = await desk.boards.now(fresh=True)
        return desk.pages.page("lockdowns.html", language, actor=actor, zones=_zones(board))

    async def shown(
        request: Request, language: Language, actor: Actor, zone: str, *, status: int = 200, **more: Any
    ) -> HTMLResponse:
        content = await asyncio.to_thread(_content, await desk.boards.now(fresh=True), zone)
        content |= {"may_lock": may(actor, "doors.lock_down"), "may_end": may(actor, "doors.end_lockdown")}
        content |= {"confirmed": confirmed(request), "message": None, "typed": NOTHING_TYPED, **more}
        return desk.pages.page("lockdown.html", language, actor=actor, status=status, **content)

    @router.get("/{zone}", summary="One zone: how many doors a lockdown is about, or the one that stands")
    async def one(
        zone: ZoneCode, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(shows)]
    ) -> HTMLResponse:
        _require_all_doors(actor)
        return await shown(request, language, actor, zone)

    _add_changes(router, desk, shown)
    return router


def _require_all_doors(actor: Actor) -> None:
    """Refuse whoever is bound to some doors: the list of locks answers them, these pages do not."""
    if actor.points is not None:
        raise ApiProblem(403, "foreign_point", f"{actor.name} may use some points only, this is about all of them")


def _add_changes(router: APIRouter, desk: Desk, shown: _Show) -> None:
    @router.post("/{zone}", summary="Lock a zone down", response_model=None, responses=SEES_OTHER)
    async def begin(
        zone: ZoneCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("doors.lock_down"))],
    ) -> Response:
        form = await read_form(request)
        reason, passing = form.get("reason", "").strip(), form.get("passing", "").strip()
        typed = {"reason": reason, "passing": passing}
        if not usable(reason):
            return await shown(request, language, actor, zone, status=422, message=NO_REASON, typed=typed)
        lockdowns = desk.doors.lockdowns
        # Whether the zone or the group is what nobody knows is told apart by the page, which wants the zone alone.
        known = zone in ((await desk.boards.now(fresh=True)).zones or {})
        try:
            await asyncio.to_thread(lockdowns.begin, zone, by=actor.name, reason=reason, passing=passing or None)
        except (NotFound, Conflict):
            if not known:
                raise
            return await shown(request, language, actor, zone, status=422, message=NO_GROUP, typed=typed)
        except CardServiceError:
            return await shown(request, language, actor, zone, status=503, message=NOT_KEPT, typed=typed)
        return _to_all_doors()

    @router.post("/{zone}/end", summary="End a lockdown", response_model=None, responses=SEES_OTHER)
    async def end(
        zone: ZoneCode,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("doors.end_lockdown"))],
    ) -> Response:
        try:
            await asyncio.to_thread(desk.doors.lockdowns.end, zone, by=actor.name)
        except NotFound:
            raise
        except CardServiceError:
            return await shown(request, language, actor, zone, status=503, message=NOT_KEPT)
        return _to_all_doors()


def _content(board: Board, zone: str) -> dict[str, Any]:
    known = board.zones or {}
    found = known.get(zone)
    if found is None:
        raise NotFound(f"there is no zone {zone!r}")
    locked, left_out = board.of_zone(zone)
    # A zone around it that is locked down keeps these doors shut, whatever happens here.
    around = [one.zone for one in board.lockdowns if one.zone in found.path and one.zone != zone]
    # The same of one inside it, for the doors there, and of single doors.
    freed = [
        door
        for door in locked
        if board.lockdown_of_door(door.view.code) is None
        and all(one == zone for one in board.zones_locked_around(door))
    ]
    return {
        **WORDS,
        "zone": found,
        "locked": locked,
        "left_out": left_out,
        "freed": freed,
        "away": sum(not door.view.online for door in locked),
        "standing": board.lockdown(zone),
        "around": [known[one].name for one in around if one in known],
    }


def _zones(board: Board) -> list[dict[str, Any]]:
    """Return every zone with doors, as a tree in order."""
    zones = board.zones or {}
    names = {code: tuple(zones[one].name for one in zone.path if one in zones) for code, zone in zones.items()}
    found = []
    for zone in sorted(zones.values(), key=lambda zone: (names[zone.code], zone.code)):
        locked, left_out = board.of_zone(zone.code)
        if locked or left_out:
            standing = any(one.zone in zone.path for one in board.lockdowns)
            found.append({"zone": zone, "locked": len(locked), "left_out": len(left_out), "standing": standing})
    return found


def _to_all_doors() -> RedirectResponse:
    return RedirectResponse(PATH, 303, headers={"Cache-Control": "no-store"})
