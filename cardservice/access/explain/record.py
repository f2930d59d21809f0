# SPDX-License-Identifier: EUPL-1.2
"""Whoever has somebody's access explained leaves a line: who asked is sealed for the person asked about."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy.engine import Connection

from cardservice.clock import Clock
from cardservice.errors import Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

# What administrators ask about access belongs to no use; what is done with grants is in this stream, too.
STREAM: Final = "access"
RECORD_TIMEOUT_S: Final = 5.0
# Whom a card without holder is about.
NOBODY: Final = 0


class Lookups:
    """Writes down who was asked about and by whom."""

    def __init__(self, recorder: Recorder, journal: Journal, clock: Clock) -> None:
        self._recorder, self._journal, self._clock = recorder, journal, clock

    def keep(self, caller: str, facts: Mapping[str, Scalar], person: int | None = None) -> None:
        """Have one line on disk; `person` is the row number of whoever was asked about. Blocks.

        Raises:
            DatabaseUnavailable: the line is not on disk.
            Overloaded: the journal is too busy.
        """
        subject = NOBODY if person is None else person
        entry = Entry(STREAM, self._clock.now_ms(), facts, subject, {"caller": caller})

        def append(connection: Connection) -> None:
            self._journal.append(connection, entry)

        kept = self._recorder.submit(append)
        try:
            kept.result(RECORD_TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s") from None
