# SPDX-License-Identifier: EUPL-1.2
"""The compiled snapshot answers as the plain facts do: random cities, random moments, both databases."""

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from service.fake_clock import FakeClock
from service.interrogation import Answer, Interrogation, interrogate
from service.oracle import Oracle
from service.wrong_oracles import WRONG_ORACLES

from cardservice.database import Databases, open_databases

CITIES = 10
STATES = 3
MOMENTS = 170
# After 11 to 17 cities every wrong oracle has shown; as many are asked as it takes, but no more than these.
MOST_CITIES = 40
# Every reason that the decision itself has; the others are found by conversations with cards and by the agents.
REASONS = {
    *("granted", "point_unknown", "card_unknown", "card_not_issued", "card_suspended", "card_revoked", "card_expired"),
    *("no_holder", "person_left", "person_disabled", "card_not_yet_valid", "person_not_yet_valid", "person_expired"),
    *("directory_stale", "locked_down", "clock_doubtful", "blocked", "no_grant", "outside_schedule", "level_too_low"),
    *("second_person_needed", "same_person_twice"),
}


@pytest.mark.parametrize("seed", range(CITIES))
def test_the_snapshot_answers_as_the_facts_do(databases: Databases, seed: int) -> None:
    """10,200 pairs of city and moment over both databases, other ones on each; four taps a pair."""
    seed += 1_000 if databases.state.dialect.name == "postgresql" else 0
    record = interrogate(databases.state, seed, STATES, MOMENTS)
    assert record.wrong == []
    assert record.pairs == STATES * MOMENTS


def test_the_random_cities_are_worth_asking(migrated_files: Path, tmp_path: Path) -> None:
    """Every answer occurs, and whoever gets one rule wrong is found out; else nothing is proved."""
    seen: Counter[str] = Counter()
    believed = list(WRONG_ORACLES)
    refused = 0
    for seed in range(4_000, 4_000 + MOST_CITIES):
        folder = tmp_path / str(seed)
        shutil.copytree(migrated_files, folder)
        opened = open_databases(f"sqlite:///{folder}")
        interrogation = Interrogation(opened.state, FakeClock(), seed)
        for oracle in interrogation.states(STATES):
            answers = list(interrogation.ask(oracle, MOMENTS))
            seen.update(answer.reason for answer in answers)
            believed = [kind for kind in believed if _agrees(kind(oracle.facts, oracle.worked_out_ms), answers)]
        refused += interrogation.world.refused
        opened.close()
        if not believed and set(seen) == REASONS:
            break
    assert [kind.__name__ for kind in believed] == []
    assert set(seen) == REASONS
    assert seen["granted"] > 500
    assert refused > 5


def _agrees(oracle: Oracle, answers: Iterable[Answer]) -> bool:
    return all(reason in oracle.answers(question) for question, reason in answers)
