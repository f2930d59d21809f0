# SPDX-License-Identifier: EUPL-1.2
"""The two clocks of the agent: monotonic for every duration, wall clock only to write down when something was."""

import time
from typing import Protocol


class Clock(Protocol):
    """Time as an argument."""

    def monotonic_us(self) -> int:
        """Return microseconds that never go backwards; only differences mean anything."""
        ...

    def wall_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_us(self) -> int:
        """Return microseconds that never go backwards; only differences mean anything."""
        return time.monotonic_ns() // 1_000

    def wall_ms(self) -> int:
        """Return milliseconds since 1970-01-01T00:00:00Z."""
        return time.time_ns() // 1_000_000
