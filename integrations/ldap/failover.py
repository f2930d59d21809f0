# SPDX-License-Identifier: EUPL-1.2
"""Which server is tried next, and how long to wait before that."""

import random
from collections.abc import Sequence

from integrations.ldap.settings import Server, Timing

_HEALTHY_AFTER_S = 5.0
_MOST_DOUBLINGS = 10
# Jitter keeps many services from knocking at the same moment; it protects no secret.
_jitter = random.SystemRandom()


class ServerOrder:
    """Goes round the servers in their order; waits only when a whole round has failed, longer each time.

    A server that was just lost comes last in the round: it may be hanging, and then costs seconds.
    """

    def __init__(self, servers: Sequence[Server], timing: Timing) -> None:
        self._servers = tuple(servers)
        self._timing = timing
        self._index = 0
        self._failures = 0

    @property
    def current(self) -> Server:
        """Return the server to try now."""
        return self._servers[self._index]

    def failed(self, *, worked_s: float, refused: bool) -> float:
        """Note that the current server failed after serving for `worked_s`; return the seconds to wait first.

        `refused` means that trying again soon helps nothing and could lock the account.
        """
        if worked_s >= _HEALTHY_AFTER_S:
            self._failures = 0
        self._failures += 1
        self._index = (self._index + 1) % len(self._servers)
        round_number, place = divmod(self._failures, len(self._servers))
        if place != 0:
            return 0.0
        if refused:
            return self._timing.refused_wait_s
        most_s = self._timing.backoff_least_s * (1 << min(round_number - 1, _MOST_DOUBLINGS))
        return min(self._timing.backoff_most_s, most_s) * _jitter.uniform(0.5, 1.0)
