# SPDX-License-Identifier: EUPL-1.2
"""Which point a reader belongs to, as the centre said at its last welcome."""

from collections import Counter
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from cardservice.agents.messages import MAX_MESSAGE_BYTES, Points, PointSetup

ANY_READER = "*"
_POINTS: TypeAdapter[tuple[PointSetup, ...]] = TypeAdapter(Points)


class PointMap:
    """The points of one agent; a reader that two points claim belongs to neither, because a guess could open a door."""

    def __init__(self, setups: Sequence[PointSetup] = ()) -> None:
        self.setups = tuple(setups)
        claims = Counter(setup.reader for setup in setups)
        self.ambiguous = tuple(sorted(reader for reader, count in claims.items() if count > 1))
        self._by_point = {setup.point: setup for setup in setups}
        self._by_reader = {setup.reader: setup for setup in setups}

    @classmethod
    def from_json(cls, text: str | None) -> "PointMap":
        """Return the points `to_json` wrote; no points if there were none or they cannot be read any more."""
        if text is None or len(text) > MAX_MESSAGE_BYTES:
            return cls()
        try:
            return cls(_POINTS.validate_json(text))
        except ValidationError:
            return cls()

    def to_json(self) -> str:
        """Return the points as text, to be remembered for a start without the centre."""
        return _POINTS.dump_json(self.setups).decode()

    def of(self, point: str) -> PointSetup | None:
        """Return the setup of `point`, None if this agent does not serve it."""
        return self._by_point.get(point)

    def for_reader(self, reader: str) -> PointSetup | None:
        """Return the point that `reader` serves: the one that names it, else the one that takes any reader."""
        claimed = reader if reader in self._by_reader else ANY_READER
        return None if claimed in self.ambiguous else self._by_reader.get(claimed)
