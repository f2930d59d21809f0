# SPDX-License-Identifier: EUPL-1.2
"""Which server is tried next, and how long to wait before that."""

import random
from collections.abc import Sequence

from integrations.ldap.settings import Server, Timing

_HEALTHY_AFTER_S = 5.0
_SERVED_S = 0.5
_MOST_DOUBLINGS = 10
# Jitter keeps many services from knocking at the same moment; it protects no secret.
_jitter = random.SystemRandom()


class ServerOrder:
    """Goes round the servers in their order; waits only when a whole round has failed, longer each time.

    A server that was just lost comes last in the round: it may be hanging, and then costs seconds. The next one is
    tried at once if the lost one has served for half a second. One that refused us rests while the others are tried:
    knocking on soon helps nothing and could lock the account.
    """

    def __init__(self, servers: Sequence[Server], timing: Timing) -> None:
        self._servers = tuple(servers)
        self._timing = timing
        self._index = 0
        self._failures = 0
        self._failures_in_round = 0
        self._rests_until_s = [0.0] * len(self._servers)

    @property
    def current(self) -> Server:
        """Return the server to try now."""
        return self._servers[self._index]

    def failed(self, *, worked_s: float, refused: bool, now_s: float) -> float:
        """Note that the current server failed after serving for `worked_s`; return the seconds to wait first.

        `refused` means that it answered and does not want us: certificate, password, rights.
        """
        if worked_s >= _HEALTHY_AFTER_S:
            self._failures = 0
        if worked_s >= _SERVED_S:
            self._failures_in_round = 0
        self._failures += 1
        self._failures_in_round += 1
        failed = self._index
        if refused:
            self._rests_until_s[failed] = now_s + self._timing.refused_wait_s
        count = len(self._servers)
        order = [(failed + step) % count for step in range(1, count + 1)]
        awake = [index for index in order if self._rests_until_s[index] <= now_s]
        if not awake:
            self._index = min(order, key=lambda index: self._rests_until_s[index])
            return self._rests_until_s[self._index] - now_s
        self._index = awake[0]
        if self._failures_in_round % count != 0 and self._index != failed:
            return 0.0
        doublings = min(max(self._failures // count - 1, 0), _MOST_DOUBLINGS)
        most_s = self._timing.backoff_least_s * (1 << doublings)
        return min(self._timing.backoff_most_s, most_s) * _jitter.uniform(0.5, 1.0)
