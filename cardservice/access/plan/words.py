# SPDX-License-Identifier: EUPL-1.2
"""What a difference between two models is, in words: one line for each part, then what of it changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from cardservice.access.plan.effects import Effect, Effects
from cardservice.access.plan.exceptions import PointException
from cardservice.access.plan.parts import (
    instant,
    write_class,
    write_point,
    write_rule,
    write_schedule,
    write_special_days,
    write_zone,
)
from cardservice.access.plan.rules import KINDS, Changed, Difference, totals
from cardservice.access.plan.text import value_text

_WRITE: Final[Mapping[str, Callable[[Any], dict[str, Any]]]] = {
    "zones": write_zone,
    "special_days": write_special_days,
    "schedules": write_schedule,
    "point_classes": write_class,
    "points": write_point,
    "rules": write_rule,
}


def counted(found: Sequence[Difference]) -> str:
    """Return how much comes, changes and goes in one line."""
    counts = totals(found)
    return ", ".join(f"{count} {what}" for what, count in counts.items()) if any(counts.values()) else "nothing changes"


def lines(found: Sequence[Difference], limit: int) -> Iterator[str]:
    """Yield what a reviewer reads, at most `limit` lines and how many are left out."""
    every = [line for one in found for line in _of_kind(one)]
    yield from every[:limit]
    if len(every) > limit:
        yield f"... and {len(every) - limit} lines more"


def _of_kind(found: Difference) -> Iterator[str]:
    for part in found.added:
        yield f"+ {name_of(found.kind, part)}"
    for changed in found.changed:
        yield f"~ {name_of(found.kind, changed.after)}: {'; '.join(_fields(found.kind, changed))}"
    for part in found.removed:
        yield f"- {name_of(found.kind, part)}"


def _fields(kind: str, changed: Changed) -> Iterator[str]:
    before, after = _WRITE[kind](changed.before), _WRITE[kind](changed.after)
    for key in dict.fromkeys([*before, *after]):
        if before.get(key) != after.get(key):
            yield f"{key} {_shown(before.get(key))} -> {_shown(after.get(key))}"


def name_of(kind: str, part: Any) -> str:
    """Return what a part is called in a message."""
    if kind != "rules":
        return f"{KINDS[kind]} {part.code} ({part.name})"
    written = write_rule(part)
    who = written.pop("group", None) or written.pop("login", "")
    where = next(f"{key} {written.pop(key)}" for key in ("point", "zone", "use") if key in written)
    rest = "".join(f", {key.replace('_', ' ')} {_shown(value)}" for key, value in written.items())
    return f"{part.effect} for {who!r} at {where}{rest}"


def _shown(value: Any) -> str:
    """Return a value as a file has it, in one line."""
    return "nothing" if value is None else " ".join(value_text(value).split())


def exception_line(one: PointException) -> str:
    """Return what a list of exceptions says of one."""
    until = _shown(instant(one.until_ms))
    state = "ended" if one.ended else "until"
    less = "needless: its class demands no less than its zones"
    if not one.needless:
        demands, instead_of = one.demands.name.lower(), one.instead_of.name.lower()
        less = f"{'demanded' if one.ended else 'demands'} {demands} instead of {instead_of} as zone {one.zone} does"
    return f"{one.point} ({one.name}): {state} {until}; {less}; {one.reason}"


def told(found: Effects) -> str:
    """Return who gains and loses in one line."""
    words = {
        Effect.GAINS: "gain",
        Effect.LOSES: "lose",
        Effect.NEEDS_MORE: "need a stronger proof or a second person",
        Effect.NEEDS_LESS: "need less",
    }
    counts = {effect: found.count(effect) for effect in Effect}
    parts = [f"{count.people} people {words[effect]} ({count.pairs} points in all)" for effect, count in counts.items()]
    return "; ".join(parts)
