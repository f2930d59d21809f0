# SPDX-License-Identifier: EUPL-1.2
"""The page of the directories: how fresh each copy is, which losses wait for a decision, who counts for a while."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from cardservice.clock import Clock
from cardservice.errors import Conflict, NotFound, Overloaded
from cardservice.people.api import DirectoryName, HoldNumber, WindowNumber
from cardservice.people.directory_desk import MAX_NAMES, DirectoryDesk, Finding, ShownHold, ShownWindow
from cardservice.people.holds.service import Verdict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, time_of_day
from cardservice.web.lists import AfterNumber
from cardservice.web.looks import KeepLook, Look
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages, parts_of
from cardservice.web.problems import documented
from cardservice.web.reach import Reach
from cardservice.web.session_guard import read_form
from cardservice.web.traces import MAX_REASON

PATH: Final = "/directory"
MAX_WINDOWS: Final = 100
MODES: Final = {
    "syncrepl": marked("it tells every change at once (content synchronisation)"),
    "content-sync": marked("it tells every change at once (content synchronisation of 389-ds)"),
    "dirsync": marked("it is asked for changes again and again (Active Directory)"),
    "polling": marked("it is asked again and again what it has; it offers nothing better"),
}
_REASON_MISSING: Final = marked("Please say why, in up to 200 characters. Nothing was changed.")
_DECIDED_MEANWHILE: Final = marked(
    "Somebody decided on it meanwhile, or more people are concerned now. Nothing was changed; this is what it is now."
)
_OVER: Final = marked("It was over already. Nothing was changed.")
_BUSY: Final = marked("A directory is being looked at already. Please try again in a minute.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of directories shows it."}}
# What the page offers, and the operation that is.
_MAY: Final = {
    "may_see_holds": "directory.holds",
    "may_decide": "directory.confirm",
    "may_see_movers": "directory.movers",
    "may_end": "directory.end_mover",
    "may_read_anew": "directory.sync",
    "may_check": "directory.check",
}


class _Shown:
    """Renders the page as it is now; whom it names is told who looked."""

    def __init__(self, desk: DirectoryDesk, clock: Clock, pages: Pages, keep_look: KeepLook) -> None:
        self._desk, self._clock, self._pages, self._keep_look = desk, clock, pages, keep_look

    async def page(self, actor: Actor, language: Language, after: int = 0, **more: Any) -> HTMLResponse:
        """Return it, with `message` (why nothing was changed) or `findings` about the directory `checked`."""
        directories = await asyncio.to_thread(self._desk.directories)
        may = {name: allowed(OPERATIONS[operation], actor.roles) for name, operation in _MAY.items()}
        reaches = _reaches_of_people(actor)
        holds: Sequence[ShownHold] = ()
        windows: Sequence[ShownWindow] = ()
        if may["may_see_holds"]:
            holds = await asyncio.to_thread(self._desk.shown_holds, reaches)
        if may["may_see_movers"]:
            windows = await asyncio.to_thread(self._desk.shown_windows, reaches, after, MAX_WINDOWS + 1)
        windows, further = parts_of(windows, MAX_WINDOWS)
        named = sum(len(hold.names) for hold in holds) + sum(one.name is not None for one in windows)
        if named:
            await asyncio.to_thread(self._keep_look, Look("people_listed", actor, facts={"found": named}))
        content: dict[str, Any] = {"directories": directories, "holds": holds, "windows": windows, "further": further}
        content |= {"max_names": MAX_NAMES, "after": after, **self._now()}
        nothing: dict[str, Any] = {"message": None, "checked": None, "findings": ()}
        content |= {"sees_people": bool(reaches), **may, **nothing, **more}
        return self._pages.page("directory.html", language, actor=actor, **content)

    async def part(self, actor: Actor, language: Language) -> HTMLResponse:
        """Return what a page that is open asks for again and again."""
        directories = await asyncio.to_thread(self._desk.directories)
        return self._pages.page("directory_now.html", language, actor=actor, directories=directories, **self._now())

    def _now(self) -> dict[str, Any]:
        return {"modes": MODES, "time_of_day": time_of_day(self._clock.now_ms())}


def directory_pages(desk: DirectoryDesk, clock: Clock, web: tuple[Gate, Pages, KeepLook]) -> APIRouter:
    """Return the pages."""
    gate, pages, keep_look = web
    shown = _Shown(desk, clock, pages, keep_look)
    router = APIRouter(
        prefix=PATH,
        tags=["directory"],
        default_response_class=HTMLResponse,
        responses=documented(401, 403, 404, 422, 503),
    )

    @router.get("", summary="The directories, how fresh their copies are, and what waits for somebody")
    async def all_directories(
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("directories.read"))],
        after: AfterNumber = "0",
    ) -> HTMLResponse:
        return await shown.page(actor, language, int(after))

    @router.get("/now", summary="The part of it that changes by itself, which names nobody")
    async def now(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("directories.read"))]
    ) -> HTMLResponse:
        return await shown.part(actor, language)

    @router.post(
        "/{directory}/sync", summary="Read everything of it again now", response_model=None, responses=_SEES_OTHER
    )
    async def sync(
        directory: DirectoryName, actor: Annotated[Actor, Depends(gate.allows("directory.sync"))]
    ) -> Response:
        await asyncio.to_thread(desk.read_anew, directory)
        return _see_other()

    @router.post("/{directory}/check", summary="Look at it once: what it offers and which rights are missing")
    async def check(
        directory: DirectoryName,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("directory.check"))],
    ) -> HTMLResponse:
        findings: Sequence[Finding] = ()
        try:
            findings = await asyncio.to_thread(desk.check, directory)
        except Overloaded:
            return await shown.page(actor, language, message=_BUSY)
        return await shown.page(actor, language, checked=directory, findings=findings)

    _add_decisions(router, desk, shown, gate)
    return router


def _add_decisions(router: APIRouter, desk: DirectoryDesk, shown: _Shown, gate: Gate) -> None:
    async def decide(hold: int, verdict: Verdict, request: Request, actor: Actor, language: Language) -> Response:
        form = await read_form(request)
        if not _is_reason(form.get("reason", "")):
            return await shown.page(actor, language, message=_REASON_MISSING)
        again = form.get("although_rejected") == "1"
        try:
            await asyncio.to_thread(desk.holds.decide, hold, verdict, by=actor.name, although_rejected=again)
        except (Conflict, NotFound):
            return await shown.page(actor, language, message=_DECIDED_MEANWHILE)
        return _see_other()

    @router.post(
        "/holds/{hold}/confirm",
        summary="The directory is right: whoever is still held is lost or disabled",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def confirm(
        hold: HoldNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("directory.confirm"))],
    ) -> Response:
        return await decide(hold, Verdict.CONFIRM, request, actor, language)

    @router.post(
        "/holds/{hold}/reject",
        summary="The directory is wrong: whoever is held stays as they were",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def reject(
        hold: HoldNumber,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("directory.reject"))],
    ) -> Response:
        return await decide(hold, Verdict.REJECT, request, actor, language)

    @router.post(
        "/movers/{window}/end",
        summary="End a window now: they no longer count in the group they left",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def end(
        window: WindowNumber,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("directory.end_mover"))],
    ) -> Response:
        try:
            await asyncio.to_thread(desk.movers.end, window, by=actor.name)
        except (Conflict, NotFound):
            return await shown.page(actor, language, message=_OVER)
        return _see_other()


def _reaches_of_people(actor: Actor) -> tuple[Reach, ...]:
    """Return how far this one may read people; nothing: not at all."""
    roles = OPERATIONS["people.read"].roles
    return tuple(reach for role in roles for reach in actor.reaches_by_role.get(role, ()))


def _is_reason(text: str) -> bool:
    return bool(text.strip()) and len(text) <= MAX_REASON and text.isprintable()


def _see_other() -> RedirectResponse:
    return RedirectResponse(PATH, 303, headers={"Cache-Control": "no-store"})
