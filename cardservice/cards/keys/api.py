# SPDX-License-Identifier: EUPL-1.2
"""REST routes of keys: how far a rotation is, whom a closing would shut out, asking for it. No key ever goes out."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from cardservice.approvals.desk import ApprovalDesk
from cardservice.approvals.rules import MAX_REASON, USUAL_HOURS
from cardservice.approvals.service import Wish
from cardservice.cards.keys.closing import CLOSE
from cardservice.cards.keys.rules import LAST
from cardservice.cards.keys.service import MAX_LISTED, GenerationStatus, UseStatus
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import PROBLEMS, Body, IdempotencyKey

KeyUse = Literal["door", "timeclock", "printer", "canteen", "card"]
UsePath = Annotated[KeyUse, Path(description="Whose keys; `card`: those of the card itself.")]
GenerationPath = Annotated[int, Path(ge=1, le=LAST, description="The generation.")]
READ: Final = "keys.read"


class KeysOfUse(BaseModel):
    """The keys of one use: `moved` of `cards` have the active generation, of `unseen` nobody knows yet."""

    use: KeyUse
    generations: list[GenerationStatus]
    cards: int
    moved: int
    unseen: int


class KeyList(BaseModel):
    """Every use; counted once a minute."""

    uses: list[KeysOfUse]


class CardsShutOut(BaseModel):
    """References of cards, at most 1,000."""

    cards: list[str]
    more: bool


class CloseBody(Body):
    """Why, and how many cards that shuts out: the exact number, as `/left` and the list of keys tell it."""

    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON, examples=["Umstellung abgeschlossen"])]
    cards_left: Annotated[int, Field(ge=0, le=10_000_000)] = 0


class AskedFor(BaseModel):
    """The request, which waits for a second person."""

    approval: int


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """What the routes stand on. `listed` returns whom a closing shuts out; it blocks."""

    status: Callable[[], Sequence[UseStatus]]
    listed: Callable[[str, int], list[str]]
    approvals: ApprovalDesk


def keys_router(desk: KeyDesk, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1/keys", tags=["keys"], responses=PROBLEMS)

    @router.get("", summary="The generations of the cards' keys, and how many cards have which")
    async def keys(_: Annotated[Actor, Depends(gate.allows(READ))]) -> KeyList:
        return KeyList(
            uses=[
                KeysOfUse(
                    use=one.use,
                    generations=list(one.generations),
                    cards=one.cards,
                    moved=one.moved,
                    unseen=one.unseen,
                )
                for one in desk.status()
            ]
        )

    @router.get("/{use}/{generation}/left", summary="The cards that closing a generation would shut out")
    async def cards(
        use: UsePath, generation: GenerationPath, _: Annotated[Actor, Depends(gate.allows(CLOSE))]
    ) -> CardsShutOut:
        found = await asyncio.to_thread(desk.listed, use, generation)
        return CardsShutOut(cards=found[:MAX_LISTED], more=len(found) >= MAX_LISTED)

    @router.post("/{use}/{generation}/close", summary="Ask for a generation to be closed; somebody else approves it")
    async def close(
        use: UsePath,
        generation: GenerationPath,
        body: CloseBody,
        key: IdempotencyKey,
        actor: Annotated[Actor, Depends(gate.allows(CLOSE))],
    ) -> AskedFor:
        content = {"use": use, "generation": generation, "cards_left": body.cards_left}
        wish = Wish(CLOSE, content, body.reason, USUAL_HOURS)
        return AskedFor(approval=await asyncio.to_thread(desk.approvals.request, actor, key, wish))

    return router
