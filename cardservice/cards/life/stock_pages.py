# SPDX-License-Identifier: EUPL-1.2
"""The page of blank cards: what was delivered, issued, found void and is left, and whether that adds up."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse

from cardservice.cards.life.desk import LifeDesk
from cardservice.cards.life.forms import SEES_OTHER, key_of, see_other
from cardservice.cards.life.stock import MAX_DELIVERED, StockShort
from cardservice.errors import Conflict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.lists import MAX_NUMBER
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, PageLanguage, Pages
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

PATH: Final = "/card-stock"
MAX_LABEL: Final = 80
MAX_CODE: Final = 40
_SHORT: Final = marked("So many blank cards are not left of this delivery. Nothing was changed.")
_KNOWN: Final = marked("There is a delivery called so already. Nothing was changed.")


def stock_pages(desk: LifeDesk, gate: Gate, pages: Pages) -> APIRouter:
    """Return the page of blank cards, and what its forms send. It names nobody."""
    router = APIRouter(
        prefix=PATH, tags=["cards"], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422)
    )

    async def shown(actor: Actor, language: Language, message: str | None = None) -> HTMLResponse:
        content: dict[str, Any] = {"deliveries": await asyncio.to_thread(desk.deliveries), "message": message}
        content |= {"organisations": await asyncio.to_thread(desk.organisations), "key": secrets.token_hex(16)}
        content |= {"may_deliver": allowed(OPERATIONS["cards.deliver"], actor.roles), "most": MAX_DELIVERED}
        return pages.page("card_stock.html", language, actor=actor, **content)

    @router.get("", summary="Blank cards of each delivery, and whether they add up")
    async def show(
        language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("cards.stock"))]
    ) -> HTMLResponse:
        return await shown(actor, language)

    @router.post("", summary="Blank cards that came", response_model=None, responses=SEES_OTHER)
    async def deliver(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows("cards.deliver"))]
    ) -> Response:
        form = await read_form(request)
        code, label = _text(form, "organisation", MAX_CODE), _text(form, "label", MAX_LABEL)
        delivered = _count(form, "delivered")
        content = {"organisation": code, "label": label, "delivered": delivered}
        asked = asked_by(actor, key_of(form), "cards.deliver", content)
        try:
            await asyncio.to_thread(desk.deliver, asked, code, label, delivered)
        except Conflict:
            return await shown(actor, language, _KNOWN)
        return see_other(PATH)

    @router.post("/{delivery}/void", summary="Blank cards that are damaged", response_model=None, responses=SEES_OTHER)
    async def void(
        delivery: Annotated[int, Path(ge=1, le=MAX_NUMBER)],
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(gate.allows("cards.deliver"))],
    ) -> Response:
        form = await read_form(request)
        code, count = _text(form, "organisation", MAX_CODE), _count(form, "count")
        content = {"delivery": delivery, "organisation": code, "count": count}
        asked = asked_by(actor, key_of(form), "cards.void", content)
        try:
            await asyncio.to_thread(desk.void, asked, code, delivery, count)
        except StockShort:
            return await shown(actor, language, _SHORT)
        return see_other(PATH)

    return router


def _text(form: Mapping[str, str], name: str, longest: int) -> str:
    """Return what was typed into a field.

    Raises:
        ApiProblem: 422, nothing, too much, or what cannot be printed.
    """
    text = form.get(name, "").strip()
    if not 1 <= len(text) <= longest or not text.isprintable():
        raise ApiProblem(422, "invalid", f"{name}: 1 to {longest} printable characters")
    return text


def _count(form: Mapping[str, str], name: str) -> int:
    """Return how many cards were typed.

    Raises:
        ApiProblem: 422, no number, or one out of its bounds.
    """
    text = form.get(name, "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_DELIVERED))):
        raise ApiProblem(422, "invalid", f"{name}: a number, 1 to {MAX_DELIVERED}")
    if not 1 <= int(text) <= MAX_DELIVERED:
        raise ApiProblem(422, "invalid", f"{name}: 1 to {MAX_DELIVERED}")
    return int(text)
