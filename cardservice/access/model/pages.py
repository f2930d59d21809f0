# SPDX-License-Identifier: EUPL-1.2
"""The pages of zones, points and schedules as they stand; what changes them is in `pages_changes.py`."""

import asyncio
from collections import Counter
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, PlainTextResponse

from cardservice.access.model.api import CodeOf, by
from cardservice.access.model.desk import Desk, Visit, Words, done_of, pages_router
from cardservice.access.model.documents import shown_class
from cardservice.access.model.forms import SECONDS, typed_class
from cardservice.access.model.reading import Map
from cardservice.access.model.week import week_of
from cardservice.access.model.wording import METHODS
from cardservice.access.plan.text import value_text
from cardservice.access.setup_parts import PointSetup, ScheduleSetup
from cardservice.errors import NotFound
from cardservice.web.gate import Actor
from cardservice.web.pages import PageLanguage, parts_of

MAX_SHOWN: Final = 100


class TomlResponse(PlainTextResponse):
    """A file of the access model."""

    media_type = "application/toml"


def model_pages(desk: Desk) -> APIRouter:
    """Return the pages."""
    router = pages_router("access model")
    _add_zones(router, desk)
    _add_points(router, desk)
    _add_schedules(router, desk)
    _add_special_days(router, desk)
    _add_classes(router, desk)
    _add_export(router, desk)
    return router


def _add_zones(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("zones.read")

    @router.get("/zones", summary="Zones as they lie in each other")
    async def zones(request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]) -> HTMLResponse:
        around = await desk.map(actor)
        return desk.page("zones.html", Visit(language, actor), map=around, done=done_of(request))

    @router.get("/zones/{zone}", summary="One zone, and what lies in it")
    async def zone(
        zone: CodeOf, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        if zone not in around.around.zones_held:
            raise NotFound(f"there is no zone {zone!r}")
        content: dict[str, Any] = {"zone": around.zones[zone], "chain": around.chain(zone)[1:]}
        return desk.page("zone.html", Visit(language, actor), map=around, done=done_of(request), **content)


def _add_points(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("points.read")

    @router.get("/points", summary="Points, as one types")
    async def points(  # noqa: PLR0913, PLR0917  # what may be asked for is a parameter each
        request: Request,
        language: PageLanguage,
        actor: Annotated[Actor, Depends(reads)],
        text: Words = "",
        zone: Words = "",
        use: Words = "",
    ) -> HTMLResponse:
        around = await desk.map(actor)
        fitting = [one for one in around.held_points if _fits(around, one, text, zone) and use in {"", one.use.value}]
        shown, more = parts_of(fitting, MAX_SHOWN)
        content: dict[str, Any] = {"found": shown, "more": more, "text": text, "zone": zone, "use": use}
        return desk.page("points.html", Visit(language, actor), map=around, done=done_of(request), **content)

    @router.get("/points/{point}", summary="One point, and where what it demands comes from")
    async def point(
        point: CodeOf, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        if point not in around.around.points_held:
            raise NotFound(f"there is no point {point!r}")
        one = around.points[point]
        content: dict[str, Any] = {
            "point": one,
            "point_class": around.classes[one.point_class],
            "demands": around.demands(one),
            "least": around.least(one),
            "options": {name: value_text(value) for name, value in one.options.items()},
            "now_ms": around.around.now_ms,
        }
        return desk.page("point.html", Visit(language, actor), map=around, done=done_of(request), **content)


def _fits(around: Map, point: PointSetup, text: str, zone: str) -> bool:
    """Tell whether a point is called so, and lies in a zone or in one inside it."""
    small = text.strip().casefold()
    called = small in point.code.casefold() or small in point.name.casefold()
    return called and (not zone or any(one.code == zone for one in around.chain(point.zone)))


def _add_schedules(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("schedules.read")

    @router.get("/schedules", summary="Schedules and special days")
    async def schedules(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        weeks = {code: week_of(one) for code, one in around.schedules.items()}
        return desk.page("schedules.html", Visit(language, actor), map=around, weeks=weeks, done=done_of(request))

    @router.get("/schedules/{schedule}", summary="One schedule as a week, and what uses it")
    async def schedule(
        schedule: CodeOf, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        one = around.schedules.get(schedule)
        if one is None:
            raise NotFound(f"there is no schedule {schedule!r}")
        content: dict[str, Any] = {
            "schedule": one,
            "week": week_of(one),
            "rules": await asyncio.to_thread(desk.reading.uses_of, schedule),
            "classes": [
                kind for kind in around.classes.values() if any(part.schedule == schedule for part in kind.demands)
            ],
            "groups": _groups(around, one),
        }
        return desk.page("schedule.html", Visit(language, actor), map=around, done=done_of(request), **content)


def _groups(around: Map, schedule: ScheduleSetup) -> list[Any]:
    return [around.special_days[one.days] for one in schedule.special if one.days in around.special_days]


def _add_special_days(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("schedules.read")

    @router.get("/special-days/{days}", summary="One group of special days, and the schedules that name it")
    async def group(
        days: CodeOf, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        one = around.special_days.get(days)
        if one is None:
            raise NotFound(f"there are no special days {days!r}")
        naming = [which for which in around.schedules.values() if any(part.days == days for part in which.special)]
        return desk.page("special_days.html", Visit(language, actor), group=one, naming=naming, done=done_of(request))


def _add_classes(router: APIRouter, desk: Desk) -> None:
    reads = desk.gate.allows("point_classes.read")

    @router.get("/point-classes", summary="What points have in common")
    async def classes(
        request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        counts = Counter(point.point_class for point in around.held_points)
        return desk.page("point_classes.html", Visit(language, actor), map=around, counts=counts, done=done_of(request))

    @router.get("/point-classes/{point_class}", summary="One point class, and the points of it")
    async def one_class(
        point_class: CodeOf, request: Request, language: PageLanguage, actor: Annotated[Actor, Depends(reads)]
    ) -> HTMLResponse:
        around = await desk.map(actor)
        one = around.classes.get(point_class)
        if one is None:
            raise NotFound(f"there is no point class {point_class!r}")
        points, more = parts_of([point for point in around.held_points if point.point_class == point_class], MAX_SHOWN)
        content: dict[str, Any] = {
            "point_class": one,
            "typed": typed_class(shown_class(one)),
            "points": points,
            "more": more,
            "seconds": SECONDS,
            "methods": METHODS,
        }
        return desk.page("point_class.html", Visit(language, actor), map=around, done=done_of(request), **content)


def _add_export(router: APIRouter, desk: Desk) -> None:
    @router.get(
        "/model.toml", summary="The whole model as one file", response_class=TomlResponse, name="exported model"
    )
    async def export(actor: Annotated[Actor, Depends(desk.gate.allows("access.export"))]) -> TomlResponse:
        text = await asyncio.to_thread(desk.model.export, by(actor))
        headers = {"Content-Disposition": 'attachment; filename="access.toml"', "Cache-Control": "no-store"}
        return TomlResponse(text, headers=headers)
