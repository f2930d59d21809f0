# SPDX-License-Identifier: EUPL-1.2
"""Counts log lines instead of writing them: a flood of inputs must not become a flood in the test's own output."""

import sys
from collections import Counter
from typing import Any

import pytest

PREFIXES = ("cardservice.agents", "readers.")


class CountedLog:
    """Stands where a module's `_log` stood."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.longest = 0

    def note(self, event: str, **facts: Any) -> None:
        """Count one line."""
        self.counts[event] += 1
        self.longest = max(self.longest, sum(len(str(fact)) for fact in facts.values()))

    debug = info = warning = error = critical = exception = note

    @property
    def lines(self) -> int:
        """How many lines there were."""
        return self.counts.total()


def counted_logs(monkeypatch: pytest.MonkeyPatch) -> CountedLog:
    """Count what the agent and the centre's side of agents log, until the test ends."""
    counted = CountedLog()
    logging = [module for name, module in sys.modules.items() if name.startswith(PREFIXES) and hasattr(module, "_log")]
    assert logging, "the modules do not log by `_log` any more"
    for module in logging:
        monkeypatch.setattr(module, "_log", counted)
    return counted
