# SPDX-License-Identifier: EUPL-1.2
"""How a thread that works for seconds leaves taps their time: one interpreter runs one thread at a time.

Whoever waits for the interpreter gets it from a busy thread only after a millisecond (`server.py`), and a tap waits for
it again and again. A thread that sleeps gives it away at once.
"""

import threading
import time
from typing import Final

# Half of the time for the work, half for taps: they wait for an eighth of a millisecond in the middle.
_STEP_NS: Final = 250_000
_PAUSE_S: Final = 0.000_25
# A single change takes less, and must not wait: somebody may have been disabled. Back within a tenth of a second.
_CREDIT_NS: Final = 5_000_000
_NS_FOR_ONE_NS_CREDIT: Final = 20


class _Account(threading.local):
    """What this thread may still work without a pause, as of when (monotonic), and what it had worked by then."""

    credit_ns = _CREDIT_NS
    at_ns = 0
    worked_ns = 0


_account = _Account()


def give_way() -> None:
    """Sleep for a moment if this thread has worked for long; to be called at every step of work that may be long.

    What counts is processor time: whoever waited meanwhile owes nothing.
    """
    account = _account
    step_ns = time.thread_time_ns() - account.worked_ns
    if step_ns < _STEP_NS:
        return
    now_ns = time.monotonic_ns()
    earned_ns = (now_ns - account.at_ns) // _NS_FOR_ONE_NS_CREDIT
    account.credit_ns = max(0, min(_CREDIT_NS, account.credit_ns + earned_ns) - step_ns)
    account.at_ns = now_ns
    if account.credit_ns == 0:
        time.sleep(_PAUSE_S)
    account.worked_ns = time.thread_time_ns()
