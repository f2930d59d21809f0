# SPDX-License-Identifier: EUPL-1.2
"""The directories' REST routes: what waits for an administrator, and what they decide. Nobody is named in them."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.people.directory_desk import DirectoryDesk
from cardservice.people.holds.service import HoldDesk, HoldView, Verdict
from cardservice.people.movers.service import MoverDesk, WindowView
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import PROBLEMS, Body

HoldNumber = Annotated[int, Path(ge=1, le=2**53, description="The hold.")]
DirectoryName = Annotated[str, Path(max_length=40, pattern=r"^[^\x00-\x1f\x7f/]+$", description="The directory.")]
WindowNumber = Annotated[int, Path(ge=1, le=2**53, description="The window.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="How many at most.")]
After = Annotated[str, Query(max_length=16, pattern=r"^[0-9]{1,16}$", description="The cursor of the page before.")]


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


class MoverWindow(BaseModel):
    """Somebody left a department group at `left_ms` and counts in it until `until_ms`, while they are in another one.

    `counts` tells whether they are. `ended_by` ended it (`until_ms` is 0 then); the service is to carry that out.
    """

    window: int
    directory: str
    left_ms: int
    until_ms: int
    counts: bool
    ended_by: str | None


class MoverPage(BaseModel):
    """Windows in the order of their numbers; go on with `after` = `cursor`, None: those are all."""

    windows: list[MoverWindow]
    cursor: str | None


class ReadingAsked(BaseModel):
    """The running service reads the directory anew; `/api/v1/directories` shows how the copy is meanwhile."""

    directory: str
    asked_ms: int


def directory_router(desk: HoldDesk, movers: MoverDesk, gate: Gate) -> APIRouter:
    """Return the directories' routes."""
    router = APIRouter(prefix="/api/v1/directory", tags=["directory"], responses=PROBLEMS)

    @router.get("/holds", summary="Which losses of people wait for a decision")
    async def list_holds(_: Annotated[Actor, Depends(gate.allows("directory.holds"))]) -> HoldList:
        return HoldList(holds=[_hold(view) for view in await asyncio.to_thread(desk.list)])

    @router.post("/holds/{hold}/confirm", summary="The directory is right: whoever is still held is lost or disabled")
    async def confirm(
        hold: HoldNumber, body: ConfirmBody, caller: Annotated[Actor, Depends(gate.allows("directory.confirm"))]
    ) -> Hold:
        again = body.although_rejected
        return _hold(
            await asyncio.to_thread(desk.decide, hold, Verdict.CONFIRM, by=caller.name, although_rejected=again)
        )

    @router.post("/holds/{hold}/reject", summary="The directory is wrong: whoever is held stays as they were")
    async def reject(hold: HoldNumber, caller: Annotated[Actor, Depends(gate.allows("directory.reject"))]) -> Hold:
        return _hold(await asyncio.to_thread(desk.decide, hold, Verdict.REJECT, by=caller.name))

    @router.get("/movers", summary="Which windows of movers there are")
    async def list_movers(
        _: Annotated[Actor, Depends(gate.allows("directory.movers"))], after: After = "0", limit: Limit = 100
    ) -> MoverPage:
        found = await asyncio.to_thread(movers.list, int(after), limit)
        cursor = str(found[-1].number) if len(found) == limit else None
        return MoverPage(windows=[_window(view) for view in found], cursor=cursor)

    @router.post("/movers/{window}/end", summary="End a window now: they no longer count in the group they left")
    async def end_window(
        window: WindowNumber, caller: Annotated[Actor, Depends(gate.allows("directory.end_mover"))]
    ) -> MoverWindow:
        return _window(await asyncio.to_thread(movers.end, window, by=caller.name))

    return router


def reading_router(desk: DirectoryDesk, gate: Gate) -> APIRouter:
    """Return the route that has a directory read anew."""
    router = APIRouter(prefix="/api/v1/directories", tags=["directory"], responses=PROBLEMS)

    @router.post("/{directory}/read", summary="Have everything of a directory read again now")
    async def read_anew(
        directory: DirectoryName, _: Annotated[Actor, Depends(gate.allows("directory.sync"))]
    ) -> ReadingAsked:
        return ReadingAsked(directory=directory, asked_ms=await asyncio.to_thread(desk.read_anew, directory))

    return router


def _window(view: WindowView) -> MoverWindow:
    return MoverWindow(
        window=view.number,
        directory=view.directory,
        left_ms=view.left_ms,
        until_ms=view.until_ms,
        counts=view.counts,
        ended_by=view.ended_by,
    )


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
