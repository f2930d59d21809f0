# SPDX-License-Identifier: EUPL-1.2
"""What is asked before a card is changed: whether something for good is meant, and whether a suspension is undone."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from cardservice.cards.api import CardReference
from cardservice.cards.desk import giver_of
from cardservice.cards.life.card_page import CardPage, operation_of
from cardservice.cards.life.forms import confirm_first
from cardservice.cards.life.undo import Hindrance
from cardservice.cards.pages import PATH, SAID
from cardservice.cards.rules import FOR_GOOD, HELP, CardState
from cardservice.errors import Conflict
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor
from cardservice.web.i18n import marked
from cardservice.web.looks import Look
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import PageLanguage
from cardservice.web.problems import ApiProblem

FinalState = Annotated[CardState, Query(description="What it is to become: revoked, expired, erased or destroyed.")]
_CONSEQUENCES: Final[Mapping[CardState, str]] = {
    CardState.REVOKED: marked(
        "The card is refused everywhere at once; its certificates are revoked. Whoever needs a card needs a new one."
    ),
    CardState.EXPIRED: marked("The card ends now and is refused everywhere. Whoever needs a card needs a new one."),
    CardState.ERASED: marked(
        "Nothing the card was known by counts any more. Go on only if the card lies in front of you."
    ),
    CardState.DESTROYED: marked(
        "The card is counted as destroyed and never comes back into stock. Go on only once it is."
    ),
}
_HINDRANCES: Final[Mapping[Hindrance, str]] = {
    Hindrance.NOT_SUSPENDED: marked("The card is not suspended any more."),
    Hindrance.OVER: marked("The time of the card is over. Please give a new one."),
    Hindrance.STOOD_FOR: marked("Another card stands in for it. Please take that one back first."),
    Hindrance.OWN: marked("It is your own card. A colleague has to do this."),
    Hindrance.SECOND: marked("A card for this takes two people to be valid. Please revoke it and give a new one."),
}


def add_questions(router: APIRouter, page: CardPage) -> None:
    """Add the question before what is for good, and the one before a suspension is undone."""
    reads = page.gate.allows("cards.read")

    @router.get("/{person}/cards/{card}/sure", summary="The question before what is for good", response_model=None)
    async def sure(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        person: PersonNumber,
        card: CardReference,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(reads)],
        state: FinalState,
    ) -> Response:
        life = await page.life(person, card, actor)
        operation = operation_of(life, state)
        if state not in FOR_GOOD or operation is None:
            raise Conflict(f"card {card} is {life.line.state}: it does not become {state} from there")
        if not allowed(OPERATIONS[operation], actor.roles):
            raise ApiProblem(403, "foreign_role", "none of your roles may do this")
        first = confirm_first(request, f"{PATH}/{person}/cards/{card}/sure?state={state.value}")
        if first is not None:
            return first
        await asyncio.to_thread(page.keep_look, Look("cards_read", actor, person))
        content: dict[str, Any] = {"person": person, "life": life, "wanted": state, "consequence": _CONSEQUENCES[state]}
        content |= {"way": "revocation" if operation == HELP else "step", "said": SAID, "key": secrets.token_hex(16)}
        return page.pages.page("card_sure.html", language, actor=actor, **content)

    @router.get(
        "/{person}/cards/{card}/reinstatement", summary="The question before a suspension ends", response_model=None
    )
    async def reinstatement(
        person: PersonNumber,
        card: CardReference,
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(reads)],
    ) -> Response:
        life = await page.life(person, card, actor)
        first = confirm_first(request, f"{PATH}/{person}/cards/{card}/reinstatement")
        if first is not None:
            return first
        found = await asyncio.to_thread(page.desk.hindrances, card, giver_of(actor, HELP))
        await asyncio.to_thread(page.keep_look, Look("cards_read", actor, person))
        content: dict[str, Any] = {"person": person, "life": life, "hindrances": [_HINDRANCES[one] for one in found]}
        content |= {"said": SAID, "key": secrets.token_hex(16)}
        return page.pages.page("card_reinstatement.html", language, actor=actor, **content)
