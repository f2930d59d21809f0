# SPDX-License-Identifier: EUPL-1.2
"""How long a server has been silent, measured only while somebody listens."""


class Silence:
    """Counts from the first empty look after the last message, so that our own pauses never accuse the server."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def heard(self) -> None:
        """Something arrived, or nothing is expected."""
        self._since_s = None

    def lasts_s(self, now_s: float, waiting_since_s: float) -> float:
        """Return how long nothing has come although an answer has been due since `waiting_since_s`; call when empty."""
        if self._since_s is None:
            self._since_s = now_s
        return now_s - max(self._since_s, waiting_since_s)
