# SPDX-License-Identifier: EUPL-1.2
"""REST routes of zones, points, their classes, schedules and special days: looked at, stored, removed, one at a time.

Whoever changes something names the ETag of what they saw (If-Match); a code that is new needs none.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel

from cardservice.access.model import documents
from cardservice.access.model.documents import (
    Point,
    PointBody,
    PointClass,
    PointClassBody,
    Schedule,
    ScheduleBody,
    SpecialDays,
    SpecialDaysBody,
    UseWanted,
    Zone,
    ZoneBody,
)
from cardservice.access.model.service import By, Model
from cardservice.web.etags import IfMatch, etag_of, require_match
from cardservice.web.gate import Actor, Gate
from cardservice.web.lists import AfterCode, Limit, Text
from cardservice.web.problems import ApiProblem, documented
from cardservice.web.requests import CODE_PATTERN, PROBLEMS

CodeOf = Annotated[str, Path(pattern=CODE_PATTERN)]
TAGGED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {"ETag": {"description": "What a change names.", "schema": {"type": "string"}}}}
}
STORES: Final = TAGGED | {201: {"description": "It is new."}} | documented(412, 428)
REMOVES: Final = documented(412, 428)
Shown = TypeVar("Shown", bound=BaseModel)


class ZonePage(BaseModel):
    """Zones by code; go on with `after` = `cursor`, None: those are all. So it is with every list here."""

    zones: list[Zone]
    cursor: str | None


class PointPage(BaseModel):
    """Points by code."""

    points: list[Point]
    cursor: str | None


class PointClassPage(BaseModel):
    """Point classes by code."""

    point_classes: list[PointClass]
    cursor: str | None


class SchedulePage(BaseModel):
    """Schedules by code."""

    schedules: list[Schedule]
    cursor: str | None


class SpecialDaysPage(BaseModel):
    """Groups of special days by code."""

    special_days: list[SpecialDays]
    cursor: str | None


def by(caller: Actor) -> By:
    """Return who asks, as the model wants to know it."""
    return By(caller.name, caller.reaches)


def tag(response: Response, shown: Shown) -> Shown:
    """Give an answer the ETag of what it shows."""
    response.headers["ETag"] = etag_of(shown.model_dump(mode="json"))
    return shown


def seen(if_match: str | None, show: Callable[[Any], BaseModel]) -> Callable[[Any | None], None]:
    """Return what refuses a change that does not rest on what is there now; for what is new there is no ETag."""

    def check(old: Any | None) -> None:
        if old is not None:
            require_match(if_match, show(old).model_dump(mode="json"))
        elif if_match is not None:
            raise ApiProblem(412, "changed_meanwhile", "it is gone, or has never been there")

    return check


class _Desk(Generic[Shown]):
    """What the routes of one kind have in common."""

    def __init__(self, model: Model, kind: str, show: Callable[[Any], Shown]) -> None:
        self._model, self._kind, self._show = model, kind, show

    async def page(
        self, caller: Actor, after: str, limit: int, fits: Callable[[Any], bool] = lambda _: True
    ) -> dict[str, Any]:
        """Return a page of entries that fit, and its cursor, under the names of the answer."""
        found = await asyncio.to_thread(
            self._model.parts, self._kind, by(caller), lambda one: one.code > after and fits(one)
        )
        cursor = found[limit - 1].code if len(found) > limit else None
        return {self._kind: [self._show(one) for one in found[:limit]], "cursor": cursor}

    async def one(self, caller: Actor, code: str, response: Response) -> Shown:
        """Return one entry."""
        return tag(response, self._show(await asyncio.to_thread(self._model.part, self._kind, code, by(caller))))

    async def put(self, caller: Actor, part: Any, if_match: str | None, response: Response) -> Shown:
        """Store one entry."""
        check = seen(if_match, self._show)
        if await asyncio.to_thread(self._model.put, self._kind, part, by(caller), check):
            response.status_code = 201
        return await self.one(caller, part.code, response)

    async def remove(self, caller: Actor, code: str, if_match: str | None) -> None:
        """Remove one entry."""
        await asyncio.to_thread(self._model.remove, self._kind, code, by(caller), seen(if_match, self._show))


def model_router(model: Model, gate: Gate) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api/v1", tags=["access model"], responses=PROBLEMS)
    _add_zones(router, _Desk(model, "zones", documents.shown_zone), gate)
    _add_points(router, _Desk(model, "points", documents.shown_point), gate)
    _add_classes(router, _Desk(model, "point_classes", documents.shown_class), gate)
    _add_schedules(router, _Desk(model, "schedules", documents.shown_schedule), gate)
    _add_special_days(router, _Desk(model, "special_days", documents.shown_special_days), gate)
    return router


def _add_zones(router: APIRouter, desk: _Desk[Zone], gate: Gate) -> None:
    reads, changes = gate.allows("zones.read"), gate.allows("zones.change")

    @router.get("/zones", summary="Zones, of what the caller may see")
    async def list_zones(
        caller: Annotated[Actor, Depends(reads)], parent: Text = None, after: AfterCode = "", limit: Limit = 100
    ) -> ZonePage:
        return ZonePage(**await desk.page(caller, after, limit, lambda one: parent in {None, one.parent}))

    @router.get("/zones/{zone}", summary="One zone", responses=TAGGED)
    async def one_zone(zone: CodeOf, caller: Annotated[Actor, Depends(reads)], response: Response) -> Zone:
        return await desk.one(caller, zone, response)

    @router.put("/zones/{zone}", summary="Store a zone", responses=STORES)
    async def put_zone(
        zone: CodeOf,
        body: ZoneBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> Zone:
        return await desk.put(caller, documents.zone_of(zone, body), if_match, response)

    @router.delete("/zones/{zone}", summary="Remove a zone that nothing lies in", status_code=204, responses=REMOVES)
    async def remove_zone(zone: CodeOf, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None) -> None:
        await desk.remove(caller, zone, if_match)


def _add_points(router: APIRouter, desk: _Desk[Point], gate: Gate) -> None:
    reads, changes = gate.allows("points.read"), gate.allows("points.change")

    @router.get("/points", summary="Points, of those the caller may use")
    async def list_points(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        caller: Annotated[Actor, Depends(reads)],
        zone: Text = None,
        use: UseWanted = None,
        point_class: Text = None,
        agent: Text = None,
        after: AfterCode = "",
        limit: Limit = 100,
    ) -> PointPage:
        wanted = {"zone": zone, "use": use, "point_class": point_class, "agent": agent}
        named = {name: value for name, value in wanted.items() if value is not None}
        found = await desk.page(
            caller, after, limit, lambda one: all(getattr(one, name) == value for name, value in named.items())
        )
        return PointPage(**found)

    @router.get("/points/{point}", summary="One point", responses=TAGGED)
    async def one_point(point: CodeOf, caller: Annotated[Actor, Depends(reads)], response: Response) -> Point:
        return await desk.one(caller, point, response)

    @router.put("/points/{point}", summary="Store a point", responses=STORES)
    async def put_point(
        point: CodeOf,
        body: PointBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> Point:
        return await desk.put(caller, documents.point_of(point, body), if_match, response)

    @router.delete("/points/{point}", summary="Remove a point without grants", status_code=204, responses=REMOVES)
    async def remove_point(point: CodeOf, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None) -> None:
        await desk.remove(caller, point, if_match)


def _add_classes(router: APIRouter, desk: _Desk[PointClass], gate: Gate) -> None:
    reads, changes = gate.allows("point_classes.read"), gate.allows("point_classes.change")

    @router.get("/point-classes", summary="What points have in common")
    async def list_classes(
        caller: Annotated[Actor, Depends(reads)], after: AfterCode = "", limit: Limit = 100
    ) -> PointClassPage:
        return PointClassPage(**await desk.page(caller, after, limit))

    @router.get("/point-classes/{point_class}", summary="One point class", responses=TAGGED)
    async def one_class(
        point_class: CodeOf, caller: Annotated[Actor, Depends(reads)], response: Response
    ) -> PointClass:
        return await desk.one(caller, point_class, response)

    @router.put("/point-classes/{point_class}", summary="Store a point class", responses=STORES)
    async def put_class(
        point_class: CodeOf,
        body: PointClassBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> PointClass:
        return await desk.put(caller, documents.class_of(point_class, body), if_match, response)

    @router.delete(
        "/point-classes/{point_class}", summary="Remove a class without points", status_code=204, responses=REMOVES
    )
    async def remove_class(
        point_class: CodeOf, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None
    ) -> None:
        await desk.remove(caller, point_class, if_match)


def _add_schedules(router: APIRouter, desk: _Desk[Schedule], gate: Gate) -> None:
    reads, changes = gate.allows("schedules.read"), gate.allows("schedules.change")

    @router.get("/schedules", summary="Schedules")
    async def list_schedules(
        caller: Annotated[Actor, Depends(reads)], after: AfterCode = "", limit: Limit = 100
    ) -> SchedulePage:
        return SchedulePage(**await desk.page(caller, after, limit))

    @router.get("/schedules/{schedule}", summary="One schedule", responses=TAGGED)
    async def one_schedule(schedule: CodeOf, caller: Annotated[Actor, Depends(reads)], response: Response) -> Schedule:
        return await desk.one(caller, schedule, response)

    @router.put("/schedules/{schedule}", summary="Store a schedule", responses=STORES)
    async def put_schedule(
        schedule: CodeOf,
        body: ScheduleBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> Schedule:
        return await desk.put(caller, documents.schedule_of(schedule, body), if_match, response)

    @router.delete(
        "/schedules/{schedule}", summary="Remove a schedule that nothing uses", status_code=204, responses=REMOVES
    )
    async def remove_schedule(
        schedule: CodeOf, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None
    ) -> None:
        await desk.remove(caller, schedule, if_match)


def _add_special_days(router: APIRouter, desk: _Desk[SpecialDays], gate: Gate) -> None:
    reads, changes = gate.allows("schedules.read"), gate.allows("schedules.change")

    @router.get("/special-days", summary="Days that schedules treat specially")
    async def list_special_days(
        caller: Annotated[Actor, Depends(reads)], after: AfterCode = "", limit: Limit = 100
    ) -> SpecialDaysPage:
        return SpecialDaysPage(**await desk.page(caller, after, limit))

    @router.get("/special-days/{days}", summary="One group of special days", responses=TAGGED)
    async def one_group(days: CodeOf, caller: Annotated[Actor, Depends(reads)], response: Response) -> SpecialDays:
        return await desk.one(caller, days, response)

    @router.put("/special-days/{days}", summary="Store a group of special days", responses=STORES)
    async def put_group(
        days: CodeOf,
        body: SpecialDaysBody,
        caller: Annotated[Actor, Depends(changes)],
        response: Response,
        if_match: IfMatch = None,
    ) -> SpecialDays:
        return await desk.put(caller, documents.special_days_of(days, body), if_match, response)

    @router.delete(
        "/special-days/{days}", summary="Remove special days that nothing uses", status_code=204, responses=REMOVES
    )
    async def remove_group(days: CodeOf, caller: Annotated[Actor, Depends(changes)], if_match: IfMatch = None) -> None:
        await desk.remove(caller, days, if_match)
