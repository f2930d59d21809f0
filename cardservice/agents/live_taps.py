# SPDX-License-Identifier: EUPL-1.2
"""The newest taps, for people who watch: where, when and what came of it, and nothing that the record does not keep.

A point whose class keeps refusals alone shows refusals alone, one that counts shows nothing, and what could not be
written down is not shown either. Nobody's name, card or login ever gets here.
"""

import asyncio
import secrets
from collections import deque
from typing import Final, NamedTuple

from cardservice.access.rules import Decision, Level, PointRecord, Reason, Use

# So many of all points: of those somebody may see enough are left.
KEPT: Final = 500


class TapSeen(NamedTuple):
    """One tap; `number` counts them since the service started."""

    number: int
    at_ms: int
    point: str
    name: str
    use: Use
    permit: bool
    reason: Reason
    level: Level


def kept_of(point: PointRecord, decision: Decision) -> bool:
    """Tell whether the record keeps a line of a tap that was decided so at this point."""
    return point.journal == "full" or (point.journal == "refusals" and not decision.permit)


class LiveTaps:
    """The newest taps in order. Used from the event loop only.

    `life` is another one after each start: numbers of an earlier life mean nothing any more.
    """

    def __init__(self) -> None:
        self.life = secrets.token_hex(4)
        self._taps: deque[TapSeen] = deque(maxlen=KEPT)
        self._newest = 0
        self._watched = False
        self._news = asyncio.Event()

    @property
    def newest(self) -> int:
        """The number of the newest tap, 0 for none yet."""
        return self._newest

    def told(self, point: PointRecord, decision: Decision, level: Level, at_ms: int) -> None:
        """Take a tap whose line is on disk; what the record does not keep is left out here too."""
        if not kept_of(point, decision):
            return
        self._newest += 1
        self._taps.append(
            TapSeen(self._newest, at_ms, point.code, point.name, point.use, decision.permit, decision.reason, level)
        )
        if self._watched:
            self._watched = False
            self._news.set()
            self._news = asyncio.Event()

    def after(self, number: int) -> list[TapSeen]:
        """Return the taps after this number that are still here, oldest first."""
        missing = self._newest - number
        if missing <= 0:
            return []
        taps = self._taps
        return list(taps)[-missing:] if missing < len(taps) else list(taps)

    async def news(self) -> None:
        """Wait for the next tap."""
        self._watched = True
        await self._news.wait()
