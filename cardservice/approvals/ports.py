# SPDX-License-Identifier: EUPL-1.2
"""What approvals need of others: somebody who writes each step down."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """What is about to happen to a request: `step` is "asked", "approved", "rejected" or "withdrawn"."""

    step: str
    number: int
    kind: str
    person: int
    login: str
    reason: str | None


# Has the step on disk when it returns. Raises DatabaseUnavailable or Overloaded: then nothing happens. Blocks.
KeepStep = Callable[[Step], None]
