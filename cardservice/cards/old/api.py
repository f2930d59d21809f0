# SPDX-License-Identifier: EUPL-1.2
"""Old numbers over REST: a list looked at and brought in, what is left in each building, a building that is done."""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from cardservice.cards.bulk.api import LineFault, ListBody
from cardservice.cards.bulk.rules import MAX_FAULTS
from cardservice.cards.desk import giver_of
from cardservice.cards.old.desk import OldDesk
from cardservice.cards.old.service import OldList
from cardservice.cards.rules import ISSUE
from cardservice.web.gate import Actor, Gate
from cardservice.web.repeats import asked_by
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, IdempotencyKey

READ: Final = "cards.old"
Building = Annotated[str, Path(pattern=CODE_PATTERN, description="The code of a zone.")]
Use = Literal["door", "timeclock", "printer", "canteen"]


class OldListBody(ListBody):
    """A list of old numbers, and the uses whose readers know them."""

    uses: Annotated[list[Use], Field(min_length=1, max_length=4)]

    def as_list(self) -> OldList:
        """Return the list that was sent."""
        return OldList(self.read(), tuple(self.uses))


class OldLook(BaseModel):
    """How many old cards a list brings, and what is wrong with it; nothing was made."""

    cards: int
    faults: Annotated[list[LineFault], Field(max_length=MAX_FAULTS)]


class Cards(BaseModel):
    """How many old cards it was."""

    cards: int


class LeftHere(BaseModel):
    """Old cards that still count in a building; `only_old` people have nothing newer."""

    building: str
    cards: int
    people: int
    only_old: int
    first_end_ms: int
    last_end_ms: int


class LeftOver(BaseModel):
    """What is left, the building that ends first at the head."""

    buildings: list[LeftHere]


def old_router(desk: OldDesk, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/old-numbers", tags=["cards"], responses=PROBLEMS)
    issues, reads = gate.allows(ISSUE), gate.allows(READ)

    @router.get("", summary="What is left of old numbers in each building")
    async def left(actor: Annotated[Actor, Depends(reads)]) -> LeftOver:
        found = await asyncio.to_thread(desk.left, giver_of(actor, ISSUE))
        return LeftOver(buildings=[LeftHere.model_validate(asdict(one)) for one in found])

    @router.post("/look", summary="How a list of old numbers is understood, before anything is made")
    async def look(body: OldListBody, actor: Annotated[Actor, Depends(reads)]) -> OldLook:
        found = await asyncio.to_thread(desk.look, body.as_list(), giver_of(actor, ISSUE))
        return OldLook(cards=len(found.lines), faults=[LineFault.model_validate(asdict(one)) for one in found.faults])

    @router.post("", summary="Have the old numbers of a list count: all of its lines or none")
    async def bring_in(body: OldListBody, key: IdempotencyKey, actor: Annotated[Actor, Depends(issues)]) -> Cards:
        content: dict[str, Any] = body.model_dump(mode="json")
        asked = asked_by(actor, key, "cards.old", content)
        return Cards(cards=await asyncio.to_thread(desk.bring_in, asked, body.as_list(), giver_of(actor, ISSUE)))

    @router.post("/{building}/end", summary="Have no old number count in a building any more")
    async def end(building: Building, key: IdempotencyKey, actor: Annotated[Actor, Depends(issues)]) -> Cards:
        asked = asked_by(actor, key, "cards.old_end", {"building": building})
        return Cards(cards=await asyncio.to_thread(desk.end, asked, building, giver_of(actor, ISSUE)))

    return router
