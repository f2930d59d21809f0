# SPDX-License-Identifier: EUPL-1.2
"""When points begin to refuse because the copy of a directory is too old. Pure; the clock is an argument."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ClassOfPoints:
    """Points that demand the same of a copy: how old it may be at most, and what happens past that.

    `asks_itself`: its points ask the directory about the holder at each tap. `points` is how many there are.
    """

    code: str
    name: str
    freshness_ms: int
    stale_permits: bool
    asks_itself: bool
    points: int


@dataclass(frozen=True, slots=True)
class Copy:
    """One directory's copy: whether the directory is followed, and how old the copy is, None: never read."""

    directory: str
    followed: bool
    age_ms: int | None


class Prospect(StrEnum):
    """What becomes of a class."""

    WORKS = "works"
    """The directory is followed; `length_ms` is for how long the copy would do without it, None: for ever."""
    ENDS = "ends"
    """It is not; from `at_ms` on its points refuse."""
    REFUSES = "refuses"
    """They refuse, since `at_ms`; None: from the beginning, or for as long as the directory does not answer."""
    OLD_COPY = "old_copy"
    """It is not, and they go on with the copy however old it gets."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One class and the copy that is worst for it."""

    points: ClassOfPoints
    directory: str
    prospect: Prospect
    at_ms: int | None = None
    length_ms: int | None = None


def outlook(points: ClassOfPoints, copies: Iterable[Copy], now_ms: int) -> Outlook | None:
    """Return what becomes of a class by the copy that is worst for it, None where there is no copy at all."""
    worst = max(copies, key=lambda copy: (copy.age_ms is None, not copy.followed, copy.age_ms or 0), default=None)
    if worst is None:
        return None
    name, age_ms = worst.directory, worst.age_ms
    if age_ms is None or (points.asks_itself and not worst.followed):
        return Outlook(points, name, Prospect.REFUSES)
    if points.stale_permits:
        return Outlook(points, name, Prospect.WORKS if worst.followed else Prospect.OLD_COPY)
    end_ms = now_ms - age_ms + points.freshness_ms
    if age_ms > points.freshness_ms:
        return Outlook(points, name, Prospect.REFUSES, at_ms=end_ms)
    if worst.followed:
        length_ms = 0 if points.asks_itself else points.freshness_ms
        return Outlook(points, name, Prospect.WORKS, length_ms=length_ms)
    return Outlook(points, name, Prospect.ENDS, at_ms=end_ms)
