# SPDX-License-Identifier: EUPL-1.2
"""The product's log lines in a world: counted, and one that only a defect writes is a broken promise."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Written when something happened that its author did not think of, or that an honest agent never causes.
DEFECTS = frozenset(
    {
        "agent.event_refused",
        "agent.message_refused",
        "agent.strange_message",
        "agent.upload_failed",
        "background_failed",
        "event_refused",
        "message_refused",
        "points_ambiguous",
        "reader_not_served",
        "reader_without_point",
        "recorder.commit_failed",
        "tap.failed",
        "tap.misconfigured",
        "tap_failed",
        "tap_not_stored",
    }
)


class LogWatcher:
    """Takes the place of a module's logger."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self.lines: Counter[str] = Counter()

    def debug(self, event: str, **values: Any) -> None:
        """Nobody reads these."""

    info = debug

    def warning(self, event: str, **values: Any) -> None:
        """Count the line; a defect's is a broken promise."""
        self.lines[event] += 1
        if event in DEFECTS:
            self._violated(f"the log says {event}: {values}")

    error = exception = warning


@contextmanager
def watched_logs(violated: Callable[[str], None]) -> Iterator[LogWatcher]:
    """Put a watcher in the place of every logger of the product while the context lasts."""
    watcher = LogWatcher(violated)
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.split(".")[0] in {"cardservice", "readers"} and hasattr(module, "_log")
    ]
    before = [module._log for module in modules]
    for module in modules:
        module._log = watcher  # type: ignore[attr-defined]
    try:
        yield watcher
    finally:
        for module, log in zip(modules, before, strict=True):
            module._log = log  # type: ignore[attr-defined]
