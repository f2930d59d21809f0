# SPDX-License-Identifier: EUPL-1.2
"""PINs over REST: what may be known of one, a new one that is in one answer and nowhere else, tries forgotten."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from cardservice.cards.pin.desk import PinOffice
from cardservice.cards.pin.service import PinView
from cardservice.people.resources import PersonNumber
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import PROBLEMS

READ: Final = "pins.read"
HAND_OUT: Final = "pins.hand_out"
UNLOCK: Final = "pins.unlock"
TAKE: Final = "pins.take_away"


class CardTries(BaseModel):
    """Wrong PINs typed with one card since the last right one; `locked_until_ms` null: the next one is taken."""

    card: str
    wrong: int
    locked_until_ms: int | None


class Pin(BaseModel):
    """What may be known of somebody's PIN; `changed_ms` null: they have none."""

    changed_ms: int | None
    cards: list[CardTries]


class NewPin(BaseModel):
    """A PIN that was handed out. It is shown here alone, and once."""

    pin: Annotated[str, Field(repr=False, examples=["407192"])]


def pin_router(office: PinOffice, gate: Gate) -> APIRouter:
    """Return the routes; handing out is a person's word, no system's."""
    router = APIRouter(prefix="/api/v1/people/{person}/pin", tags=["cards"], responses=PROBLEMS)

    @router.get("", summary="Whether somebody has a PIN, and wrong tries; never the PIN")
    async def view(person: PersonNumber, actor: Annotated[Actor, Depends(gate.allows(READ))]) -> Pin:
        _, found = await asyncio.to_thread(office.view, person, actor.reaches)
        return Pin(changed_ms=found.changed_ms, cards=tries_of(found))

    @router.post("", summary="Hand out a new PIN, shown in this answer alone; each request makes another")
    async def hand_out(
        person: PersonNumber, response: Response, actor: Annotated[Actor, Depends(gate.allows(HAND_OUT))]
    ) -> NewPin:
        _, made = await asyncio.to_thread(office.hand_out, person, actor.reaches, actor.person)
        response.headers["Cache-Control"] = "no-store"
        return NewPin(pin=made)

    @router.post("/unlock", summary="Forget the wrong PINs typed with somebody's cards", status_code=204)
    async def unlock(person: PersonNumber, actor: Annotated[Actor, Depends(gate.allows(UNLOCK))]) -> None:
        await asyncio.to_thread(office.unlock, person, actor.reaches)

    @router.delete("", summary="Take somebody's PIN away", status_code=204)
    async def take_away(person: PersonNumber, actor: Annotated[Actor, Depends(gate.allows(TAKE))]) -> None:
        await asyncio.to_thread(office.take_away, person, actor.reaches)

    return router


def tries_of(view: PinView) -> list[CardTries]:
    """Return the cards with wrong tries."""
    return [
        CardTries(card=card, wrong=one.wrong, locked_until_ms=one.locked_until_ms or None)
        for card, one in view.tries.items()
    ]
