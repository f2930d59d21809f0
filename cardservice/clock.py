# SPDX-License-Identifier: EUPL-1.2
"""The one place where the service asks what time it is; everything else is handed a clock."""

import time
from typing import Final, Protocol

# An age nobody knows: older than every bound.
UNKNOWN_AGE_MS: Final = 2**62


class Clock(Protocol):
    """A wall clock for instants and a monotonic clock for durations."""

    def now_ms(self) -> int:
        """Return the wall clock: milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic_ns(self) -> int:
        """Return a clock that never goes back, in nanoseconds from an unknown start."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        """Return the wall clock: milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000

    def monotonic_ns(self) -> int:
        """Return a clock that never goes back, in nanoseconds from an unknown start."""
        # Not CLOCK_MONOTONIC: that stands still while the machine sleeps, and ages would with it.
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
