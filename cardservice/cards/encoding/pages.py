# SPDX-License-Identifier: EUPL-1.2
"""The page of whoever encodes: choose a reader, see which cards wait, lay one on, and follow what is done with it."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from cardservice.cards.bulk.rules import day_ms
from cardservice.cards.desk import giver_of
from cardservice.cards.encoding.api import CANCEL, ORDER, READ
from cardservice.cards.encoding.at_hand import AWAY, REFUSED, ShowAgain, add_at_hand, back_to_encoder
from cardservice.cards.encoding.desk import EncodingDesk, NumberWish
from cardservice.cards.encoding.rules import EncoderName, JobKind, Trouble
from cardservice.cards.encoding.service import Job, Wish
from cardservice.cards.encoding.wording import WORDS
from cardservice.cards.life.forms import SEES_OTHER, key_of
from cardservice.cards.life.rules import needs_second, shift_end_ms
from cardservice.cards.rules import ISSUE, CardState
from cardservice.errors import AgentAway, Conflict, NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.requests import CODE_PATTERN
from cardservice.web.session_guard import read_form
from cardservice.web.streams import MEDIA_TYPE, Streams, Watching, event

PATH: Final = "/encoding"
# Cards that were ordered meanwhile show this late at most.
LOOK_S: Final = 3.0
_CARD: Final = re.compile(r"[0-9a-f-]{36}")

_ASKED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {MEDIA_TYPE: {}}, "description": "What has changed, as HTML"}
}


def chosen_encoder(
    agent: Annotated[str, Query(max_length=40, description="The agent of the chosen reader.")] = "",
    reader: Annotated[str, Query(max_length=127, description="The chosen reader.")] = "",
) -> EncoderName | None:
    """Return the encoder that an address names, None if it names none."""
    return EncoderName(agent, reader) if agent and reader else None


Chosen = Annotated[EncoderName | None, Depends(chosen_encoder)]


def encoding_pages(desk: EncodingDesk, streams: Streams, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page, its stream, and what its buttons do."""
    router = APIRouter(
        prefix=PATH, tags=["cards"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )
    sees = gate.allows(READ)

    async def shown(actor: Actor, language: Language, chosen: EncoderName | None, **more: Any) -> HTMLResponse:
        content = await asyncio.to_thread(_content, desk, actor, chosen)
        content |= {"key": secrets.token_hex(16), "message": None} | more
        return pages.page("encoding.html", language, actor=actor, **content)

    @router.get("", summary="The encoder: cards that wait, and the one that lies there")
    async def overview(language: PageLanguage, chosen: Chosen, actor: Annotated[Actor, Depends(sees)]) -> HTMLResponse:
        return await shown(actor, language, chosen)

    @router.get("/changes", summary="What changes, as server-sent events", response_model=None, responses=_ASKED)
    async def changes(
        request: Request, language: PageLanguage, chosen: Chosen, actor: Annotated[Actor, Depends(sees)]
    ) -> StreamingResponse:
        async def source(watching: Watching) -> AsyncIterator[str]:
            before: Mapping[str, Any] | None = None
            while True:
                waiting = asyncio.ensure_future(desk.bench.changed())
                try:
                    now = await asyncio.to_thread(_content, desk, watching.actor, chosen)
                    if now != before:
                        key = secrets.token_hex(16)
                        part = pages.page("encoding_now.html", language, actor=actor, key=key, **now)
                        yield event("parts", bytes(part.body).decode())
                    before = now
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await waiting
                finally:
                    waiting.cancel()

        return streams.of_a_page(gate, Watching(request, READ, actor), source)

    async def show_again(actor: Actor, language: Language, chosen: EncoderName | None, message: str) -> Response:
        return await shown(actor, language, chosen, message=message)

    _add_changes(router, desk, gate, show_again)
    add_at_hand(router, desk, gate, show_again)
    return router


def _add_changes(router: APIRouter, desk: EncodingDesk, gate: Gate, show_again: ShowAgain) -> None:
    @router.post("/order", summary="Have a card written at the reader", response_model=None, responses=SEES_OTHER)
    async def order(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(ORDER))]
    ) -> Response:
        form = await read_form(request)
        wish = _wish(form)
        said: dict[str, Any] = {name: form.get(name, "") for name in ("kind", "agent", "reader", "card")}
        number = _number(form)
        said |= {} if number is None else {"building": number.building, "until_ms": number.until_ms}
        asked = asked_by(actor, key_of(form), ORDER, said)
        try:
            await asyncio.to_thread(desk.order, asked, wish, giver_of(actor, ISSUE), number)
        except AgentAway:
            return await show_again(actor, language, wish.encoder, AWAY)
        except (Conflict, NotFound):
            return await show_again(actor, language, wish.encoder, REFUSED)
        return back_to_encoder(wish.encoder)

    @router.post("/cancel", summary="End the job at the reader", response_model=None, responses=SEES_OTHER)
    async def cancel(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(CANCEL))]
    ) -> Response:
        form = await read_form(request)
        encoder, job = _encoder(form), form.get("job", "")
        if _CARD.fullmatch(job) is None:
            raise ApiProblem(422, "invalid", "job: its reference, as the page had it")
        asked = asked_by(actor, key_of(form), CANCEL, {"job": job})
        try:
            await asyncio.to_thread(desk.cancel, asked, job, giver_of(actor, ISSUE))
        except Conflict:
            return await show_again(actor, language, encoder, REFUSED)
        return back_to_encoder(encoder)


