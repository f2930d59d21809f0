# SPDX-License-Identifier: EUPL-1.2
"""What one agent may ask of the centre: how often, and nothing twice."""

from typing import Final

from cardservice.clock import Clock

_REMEMBERED: Final = 1_024


class TokenBucket:
    """Lets `per_s` through on average, `burst` at once."""

    def __init__(self, per_s: int, burst: int, clock: Clock) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_ns = clock.monotonic_ns()

    def take(self) -> bool:
        """Take one token; False when there is none."""
        now_ns = self._clock.monotonic_ns()
        self._tokens = min(self._burst, self._tokens + (now_ns - self._filled_ns) * self._per_s / 1e9)
        self._filled_ns = now_ns
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class RecentSequences:
    """Tells whether a sequence number of one epoch was seen before; numbers may come a little out of order."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._highest = 0

    def is_new(self, sequence: int) -> bool:
        """Remember `sequence`; False if it was seen, or is so far behind that it may have been."""
        if sequence in self._seen or sequence <= self._highest - _REMEMBERED:
            return False
        self._highest = max(self._highest, sequence)
        self._seen.add(sequence)
        if len(self._seen) > 2 * _REMEMBERED:
            self._seen = {one for one in self._seen if one > self._highest - _REMEMBERED}
        return True
