# SPDX-License-Identifier: EUPL-1.2
"""Where two people are needed: who came first, and until when they count.

In memory only: after a restart both present their cards again. At most one person waits at a point.
"""

from typing import NamedTuple

from cardservice.access.rules import Decision, DecisionState, PointRecord, Reason, Tap, decide
from cardservice.clock import Clock


class _First(NamedTuple):
    tap: Tap
    holder: int
    until_ns: int


class Pairs:
    """Used from the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[str, _First] = {}

    def first_at(self, point: PointRecord, state: DecisionState, at_ms: int, age_ms: int) -> int:
        """Return who waits for a second person at a point, 0 for nobody.

        Whoever lost the right since, or waited for too long, does not count any more.
        """
        first = self._waiting.get(point.code)
        if first is None:
            return 0
        still = decide(state, first.tap, at_ms, age_ms).reason is Reason.SECOND_PERSON_NEEDED
        if not still or self._clock.monotonic_ns() >= first.until_ns:
            del self._waiting[point.code]
            return 0
        return first.holder

    def forget(self, point: str, holder: int) -> None:
        """Wait no longer with somebody at a point."""
        first = self._waiting.get(point)
        if first is not None and first.holder == holder:
            del self._waiting[point]

    def note(self, point: PointRecord, tap: Tap, holder: int, decision: Decision) -> None:
        """Take what was decided about a tap: it may be a first person's, or end a wait."""
        if decision.reason is Reason.SECOND_PERSON_NEEDED:
            until_ns = self._clock.monotonic_ns() + point.second_within_ms * 1_000_000
            self._waiting[point.code] = _First(tap, holder, until_ns)
        elif decision.permit:
            self._waiting.pop(point.code, None)
