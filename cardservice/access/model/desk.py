# SPDX-License-Identifier: EUPL-1.2
"""What the pages of the access model have in common: what they stand on, how refusals and effects are told."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import BaseModel

from cardservice.access.model import documents
from cardservice.access.model.api import by
from cardservice.access.model.forms import Typed
from cardservice.access.model.reading import Map, Reading
from cardservice.access.model.refusals import Fault
from cardservice.access.model.rehearsal import Rehearsal
from cardservice.access.model.service import Model
from cardservice.access.model.wording import CHOICES, DAYS, EFFECTS, FIELDS, LEVELS, METHODS, USES
from cardservice.access.plan.effects import Effect, Effects
from cardservice.access.plan.parts import DAYS as DAY_FIELDS
from cardservice.access.rules import Level
from cardservice.web.gate import Actor, Gate
from cardservice.web.i18n import marked, translated
from cardservice.web.operations import OPERATIONS, allowed
from cardservice.web.pages import Language, Pages
from cardservice.web.problems import documented

# What an address may hold, or nothing; no control characters, which no store would take.
Words = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Answer = TypeVar("Answer")
PREVIEW: Final = "access.preview"
SEES_OTHER: Final[dict[int | str, dict[str, Any]]] = {303: {"description": "Done; the page of the entry shows it."}}
# How many points a preview names.
MAX_POINTS: Final = 12
_DONE: Final[Mapping[str, str]] = {
    "saved": marked("Saved. The next tap is answered by it."),
    "removed": marked("Removed."),
    "added": marked("Saved. The next tap is answered by it."),
    "imported": marked("Taken over. The next tap is answered by it."),
    "restored": marked("Restored as it was."),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entries that has a code: its pages, the operation that changes it, and its documents."""

    name: str
    path: str
    single: str
    operation: str
    show: Callable[[Any], BaseModel]
    part_of: Callable[[str, Any], Any]

    @property
    def every(self) -> str:
        """The page that lists them all."""
        return "/access/schedules" if self.name == "special_days" else self.path


ZONES: Final = Kind("zones", "/access/zones", "zone", "zones.change", documents.shown_zone, documents.zone_of)
POINTS: Final = Kind("points", "/access/points", "point", "points.change", documents.shown_point, documents.point_of)
SCHEDULES: Final = Kind(
    *("schedules", "/access/schedules", "schedule", "schedules.change"),
    documents.shown_schedule,
    documents.schedule_of,
)
SPECIAL_DAYS: Final = Kind(
    *("special_days", "/access/special-days", "special-days", "schedules.change"),
    documents.shown_special_days,
    documents.special_days_of,
)
POINT_CLASSES: Final = Kind(
    *("point_classes", "/access/point-classes", "point-class", "point_classes.change"),
    documents.shown_class,
    documents.class_of,
)
KINDS: Final = (ZONES, POINTS, SCHEDULES, SPECIAL_DAYS, POINT_CLASSES)


@dataclass(frozen=True, slots=True)
class EffectLine:
    """How many people something happens to, in words, and at which points to how many."""

    effect: Effect
    text: str
    people: int
    points: Sequence[tuple[str, int]]
    more: int


@dataclass(frozen=True, slots=True)
class Visit:
    """Who looks, and in which language."""

    language: Language
    actor: Actor


@dataclass(frozen=True, slots=True)
class Desk:
    """What the pages stand on. One preview at a time: taps are answered by the same processor."""

    model: Model
    rehearsal: Rehearsal
    reading: Reading
    gate: Gate
    pages: Pages
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def page(self, template: str, visit: Visit, *, faults: Sequence[Fault] = (), **content: Any) -> HTMLResponse:
        """Return a page; it finds what it may offer (`may`), what things are called, and why it was refused."""
        told: defaultdict[str, str] = defaultdict(str)
        for one in faults:
            text = translated(visit.language, one.message) % one.parts + (f" ({one.detail})" if one.detail else "")
            told[one.place or ""] = f"{told[one.place or '']} {text}".strip()
        words = {"levels": LEVELS, "uses": USES, "days": DAYS, "day_fields": DAY_FIELDS, "labels": FIELDS}
        may = frozenset(name for name in OPERATIONS if allowed(OPERATIONS[name], visit.actor.roles))
        content = {"faults": told, "may": may, "done": None, "chosen": CHOICES, **words, **content}
        return self.pages.page(template, visit.language, actor=visit.actor, **content)

    async def map(self, actor: Actor) -> Map:
        """Return everything that has a code, and what of it the actor holds."""
        return await asyncio.to_thread(self.reading.map, by(actor))

    async def weighed(self, rehearse: Callable[[], Effects]) -> Sequence[EffectLine]:
        """Return what a rehearsed change does to how many.

        Raises:
            CardServiceError, ApiProblem: what the change itself would.
        """
        return effect_lines(await self.rehearsed(rehearse))

    async def rehearsed(self, ask: Callable[[], Answer]) -> Answer:
        """Return what a rehearsal says, when it is its turn; raises what it does."""
        async with self.turn:
            return await asyncio.to_thread(ask)


