# SPDX-License-Identifier: EUPL-1.2
"""Which facts of the centre a terminal shows, by use; everything else, and whatever is out of bounds, is left out."""

from collections.abc import Callable, Mapping
from typing import Final

from cardservice.timeclock.rules import Kind

Fact = int | bool | str
_Check = Callable[[Fact], bool]

# What a browser can count exactly.
_MAX_NUMBER: Final = 2**53
# The keys of a time clock, which are also the kinds of its bookings.
BOOKING_KINDS: Final = tuple(kind.value for kind in Kind)


def _number(value: Fact) -> bool:
    return type(value) is int and -_MAX_NUMBER < value < _MAX_NUMBER


def _count(value: Fact) -> bool:
    return _number(value) and int(value) >= 0


def _yes_or_no(value: Fact) -> bool:
    return type(value) is bool


def _booking_kind(value: Fact) -> bool:
    return value in BOOKING_KINDS


OF_ANSWERS: Final[Mapping[str, Mapping[str, _Check]]] = {
    "timeclock": {"kind": _booking_kind, "at_ms": _count, "today_ms": _count, "working": _yes_or_no},
    "canteen": {"amount_cents": _number, "own_share_cents": _number, "balance_cents": _number},
    "door": {},
    "printer": {"released": _count, "waiting": _count},
}
_OF_PROMPTS: Final[Mapping[str, Mapping[str, _Check]]] = {"canteen": {"amount_cents": _number}}


def of_answer(use: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the facts of an answer that a terminal of this use shows."""
    return _known(OF_ANSWERS[use], facts)


def of_prompt(use: str, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Return the facts of a prompt that a terminal of this use shows."""
    return _known(_OF_PROMPTS.get(use, {}), facts)


def _known(checks: Mapping[str, _Check], facts: Mapping[str, Fact]) -> dict[str, Fact]:
    return {name: facts[name] for name, is_shown in checks.items() if name in facts and is_shown(facts[name])}
