# SPDX-License-Identifier: EUPL-1.2
"""Every change that somebody asks for leaves a line in the stream `audit`, before it is made.

The open part says which operation, under which request, and which account, if a system asked. Who a person is, and the
reason, which may name somebody, are sealed. So does every step of a request that needs a second person.
"""

import asyncio
from typing import Final

from sqlalchemy.engine import Connection

from cardservice.approvals.ports import KeepStep, Step
from cardservice.clock import Clock
from cardservice.errors import Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder
from cardservice.web.limits import request_id
from cardservice.web.traces import KeepTrace, Trace

STREAM: Final = "audit"
# Under whose number the reason of a system is sealed: it is about nobody.
SYSTEMS: Final = 0
TIMEOUT_S: Final = 5.0


def keeps_traces(recorder: Recorder, journal: Journal, clock: Clock) -> KeepTrace:
    """Return what keeps traces; used from the event loop."""

    async def keep(trace: Trace) -> None:
        entry = _entry(trace, clock.now_ms())

        def append(connection: Connection) -> None:
            journal.append(connection, entry)

        try:
            async with asyncio.timeout(TIMEOUT_S):
                await recorder.submit_here(append)
        except TimeoutError:
            raise Overloaded(f"the journal did not take the line within {TIMEOUT_S:.0f} s") from None

    return keep


def keeps_steps(recorder: Recorder, journal: Journal, clock: Clock) -> KeepStep:
    """Return what keeps the steps of requests; from any thread but the loop's."""

    def keep(step: Step) -> None:
        facts: dict[str, Scalar] = {"kind": "approval", "step": step.step, "approval": step.number, "what": step.kind}
        facts |= {"request": request_id.get(), "by": "person"}
        entry = Entry(STREAM, clock.now_ms(), facts, step.person, {"login": step.login, "reason": step.reason})

        def append(connection: Connection) -> None:
            journal.append(connection, entry)

        kept = recorder.submit(append)
        try:
            kept.result(TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise Overloaded(f"the journal did not take the line within {TIMEOUT_S:.0f} s") from None

    return keep


def _entry(trace: Trace, at_ms: int) -> Entry:
    by = "person" if trace.account is None else "system"
    facts = {"kind": "asked", "operation": trace.operation, "request": trace.request, "by": by}
    if trace.account is not None:
        facts["account"] = trace.account
    personal = {"login": trace.login, "reason": trace.reason}
    return Entry(STREAM, at_ms, facts, trace.person or SYSTEMS, personal)
