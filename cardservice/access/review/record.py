# SPDX-License-Identifier: EUPL-1.2
"""What is done with grants, written down in a stream of the journal of its own; who did it and why is sealed."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.engine import Engine

from cardservice.access.record import STREAM, OwnChains, keep_through
from cardservice.clock import Clock
from cardservice.errors import Conflict
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

# Whoever decides on grants is sealed under one number of the stream: the journal's open part names nobody.
DESK: Final = 0
MAX_TEXT: Final = 200

# Has one line on disk when it returns: open facts, and what is sealed.
# Raises DatabaseUnavailable or Overloaded: the line is not on disk.
KeepLine = Callable[[Mapping[str, Scalar], Mapping[str, Scalar]], None]


def through_recorder(recorder: Recorder, journal: Journal, clock: Clock) -> KeepLine:
    """Return what keeps lines in the running service, from any thread but the loop's."""
    return lambda facts, personal: keep_through(recorder, journal, _entry(clock, facts, personal))


def by_itself(engine: Engine, journal: Journal, clock: Clock) -> KeepLine:
    """Return what keeps lines from another program."""
    chains = OwnChains(engine, journal)
    return lambda facts, personal: chains.keep(_entry(clock, facts, personal))


def _entry(clock: Clock, facts: Mapping[str, Scalar], personal: Mapping[str, Scalar]) -> Entry:
    return Entry(STREAM, clock.now_ms(), facts, DESK, personal)


def require_text(**texts: str | None) -> None:
    """Refuse a text that no line of the journal could hold; None is none.

    Raises:
        Conflict: one of `texts` is empty, too long or not printable.
    """
    for name, text in texts.items():
        if text is not None and (not text.strip() or len(text) > MAX_TEXT or not text.isprintable()):
            raise Conflict(f"{name}: allowed are 1 to {MAX_TEXT} printable characters")
