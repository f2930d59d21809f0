# SPDX-License-Identifier: EUPL-1.2
"""The file itself: TOML, one table for each thing, in one order; the same model is always the same bytes."""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import tomlkit

from cardservice.access.plan import parts
from cardservice.access.plan.effects import Membership
from cardservice.access.plan.reading import Place, Table, shown
from cardservice.access.plan.rules import in_order, require_whole
from cardservice.access.setup_parts import AccessSetup
from cardservice.access.store import MAX_ZONE_DEPTH
from cardservice.errors import Conflict

FORMAT: Final = 1
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
# How many tables of a kind; far more than the largest city has.
LIMITS: Final[Mapping[str, int]] = {
    "membership": 10_000,
    "zone": 10_000,
    "special_days": 500,
    "schedule": 2_000,
    "point_class": 1_000,
    "point": 50_000,
    "grant": 100_000,
    "block": 100_000,
}
_HEADING: Final = """\
# The access model: who may pass where, and when. docs/access.md says what it means.
# Written by 'cardservice access export', read by 'cardservice access import'; the order of tables and keys stays.
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the tables of one name are written and read."""

    name: str
    write: Callable[[Any], dict[str, Any]]
    read: Callable[[Table], Any]


_KINDS: Final = (
    _Kind("zone", parts.write_zone, parts.read_zone),
    _Kind("special_days", parts.write_special_days, parts.read_special_days),
    _Kind("schedule", parts.write_schedule, parts.read_schedule),
    _Kind("point_class", parts.write_class, parts.read_class),
    _Kind("point", parts.write_point, parts.read_point),
    _Kind("grant", parts.write_rule, lambda table: parts.read_rule(table, "grant")),
    _Kind("block", parts.write_rule, lambda table: parts.read_rule(table, "block")),
)
_MEMBERSHIP: Final = _Kind("membership", parts.write_membership, parts.read_membership)


def write_model(model: AccessSetup) -> str:
    """Return the file of a model."""
    ordered = in_order(model)
    of_kind: dict[str, Iterable[Any]] = {
        "zone": ordered.zones,
        "special_days": ordered.special_days,
        "schedule": ordered.schedules,
        "point_class": ordered.point_classes,
        "point": ordered.points,
        "grant": [rule for rule in ordered.rules if rule.effect == "grant"],
        "block": [rule for rule in ordered.rules if rule.effect == "block"],
    }
    tables = [_lines(kind.name, kind.write(one)) for kind in _KINDS for one in of_kind[kind.name]]
    return "\n".join([f"{_HEADING}\nformat = {FORMAT}\n", *tables])


def read_model(content: bytes) -> AccessSetup:
    """Return the model of a file, in order.

    Raises:
        Conflict: it is too long, no TOML, or says what no model can say: with line, table, key and what is allowed.
    """
    document, lines = _opened(content, frozenset(LIMITS) - {_MEMBERSHIP.name})
    return _model(document, lines)


def read_changes(content: bytes) -> tuple[AccessSetup | None, list[Membership]]:
    """Return the model of a file, None if it has no table of one, and who joins or leaves which group.

    Raises:
        Conflict: as for a model.
    """
    document, lines = _opened(content, frozenset(LIMITS))
    memberships = list(_read(_MEMBERSHIP, document.pop(_MEMBERSHIP.name, []), lines))
    return (_model(document, lines) if document else None), memberships


def _opened(content: bytes, allowed: frozenset[str]) -> tuple[dict[str, Any], "_Lines"]:
    text, document = _parsed(content)
    if (found := document.pop("format", None)) != FORMAT or isinstance(found, bool):
        raise Conflict(f"format: {shown(found)}; allowed is {FORMAT}")
    unknown = sorted(set(document) - allowed)
    if unknown:
        tables = ", ".join(f"[[{name}]]" for name in LIMITS if name in allowed)
        raise Conflict(f"{shown(unknown[0])}: there is no such table; allowed are {tables}")
    return document, _Lines(text)


def _model(document: Mapping[str, Any], lines: "_Lines") -> AccessSetup:
    found_parts = {kind.name: list(_read(kind, document.get(kind.name, []), lines)) for kind in _KINDS}
    for name, of_kind in found_parts.items():
        if name not in {"grant", "block"}:
            _require_unique(name, of_kind)
    model = in_order(
        AccessSetup(
            zones=found_parts["zone"],
            special_days=found_parts["special_days"],
            schedules=found_parts["schedule"],
            point_classes=found_parts["point_class"],
            points=found_parts["point"],
            rules=[*found_parts["grant"], *found_parts["block"]],
        )
    )
    require_whole(model, MAX_ZONE_DEPTH)
    return model


def _lines(name: str, values: Mapping[str, Any]) -> str:
    written = "\n".join(f"{key} = {value_text(value)}" for key, value in values.items())
    return f"[[{name}]]\n{written}\n"


def value_text(value: Any) -> str:
    """Return a value as a file has it."""
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return "[\n" + "".join(f"  {value_text(one)},\n" for one in value) + "]"
        return f"[{', '.join(value_text(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {value_text(one)}' for key, one in value.items())} }}"
    return str(tomlkit.item(value).as_string())


def _parsed(content: bytes) -> tuple[str, dict[str, Any]]:
    if len(content) > MAX_FILE_BYTES:
        raise Conflict(f"the file is too long; allowed are {MAX_FILE_BYTES // 1_048_576} MiB")
    try:
        text = content.decode()
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # A ValueError is what tomllib and the decoder both raise; a deep nesting ends in a RecursionError.
        raise Conflict(f"the file is no TOML: {str(error)[:200]}") from None


def _read(kind: _Kind, tables: object, lines: "_Lines") -> Iterator[Any]:
    if not isinstance(tables, list) or len(tables) > LIMITS[kind.name]:
        raise Conflict(f"{kind.name}: allowed are at most {LIMITS[kind.name]} tables [[{kind.name}]]")
    for number, values in enumerate(tables):
        code = values.get("code") if isinstance(values, dict) else None
        known_as = shown(code) if code is not None else f"number {number + 1}"
        table = Table(Place(f"{kind.name} {known_as}", lines.finder(kind.name, number)), values)
        part = kind.read(table)
        table.done()
        yield part


def _require_unique(name: str, found: Iterable[Any]) -> None:
    codes: set[str] = set()
    for one in found:
        if one.code in codes:
            raise Conflict(f"{name} {one.code!r}: there are two of this code; allowed is one")
        codes.add(one.code)


class _Lines:
    """Finds the line of a key for messages: good for files as they are written here, a guess for others."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at: dict[str, list[int]] | None = None

    def finder(self, name: str, number: int) -> Callable[[str | None], int | None]:
        """Return the way to the line of a key of one table."""
        return lambda key: self._find(name, number, key)

    def _find(self, name: str, number: int, key: str | None) -> int | None:
        lines = self._text.split("\n")
        if self._at is None:
            self._at = {}
            for place, line in enumerate(lines):
                if found := re.match(r"\s*\[\[\s*\"?([a-z_]+)\"?\s*\]\]", line):
                    self._at.setdefault(found[1], []).append(place)
        begins = self._at.get(name, [])
        if number >= len(begins):
            return None
        begin = begins[number]
        if key is None:
            return begin + 1
        sought = re.compile(rf"\s*\"?{re.escape(key)}\"?\s*=")
        for place in range(begin + 1, len(lines)):
            if lines[place].startswith("[["):
                break
            if sought.match(lines[place]):
                return place + 1
        return begin + 1