def pages_router(tag: str) -> APIRouter:
    """Return a router for pages below `/access`."""
    return APIRouter(
        prefix="/access", tags=[tag], default_response_class=HTMLResponse, responses=documented(401, 403, 404, 422, 503)
    )


def typed_of(request: Request, names: Collection[str] | None = None) -> dict[str, str]:
    """Return the fields that an address holds, each once; `names`: those alone."""
    held = dict(request.query_params.items())
    held.pop("lang", None)
    return held if names is None else {name: text for name, text in held.items() if name in names}


def done_of(request: Request) -> str | None:
    """Return what a page says was just done."""
    return _DONE.get(request.query_params.get("done", ""))


def see_other(address: str) -> RedirectResponse:
    """Lead the browser on."""
    return RedirectResponse(address, 303, headers={"Cache-Control": "no-store"})


def choices(around: Map) -> dict[str, Any]:
    """Return what the fields of a form may be chosen from, by the names of the fields: (code, text, depth)."""
    zones = [(zone.code, zone.name, depth) for depth, zone in around.held_zones()]
    return {
        "parent": zones,
        "zone": zones,
        "point_class": [(one.code, one.name, 0) for one in around.classes.values()],
        "schedule": [(one.code, one.name, 0) for one in around.schedules.values()],
    }


def demand_choices(language: Language) -> list[tuple[str, str, int]]:
    """Return what a class may demand during a schedule: a proof, of one person or of two."""
    two = translated(language, marked("two people"))
    one = [(f"{level.name.lower()}:1", translated(language, LEVELS[level]), 0) for level in Level]
    return one + [(f"{level.name.lower()}:2", f"{translated(language, LEVELS[level])}, {two}", 0) for level in Level]


def names_of(around: Map) -> dict[str, Mapping[str, str]]:
    """Return what codes are called, by the names of the fields they stand in."""
    zones = {one.code: one.name for one in around.zones.values()}
    return {
        "parent": zones,
        "zone": zones,
        "point": {one.code: one.name for one in around.points.values()},
        "point_class": {one.code: one.name for one in around.classes.values()},
        "schedule": {one.code: one.name for one in around.schedules.values()},
        "level": {level.name.lower(): LEVELS[level] for level in Level},
        "use": {use.value: text for use, text in USES.items()},
        "special": {one.code: one.name for one in around.special_days.values()},
        "method": METHODS,
        **CHOICES,
    }


def document_field(typed: str) -> str:
    """Return the field of the entry that a field of its form is about."""
    if typed.startswith("special."):
        return "special"
    if typed.startswith("demand."):
        return "demands"
    if typed.startswith("exception_"):
        return "exception"
    return f"{typed}_ms" if typed in {"valid_from", "valid_until"} else typed


def differences(before: Typed, after: Typed) -> list[tuple[str, str, str]]:
    """Return the fields of two forms that differ, with both texts; what only rests there says nothing."""
    names = dict.fromkeys([*before, *after])
    return [
        (name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "") and name not in {"code", "person", "subject_id"}
    ]


def effect_lines(found: Effects) -> list[EffectLine]:
    """Return what happens to how many, in words."""
    lines = []
    for effect in Effect:
        people = found.count(effect).people
        at = [(point, who.bit_count()) for point, what, who in found.at if what is effect]
        if people:
            lines.append(EffectLine(effect, EFFECTS[effect], people, at[:MAX_POINTS], len(at) - MAX_POINTS))
    return lines
