# SPDX-License-Identifier: EUPL-1.2
"""A clock that moves when a test says so."""

from dataclasses import dataclass

# 2026-03-16T09:00:00Z, a Monday.
MONDAY_MS = 1_773_651_600_000


@dataclass(slots=True)
class FakeClock:
    """Wall clock and monotonic clock, independent of each other."""

    wall_ms: int = MONDAY_MS
    steady_ns: int = 5_000_000_000

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_ns(self) -> int:
        return self.steady_ns

    def pass_ms(self, elapsed_ms: int) -> None:
        """Let time pass on both clocks."""
        self.wall_ms += elapsed_ms
        self.steady_ns += elapsed_ms * 1_000_000
