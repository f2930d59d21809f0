# SPDX-License-Identifier: EUPL-1.2
"""Whoever looks somebody up leaves a line: who asked is sealed for the person asked about."""

from collections.abc import Sequence
from typing import Final

from cardservice.access.record import STREAM, keep_through
from cardservice.clock import Clock
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder
from cardservice.web.looks import Look

# Whom a card without holder is about, and a list of many.
NOBODY: Final = 0
AT_ONCE: Final = 50


class Lookups:
    """Writes down who was asked about and by whom."""

    def __init__(self, recorder: Recorder, journal: Journal, clock: Clock) -> None:
        self._recorder, self._journal, self._clock = recorder, journal, clock

    def look(self, look: Look) -> None:
        """Have the line of one look on disk (`web.looks.KeepLook`); who looks at themselves leaves none. Blocks.

        Raises:
            DatabaseUnavailable: the line is not on disk.
            Overloaded: the journal is too busy.
        """
        self.look_all((look,))

    def look_all(self, looks: Sequence[Look]) -> None:
        """Have the lines of several looks on disk, some in each transaction: taps wait for the same writer.

        Raises:
            DatabaseUnavailable, Overloaded: not all of them are.
        """
        at_ms = self._clock.now_ms()
        entries = [line_of(one, at_ms) for one in looks if not one.at_oneself]
        for start in range(0, len(entries), AT_ONCE):
            keep_through(self._recorder, self._journal, *entries[start : start + AT_ONCE])


def line_of(look: Look, at_ms: int) -> Entry:
    """Return the line of one look: what kind of somebody looked is open, who it was is sealed."""
    actor = look.actor
    facts: dict[str, Scalar] = {"kind": look.kind, **look.facts}
    facts |= {"by": "system", "account": actor.name} if actor.person is None else {"by": "person"}
    subject = NOBODY if look.person is None else look.person
    return Entry(STREAM, at_ms, facts, subject, {"caller": actor.name})
