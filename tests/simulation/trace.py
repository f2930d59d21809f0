# SPDX-License-Identifier: EUPL-1.2
"""Everything that happens in a world, in order: its hash tells whether two runs were the same."""

import hashlib
from collections import deque
from collections.abc import Callable
from pathlib import Path

KEPT = 60


class Violation(Exception):
    """A promise was broken; says which, when, and how to see it again."""


class Trace:
    """Takes lines with their virtual time. The last ones are kept for the report of a failure, all of them if asked."""

    def __init__(self, seed: int, days: float, now_us: Callable[[], int], *, keep_all: bool = False) -> None:
        self._seed = seed
        self._days = days
        self._now_us = now_us
        self._digest = hashlib.sha256()
        self._lines: deque[str] = deque(maxlen=None if keep_all else KEPT)
        self.events = 0
        self.violation: Violation | None = None

    def note(self, who: str, what: str) -> None:
        """Note that `what` happened at `who`, now."""
        line = f"{self._now_us()} {who} {what}\n"
        self._digest.update(line.encode())
        self._lines.append(line)
        self.events += 1

    def violated(self, promise: str) -> None:
        """Note that a promise was broken; the world ends with the first one, whatever the code above makes of it."""
        self.note("VIOLATED", promise)
        if self.violation is not None:
            return
        day, second = divmod(self._now_us() / 1_000_000, 86_400)
        self.violation = Violation(
            f"{promise}\n  seed {self._seed}, day {int(day)}, second {second:.6f}; again with: "
            f"python -m simulation --seed {self._seed} --days {self._days:g} --trace FILE\n"
            + "".join(f"    {line[:300].rstrip()}\n" for line in self._lines)
        )

    @property
    def hash(self) -> str:
        """The hash of everything so far."""
        return self._digest.hexdigest()

    def write(self, file: Path) -> None:
        """Write the lines that were kept."""
        file.write_text("".join(self._lines))
