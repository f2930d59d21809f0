# SPDX-License-Identifier: EUPL-1.2
"""Forms of the access model: what stands in their fields, and the entries of the API that they say.

What may stand in an entry is checked by its document and by the service; nothing of that is said here again.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from cardservice.access.model.documents import (
    Grant,
    GrantBody,
    Point,
    PointBody,
    PointClass,
    PointClassBody,
    Schedule,
    ScheduleBody,
    SpecialDays,
    SpecialDaysBody,
    TimesBody,
    Zone,
    ZoneBody,
)
from cardservice.access.model.refusals import Fault, Refused
from cardservice.access.model.wording import HINTS, hint_of
from cardservice.access.plan.parts import DAYS
from cardservice.access.plan.text import value_text
from cardservice.instants import MAX_INSTANT_MS
from cardservice.web.requests import CODE_PATTERN, Body

MAX_TYPED: Final = 4_000
MAX_SPECIAL: Final = 60
SHUT: Final = "-"
TICKED: Final = "yes"
MAX_SECONDS: Final = 12
# Fields in seconds; entries have milliseconds.
SECONDS: Final = ("open_ms", "second_within_ms", "freshness_ms", "answer_budget_ms", "tap_budget_ms")
# In Germany, as every page says its instants.
_ZONE: Final = ZoneInfo("Europe/Berlin")
_DAY: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_EXACT: Final = re.compile(r"@(\d{1,15})")
_TIMES: Final = {"valid_from_ms": "valid_from", "valid_until_ms": "valid_until"}
Typed = Mapping[str, str]
OneBody = TypeVar("OneBody", bound=Body)


def cleaned(fields: Typed) -> dict[str, str]:
    """Return the fields of a form without spaces around them.

    Raises:
        Refused: one of them is far too long.
    """
    long = [name for name, text in fields.items() if len(text) > MAX_TYPED]
    if long:
        raise Refused(*(Fault(name, hint_of(name)) for name in long))
    return {name: text.strip().replace("\r\n", "\n") for name, text in fields.items()}


def code_of(typed: Typed) -> str:
    """Return the code of a new entry.

    Raises:
        Refused: it is none.
    """
    code = typed.get("code", "")
    if re.fullmatch(CODE_PATTERN, code) is None:
        raise Refused(Fault("code", HINTS["code"]))
    return code


def _body(kind: type[OneBody], values: Mapping[str, Any], places: Mapping[str, str] | None = None) -> OneBody:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        named = [str(one["loc"][0]) if one["loc"] else "" for one in error.errors()]
        at = dict.fromkeys((places or {}).get(name, name) for name in named)
        raise Refused(*(Fault(name, hint_of(name)) for name in at)) from None


def zone_body(typed: Typed, _old: Any) -> ZoneBody:
    """Return the zone a form says. This and the following raise Refused at the field that cannot be read."""
    return _body(ZoneBody, {"name": typed.get("name", ""), **_set(typed, "parent", "level")})


def typed_zone(zone: Zone) -> dict[str, str]:
    """Return the fields of a zone's form. This and the following are the way back."""
    return _texts(zone.model_dump(include={"code", "name", "parent", "level"}))


def special_days_body(typed: Typed, _old: Any) -> SpecialDaysBody:
    """Return the group of special days a form says: one day in a line, as either language writes it."""
    days = [_iso(line.strip()) for line in typed.get("days", "").split("\n") if line.strip()]
    return _body(SpecialDaysBody, {"name": typed.get("name", ""), "days": days})


def typed_special_days(special: SpecialDays) -> dict[str, str]:
    """Return the fields of the form of a group of special days."""
    days = "\n".join(day.isoformat() for day in special.days)
    return {"code": special.code, "name": special.name, "days": days}


def schedule_body(typed: Typed, old: Schedule | None) -> ScheduleBody:
    """Return the schedule a form says; special days that had no field stay as they were."""
    special = [
        {"days": name.removeprefix("special."), "hours": [] if text == SHUT else _split(text)}
        for name, text in typed.items()
        if name.startswith("special.") and text
    ]
    asked = {name.removeprefix("special.") for name in typed if name.startswith("special.")}
    kept = [one.model_dump() for one in (() if old is None else old.special) if one.days not in asked]
    values = {"name": typed.get("name", ""), **_set(typed, "land"), "special": special + kept}
    return _body(ScheduleBody, values | {day: _split(typed.get(day, "")) for day in DAYS})


