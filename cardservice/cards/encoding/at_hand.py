# SPDX-License-Identifier: EUPL-1.2
"""What the pages of people and of cards have done at the reader at hand: register a card, give one new keys."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response

from cardservice.cards.desk import giver_of
from cardservice.cards.encoding.api import ORDER
from cardservice.cards.encoding.desk import EncodingDesk
from cardservice.cards.encoding.rules import EncoderName, JobKind
from cardservice.cards.encoding.service import Wish
from cardservice.cards.life.forms import SEES_OTHER, key_of, see_other
from cardservice.cards.life.service import Gift
from cardservice.cards.pages import GIVEN
from cardservice.cards.rules import ISSUE
from cardservice.errors import AgentAway, Conflict
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked
from cardservice.web.pages import Language, PageLanguage
from cardservice.web.problems import ApiProblem
from cardservice.web.repeats import asked_by
from cardservice.web.session_guard import read_form

PATH: Final = "/encoding"
# Shows the page of encoding with a message.
ShowAgain = Callable[[Actor, Language, EncoderName | None, str], Awaitable[Response]]
_PERSON: Final = re.compile(r"[1-9][0-9]{0,17}")
_CARD: Final = re.compile(r"[0-9a-f-]{36}")
_NONE: Final = marked("No encoder is connected: nothing was ordered.")
REFUSED: Final = marked("That does not go: the reader or the card has another job, or the card is in another state.")
AWAY: Final = marked("This reader is not connected any more. Please choose another one.")


def add_at_hand(router: APIRouter, desk: EncodingDesk, gate: Gate, show_again: ShowAgain) -> None:
    """Add what the buttons on these pages do."""

    async def do(actor: Actor, language: Language, order: Callable[[EncoderName], object]) -> Response:
        encoder = _nearest(desk)
        if encoder is None:
            return await show_again(actor, language, None, _NONE)
        try:
            await asyncio.to_thread(order, encoder)
        except AgentAway:
            return await show_again(actor, language, encoder, AWAY)
        except Conflict:
            return await show_again(actor, language, encoder, REFUSED)
        return back_to_encoder(encoder)

    @router.post(
        "/register",
        summary="Order a card for somebody: the one that lies at the reader, as it is",
        response_model=None,
        responses=SEES_OTHER,
    )
    async def register(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(ISSUE))]
    ) -> Response:
        form = await read_form(request)
        person, profile = form.get("person", ""), form.get("profile", "")
        if _PERSON.fullmatch(person) is None or profile not in GIVEN:
            raise ApiProblem(422, "invalid", f"person, profile: a number, and one of {', '.join(GIVEN)}")
        asked = asked_by(actor, key_of(form), "encoding.register", {"person": person, "profile": profile})
        gift = Gift(int(person), profile)
        return await do(actor, language, lambda at: desk.register(asked, gift, at, giver_of(actor, ISSUE)))

    @router.post("/rekey", summary="Have a card in use get the newest keys", response_model=None, responses=SEES_OTHER)
    async def rekey(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(gate.allows(ORDER))]
    ) -> Response:
        form = await read_form(request)
        card = form.get("card", "")
        if _CARD.fullmatch(card) is None:
            raise ApiProblem(422, "invalid", "card: its reference, as the page had it")
        asked = asked_by(actor, key_of(form), ORDER, {"kind": JobKind.REKEY.value, "card": card})
        giver = giver_of(actor, ISSUE)
        return await do(actor, language, lambda at: desk.order(asked, Wish(JobKind.REKEY, at, card), giver))


def back_to_encoder(encoder: EncoderName) -> Response:
    """Return the way to the page of an encoder."""
    return see_other(f"{PATH}?{urlencode({'agent': encoder.agent, 'reader': encoder.reader})}")


def _nearest(desk: EncodingDesk) -> EncoderName | None:
    """Return the encoder that is meant where nobody chose one: the first on which a card lies, else the first."""
    usable = sorted((one for one in desk.bench.lines if one.usable), key=lambda one: not one.card_present)
    return usable[0].encoder if usable else None
