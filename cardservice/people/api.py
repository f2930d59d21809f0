# SPDX-License-Identifier: EUPL-1.2
"""The directories' REST routes: what waits for an administrator, and what they decide. Nobody is named in them."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field

from cardservice.people.holds.service import HoldDesk, HoldView, Verdict
from cardservice.web.callers import Caller, Callers
from cardservice.web.requests import PROBLEMS, Body

HoldNumber = Annotated[int, Path(ge=1, le=2**53, description="The hold.")]


class ConfirmBody(Body):
    """Whether a hold is confirmed that was rejected before."""

    although_rejected: Annotated[bool, Field(examples=[False])] = False


class Hold(BaseModel):
    """Losses of many people at once, kept until somebody decides.

    `lost` people the directory no longer names, `disabled` ones it disables. `server` said so, `cookie` is where it
    stood. `settled_ms` and `decided_by` are of the last decision.
    """

    hold: int
    directory: str
    state: Literal["open", "rejected", "confirmed"]
    began_ms: int
    server: str
    cookie: str | None
    lost: int
    disabled: int
    decided_by: str | None
    settled_ms: int | None


class HoldList(BaseModel):
    """Every hold that keeps people, oldest first."""

    holds: list[Hold]


def directory_router(desk: HoldDesk, callers: Callers) -> APIRouter:
    """Return the directories' routes."""
    router = APIRouter(prefix="/api/v1/directory", tags=["directory"], responses=PROBLEMS)
    administrator = Annotated[Caller, Depends(callers.for_use("directory"))]

    @router.get("/holds", summary="Which losses of people wait for a decision")
    async def list_holds(_: administrator) -> HoldList:
        return HoldList(holds=[_hold(view) for view in await asyncio.to_thread(desk.list)])

    @router.post("/holds/{hold}/confirm", summary="The directory is right: whoever is still held is lost or disabled")
    async def confirm(hold: HoldNumber, body: ConfirmBody, caller: administrator) -> Hold:
        again = body.although_rejected
        return _hold(
            await asyncio.to_thread(desk.decide, hold, Verdict.CONFIRM, by=caller.name, although_rejected=again)
        )

    @router.post("/holds/{hold}/reject", summary="The directory is wrong: whoever is held stays as they were")
    async def reject(hold: HoldNumber, caller: administrator) -> Hold:
        return _hold(await asyncio.to_thread(desk.decide, hold, Verdict.REJECT, by=caller.name))

    return router


def _hold(view: HoldView) -> Hold:
    return Hold(
        hold=view.number,
        directory=view.directory,
        state=view.state.value,
        began_ms=view.began_ms,
        server=view.server,
        cookie=view.cookie,
        lost=view.lost,
        disabled=view.disabled,
        decided_by=view.decided_by,
        settled_ms=view.settled_ms,
    )
