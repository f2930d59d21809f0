# SPDX-License-Identifier: EUPL-1.2
"""Entries of the access model as the API has them: the tables of an exported file (`docs/access.md`), in JSON.

Bounds of texts, numbers and hours are those of the file and are checked by its code. Instants are Unix milliseconds.
"""

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from cardservice.access.model.store import StoredRule
from cardservice.access.plan import parts
from cardservice.access.plan.reading import Place, Table
from cardservice.access.rules import Use
from cardservice.access.setup_parts import (
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    SpecialDaysSetup,
    ZoneSetup,
)
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.requests import Body
from cardservice.web.traces import MAX_REASON

Code = Annotated[str, Field(min_length=1, max_length=parts.MAX_CODE)]
Name = Annotated[str, Field(min_length=1, max_length=parts.MAX_NAME)]
DirectoryName = Annotated[str, Field(min_length=1, max_length=parts.MAX_DIRECTORY_NAME)]
Instant = Annotated[int, Field(ge=0, lt=MAX_INSTANT_MS, examples=[1_806_530_400_000])]
LevelName = Literal["none", "uid", "reader_attested", "card", "card_pin"]
UseName = Annotated[Use, Field(strict=False)]
UseWanted = Use | None
Hours = Annotated[
    list[Annotated[str, Field(pattern=r"^[0-9]{2}:[0-9]{2}-[0-9]{2}:[0-9]{2}$", examples=["07:30-18:00"])]],
    Field(max_length=parts.MAX_INTERVALS),
]
Milliseconds = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]
_ORDINARY: Final = PointClassSetup("", "")
_NOT_IN_A_FILE: Final = {"effect", "valid_from_ms", "valid_until_ms", "reason"}


class WithReason(Body):
    """Why something is changed; kept with the name of who asks."""

    reason: Annotated[str | None, Field(min_length=1, max_length=MAX_REASON, examples=["Umbau im Erdgeschoss"])] = None


class ZoneFields(Body):
    """A zone inside `parent`. With `level`, every point inside demands that at least."""

    name: Annotated[Name, Field(examples=["Rathaus, Keller"])]
    parent: Annotated[Code | None, Field(examples=["rathaus"])] = None
    level: LevelName | None = None


class Zone(ZoneFields):
    """A zone and its code."""

    code: Code


class ZoneBody(ZoneFields, WithReason):
    """A zone as it is to be."""


class SpecialDaysFields(Body):
    """Days that are neither weekdays nor public holidays."""

    name: Annotated[Name, Field(examples=["Halbe Tage"])]
    days: Annotated[
        list[Annotated[date, Field(strict=False, examples=["2026-12-24"])]], Field(max_length=parts.MAX_DAYS)
    ]


class SpecialDays(SpecialDaysFields):
    """A group of special days and its code."""

    code: Code


class SpecialDaysBody(SpecialDaysFields, WithReason):
    """A group of special days as it is to be."""


class SpecialHours(Body):
    """What holds on the days of a group; no hours: shut."""

    days: Annotated[Code, Field(examples=["halbe-tage"])]
    hours: Hours = Field(default_factory=list)


class ScheduleFields(Body):
    """Hours of each weekday, of public holidays of `land` ("NW", "BY" ...), and of special days."""

    name: Annotated[Name, Field(examples=["Bürozeit"])]
    land: Annotated[str | None, Field(pattern=r"^[A-Z]{2}$", examples=["NW"])] = None
    monday: Hours = Field(default_factory=list)
    tuesday: Hours = Field(default_factory=list)
    wednesday: Hours = Field(default_factory=list)
    thursday: Hours = Field(default_factory=list)
    friday: Hours = Field(default_factory=list)
    saturday: Hours = Field(default_factory=list)
    sunday: Hours = Field(default_factory=list)
    holiday: Hours = Field(default_factory=list)
    special: Annotated[list[SpecialHours], Field(max_length=parts.MAX_PARTS)] = Field(default_factory=list)


class Schedule(ScheduleFields):
    """A schedule and its code."""

    code: Code


class ScheduleBody(ScheduleFields, WithReason):
    """A schedule as it is to be."""


class Demand(Body):
    """What is demanded while a schedule holds."""

    schedule: Annotated[Code, Field(examples=["buerozeit"])]
    level: LevelName
    people: Number = 1


class PointClassFields(Body):
    """What points have in common; `level` and `people` are demanded where none of `demands` is in force."""

    name: Annotated[Name, Field(examples=["Außentür"])]
    methods: Annotated[list[Literal["desfire", "piv", "attested"]], Field(min_length=1, max_length=3)] = Field(
        default_factory=lambda: list(_ORDINARY.methods)
    )
    level: LevelName = "card"
    freshness_ms: Milliseconds = _ORDINARY.freshness_ms
    stale_policy: Literal["deny", "permit"] = _ORDINARY.stale_policy
    journal_mode: Literal["full", "refusals", "counts"] = _ORDINARY.journal_mode
    open_ms: Milliseconds = _ORDINARY.open_ms
    answer_budget_ms: Milliseconds = _ORDINARY.answer_budget_ms
    tap_budget_ms: Milliseconds = _ORDINARY.tap_budget_ms
    people: Number = _ORDINARY.people
    second_within_ms: Milliseconds = _ORDINARY.second_within_ms
    directory_check: Literal["copy", "live"] = _ORDINARY.directory_check
    demands: Annotated[list[Demand], Field(max_length=parts.MAX_PARTS)] = Field(default_factory=list)


class PointClass(PointClassFields):
    """A point class and its code."""

    code: Code


class PointClassBody(PointClassFields, WithReason):
    """A point class as it is to be."""


class LevelException(Body):
    """Leave to demand less than the zone, until an instant."""

    until_ms: Instant
    reason: Name


