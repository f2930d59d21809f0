# SPDX-License-Identifier: EUPL-1.2
"""Pages that take the whole access model over from a file: what would change and for whom, then the change.

The file as it was until then is offered as the way back; so is the look at what going back would do.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.access.model.api import by
from cardservice.access.model.desk import (
    SEES_OTHER,
    Desk,
    Visit,
    Words,
    done_of,
    effect_lines,
    names_of,
    pages_router,
    see_other,
)
from cardservice.access.model.pages import TomlResponse
from cardservice.access.model.refusals import Fault, Refused
from cardservice.access.model.shelf import MAX_FILE_BYTES, Shelf, mark_of
from cardservice.access.plan import words
from cardservice.access.plan.rules import totals
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.web.gate import Actor
from cardservice.web.i18n import marked
from cardservice.web.pages import PageLanguage
from cardservice.web.session_guard import read_form
from cardservice.web.uploads import read_upload

PATH: Final = "/access/import"
MAX_LINES: Final = 300
FileName = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_NONE: Final = marked("Please choose a file.")
_TOO_LONG: Final = marked("The file is too long; up to two megabytes can be taken over here.")
_MEANWHILE: Final = marked("Somebody changed the model meanwhile. Nothing was taken over; please look once more.")
_SAY_SO: Final = marked("The file lacks what is stored. Please say that it is to be removed, or take another file.")


def import_pages(desk: Desk, shelf: Shelf) -> APIRouter:
    """Return the pages."""
    router = pages_router("access model")
    _add_upload(router, desk, shelf)
    _add_preview(router, desk, shelf)
    return router


def _add_upload(router: APIRouter, desk: Desk, shelf: Shelf) -> None:
    looks = desk.gate.allows("access.look_at_file")

    @router.get("/import", summary="A form for a file of the access model")
    async def blank(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(looks)], before: Words = ""
    ) -> HTMLResponse:
        way_back = before if shelf.has(actor.own, before) else None
        return _page(desk, Visit(language, actor), done=done_of(request), way_back=way_back)

    @router.post("/import", summary="Look at a file of the access model", response_model=None, responses=SEES_OTHER)
    async def send(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(looks)]) -> Response:
        owner = actor.own
        content = (await read_upload(request)).content
        if not content or len(content) > MAX_FILE_BYTES:
            fault = Fault("file", _TOO_LONG if content else _NONE)
            return _page(desk, Visit(language, actor), faults=(fault,))
        return see_other(f"{PATH}/{shelf.lay(owner, content)}")


def _add_preview(router: APIRouter, desk: Desk, shelf: Shelf) -> None:
    looks = desk.gate.allows("access.look_at_file")

    @router.get("/import/{file}", summary="What taking a file over would change, and for whom", name="previewed import")
    async def preview(file: FileName, language: PageLanguage, actor: Annotated[Actor, Depends(looks)]) -> HTMLResponse:
        return await _previewed(desk, Visit(language, actor), shelf.take(actor.own, file))

    @router.get("/import/{file}/file", summary="The file itself", response_class=TomlResponse, name="kept file")
    async def kept(file: FileName, actor: Annotated[Actor, Depends(looks)]) -> TomlResponse:
        headers = {"Content-Disposition": 'attachment; filename="access-before.toml"', "Cache-Control": "no-store"}
        return TomlResponse(shelf.take(actor.own, file).decode(errors="replace"), headers=headers)

    @router.post(
        "/import/{file}",
        summary="Take a file of the access model over",
        name="take over",
        response_model=None,
        responses=SEES_OTHER,
    )
    async def take_over(
        file: FileName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(desk.gate.allows("access.import"))],
    ) -> Response:
        content, held = shelf.take(actor.own, file), await read_form(request)
        removing = held.get("removing") == "yes"
        check = _rests_on(held.get("marks", ""))
        try:
            before = await desk.rehearsed(lambda: desk.model.take_over(content, by(actor), check, removing=removing))
        except (Conflict, NotFound) as error:
            return await _previewed(desk, Visit(language, actor), content, _fault(error, removing=removing))
        return see_other(f"{PATH}?done=imported&before={shelf.lay(actor.own, before.encode())}")


def _rests_on(marks: str) -> Callable[[str], None]:
    """Return what refuses to take a file over where something else is stored than was looked at."""

    def check(before: str) -> None:
        if mark_of(before.encode()) != marks:
            raise Refused(Fault(None, _MEANWHILE))

    return check


def _fault(error: CardServiceError, *, removing: bool) -> Fault:
    if isinstance(error, Refused):
        return error.faults[0]
    if not removing and "lacks what is stored" in str(error):
        return Fault(None, _SAY_SO)
    return Fault(None, marked("The file cannot be taken over."), {}, str(error))


async def _previewed(desk: Desk, visit: Visit, content: bytes, refused: Fault | None = None) -> HTMLResponse:
    """Show what a file would change and for whom, or where in it something cannot be, with what is allowed there."""
    faults = () if refused is None else (refused,)
    around = await desk.map(visit.actor)
    told: dict[str, Any] = {"file": mark_of(content), "names": names_of(around)}
    try:
        before = await asyncio.to_thread(desk.model.current)
        outlook = await desk.rehearsed(lambda: desk.rehearsal.of_file(content))
    except (Conflict, NotFound) as error:
        return _page(desk, visit, faults=faults, error=str(error), **told)
    found = totals(outlook.differences)
    told |= {
        "lines": list(words.lines(outlook.differences, MAX_LINES)),
        "removes": sum(len(one.removed) for one in outlook.differences),
        "changes": any(found.values()),
        "effects": effect_lines(outlook.effects),
        "marks": mark_of(before.encode()),
    }
    return _page(desk, visit, faults=faults, **told)


def _page(desk: Desk, visit: Visit, *, faults: Sequence[Fault] = (), **content: Any) -> HTMLResponse:
    empty: dict[str, Any] = {"file": None, "error": None, "lines": None, "way_back": None}
    return desk.page("import.html", visit, faults=faults, **{**empty, **content})
