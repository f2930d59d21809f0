# SPDX-License-Identifier: EUPL-1.2
"""What the agents have kept for the service: while the network is cut, they alone know what happened."""

from collections.abc import Sequence
from pathlib import Path

from cardservice.agents.messages import TapEvent
from readers.errors import OutboxFault
from readers.outbox import read_waiting


class KeptEvents:
    """The outbox of one agent, seen from outside; one that cannot be read looks empty."""

    def __init__(self, state: Path, agent: str) -> None:
        self._file = state / f"{agent}.outbox"

    def waiting(self) -> int:
        """Return how many events wait for the service."""
        return len(self._events())

    def newest(self, point: str) -> TapEvent | None:
        """Return the newest event of a point that waits for the service."""
        return next((event for event in reversed(self._events()) if event.point == point), None)

    def _events(self) -> Sequence[TapEvent]:
        try:
            return read_waiting(self._file)
        except OutboxFault:
            return ()