def _content(desk: EncodingDesk, actor: Actor, chosen: EncoderName | None) -> dict[str, Any]:
    """Return what the templates show at one moment. Blocks."""
    lines = desk.bench.lines
    usable = [one for one in lines if one.usable]
    if chosen is None and usable:
        chosen = usable[0].encoder
    here = next((one for one in lines if one.encoder == chosen), None)
    jobs = desk.jobs(actor.reaches, 50)
    job = next((one for one in jobs if one.encoder == chosen), None)
    registered = None if job is None else desk.registered(job, actor.reaches)
    return {
        **WORDS,
        "lines": lines,
        "chosen": chosen,
        "here": here,
        "job": job,
        "waiting": _lines_of(desk.waiting(actor.reaches), jobs),
        "returned": _lines_of(desk.returned(actor.reaches), jobs),
        "registered": registered,
        "needs_second": registered is not None and needs_second(registered.profile, CardState.ACTIVE),
        "buildings": desk.buildings() if job is not None and job.trouble is Trouble.NUMBER_ALONE else (),
        "may_order": _may(actor, ORDER),
        "may_cancel": _may(actor, CANCEL),
    }


def _lines_of(cards: list[Any], jobs: list[Job]) -> list[Any]:
    """Return the cards that no open job is for."""
    taken = {job.card for job in jobs if job.is_open}
    return [card for card in cards if card.card not in taken]


def _may(actor: Actor, operation: str) -> bool:
    return allowed(OPERATIONS[operation], actor.roles)


def _encoder(form: Mapping[str, str]) -> EncoderName:
    agent, reader = form.get("agent", ""), form.get("reader", "")
    if not agent or not reader or len(agent) > 40 or len(reader) > 127:
        raise ApiProblem(422, "invalid", "agent and reader: of an encoder, as the page had them")
    return EncoderName(agent, reader)


def _wish(form: Mapping[str, str]) -> Wish:
    kind, card = form.get("kind", ""), form.get("card", "")
    if kind not in set(JobKind):
        raise ApiProblem(422, "invalid", f"kind: allowed are {', '.join(JobKind)}")
    if card and _CARD.fullmatch(card) is None:
        raise ApiProblem(422, "invalid", "card: its reference, as the page had it")
    return Wish(JobKind(kind), _encoder(form), card or None)


def _number(form: Mapping[str, str]) -> NumberWish | None:
    building, until = form.get("building", ""), form.get("until", "")
    if not building and not until:
        return None
    try:
        begins_ms = day_ms(until)
    except ValueError:
        begins_ms = None
    if begins_ms is None or re.fullmatch(CODE_PATTERN, building) is None:
        raise ApiProblem(422, "invalid", "building, until: the code of a zone, and a day as 2027-09-30")
    return NumberWish(building, shift_end_ms(begins_ms))
