# SPDX-License-Identifier: EUPL-1.2
"""Who may pass, asked a million times: the service's answer is the one that the plain facts give.

`tests/service/oracle.py` says what is right, `tests/service/interrogation.py` what is asked. The city of a seed depends
on that seed alone: FAULTS_SEED=N begins with the city of N, whatever was asked before it.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from faults.conftest import Scale
from faults.decisions_campaign import ask_in_processes, migrated
from support.postgres import PostgresServer

STATES = 5


@pytest.mark.postgres
def test_decisions_are_what_the_facts_say(
    scale: Scale, seed: int, tmp_path: Path, postgres_server: PostgresServer, report: Callable[..., None]
) -> None:
    """500 pairs of a city and a moment, or 1,050,000; four taps each, and no answer but the right one."""
    cities, moments = scale.of(5, 1_400), scale.of(20, 150)
    templates = migrated(tmp_path, postgres_server)
    found = ask_in_processes(templates, range(seed, seed + cities), STATES, moments)
    permits = found.reasons["granted"]
    numbers = {"pairs": found.pairs, "cities": found.cities, "taps": found.taps, "wrong": len(found.wrong)}
    reasons = {reason: number for reason, number in sorted(found.reasons.items()) if reason != "granted"}
    report("decisions against the plain facts", **numbers, permits=permits, **reasons)
    assert found.wrong == [], f"{len(found.wrong)} wrong answers\n" + "\n".join(found.wrong[:10])
    assert found.pairs == cities * STATES * moments
    # A run that hardly anybody passes proves little.
    assert permits > found.taps // 50
