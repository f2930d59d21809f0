# SPDX-License-Identifier: EUPL-1.2
"""The doors' stream of the journal: a line on disk, waited for in the loop or in any other thread."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.engine import Connection

from cardservice.clock import Clock
from cardservice.database import read
from cardservice.doors import store
from cardservice.errors import Conflict, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder, Unit

MAX_TEXT: Final = 200
RECORD_TIMEOUT_S: Final = 5.0
# How many lines of a kind are read at the start: alarms for those that still last, answers to the desk for those that
# were not handed on.
REMEMBERED_LINES: Final = 2_000
# Whoever works at the desk is sealed under one number of the stream: the journal's open part names nobody.
DESK: Final = 0


class DoorJournal:
    """Writes down what happens at doors; of a line `personal` is sealed, the facts are not."""

    def __init__(self, recorder: Recorder, journal: Journal, clock: Clock) -> None:
        self._recorder, self._journal, self._clock = recorder, journal, clock

    async def keep_here(self, facts: Mapping[str, Scalar], personal: Mapping[str, Scalar] | None = None) -> None:
        """Have one line on disk, waited for in the loop.

        Raises:
            DatabaseUnavailable: the line is not on disk.
            Overloaded: the journal is too busy.
        """
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                await self._recorder.submit_here(self._unit([facts], personal))
        except TimeoutError:
            raise _journal_busy() from None

    def keep(self, facts: Mapping[str, Scalar], personal: Mapping[str, Scalar] | None = None) -> None:
        """Have one line on disk, waited for in any other thread.

        Raises:
            DatabaseUnavailable: the line is not on disk.
            Overloaded: the journal is too busy.
        """
        kept = self._recorder.submit(self._unit([facts], personal))
        try:
            kept.result(RECORD_TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise _journal_busy() from None

    def submit_here(self, lines: Sequence[Mapping[str, Scalar]]) -> "asyncio.Future[None]":
        """Queue these lines from the loop, all of them or none; the future is resolved once they are on disk.

        Raises:
            Overloaded: the journal is too busy.
        """
        return self._recorder.submit_here(self._unit(lines, None))

    def newest(self, kinds: frozenset[str]) -> list[dict[str, Any]]:
        """Return the newest lines of these kinds in order: however many taps came between.

        Raises:
            DatabaseUnavailable: the record store cannot be read.
        """
        with read(self._recorder.engine) as connection:
            newest = store.lines(connection, after=None, limit=REMEMBERED_LINES, wanted=store.Wanted(kinds=kinds))
        return [line.payload for line in newest]

    def _unit(self, lines: Sequence[Mapping[str, Scalar]], personal: Mapping[str, Scalar] | None) -> Unit[None]:
        journal, at_ms = self._journal, self._clock.now_ms()
        person = None if personal is None else DESK
        entries = [Entry(store.STREAM, at_ms, facts, person, personal) for facts in lines]

        def append(connection: Connection) -> None:
            for entry in entries:
                journal.append(connection, entry)

        return append


def require_text(**texts: str) -> None:
    """Refuse what a caller says of itself and its reasons if no line of the journal could hold it.

    Raises:
        Conflict: one of `texts` is empty, too long or not printable.
    """
    for name, text in texts.items():
        if not len(text.strip()) > 0 or len(text) > MAX_TEXT or not text.isprintable():
            raise Conflict(f"{name}: allowed are 1 to {MAX_TEXT} printable characters")


def _journal_busy() -> Overloaded:
    return Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s")
