# SPDX-License-Identifier: EUPL-1.2
"""Medians and tails of what was measured."""

import math
import os
from collections.abc import Sequence

from cardservice.bench.report import Figure


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that at least `share` (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(case: str, values: Sequence[float], unit: str) -> dict[str, Figure]:
    """Return one row: median, 99 of 100, and the largest."""
    return {
        "case": case,
        f"p50_{unit}": round(percentile(values, 0.5), 3),
        f"p99_{unit}": round(percentile(values, 0.99), 3),
        f"max_{unit}": round(max(values), 3),
        "samples": len(values),
    }


def load_row() -> dict[str, Figure]:
    """Return how busy the machine is: what is measured beside others is worth less."""
    return {"case": "machine before the first measurement", "load_1_min": round(os.getloadavg()[0], 2)}
