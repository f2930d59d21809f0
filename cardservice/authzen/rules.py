# SPDX-License-Identifier: EUPL-1.2
"""What an AuthZEN request says (OpenID Authorization API 1.0, sections 5 to 7), parsed from hostile bytes. Pure.

Whatever the specification does not name is passed over (section 10.1.1): newer callers say more than we know.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Any, Final, NoReturn

from cardservice.access.rules import Level, Use

MAX_TEXT: Final = 256
MAX_EVALUATIONS: Final = 100
# What may be done at a point of each use, and at any of them.
VERBS: Final[Mapping[Use, str]] = MappingProxyType(
    {
        Use.DOOR: "open",
        Use.WORKSTATION: "unlock",
        Use.TIMECLOCK: "clock",
        Use.PRINTER: "release",
        Use.CANTEEN: "pay",
    }
)
ANYWHERE: Final = "pass"
PERSON_TYPES: Final = frozenset({"person", "user"})
CARD_TYPE: Final = "card"
POINT_TYPE: Final = "point"
LEVELS: Final = MappingProxyType({level.name.lower(): level for level in Level})
# RFC 3339, section 5.6; seconds may be missing, as in the specification's own examples.
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class Malformed(Exception):
    """A request, or one evaluation of several, is not what the specification asks for: what and where."""


@unique
class Semantic(StrEnum):
    """How many of several evaluations are made (section 7.1.2.1)."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"

    def ends_with(self, *, permit: bool) -> bool:
        """Tell whether nothing follows this answer."""
        return self is (Semantic.PERMIT_ON_FIRST_PERMIT if permit else Semantic.DENY_ON_FIRST_DENY)


@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource: what it is, and which one."""

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question: may `subject` do `action` at `resource`; `at_ms` None: now.

    `level` is what is proved there, None: what the kind of card can prove. `explain` asks for every step.
    """

    subject: Entity
    action: str
    resource: Entity
    at_ms: int | None = None
    level: Level | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Several questions; of one that is malformed, why."""

    semantic: Semantic
    evaluations: tuple[Evaluation | Malformed, ...]


def action_fits(action: str, use: Use) -> bool:
    """Tell whether this may be done at points of the use at all."""
    return action in {ANYWHERE, VERBS[use]}


def parse(raw: bytes) -> dict[str, Any]:
    """Return the JSON object of a body (I-JSON, RFC 7493: UTF-8, no name twice, no number that is none).

    Raises:
        Malformed: it is not one.
    """
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON in UTF-8 in which no name stands twice") from None
    if not isinstance(document, dict):
        raise Malformed("the body is not a JSON object")
    return document


def evaluation_of(document: Mapping[str, Any]) -> Evaluation:
    """Return the one question of a request.

    Raises:
        Malformed: something it needs is missing, or of another type.
    """
    context = _object(document, "context") if "context" in document else {}
    explain = context.get("explain", False)
    if not isinstance(explain, bool):
        raise Malformed("context.explain: allowed are true and false")
    return Evaluation(
        subject=_entity(document, "subject"),
        action=_action(document),
        resource=_entity(document, "resource"),
        at_ms=None if "time" not in context else instant_ms(context["time"]),
        level=None if "level" not in context else _level(context["level"]),
        explain=explain,
    )


def batch_of(document: Mapping[str, Any]) -> Batch | None:
    """Return the questions of a request that asks several, None for one that asks one (section 7.1).

    What stands beside the questions is the default of each: a whole subject, action, resource or context.

    Raises:
        Malformed: the request as a whole.
    """
    evaluations = document.get("evaluations", [])
    semantic = _semantic(document)
    if not isinstance(evaluations, list):
        raise Malformed("evaluations: not an array")
    if not evaluations:
        return None
    if len(evaluations) > MAX_EVALUATIONS:
        raise Malformed(f"evaluations: {len(evaluations)}; at most {MAX_EVALUATIONS} are made at once")
    if not all(isinstance(one, dict) for one in evaluations):
        raise Malformed("evaluations: one is not an object")
    defaults = {name: document[name] for name in ("subject", "action", "resource", "context") if name in document}
    _require_sound(defaults)
    return Batch(semantic, tuple(_one_of({**defaults, **one}) for one in evaluations))


def instant_ms(text: object) -> int:
    """Return a time of RFC 3339 as milliseconds since 1970-01-01T00:00:00Z.

    Raises:
        Malformed: it is none.
    """
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise Malformed("context.time: not a time as RFC 3339 writes it, like 2027-03-31T18:00:00+02:00")
    year, month, day, hour, minute = (int(part) for part in found.groups()[:5])
    second = int(found[6] or 0)
    try:
        # A leap second is the one after; datetime knows none.
        at = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=_zone(found[8]))
    except ValueError:
        raise Malformed("context.time: there is no such time") from None
    if second > 60:
        raise Malformed("context.time: there is no such time")
    since = at - datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=max(0, second - 59))
    return since // timedelta(milliseconds=1) + int((found[7] or "0").ljust(3, "0")[:3])


def _zone(text: str) -> timezone:
    if text in {"Z", "z"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:6])
    if minutes > 59:
        raise ValueError("no such offset")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _one_of(document: Mapping[str, Any]) -> Evaluation | Malformed:
    try:
        return evaluation_of(document)
    except Malformed as error:
        return error


def _require_sound(defaults: Mapping[str, Any]) -> None:
    """Refuse a default that no evaluation could use."""
    for name in defaults:
        if name in {"subject", "resource"}:
            _entity(defaults, name)
        elif name == "action":
            _action(defaults)
        else:
            _object(defaults, name)


def _semantic(document: Mapping[str, Any]) -> Semantic:
    options = _object(document, "options") if "options" in document else {}
    named = options.get("evaluations_semantic", Semantic.EXECUTE_ALL.value)
    if not isinstance(named, str) or named not in set(Semantic):
        raise Malformed(f"options.evaluations_semantic: allowed are {', '.join(Semantic)}")
    return Semantic(named)


def _entity(document: Mapping[str, Any], name: str) -> Entity:
    entity = _described(document, name)
    return Entity(_text(entity, name, "type"), _text(entity, name, "id"))


def _action(document: Mapping[str, Any]) -> str:
    return _text(_described(document, "action"), "action", "name")


def _described(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a subject, an action or a resource, whose properties are an object if there are any."""
    found = _object(document, name)
    if not isinstance(found.get("properties", {}), dict):
        raise Malformed(f"{name}.properties: not an object")
    return found


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    if not isinstance(found, dict):
        raise Malformed(f"{name}: {'missing' if name not in document else 'not an object'}")
    return found


def _text(entity: Mapping[str, Any], where: str, name: str) -> str:
    found = entity.get(name)
    if not isinstance(found, str):
        raise Malformed(f"{where}.{name}: {'missing' if name not in entity else 'not a string'}")
    if not 1 <= len(found) <= MAX_TEXT or not found.isprintable():
        raise Malformed(f"{where}.{name}: allowed are 1 to {MAX_TEXT} printable characters")
    return found


def _level(named: object) -> Level:
    if not isinstance(named, str) or named not in LEVELS:
        raise Malformed(f"context.level: allowed are {', '.join(LEVELS)}")
    return LEVELS[named]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _no_number(_: str) -> NoReturn:
    raise ValueError("not a number of JSON")