class PointFields(Body):
    """A point: where, of which class, served by which agent's reader. `options` are for the place of its use."""

    name: Annotated[Name, Field(examples=["Bauamt, außen"])]
    use: Annotated[UseName, Field(examples=["door"])]
    zone: Annotated[Code, Field(examples=["bauamt"])]
    point_class: Annotated[Code, Field(examples=["office"])]
    time_zone: Annotated[str, Field(min_length=1, max_length=parts.MAX_CODE)] = "Europe/Berlin"
    agent: Annotated[str | None, Field(min_length=1, max_length=40, examples=["rathaus"])] = None
    reader: Annotated[str | None, Field(min_length=1, max_length=127)] = None
    options: Annotated[dict[str, str | int | bool], Field(max_length=16)] = Field(default_factory=dict)
    exception: LevelException | None = None


class Point(PointFields):
    """A point and its code."""

    code: Code


class PointBody(PointFields, WithReason):
    """A point as it is to be."""


class TimesBody(WithReason):
    """When a grant or block holds: by a schedule, from and until an instant; none of them: at any time."""

    schedule: Annotated[Code | None, Field(examples=["buerozeit"])] = None
    valid_from_ms: Instant | None = None
    valid_until_ms: Instant | None = None


class GrantBody(TimesBody):
    """A grant permits, a block refuses and wins: one of `group` and `login`, at one of `point`, `zone` and `use`.

    `subject_id` (directory:stable id) tells whom a name means that several have.
    """

    effect: Literal["grant", "block"] = "grant"
    group: Annotated[DirectoryName | None, Field(examples=["Bauamt"])] = None
    login: DirectoryName | None = None
    subject_id: DirectoryName | None = None
    point: Annotated[Code | None, Field(examples=["bauamt.aussen"])] = None
    zone: Code | None = None
    use: UseName | None = None


class Grant(BaseModel):
    """A grant or block and its number; `person` is the number of whom it names."""

    grant: int
    effect: Literal["grant", "block"]
    group: str | None
    login: str | None
    subject_id: str
    person: int | None
    point: str | None
    zone: str | None
    use: Use | None
    schedule: str | None
    valid_from_ms: int | None
    valid_until_ms: int | None


def _table(kind: str, code: str, body: Body) -> Table:
    """Return a body as the table of a file; its checks name it by its code."""
    values = body.model_dump(exclude_none=True, exclude={"reason"})
    return Table(Place(f"{kind} {code!r}", lambda _: None), {"code": code, **values})


def zone_of(code: str, body: ZoneBody) -> ZoneSetup:
    """Return the zone that a body says. This and the following raise Conflict where no file could say it."""
    return parts.read_zone(_table("zone", code, body))


def special_days_of(code: str, body: SpecialDaysBody) -> SpecialDaysSetup:
    """Return the group of special days that a body says."""
    return parts.read_special_days(_table("special days", code, body))


def schedule_of(code: str, body: ScheduleBody) -> ScheduleSetup:
    """Return the schedule that a body says."""
    return parts.read_schedule(_table("schedule", code, body))


def class_of(code: str, body: PointClassBody) -> PointClassSetup:
    """Return the point class that a body says."""
    return parts.read_class(_table("point class", code, body))


def point_of(code: str, body: PointBody) -> PointSetup:
    """Return the point that a body says."""
    values: dict[str, Any] = body.model_dump(exclude_none=True, exclude={"reason"})
    if body.exception is not None:
        values["exception"] = {"until": body.exception.until_ms, "reason": body.exception.reason}
    return parts.read_point(Table(Place(f"point {code!r}", lambda _: None), {"code": code, **values}))


def rule_of(body: GrantBody) -> RuleSetup:
    """Return the grant or block that a body says."""
    values: dict[str, Any] = body.model_dump(exclude_none=True, exclude=_NOT_IN_A_FILE)
    bounds = {"valid_from": body.valid_from_ms, "valid_until": body.valid_until_ms}
    values |= {name: at_ms for name, at_ms in bounds.items() if at_ms is not None}
    return parts.read_rule(Table(Place(body.effect, lambda _: None), values), body.effect)


def shown_zone(zone: ZoneSetup) -> Zone:
    """Return a zone as it is answered. This and the following are the way back."""
    return Zone.model_validate(parts.write_zone(zone))


def shown_special_days(special: SpecialDaysSetup) -> SpecialDays:
    """Return a group of special days as it is answered."""
    return SpecialDays(code=special.code, name=special.name, days=sorted(special.days))


def shown_schedule(schedule: ScheduleSetup) -> Schedule:
    """Return a schedule as it is answered."""
    return Schedule.model_validate(parts.write_schedule(schedule))


def shown_class(point_class: PointClassSetup) -> PointClass:
    """Return a point class as it is answered."""
    return PointClass.model_validate(parts.write_class(point_class))


def shown_point(point: PointSetup) -> Point:
    """Return a point as it is answered."""
    values = parts.write_point(point)
    if point.exception is not None:
        # As it is stored: a file may say an instant that no calendar has.
        values["exception"] = LevelException.model_construct(
            until_ms=point.exception.until_ms, reason=point.exception.reason
        )
    return Point.model_validate(values)


def shown_rule(stored: StoredRule) -> Grant:
    """Return a grant or block as it is answered."""
    rule = stored.rule
    return Grant(
        grant=stored.number,
        person=stored.person,
        effect=rule.effect,
        group=rule.group,
        login=rule.login,
        subject_id=rule.subject_id or "",
        point=rule.point,
        zone=rule.zone,
        use=rule.use,
        schedule=rule.schedule,
        valid_from_ms=rule.valid_from_ms,
        valid_until_ms=rule.valid_until_ms,
    )
