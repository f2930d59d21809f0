# SPDX-License-Identifier: EUPL-1.2
"""Who signed in, and who tried: in a stream of its own, the name sealed for the person it belongs to."""

from typing import Final

import structlog

from cardservice.clock import Clock
from cardservice.journal.service import Entry, Journal
from cardservice.metrics import Metrics
from cardservice.recorder import Recorder
from cardservice.web.login import Happening

STREAM: Final = "sign_in"
# What happens too often to be kept, or is nobody's: it is counted.
_COUNTED_ALONE: Final = frozenset({"limited", "unavailable"})
_log = structlog.get_logger()


class SignIns:
    """Keeps what happened at the sign-in page (`web.login.Keep`); used from the event loop."""

    def __init__(self, recorder: Recorder, journal: Journal, clock: Clock, metrics: Metrics) -> None:
        self._recorder = recorder
        self._journal = journal
        self._clock = clock
        self._metrics = metrics

    async def __call__(self, happening: Happening) -> None:
        """Return once it is on disk; a name that nobody has is not kept at all.

        Raises:
            DatabaseUnavailable: it cannot be written.
            Overloaded: too much waits to be written.
        """
        outcome, how = happening.outcome, happening.how
        self._metrics.sign_ins.labels(outcome).inc()
        _log.info("sign_in.happened", outcome=outcome, how=how)
        if outcome in _COUNTED_ALONE:
            return
        personal = None if happening.person is None else {"login": happening.login}
        facts = {"kind": "sign_in", "outcome": outcome, "how": how}
        entry = Entry(STREAM, self._clock.now_ms(), facts, happening.person, personal)
        await self._recorder.submit_here(lambda connection: self._journal.append(connection, entry))
