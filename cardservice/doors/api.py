# SPDX-License-Identifier: EUPL-1.2
"""The doors' REST routes, for facilities: list, open once, lock down, follow what happens.

No holder of a card is named in them; a lockdown names the caller it was asked for by.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, Field

from cardservice.doors.service import MAX_EVENTS, Doors, DoorView
from cardservice.web.gate import Actor, Gate
from cardservice.web.requests import CODE_PATTERN, PROBLEMS, Body, IdempotencyKey

DoorCode = Annotated[str, Path(pattern=CODE_PATTERN, description="The door's point.")]
ZoneCode = Annotated[str, Path(pattern=CODE_PATTERN, description="The zone.")]


class ReasonBody(Body):
    """Why; kept with the caller's name."""

    reason: Annotated[str, Field(min_length=1, max_length=200, examples=["Lieferung für die Kantine"])]


class LockdownBody(ReasonBody):
    """Why, and which group may enter all the same where it has a grant; none: nobody."""

    passing: Annotated[str | None, Field(min_length=1, max_length=200, examples=["Werkfeuerwehr"])] = None


class Door(BaseModel):
    """One side of a door; `since_ms` is from when contact and alarm are so."""

    code: str
    name: str
    zone: str
    locked_down: bool
    online: bool
    strike: Literal["released", "locked", "fault", "unknown"]
    contact: Literal["open", "closed", "unknown"]
    alarm: Literal["none", "forced", "held_open", "tamper"]
    since_ms: int | None


class DoorList(BaseModel):
    """Every door of the caller."""

    doors: list[Door]


class OpeningAnswer(BaseModel):
    """What became of it; `unknown`: the agent did not answer in time, the door may have opened."""

    door: str
    outcome: Literal["opened", "failed", "unknown"]
    message: str
    repeated: bool


class Event(BaseModel):
    """Something that happened; go on after it with its `cursor`."""

    cursor: str
    at_ms: int
    kind: str
    door: str | None
    facts: Mapping[str, str | int | bool | None]


class EventPage(BaseModel):
    """Events in order; fewer than asked for: those are all for now."""

    events: list[Event]


class StandingLockdown(BaseModel):
    """A zone that is locked down, with all zones inside it, or a single door; `by` is the caller who asked for it.

    `passing` is the group that may enter.
    """

    zone: str | None
    door: str | None
    since_ms: int
    by: str
    passing: str | None


class LockdownList(BaseModel):
    """Every lockdown there is, oldest first; to whoever is bound to some doors, those of these single doors alone."""

    lockdowns: list[StandingLockdown]


class LockdownAnswer(BaseModel):
    """A zone in which no door opens from outside; `changed` if that is new."""

    zone: str
    locked_down: bool
    changed: bool


class DoorLockdownAnswer(BaseModel):
    """A door that does not open from outside; `changed` if that is new.

    Once its own lockdown has ended, one of a zone around it may still hold.
    """

    door: str
    locked_down: bool
    changed: bool


def doors_router(doors: Doors, gate: Gate) -> APIRouter:
    """Return the doors' routes."""
    router = APIRouter(prefix="/api/v1", tags=["doors"], responses=PROBLEMS)

    @router.get("/doors", summary="Every door and how it is now")
    async def list_doors(caller: Annotated[Actor, Depends(gate.allows("doors.list"))]) -> DoorList:
        views = await asyncio.to_thread(doors.list)
        return DoorList(doors=[_door(view) for view in views if caller.may_use(view.code)])

    @router.get("/doors/events", summary="What happened at the doors")
    async def events(
        caller: Annotated[Actor, Depends(gate.allows("doors.events"))],
        after: Annotated[str | None, Query(max_length=60, pattern=r"^[0-9]+\.[0-9]+$")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 100,
    ) -> EventPage:
        found = await asyncio.to_thread(doors.events, after, limit, caller.points)
        return EventPage(
            events=[
                Event(cursor=one.cursor, at_ms=one.at_ms, kind=one.kind, door=one.point, facts=one.facts)
                for one in found
            ]
        )

    @router.get("/doors/lockdowns", summary="Which zones and single doors are locked down")
    async def list_lockdowns(caller: Annotated[Actor, Depends(gate.allows("doors.lockdowns"))]) -> LockdownList:
        standing = await asyncio.to_thread(doors.lockdowns.standing)
        return LockdownList(
            lockdowns=[
                StandingLockdown(zone=one.zone, door=one.door, since_ms=one.since_ms, by=one.by, passing=one.passing)
                for one in standing
                if caller.points is None or (one.door is not None and caller.may_use(one.door))
            ]
        )

    @router.post("/doors/{door}/open", summary="Open a door once, from the desk")
    async def open_once(
        door: DoorCode,
        body: ReasonBody,
        key: IdempotencyKey,
        caller: Annotated[Actor, Depends(gate.allows("doors.open"))],
    ) -> OpeningAnswer:
        caller.require_point(door)
        opening = await doors.openings.open_once(door, caller=caller.name, reason=body.reason, request_id=key)
        return OpeningAnswer(door=door, outcome=opening.outcome, message=opening.message, repeated=opening.repeated)

    @router.put("/zones/{zone}/lockdown", summary="Lock every door of a zone for everybody")
    async def lock_down(
        zone: ZoneCode, body: LockdownBody, caller: Annotated[Actor, Depends(gate.allows("doors.lock_down"))]
    ) -> LockdownAnswer:
        changed = await asyncio.to_thread(
            doors.lockdowns.begin, zone, by=caller.name, reason=body.reason, passing=body.passing
        )
        return LockdownAnswer(zone=zone, locked_down=True, changed=changed)

    @router.delete("/zones/{zone}/lockdown", summary="End a lockdown")
    async def end_lock_down(
        zone: ZoneCode, caller: Annotated[Actor, Depends(gate.allows("doors.end_lockdown"))]
    ) -> LockdownAnswer:
        changed = await asyncio.to_thread(doors.lockdowns.end, zone, by=caller.name)
        return LockdownAnswer(zone=zone, locked_down=False, changed=changed)

    _add_single_doors(router, doors, gate)
    return router


def _add_single_doors(router: APIRouter, doors: Doors, gate: Gate) -> None:
    @router.put("/doors/{door}/lockdown", summary="Lock one door for everybody")
    async def lock_door(
        door: DoorCode, body: LockdownBody, caller: Annotated[Actor, Depends(gate.allows("doors.lock_door"))]
    ) -> DoorLockdownAnswer:
        caller.require_point(door)
        changed = await asyncio.to_thread(
            doors.lockdowns.begin_at_door, door, by=caller.name, reason=body.reason, passing=body.passing
        )
        return DoorLockdownAnswer(door=door, locked_down=True, changed=changed)

    @router.delete("/doors/{door}/lockdown", summary="End the lockdown of one door")
    async def end_lock_door(
        door: DoorCode, caller: Annotated[Actor, Depends(gate.allows("doors.end_door_lock"))]
    ) -> DoorLockdownAnswer:
        caller.require_point(door)
        changed = await asyncio.to_thread(doors.lockdowns.end_at_door, door, by=caller.name)
        return DoorLockdownAnswer(door=door, locked_down=False, changed=changed)


def _door(view: DoorView) -> Door:
    return Door(
        code=view.code,
        name=view.name,
        zone=view.zone,
        locked_down=view.locked_down,
        online=view.online,
        strike=view.strike,
        contact=view.contact,
        alarm=view.alarm,
        since_ms=view.since_ms,
    )
