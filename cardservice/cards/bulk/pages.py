# SPDX-License-Identifier: EUPL-1.2
"""The pages of lists of cards: a file is looked at, begun, watched line by line, and what is left of it cancelled."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from cardservice.cards.badges.pdf import MAX_ON_SHEETS
from cardservice.cards.bulk import service
from cardservice.cards.bulk.api import READ, BatchDesk, BatchNumber
from cardservice.cards.bulk.ports import ListShelf
from cardservice.cards.bulk.report import outcome_of, report
from cardservice.cards.bulk.rules import MAX_BYTES, MAX_FAULTS
from cardservice.cards.bulk.wording import said_of
from cardservice.cards.desk import giver_of
from cardservice.cards.rules import ISSUE
from cardservice.errors import Conflict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form
from cardservice.web.streams import MEDIA_TYPE, Streams, Watching, event
from cardservice.web.uploads import read_upload

PATH: Final = "/batches"
LOOK_S: Final = 0.5
# Nothing changes any more; the page may still be open.
ENDED_LOOK_S: Final = 5.0
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_NONE: Final = marked("Please choose a file.")
_TOO_LONG: Final = marked("The file is too long; up to one megabyte can be taken here.")
# The first line of a list, as it may be named.
_HEADS: Final = {"de": "Personalnummer;Profil;gültig ab", "en": "person;profile;valid_from"}
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the next page shows it."}}
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {MEDIA_TYPE: {}}, "description": "Parts as HTML"}}
_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {}}, "description": "RFC 4180, semicolons, UTF-8"}
}
FileName = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="A list that was sent, for an hour.")]


@dataclass(frozen=True, slots=True)
class BatchPages:
    """What the pages are made of."""

    desk: BatchDesk
    shelf: ListShelf
    streams: Streams
    gate: Gate
    pages: Pages

    def blank(self, actor: Actor, language: Language, **content: Any) -> HTMLResponse:
        """Return the form, beside what one began; `content`: what came of a file."""
        begun = service.batches(self.desk.state, giver_of(actor, ISSUE))
        empty: dict[str, Any] = {"file": None, "message": None, "error": None, "cards": 0, "faults": ()}
        told = {**empty, **content, "begun": begun, "heads": _HEADS}
        return self.pages.page("batches.html", language, actor=actor, **told)

    def looked_at(self, actor: Actor, language: Language, file: str, content: bytes) -> HTMLResponse:
        """Return how a list is understood, before anything is made."""
        try:
            found = self.desk.look(content, giver_of(actor, ISSUE))
        except Conflict as error:
            return self.blank(actor, language, error=str(error))
        told: dict[str, Any] = {"file": file, "cards": len(found.lines), "key": secrets.token_hex(16)}
        told |= {"faults": [said_of(one, language) for one in found.faults], "most": MAX_FAULTS}
        return self.blank(actor, language, **told)

    def parts(self, actor: Actor, batch: int) -> dict[str, Any]:
        """Return what the parts of a batch's page show: how far it is, and the first lines that failed."""
        giver = giver_of(actor, ISSUE)
        found = service.progress(self.desk.state, batch, giver)
        lines = service.lines_of(self.desk.state, batch, giver) if found.failed else ()
        failed = [one for one in lines if outcome_of(one) == "failed"][:MAX_FAULTS]
        sheets = -(-found.done // MAX_ON_SHEETS)
        return {"batch": found, "failed": failed, "most": MAX_FAULTS, "sheets": sheets, "actor": actor}


def batch_pages(batches: BatchPages) -> APIRouter:
    """Return the pages."""
    router = APIRouter(
        prefix=PATH, tags=["cards"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )
    _add_lists(router, batches)
    _add_batch(router, batches)
    _add_ways(router, batches)
    return router


def _add_lists(router: APIRouter, batches: BatchPages) -> None:
    reads = batches.gate.allows(READ)

    @router.get("", summary="A form for a list of cards, and one's own batches")
    async def blank(language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        return await asyncio.to_thread(batches.blank, actor, language)

    @router.post("", summary="Look at a list of cards", response_model=None, responses=_SEES_OTHER)
    async def send(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> Response:
        content = (await read_upload(request)).content
        if not content or len(content) > MAX_BYTES:
            message = _TOO_LONG if content else _NONE
            return await asyncio.to_thread(batches.blank, actor, language, message=message)
        return _see_other(f"{PATH}/lists/{batches.shelf.lay(actor.own, content)}")

    @router.get("/lists/{file}", summary="How a list is understood, before anything is made", name="list of cards")
    async def look(file: FileName, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        content = batches.shelf.take(actor.own, file)
        return await asyncio.to_thread(batches.looked_at, actor, language, file, content)

    @router.post(
        "/lists/{file}",
        summary="Begin with a list: all of its lines or none",
        name="begin a list of cards",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def begin(
        file: FileName,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(batches.gate.allows(ISSUE))],
    ) -> Response:
        content, key = batches.shelf.take(actor.own, file), _key(await read_form(request))
        asked = asked_by(actor, key, "cards.batch", {"file": file})
        try:
            made = await asyncio.to_thread(batches.desk.begin, asked, content, giver_of(actor, ISSUE))
        except service.ListUnfit:
            # Somebody left meanwhile, say: the look tells in which line.
            return await asyncio.to_thread(batches.looked_at, actor, language, file, content)
        return _see_other(f"{PATH}/{made}")


def _add_batch(router: APIRouter, batches: BatchPages) -> None:
    reads, pages = batches.gate.allows(READ), batches.pages

    @router.get("/{batch}", summary="How far a batch is", name="batch of cards")
    async def one(batch: BatchNumber, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        parts = await asyncio.to_thread(batches.parts, actor, batch)
        return pages.page("batch.html", language, **parts)

    @router.get("/{batch}/parts", summary="The same as it goes on, as events", response_model=None, responses=_EVENTS)
    async def parts(
        batch: BatchNumber, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> StreamingResponse:
        # What is nobody's is no stream.
        await asyncio.to_thread(batches.parts, actor, batch)

        async def source(watching: Watching) -> AsyncIterator[str]:
            told = ""
            while True:
                found = await asyncio.to_thread(batches.parts, watching.actor, batch)
                text = bytes(pages.page("batch_parts.html", language, **found).body).decode()
                if text != told:
                    yield event("parts", text)
                told = text
                await asyncio.sleep(LOOK_S if found["batch"].waiting else ENDED_LOOK_S)

        return batches.streams.of_a_page(batches.gate, Watching(request, READ, actor), source)


def _add_ways(router: APIRouter, batches: BatchPages) -> None:
    desk, gate = batches.desk, batches.gate

    @router.get("/{batch}/report.csv", summary="What came of each line", response_class=Response, responses=_CSV)
    async def report_file(batch: BatchNumber, actor: Annotated[Actor, Depends(gate.allows(READ))]) -> Response:
        lines = await asyncio.to_thread(service.lines_of, desk.state, batch, giver_of(actor, ISSUE))
        name = f'attachment; filename="cards-{batch}.csv"'
        headers = {"Content-Disposition": name, "Cache-Control": "no-store"}
        return Response(report(lines), media_type="text/csv; charset=utf-8", headers=headers)

    @router.post(
        "/{batch}/cancel",
        summary="Make no card of what is left of a batch",
        name="cancel a batch of cards",
        response_model=None,
        responses=_SEES_OTHER,
    )
    async def cancel(
        batch: BatchNumber, request: Request, actor: Annotated[Actor, Depends(gate.allows(ISSUE))]
    ) -> Response:
        await read_form(request)
        await asyncio.to_thread(desk.cancel, batch, giver_of(actor, ISSUE))
        return _see_other(f"{PATH}/{batch}")


def _key(form: Mapping[str, str]) -> str:
    key = form.get("key", "")
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key


def _see_other(address: str) -> RedirectResponse:
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})
