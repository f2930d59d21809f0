# SPDX-License-Identifier: EUPL-1.2
"""Points as the snapshot keeps them, for tests that need one and do not decide by it."""

from dataclasses import replace
from typing import Any

from cardservice.access.rules import Decision, Level, PointRecord, Reason, Use


def a_point(code: str, use: Use, **changes: Any) -> PointRecord:
    """Return a point at which nobody is entitled yet and a card proves enough; `changes`: any other field."""
    point = PointRecord(
        code=code,
        use=use,
        always=frozenset(),
        timed=(),
        blocks=(),
        level=Level.CARD,
        timed_levels=(),
        freshness_ms=60_000,
        stale_permits=False,
        granted=Decision(permit=True, reason=Reason.GRANTED),
    )
    return replace(point, **changes)
