# SPDX-License-Identifier: EUPL-1.2
"""Worked time said a second time: every minute is asked whether it was worked. Slow, and without the product's rules.

A minute is worked if somebody has come and not gone, has no break, and a booking (or the present) ends the stretch the
minute lies in. It counts for the day of the coming. Nobody works more than 24 hours in one go, and no booking belongs
to a coming more than 26 hours away. Bookings are (kind, instant in ms), in the order they were made; clocks do not go
back here.
"""

from collections.abc import Sequence

MINUTE_MS = 60_000
DAY_MINUTES = 24 * 60
REACH_MS = 26 * 60 * MINUTE_MS

Pair = tuple[str, int]


def worked_minutes(bookings: Sequence[Pair], day_from_ms: int, day_until_ms: int, now_ms: int) -> int:
    total = 0
    for index, (kind, came_ms) in enumerate(bookings):
        if kind == "in" and day_from_ms <= came_ms < day_until_ms:
            own, forgotten = until_gone(came_ms, bookings[index + 1 :], now_ms)
            first = came_ms // MINUTE_MS
            total += sum(
                is_worked(minute, own, None if forgotten else now_ms // MINUTE_MS)
                for minute in range(first, first + DAY_MINUTES)
            )
    return total


def until_gone(came_ms: int, later: Sequence[Pair], now_ms: int) -> tuple[list[Pair], bool]:
    """What belongs to a coming, and whether the going was forgotten."""
    own = []
    for kind, at_ms in later:
        if kind == "in":
            return own, True
        if at_ms - came_ms <= REACH_MS:
            own.append((kind, at_ms // MINUTE_MS))
            if kind == "out":
                return own, False
    return own, now_ms - came_ms > REACH_MS


def is_worked(minute: int, own: Sequence[Pair], now_minute: int | None) -> bool:
    working = True
    for kind, at in own:
        if at <= minute:
            working = kind == "break_end" or (working and kind not in {"break_start", "out"})
    gone = any(kind == "out" and at <= minute for kind, at in own)
    ended_later = any(kind in {"break_start", "out"} and at > minute for kind, at in own)
    still_here = now_minute is not None and not any(kind == "out" for kind, _ in own) and minute < now_minute
    return working and not gone and (ended_later or still_here)


def missing_ends(bookings: Sequence[Pair], now_ms: int) -> int:
    """How many comings nobody ever ended."""
    return sum(
        until_gone(at_ms, bookings[index + 1 :], now_ms)[1]
        for index, (kind, at_ms) in enumerate(bookings)
        if kind == "in"
    )
