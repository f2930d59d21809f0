# SPDX-License-Identifier: EUPL-1.2
"""What is done with grants, written down in a stream of the journal of its own; who did it and why is sealed."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy.engine import Connection, Engine

from cardservice.clock import Clock
from cardservice.database import write
from cardservice.errors import Conflict, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

STREAM: Final = "access"
# Whoever decides on grants is sealed under one number of the stream: the journal's open part names nobody.
DESK: Final = 0
MAX_TEXT: Final = 200
RECORD_TIMEOUT_S: Final = 5.0

# Has one line on disk when it returns: open facts, and what is sealed.
# Raises DatabaseUnavailable or Overloaded: the line is not on disk.
KeepLine = Callable[[Mapping[str, Scalar], Mapping[str, Scalar]], None]


def through_recorder(recorder: Recorder, journal: Journal, clock: Clock) -> KeepLine:
    """Return what keeps lines in the running service, from any thread but the loop's."""

    def keep(facts: Mapping[str, Scalar], personal: Mapping[str, Scalar]) -> None:
        entry = Entry(STREAM, clock.now_ms(), facts, DESK, personal)

        def append(connection: Connection) -> None:
            journal.append(connection, entry)

        kept = recorder.submit(append)
        try:
            kept.result(RECORD_TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s") from None

    return keep


def by_itself(engine: Engine, journal: Journal, clock: Clock) -> KeepLine:
    """Return what keeps lines from another program, in chains of its own; they begin with the first line."""
    begun: list[int] = []

    def keep(facts: Mapping[str, Scalar], personal: Mapping[str, Scalar]) -> None:
        now_ms = clock.now_ms()
        if not begun:
            begun.append(journal.begin_epoch(engine, now_ms))
        with write(engine) as connection:
            journal.append(connection, Entry(STREAM, now_ms, facts, DESK, personal))

    return keep


def require_text(**texts: str | None) -> None:
    """Refuse a text that no line of the journal could hold; None is none.

    Raises:
        Conflict: one of `texts` is empty, too long or not printable.
    """
    for name, text in texts.items():
        if text is not None and (not text.strip() or len(text) > MAX_TEXT or not text.isprintable()):
            raise Conflict(f"{name}: allowed are 1 to {MAX_TEXT} printable characters")