def typed_schedule(schedule: Schedule) -> dict[str, str]:
    """Return the fields of a schedule's form."""
    hours = {day: ", ".join(getattr(schedule, day)) for day in DAYS}
    special = {f"special.{one.days}": ", ".join(one.hours) or SHUT for one in schedule.special}
    return {"code": schedule.code, "name": schedule.name, "land": schedule.land or "", **hours, **special}


def point_body(typed: Typed, old: Point | None) -> PointBody:
    """Return the point a form says; of an old one, what its form does not ask for stays."""
    values: dict[str, Any] = {name: typed.get(name, "") for name in ("name", "use", "zone", "point_class")}
    values |= {"time_zone": typed.get("time_zone") or "Europe/Berlin", **_set(typed, "agent", "reader")}
    values["options"] = _options(typed.get("options", ""))
    until, reason = typed.get("exception_until", ""), typed.get("exception_reason", "")
    if bool(until) != bool(reason):
        missing = "exception_reason" if until else "exception_until"
        raise Refused(Fault(missing, HINTS[missing]))
    if until:
        before = None if old is None or old.exception is None else old.exception.until_ms
        values["exception"] = {"until_ms": instant_of(until, before, "exception_until", last=True), "reason": reason}
    return _body(PointBody, values, {"exception": "exception_reason"})


def typed_point(point: Point) -> dict[str, str]:
    """Return the fields of a point's form."""
    plain = {"code", "name", "use", "zone", "point_class", "time_zone", "agent", "reader"}
    exception = point.exception
    return {
        **_texts(point.model_dump(mode="json", include=plain)),
        "options": "\n".join(f"{name} = {value_text(value)}" for name, value in point.options.items()),
        "exception_until": "" if exception is None else day_text(exception.until_ms, last=True),
        "exception_reason": "" if exception is None else exception.reason,
    }


def class_body(typed: Typed, old: PointClass | None) -> PointClassBody:
    """Return the point class a form says; hours of schedules that had no field stay as they were."""
    ticked = [name.removeprefix("method.") for name, text in typed.items() if name.startswith("method.") and text]
    before = [] if old is None else [name for name in old.methods if name in ticked]
    values: dict[str, Any] = {
        "name": typed.get("name", ""),
        "methods": before + [name for name in ticked if name not in before],
        "demands": _demands(typed, old),
        **_set(typed, "level", "stale_policy", "journal_mode", "directory_check"),
        **{name: _milliseconds(typed[name], name) for name in SECONDS if typed.get(name)},
    }
    if people := typed.get("people"):
        values["people"] = int(people) if people.isascii() and people.isdecimal() and len(people) < 4 else people
    return _body(PointClassBody, values)


def typed_class(kind: PointClass) -> dict[str, str]:
    """Return the fields of the form of a point class."""
    plain = {"code", "name", "level", "people", "stale_policy", "journal_mode", "directory_check"}
    return {
        **_texts(kind.model_dump(mode="json", include=plain)),
        **{f"method.{name}": TICKED for name in kind.methods},
        **{name: _seconds(getattr(kind, name)) for name in SECONDS},
        **{f"demand.{one.schedule}": _demanded(one.level, one.people) for one in kind.demands},
    }


def _demands(typed: Typed, old: PointClass | None) -> list[dict[str, Any]]:
    asked = {name.removeprefix("demand."): text for name, text in typed.items() if name.startswith("demand.")}
    known = () if old is None else old.demands
    kept = [one.model_dump() for one in known if one.schedule not in asked]
    order = [one.schedule for one in known if one.schedule in asked]
    order += [schedule for schedule in asked if schedule not in order]
    return kept + [
        {"schedule": schedule, "level": level, "people": int(people) if people in {"1", "2"} else 1}
        for schedule in order
        for level, _, people in (asked[schedule].partition(":"),)
        if level
    ]


def _demanded(level: str, people: int) -> str:
    return f"{level}:{people}"


def _seconds(milliseconds: int) -> str:
    whole, rest = divmod(milliseconds, 1_000)
    return f"{whole}.{rest:03}".rstrip("0") if rest else str(whole)


def _milliseconds(text: str, field: str) -> int:
    try:
        found = Decimal(text.replace(",", ".", 1)) * 1_000 if len(text) <= MAX_SECONDS else Decimal(-1)
    except InvalidOperation:
        raise Refused(Fault(field, hint_of(field))) from None
    if not found.is_finite() or found != found.to_integral_value() or not 0 <= found < 2**31:
        raise Refused(Fault(field, hint_of(field)))
    return int(found)


