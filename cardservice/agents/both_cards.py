# SPDX-License-Identifier: EUPL-1.2
"""Both cards of one holder at one reader: the temporary one first, the forgotten one soon after.

In memory only, one card for each point: after a restart both are presented again.
"""

from typing import Final, NamedTuple, Protocol

from cardservice.access.rules import Level
from cardservice.clock import Clock

# From the first card's tap to the second's.
WITHIN_NS: Final = 60 * 1_000_000_000


class HandBack(Protocol):
    """Temporary cards and those they stand in for, by their row numbers; both block."""

    def belong_together(self, temporary: int, main: int) -> bool:
        """Tell whether one stands in for the other, which counts again once it is handed back."""
        ...

    def hand_back(self, temporary: int, main: int) -> bool:
        """End the temporary card and let the other one count again; False: they do not belong together any more."""
        ...


class _Shown(NamedTuple):
    card: int
    holder: int
    until_ns: int


class CardsShown:
    """Which card proved itself last at each point. Used from the event loop only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, _Shown] = {}

    def before(self, point: str, holder: int, card: int) -> int:
        """Return the other card that the same holder has just shown here, 0 for none."""
        last = self._last.get(point)
        if last is None or last.holder != holder or last.card == card or self._clock.monotonic_ns() >= last.until_ns:
            return 0
        return last.card

    def note(self, point: str, holder: int, card: int, level: Level) -> None:
        """Take a tap: a card that proved itself is remembered, whatever was decided; anything else ends a wait."""
        if holder and card and level >= Level.CARD:
            self._last[point] = _Shown(card, holder, self._clock.monotonic_ns() + WITHIN_NS)
        else:
            self._last.pop(point, None)
