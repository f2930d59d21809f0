# SPDX-License-Identifier: EUPL-1.2
"""Lines about access in the journal: what is asked about it, and what is done with grants and the model."""

from typing import Final

from sqlalchemy.engine import Connection, Engine

from cardservice.database import write
from cardservice.errors import Overloaded
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

# Access belongs to no use: its lines have a stream of their own.
STREAM: Final = "access"
RECORD_TIMEOUT_S: Final = 5.0


def keep_through(recorder: Recorder, journal: Journal, *entries: Entry) -> None:
    """Have lines on disk, all in one transaction, in the running service. Blocks, so not from the loop's thread.

    Raises:
        DatabaseUnavailable: they are not on disk.
        Overloaded: the journal is too busy; the lines are taken back.
    """

    def append(connection: Connection) -> None:
        for entry in entries:
            journal.append(connection, entry)

    kept = recorder.submit(append)
    try:
        kept.result(RECORD_TIMEOUT_S)
    except TimeoutError:
        kept.cancel()
        raise Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s") from None


class OwnChains:
    """Keeps lines from another program than the service, in chains of its own; they begin with the first line."""

    def __init__(self, engine: Engine, journal: Journal) -> None:
        self._engine, self._journal = engine, journal
        self._begun = False

    def keep(self, entry: Entry) -> None:
        """Have a line on disk.

        Raises:
            DatabaseUnavailable: it is not.
        """
        if not self._begun:
            self._journal.begin_epoch(self._engine, entry.at_ms)
            self._begun = True
        with write(self._engine) as connection:
            self._journal.append(connection, entry)
