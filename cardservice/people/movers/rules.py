# SPDX-License-Identifier: EUPL-1.2
"""Who still counts in a department they left. Pure; the clock is an argument.

A *department group* lies at or below one DN. Whoever stops being named by one has a *window* in it, from that instant
on. Instants are milliseconds since 1970-01-01T00:00:00Z.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000
MAX_WINDOWS_OF_ONE: Final = 16
"""Nobody has more windows than this: of whoever leaves still more groups, the newest count."""
MAX_WINDOWS: Final = 500_000
"""A directory has no more windows than this; whoever leaves a group then leaves it at once."""


@dataclass(frozen=True, slots=True)
class MoverRule:
    """Which groups are department groups (a normalised DN), and how long a window is."""

    groups_dn: str
    overlap_ms: int

    def covers(self, dn: str) -> bool:
        """Tell whether a normalised DN is the DN of the rule or below it."""
        return _is_below(dn, self.groups_dn)

    def meets(self, base: str) -> bool:
        """Tell whether groups at or below `base` (a normalised DN) may be department groups."""
        return self.covers(base) or _is_below(self.groups_dn, base)


def _is_below(dn: str, base: str) -> bool:
    # A comma inside a name is escaped in a normalised DN: this one begins a part of it.
    return dn == base or dn.endswith(f",{base}")


@dataclass(frozen=True, slots=True)
class Window:
    """Somebody's time in a group they left: from inclusive, until exclusive."""

    left_ms: int
    until_ms: int


def still_in(departments: AbstractSet[str], windows: Mapping[str, Window], now_ms: int) -> frozenset[str]:
    """Return the groups in which somebody counts by a window; `departments` are the department groups they are in now.

    While they are in none, they are in no other than the one they left, and no window counts.
    """
    if not departments:
        return frozenset()
    return frozenset(one for one, window in windows.items() if one not in departments and now_ms < window.until_ms)


@dataclass(frozen=True, slots=True)
class Departments:
    """The department groups somebody was in before a step and is in after it."""

    before: AbstractSet[str]
    after: AbstractSet[str]


def windows_after(
    windows: Mapping[str, Window], moved: Departments, existing: AbstractSet[str], overlap_ms: int, now_ms: int
) -> dict[str, Window]:
    """Return somebody's windows after a step; `existing` are those of the groups concerned that are department groups.

    A window ends with its time, with the group, and when they are in it again. It is as long as the rule says now,
    whatever it said when the window began.
    """
    kept = {one: Window(window.left_ms, window.left_ms + overlap_ms) for one, window in windows.items()}
    left = dict.fromkeys(sorted(moved.before - moved.after), Window(now_ms, now_ms + overlap_ms))
    found = {
        one: window
        for one, window in (kept | left).items()
        if one in existing and one not in moved.after and now_ms < window.until_ms
    }
    if len(found) <= MAX_WINDOWS_OF_ONE:
        return found
    newest = sorted(found, key=lambda one: (-found[one].left_ms, one))
    return {one: found[one] for one in newest[:MAX_WINDOWS_OF_ONE]}
