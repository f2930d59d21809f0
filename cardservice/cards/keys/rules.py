# SPDX-License-Identifier: EUPL-1.2
"""Generations of keys: which are accepted, which new cards get, when one may be closed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from cardservice.cards.ports import STANDARD, KeyName

USES: Final = ("door", "timeclock", "printer", "canteen")
PURPOSES: Final = ("locate", "proof", "application_master")
# The card itself has one key, which belongs to no use.
CARD: Final = "card"
PICC: Final = "picc"
MAX_OPEN: Final = 2
LAST: Final = 255


@unique
class GenerationState(StrEnum):
    """What a generation is good for."""

    ACTIVE = "active"
    """New cards get it, and cards that have it are accepted."""
    PREVIOUS = "previous"
    """Cards that have it are still accepted; they are to get the active one."""
    CLOSED = "closed"
    """No card of it is accepted any more, and its masters are gone."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a use's keys. `made_ms` is None where an older key store did not note it."""

    use: str
    number: int
    made_ms: int | None
    closed_ms: int | None = None
    protection: str = STANDARD


def purposes_of(use: str) -> tuple[str, ...]:
    """Return what the masters of a use are for."""
    return (PICC,) if use == CARD else PURPOSES


def names_of(use: str, generation: int, protection: str = STANDARD) -> list[KeyName]:
    """Return the masters that belong to one generation of a use."""
    return [KeyName(use, purpose, generation, protection) for purpose in purposes_of(use)]


def of_use(generations: Iterable[Generation], use: str, protection: str = STANDARD) -> list[Generation]:
    """Return the generations of a use, the newest first."""
    found = (one for one in generations if one.use == use and one.protection == protection)
    return sorted(found, key=lambda one: -one.number)


def open_numbers(generations: Iterable[Generation], use: str, protection: str = STANDARD) -> list[int]:
    """Return the numbers of the generations that are accepted, the newest first."""
    return [one.number for one in of_use(generations, use, protection) if one.closed_ms is None]


def state_of(generations: Sequence[Generation], one: Generation) -> GenerationState:
    """Return what a generation is good for among the others of its use."""
    if one.closed_ms is not None:
        return GenerationState.CLOSED
    newest = open_numbers(generations, one.use, one.protection)[0]
    return GenerationState.ACTIVE if one.number == newest else GenerationState.PREVIOUS


def next_number(generations: Sequence[Generation], use: str) -> int:
    """Return the number of the generation that comes next.

    Raises:
        ValueError: two are open already, or the numbers are used up.
    """
    if use not in {*USES, CARD}:
        raise ValueError(f"{use!r} has no keys; allowed are {', '.join((*USES, CARD))}")
    accepted = open_numbers(generations, use)
    if len(accepted) >= MAX_OPEN:
        raise ValueError(
            f"generations {accepted[1]} and {accepted[0]} of {use} are both open; close {accepted[1]} first"
        )
    newest = max((one.number for one in of_use(generations, use)), default=0)
    if newest >= LAST:
        raise ValueError(f"generation {LAST} of {use} is the last one a card can name")
    return newest + 1


def why_not_closed(generations: Sequence[Generation], use: str, number: int) -> str | None:
    """Return why a generation can never be closed now, None if it can."""
    accepted = open_numbers(generations, use)
    if number not in accepted:
        return f"generation {number} of {use} is not open; open are {', '.join(map(str, accepted)) or 'none'}"
    if number == accepted[0]:
        return f"generation {number} of {use} is the one new cards get; 'cardservice keys rotate {use}' makes the next"
    return None