def times_body(typed: Typed, old: Grant | None) -> TimesBody:
    """Return when a grant holds, as a form says it."""
    return _body(TimesBody, _times(typed, old), _TIMES)


def grant_body(typed: Typed, holder: Mapping[str, str | None]) -> GrantBody:
    """Return the grant or block a form says; `holder` names the person that was chosen, if one was."""
    targets = _set(typed, "point", "zone", "use")
    if len(targets) != 1:
        raise Refused(Fault("where", HINTS["where"]))
    who: Mapping[str, str | None] = holder or _set(typed, "group", "subject_id")
    if not holder and not typed.get("group"):
        raise Refused(Fault("group", HINTS["group"]))
    effect = "block" if typed.get("effect") == "block" else "grant"
    return _body(GrantBody, {"effect": effect, **who, **targets, **_times(typed, None)}, _TIMES)


def typed_grant(grant: Grant) -> dict[str, str]:
    """Return the fields of a grant's form."""
    plain = {"effect", "group", "subject_id", "person", "point", "zone", "use", "schedule"}
    until = grant.valid_until_ms
    return {
        **_texts(grant.model_dump(mode="json", include=plain)),
        "valid_from": "" if grant.valid_from_ms is None else day_text(grant.valid_from_ms, last=False),
        "valid_until": "" if until is None else day_text(until, last=True),
    }


def _times(typed: Typed, old: Grant | None) -> dict[str, Any]:
    values: dict[str, Any] = _set(typed, "schedule")
    for name, last in (("valid_from", False), ("valid_until", True)):
        if text := typed.get(name, ""):
            before = None if old is None else getattr(old, f"{name}_ms")
            values[f"{name}_ms"] = instant_of(text, before, name, last=last)
    begins, ends = values.get("valid_from_ms"), values.get("valid_until_ms")
    if begins is not None and ends is not None and ends <= begins and old is None:
        raise Refused(Fault("valid_until", hint_of("valid_until")))
    return values


def day_text(at_ms: int, *, last: bool) -> str:
    """Return the day that a field has for an instant: the first on which something holds, or the last."""
    if not 0 <= at_ms < MAX_INSTANT_MS:
        return f"@{at_ms}"
    return (datetime.fromtimestamp(at_ms / 1_000, _ZONE) - timedelta(milliseconds=1 if last else 0)).date().isoformat()


def instant_of(text: str, before_ms: int | None, field: str, *, last: bool) -> int:
    """Return the instant that a day says: its beginning, or the end of the `last`; a day that stays keeps its hour.

    Raises:
        Refused: it is no day.
    """
    if exact := _EXACT.fullmatch(text):
        return int(exact[1])
    day = _iso(text)
    if before_ms is not None and day == day_text(before_ms, last=last):
        return before_ms
    try:
        first = date.fromisoformat(day) + timedelta(days=1 if last else 0)
        at_ms = int(datetime.combine(first, time(0), _ZONE).timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise Refused(Fault(field, hint_of(field))) from None
    if not 0 <= at_ms < MAX_INSTANT_MS:
        raise Refused(Fault(field, hint_of(field)))
    return at_ms


def _iso(text: str) -> str:
    """Return a day as ISO 8601 has it, where somebody wrote it as German does."""
    found = _DAY.fullmatch(text)
    return text if found is None else f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}"


def _options(text: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        raise Refused(Fault("options", HINTS["options"])) from None
    if not all(isinstance(value, str | int | bool) for value in found.values()):
        raise Refused(Fault("options", HINTS["options"]))
    return found


def _split(text: str) -> list[str]:
    return [part.strip().replace("–", "-").replace(" ", "") for part in text.split(",") if part.strip()]


def _set(typed: Typed, *names: str) -> dict[str, str]:
    return {name: typed[name] for name in names if typed.get(name)}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in values.items()}


# What the form of each kind says, and the fields of its form.
BODIES: Final[Mapping[str, Callable[[Typed, Any], Any]]] = {
    "zones": zone_body,
    "points": point_body,
    "point_classes": class_body,
    "schedules": schedule_body,
    "special_days": special_days_body,
}
TYPED: Final[Mapping[str, Callable[[Any], dict[str, str]]]] = {
    "zones": typed_zone,
    "points": typed_point,
    "point_classes": typed_class,
    "schedules": typed_schedule,
    "special_days": typed_special_days,
}
