# SPDX-License-Identifier: EUPL-1.2
"""The page of taps as they happen, and the stream of rows that keeps it up to date.

Without scripts it is a plain list that is loaded again by hand.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from babel.dates import format_datetime
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from cardservice.access.model.wording import LEVELS, USES
from cardservice.access.rules import Use
from cardservice.access.sentences import SENTENCES
from cardservice.live.rules import MAX_ROWS, Wanted
from cardservice.live.service import LiveView, Row
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import ZONE, translated
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import documented
from cardservice.web.requests import CODE_PATTERN
from cardservice.web.streams import MEDIA_TYPE, Streams, Watching, event

PATH: Final = "/live"
OPERATION: Final = "live.show"
# A crowd's taps are shown together, so often.
PACE_S: Final = 0.25
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")
_MOMENTS: Final[Mapping[Language, str]] = {"de": "dd.MM. HH:mm:ss", "en": "MM-dd HH:mm:ss"}
_ASKED: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {MEDIA_TYPE: {}}, "description": "Rows as HTML"}}


def wanted(
    use: Annotated[Use | Literal[""], Query(description="Of this use alone.")] = "",
    outcome: Annotated[Literal["", "permitted", "refused"], Query(description="With this outcome alone.")] = "",
    zone: Annotated[
        str, Query(max_length=64, pattern=f"^$|{CODE_PATTERN}", description="At points inside this zone alone.")
    ] = "",
) -> Wanted:
    """Return what an address asks for."""
    return Wanted(
        use=Use(use) if use else None, permit={"permitted": True, "refused": False}.get(outcome), zone=zone or None
    )


def seen(
    after: Annotated[str | None, Query(max_length=24, description="The newest row the page has.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=24)] = None,
) -> str:
    """Return what whoever comes back saw last; a browser knows it better than the address it began with."""
    return last_event_id or after or ""


Chosen = Annotated[Wanted, Depends(wanted)]


def live_pages(view: LiveView, streams: Streams, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page and its stream."""
    router = APIRouter(
        prefix=PATH, tags=["live"], default_response_class=HTMLResponse, responses=documented(401, 403, 422, 503)
    )

    @router.get("", summary="What happens at the points now")
    async def page(
        language: PageLanguage, chosen: Chosen, actor: Annotated[Actor, Depends(gate.allows(OPERATION))]
    ) -> HTMLResponse:
        newest = view.taps.newest
        rows = await asyncio.to_thread(view.rows, actor, chosen, view.taps.after(0))
        zones = await asyncio.to_thread(view.zones, actor)
        content: dict[str, Any] = {"rows": shown(rows, language), "zones": zones, "chosen": chosen}
        content |= {"uses": {use: USES[use] for use in view.sight(actor).uses}, "most": MAX_ROWS}
        content |= {"query": _query(chosen), "after": f"{view.taps.life}-{newest}"}
        return pages.page("live_taps.html", language, actor=actor, **content)

    @router.get("/rows", summary="The rows that come, as server-sent events", response_model=None, responses=_ASKED)
    async def rows(
        request: Request,
        language: PageLanguage,
        chosen: Chosen,
        actor: Annotated[Actor, Depends(gate.allows(OPERATION))],
        last: Annotated[str, Depends(seen)],
    ) -> StreamingResponse:
        begin = _number(last, view.taps.life)

        async def source(watching: Watching) -> AsyncIterator[str]:
            newest = begin
            while True:
                taps = view.taps.after(newest)
                if not taps:
                    await view.taps.news()
                    continue
                newest = taps[-1].number
                found = await asyncio.to_thread(view.rows, watching.actor, chosen, taps)
                if found:
                    part = pages.page("live_rows.html", language, rows=shown(found, language))
                    yield event("rows", bytes(part.body).decode(), f"{view.taps.life}-{newest}")
                await asyncio.sleep(PACE_S)

        return streams.of_a_page(gate, Watching(request, OPERATION, actor), source)

    return router


def shown(rows: list[Row], language: Language) -> list[dict[str, Any]]:
    """Return rows as the templates show them, newest first."""
    return [
        {
            "id": row.id,
            "time": _moment(row.tap.at_ms, language),
            "name": row.tap.name or row.tap.point,
            "code": row.tap.point,
            "use": translated(language, USES[row.tap.use]),
            "permit": row.tap.permit,
            "said": getattr(SENTENCES[row.tap.reason], f"admin_{language}"),
            "level": translated(language, LEVELS[row.tap.level]),
        }
        for row in reversed(rows)
    ]


def _moment(at_ms: int, language: Language) -> str:
    at = datetime.fromtimestamp(at_ms / 1_000, ZONE)
    return str(format_datetime(at, _MOMENTS[language], tzinfo=ZONE, locale=language))


def _number(last: str, life: str) -> int:
    """Return the number after which rows are sent; of another life, or of no row at all, everything is new."""
    found = _ID.fullmatch(last)
    return int(found[2]) if found is not None and found[1] == life else 0


def _query(chosen: Wanted) -> str:
    """Return what an address says of a choice; codes need no escaping."""
    outcome = {True: "permitted", False: "refused", None: ""}[chosen.permit]
    return f"use={chosen.use or ''}&outcome={outcome}&zone={chosen.zone or ''}"
