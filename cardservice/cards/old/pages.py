# SPDX-License-Identifier: EUPL-1.2
"""The page of old numbers: what is left in each building, a list that is looked at and brought in, a building's end."""

import asyncio
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.cards.bulk.ports import ListShelf
from cardservice.cards.bulk.rules import MAX_BYTES, MAX_FAULTS
from cardservice.cards.desk import giver_of
from cardservice.cards.life.forms import SEES_OTHER, key_of, require_sure, see_other
from cardservice.cards.old.api import READ, Building
from cardservice.cards.old.desk import OldDesk
from cardservice.cards.old.rules import WAYS
from cardservice.cards.old.service import USES, OldList
from cardservice.cards.old.wording import said_of
from cardservice.cards.pages import USES as USE_WORDS
from cardservice.cards.rules import ISSUE
from cardservice.errors import Conflict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form
from cardservice.web.uploads import read_upload

PATH: Final = "/old-numbers"
_NONE: Final = marked("Please choose a file.")
_TOO_LONG: Final = marked("The file is too long; up to one megabyte can be taken here.")
_NO_USE: Final = marked("Please choose at least one use.")
# The first line of a list, as it may be named.
_HEADS: Final = {
    "de": "Personalnummer;Nummer;Schreibweise;Gebäude;gültig bis",
    "en": "person;number;written;building;until",
}
FileName = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="A list that was sent, for an hour.")]
Uses = Annotated[str, Query(pattern=r"^[a-z,]{1,40}$", description="The uses whose readers know the numbers.")]
Done = Annotated[int | None, Query(ge=0, le=10**6, description="How many old cards a change was about.")]


@dataclass(frozen=True, slots=True)
class OldPages:
    """What the page is made of."""

    desk: OldDesk
    shelf: ListShelf
    gate: Gate
    pages: Pages

    def shown(self, actor: Actor, language: Language, **content: Any) -> HTMLResponse:
        """Return the page; `content`: what came of a file."""
        told: dict[str, Any] = {"file": None, "message": None, "error": None, "cards": 0, "faults": (), "uses": "door"}
        told |= {"done": None, "ended": None, "key": secrets.token_hex(16), "heads": _HEADS, "most": MAX_FAULTS}
        told |= {"use_words": {use: USE_WORDS[use] for use in USES}, "left": self.desk.left(giver_of(actor, ISSUE))}
        told |= {"ways": WAYS, "may_change": allowed(OPERATIONS[ISSUE], actor.roles), **content}
        return self.pages.page("old_numbers.html", language, actor=actor, **told)

    def looked_at(self, actor: Actor, language: Language, file: str, uses: str) -> HTMLResponse:
        """Return how a list is understood, before anything is made."""
        try:
            found = self.desk.look(_list(self.shelf.take(actor.own, file), uses), giver_of(actor, ISSUE))
        except Conflict as error:
            return self.shown(actor, language, error=str(error), uses=uses)
        faults = [said_of(one, language) for one in found.faults]
        return self.shown(actor, language, file=file, cards=len(found.lines), faults=faults, uses=uses)


def old_pages(old: OldPages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=PATH, tags=["cards"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )
    reads, issues = old.gate.allows(READ), old.gate.allows(ISSUE)

    @router.get("", summary="What is left of old numbers, and a form for a list of them")
    async def page(
        language: PageLanguage, actor: Annotated[Actor, Depends(reads)], done: Done = None, ended: Done = None
    ) -> HTMLResponse:
        return await asyncio.to_thread(old.shown, actor, language, done=done, ended=ended)

    @router.post("", summary="Look at a list of old numbers", response_model=None, responses=SEES_OTHER)
    async def send(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> Response:
        sent = await read_upload(request)
        uses = ",".join(use for use in USES if sent.fields.get(f"use-{use}") == "1")
        content = sent.content or b""
        if content and len(content) <= MAX_BYTES and uses:
            return see_other(f"{PATH}/lists/{old.shelf.lay(actor.own, content)}?uses={uses}")
        message = _NONE if not content else _TOO_LONG if len(content) > MAX_BYTES else _NO_USE
        return await asyncio.to_thread(old.shown, actor, language, message=message)

    @router.get("/lists/{file}", summary="How a list of old numbers is understood", name="list of old numbers")
    async def look(
        file: FileName, language: PageLanguage, actor: Annotated[Actor, Depends(reads)], uses: Uses = "door"
    ) -> HTMLResponse:
        return await asyncio.to_thread(old.looked_at, actor, language, file, uses)

    @router.post(
        "/lists/{file}",
        summary="Have the old numbers of a list count: all of its lines or none",
        name="bring old numbers in",
        response_model=None,
        responses=SEES_OTHER,
    )
    async def bring_in(
        file: FileName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(issues)],
        uses: Uses = "door",
    ) -> Response:
        content, key = old.shelf.take(actor.own, file), key_of(await read_form(request))
        asked = asked_by(actor, key, "cards.old", {"file": file, "uses": uses})
        try:
            made = await asyncio.to_thread(old.desk.bring_in, asked, _list(content, uses), giver_of(actor, ISSUE))
        except Conflict:
            # Somebody left meanwhile, say: the look tells in which line.
            return await asyncio.to_thread(old.looked_at, actor, language, file, uses)
        return see_other(f"{PATH}?done={made}")

    @router.post(
        "/{building}/end",
        summary="Have no old number count in a building any more",
        name="end old numbers",
        response_model=None,
        responses=SEES_OTHER,
    )
    async def end(building: Building, request: Request, actor: Annotated[Actor, Depends(issues)]) -> Response:
        form = await read_form(request)
        require_sure(form)
        asked = asked_by(actor, key_of(form), "cards.old_end", {"building": building})
        ended = await asyncio.to_thread(old.desk.end, asked, building, giver_of(actor, ISSUE))
        return see_other(f"{PATH}?ended={ended}")

    return router


def _list(content: bytes, uses: str) -> OldList:
    return OldList(content, tuple(uses.split(",")))
