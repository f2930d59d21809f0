# SPDX-License-Identifier: EUPL-1.2
"""Waiting for what another thread or process brings about, where nothing tells us."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")
LIMIT_S = 60.0


def wait_until(what: Callable[[], Found], limit_s: float = LIMIT_S, every_s: float = 0.01) -> Found:
    """Return the first truthy `what()`; fail after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {limit_s} s"
        threading.Event().wait(every_s)
    return found


def let_run(dice: random.Random, longest_s: float) -> None:
    """Leave everything to itself for a while: the moment of what comes next is chance."""
    threading.Event().wait(dice.uniform(0, longest_s))
