# SPDX-License-Identifier: EUPL-1.2
"""The cards' REST routes: list them, look at one, suspend and revoke. What a card is known by is never told."""

import asyncio
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.cards.desk import CardDesk, giver_of
from cardservice.cards.register import CardLife, CardLine, CardsWanted
from cardservice.cards.rules import HELP, CardState
from cardservice.cards.service import NewState
from cardservice.instants import MAX_INSTANT_MS
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import MAX_NUMBER, AfterNumber, Limit, Text
from cardservice.web.looks import KeepLook, Look, look_at_list
from cardservice.web.repeats import asked_by
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

MAX_OF_A_PERSON = 500
CardReference = Annotated[str, Path(pattern=r"^[0-9a-f-]{1,36}$", description="The card.")]
StateWanted = Annotated[CardState | None, Query(description="What they are now.")]


class StateBody(Body):
    """What a card becomes, and why: one of the reasons that stand at the card. A suspension may have an end."""

    state: Annotated[CardState, Field(strict=False, examples=["suspended"])]
    reason: Annotated[str | None, Field(min_length=1, max_length=40, examples=["missing"])] = None
    suspended_until_ms: Annotated[int | None, Field(ge=0, lt=MAX_INSTANT_MS, examples=[1_806_530_400_000])] = None


class StepEffects(BaseModel):
    """What followed from a step at once: uses that ended, certificates that changed, and the agents to inform.

    Their readers refuse the card with the next tap.
    """

    uses_ended: tuple[str, ...]
    certificates_changed: int
    agents: tuple[str, ...]


class Card(BaseModel):
    """One card, and what it can become now: state -> the reasons of which one is needed, none: no reason.

    `known_as` names the uses that know it by a number of their own, and "piv". `effects` is told by a step alone.
    """

    line: CardLine
    known_as: tuple[str, ...]
    next_states: dict[CardState, tuple[str, ...]]
    effects: StepEffects | None = None


class CardPage(BaseModel):
    """Cards in the order they were registered; go on with `after` = `cursor`, None: those are all."""

    cards: list[CardLine]
    cursor: str | None


def cards_router(desk: CardDesk, gate: Gate, keep_look: KeepLook) -> APIRouter:
    """Return the cards' routes; whose cards they show is told who looked."""
    router = APIRouter(prefix="/api/v1", tags=["cards"], responses=PROBLEMS)

    @router.get("/cards", summary="Cards, of the caller's organisations and departments")
    async def list_cards(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        caller: Annotated[Actor, Depends(gate.allows("cards.read"))],
        state: StateWanted = None,
        person: Annotated[int | None, Query(ge=1, le=MAX_NUMBER, description="Their holder.")] = None,
        organisation: Annotated[Text, Query(description="Its code.")] = None,
        after: AfterNumber = "0",
        limit: Limit = 100,
    ) -> CardPage:
        wanted = CardsWanted(state, person, organisation)
        found, cursor = await asyncio.to_thread(desk.register.list, wanted, caller.reaches, int(after), limit)
        if found and person is not None:
            await asyncio.to_thread(keep_look, Look("cards_read", caller, person))
        elif found:
            await asyncio.to_thread(keep_look, look_at_list("cards_listed", caller, [one.person for one in found]))
        return CardPage(cards=found, cursor=None if cursor is None else str(cursor))

    @router.get("/people/{person}/cards", summary="The cards of one person")
    async def cards_of(
        person: PersonNumber, caller: Annotated[Actor, Depends(gate.allows("cards.read"))], after: AfterNumber = "0"
    ) -> CardPage:
        wanted = CardsWanted(person=person)
        found, cursor = await asyncio.to_thread(desk.register.list, wanted, caller.reaches, int(after), MAX_OF_A_PERSON)
        if found:
            await asyncio.to_thread(keep_look, Look("cards_read", caller, person))
        return CardPage(cards=found, cursor=None if cursor is None else str(cursor))

    @router.get("/cards/{card}", summary="One card, and what it can become")
    async def one(card: CardReference, caller: Annotated[Actor, Depends(gate.allows("cards.read"))]) -> Card:
        life = await asyncio.to_thread(desk.register.one, card, caller.reaches)
        if life.line.person is not None:
            await asyncio.to_thread(keep_look, Look("cards_read", caller, life.line.person))
        return _card(life)

    @router.post("/cards/{card}/state", summary="Suspend a card, activate it again, or revoke it for good")
    async def change(
        card: CardReference,
        body: StateBody,
        key: IdempotencyKey,
        caller: Annotated[Actor, Depends(gate.allows("cards.change"))],
    ) -> Card:
        asked = asked_by(caller, key, "cards.change", {"card": card, **body.model_dump(mode="json")})
        new = NewState(body.state, body.reason, body.suspended_until_ms)
        answer = await asyncio.to_thread(desk.change, asked, card, new, giver_of(caller, HELP))
        return Card.model_validate(answer)

    return router


def _card(life: CardLife) -> Card:
    return Card.model_validate(asdict(life))
