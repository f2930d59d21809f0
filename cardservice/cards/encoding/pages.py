# SPDX-License-Identifier: EUPL-1.2
"""The page of whoever encodes: choose a reader, see which cards wait, lay one on, and follow what is done with it."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse, StreamingResponse

from cardservice.cards.desk import giver_of
from cardservice.cards.encoding.api import CANCEL, ORDER, READ
from cardservice.cards.encoding.desk import EncodingDesk
from cardservice.cards.encoding.rules import EncoderName, JobKind, JobState, Trouble
from cardservice.cards.encoding.service import Job, Wish
from cardservice.cards.rules import ISSUE
from cardservice.errors import AgentAway, Conflict, NotFound
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form
from cardservice.web.streams import MEDIA_TYPE, Streams, Watching, event

PATH: Final = "/encoding"
# Cards that were ordered meanwhile show this late at most.
LOOK_S: Final = 3.0
_KEY: Final = re.compile(r"[0-9a-f]{32}")
_CARD: Final = re.compile(r"[0-9a-f-]{36}")

KINDS: Final[Mapping[str, str]] = {
    JobKind.ENCODE: marked("Encode"),
    JobKind.ERASE: marked("Erase"),
    JobKind.REKEY: marked("New keys"),
    JobKind.PROBE: marked("What is this card?"),
}
LAY_ON: Final[Mapping[str, str]] = {
    JobKind.ENCODE: marked("Please lay a blank card on the reader."),
    JobKind.ERASE: marked("Please lay the card that is to be erased on the reader."),
    JobKind.REKEY: marked("Please lay the card that gets new keys on the reader."),
    JobKind.PROBE: marked("Please lay any card on the reader."),
}
STATES: Final[Mapping[str, str]] = {
    JobState.RUNNING: marked("The card is being written. Please leave it on the reader."),
    JobState.INTERRUPTED: marked("The work was interrupted. Please lay the same card on again: it goes on by itself."),
    JobState.DONE: marked("Done. You can take the card away."),
    JobState.FAILED: marked("This did not work, and cannot be gone on with."),
    JobState.CANCELLED: marked("Cancelled. A card that was begun can be erased, or encoded again."),
}
TROUBLES: Final[Mapping[str, str]] = {
    Trouble.CARD_GONE: marked("The card was taken away too early, or the reader did not answer."),
    Trouble.OTHER_CARD: marked("That is another card than the one that belongs here. Nothing was written to it."),
    Trouble.NOT_DESFIRE: marked("This kind of card cannot be encoded. Nothing was written to it."),
    Trouble.WRONG_CHIP: marked("The chip of this card is too old. Nothing was written to it."),
    Trouble.OCCUPIED: marked("Somebody else's data is on this card. Nothing was written to it."),
    Trouble.CARD_FAULT: marked("The card answered wrongly. Lay it on again; if that does not help, use another blank."),
    Trouble.KEYS_AWAY: marked("The keys cannot be reached at the moment. Lay the card on again in a minute."),
    Trouble.NO_KEYS: marked("A key that this card needs is gone. Please ask whoever looks after the keys."),
    Trouble.CARD_CHANGED: marked("The card was changed in the register meanwhile, so it was not made."),
    Trouble.SERVICE: marked("The service could not go on. Lay the card on again; if that does not help, report it."),
}
STEPS: Final[Mapping[str, str]] = {
    "chip": marked("looking at the chip"),
    "card_key": marked("key of the card"),
    "configuration": marked("settings of the card"),
    "application": marked("writing a use"),
    "random_uid": marked("hiding the identifier"),
    "erase": marked("erasing"),
    "check": marked("checking"),
    "state": marked("looking at the card"),
    "keys": marked("writing keys"),
    "finalize": marked("closing the keys"),
    "roll": marked("changing the keys"),
    "number_file": marked("writing the number"),
}
USES: Final[Mapping[str, str]] = {
    "door": marked("Doors"),
    "timeclock": marked("Time clock"),
    "printer": marked("Printing"),
    "canteen": marked("Canteen"),
}
WORDS: Final[Mapping[str, Any]] = {
    "kinds": KINDS,
    "lay_on": LAY_ON,
    "states": STATES,
    "troubles": TROUBLES,
    "step_words": STEPS,
    "use_words": USES,
}
_REFUSED: Final = marked("That does not go: the reader or the card has another job, or the card is in another state.")
_AWAY: Final = marked("This reader is not connected any more. Please choose another one.")
_SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page shows it."}}
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

    _add_changes(router, desk, gate, shown)
    return router


def _add_changes(router: APIRouter, desk: EncodingDesk, gate: Gate, shown: Any) -> None:
    @router.post("/order", summary="Have a card written at the reader", response_model=None, responses=_SEES_OTHER)
    async def order(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(ORDER))]
    ) -> Response:
        form = await read_form(request)
        wish = _wish(form)
        said = {name: form.get(name, "") for name in ("kind", "agent", "reader", "card")}
        asked = asked_by(actor, _key(form), ORDER, said)
        try:
            await asyncio.to_thread(desk.order, asked, wish, giver_of(actor, ISSUE))
        except AgentAway:
            return await _shown_again(shown, actor, language, wish.encoder, _AWAY)
        except (Conflict, NotFound):
            return await _shown_again(shown, actor, language, wish.encoder, _REFUSED)
        return _back(wish.encoder)

    @router.post("/cancel", summary="End the job at the reader", response_model=None, responses=_SEES_OTHER)
    async def cancel(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(CANCEL))]
    ) -> Response:
        form = await read_form(request)
        encoder, job = _encoder(form), form.get("job", "")
        if _CARD.fullmatch(job) is None:
            raise ApiProblem(422, "invalid", "job: its reference, as the page had it")
        asked = asked_by(actor, _key(form), CANCEL, {"job": job})
        try:
            await asyncio.to_thread(desk.cancel, asked, job, giver_of(actor, ISSUE))
        except Conflict:
            return await _shown_again(shown, actor, language, encoder, _REFUSED)
        return _back(encoder)


async def _shown_again(shown: Any, actor: Actor, language: Language, encoder: EncoderName, message: str) -> Response:
    answer: Response = await shown(actor, language, encoder, message=message)
    return answer


def _content(desk: EncodingDesk, actor: Actor, chosen: EncoderName | None) -> dict[str, Any]:
    """Return what the templates show at one moment. Blocks."""
    lines = desk.bench.lines
    usable = [one for one in lines if one.usable]
    if chosen is None and usable:
        chosen = usable[0].encoder
    here = next((one for one in lines if one.encoder == chosen), None)
    jobs = desk.jobs(actor.reaches, 50)
    job = next((one for one in jobs if one.encoder == chosen), None)
    return {
        **WORDS,
        "lines": lines,
        "chosen": chosen,
        "here": here,
        "job": job,
        "waiting": _lines_of(desk.waiting(actor.reaches), jobs),
        "returned": _lines_of(desk.returned(actor.reaches), jobs),
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


def _key(form: Mapping[str, str]) -> str:
    key = form.get("key", "")
    if _KEY.fullmatch(key) is None:
        raise ApiProblem(422, "invalid", "key: 32 hexadecimal digits, as the page had them")
    return key


def _back(encoder: EncoderName) -> Response:
    query = urlencode({"agent": encoder.agent, "reader": encoder.reader})
    return RedirectResponse(f"{PATH}?{query}", 303, headers={"Cache-Control": "no-store"})
