# SPDX-License-Identifier: EUPL-1.2
"""Lending a temporary card for a forgotten one at the desk."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response

from cardservice.cards.api import CardReference
from cardservice.cards.desk import giver_of
from cardservice.cards.life.api import LEND
from cardservice.cards.life.card_page import CardPage, may_lend_for
from cardservice.cards.life.forms import SEES_OTHER, back_to, confirm_first, key_of
from cardservice.cards.life.rules import PROFILES, TEMPORARY, shift_end_ms
from cardservice.cards.life.service import Gift, GiftRefused
from cardservice.cards.pages import PATH, USES
from cardservice.cards.service import OwnCard
from cardservice.errors import Conflict
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor
from cardservice.web.i18n import marked
from cardservice.web.looks import Look
from cardservice.web.pages import PageLanguage
from cardservice.web.problems import ApiProblem
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

_NUMBER: Final = re.compile(r"[0-9a-fA-F]{24}")
_NUMBERED: Final = tuple(use for use in USES if use != "piv" and use in PROFILES[TEMPORARY].uses)
_TAKEN: Final = marked("A number belongs to another card already, or the person has left. Nothing was changed.")
_OWN: Final = marked("It is your own card. A colleague has to do this. Nothing was changed.")
_CHANGED: Final = marked("Another card stands in for it already, or it has ended meanwhile. Nothing was changed.")


def add_lending(router: APIRouter, page: CardPage) -> None:
    """Add the form of a temporary card, and what it sends."""
    address = "/{person}/cards/{card}/temporary"

    @router.get(address, summary="The form of a temporary card", response_model=None)
    async def form(
        person: PersonNumber,
        card: CardReference,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(page.gate.allows("cards.read"))],
    ) -> Response:
        life = await page.life(person, card, actor)
        first = confirm_first(request, f"{PATH}/{person}/cards/{card}/temporary")
        if first is not None:
            return first
        await asyncio.to_thread(page.keep_look, Look("cards_read", actor, person))
        content: dict[str, Any] = {"person": person, "life": life, "lendable": may_lend_for(life)}
        content |= {"until_ms": shift_end_ms(page.desk.clock.now_ms()), "uses": {use: USES[use] for use in _NUMBERED}}
        return page.pages.page("card_lend.html", language, actor=actor, key=secrets.token_hex(16), **content)

    @router.post(address, summary="Lend a temporary card", response_model=None, responses=SEES_OTHER)
    async def lend(
        person: PersonNumber,
        card: CardReference,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(page.gate.allows(LEND))],
    ) -> Response:
        sent = await read_form(request)
        numbers = _numbers(sent)
        asked = asked_by(actor, key_of(sent), LEND, {"card": card, "numbers": numbers})
        await page.life(person, card, actor)
        gift = Gift(0, TEMPORARY, {use: bytes.fromhex(number) for use, number in numbers.items()})
        try:
            await asyncio.to_thread(page.desk.lend, asked, card, gift, giver_of(actor, LEND))
        except OwnCard:
            return await page.shown(actor, language, person, card, _OWN)
        except GiftRefused:
            return await page.shown(actor, language, person, card, _TAKEN)
        except Conflict:
            return await page.shown(actor, language, person, card, _CHANGED)
        return back_to(person)


def _numbers(form: Mapping[str, str]) -> dict[str, str]:
    """Return the numbers that were typed, use -> 24 hexadecimal digits.

    Raises:
        ApiProblem: 422, one is no number; which use, never what was typed.
    """
    found = {use: text for use in _NUMBERED if (text := form.get(f"number-{use}", "").strip())}
    for use, text in found.items():
        if _NUMBER.fullmatch(text) is None:
            raise ApiProblem(422, "invalid", f"number-{use}: 24 hexadecimal digits, or nothing")
    return {use: text.lower() for use, text in found.items()}
