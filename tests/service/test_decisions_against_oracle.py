# SPDX-License-Identifier: EUPL-1.2
"""The compiled snapshot answers as the plain facts do: random cities, random moments, both databases."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from service.facts import Facts
from service.fake_clock import FakeClock
from service.interrogation import Answer, Interrogation, interrogate
from service.oracle import Oracle
from service.wrong_oracles import WRONG_ORACLES

from cardservice.database import Databases, open_databases

CITIES = 10
STATES = 3
MOMENTS = 170
# After 20 to 35 cities every wrong oracle has shown; as many are asked as it takes, but no more than these.
MOST_CITIES = 40
# Every reason that the decision itself has; the others are found by conversations with cards and by the agents.
REASONS = {
    *("granted", "point_unknown", "card_unknown", "card_not_issued", "card_suspended", "card_revoked", "card_expired"),
    *("no_holder", "person_left", "person_disabled", "card_not_yet_valid", "person_not_yet_valid", "person_expired"),
    "no_sponsor",
    *(
        "directory_stale",
        "person_locked_out",
        "locked_down",
        "clock_doubtful",
        "blocked",
        "no_grant",
        "outside_schedule",
        "level_too_low",
    ),
    *("second_person_needed", "same_person_twice"),
}
# What suspensions and lock-outs come to, and how often each is met at least.
CASES = {
    *("suspended until an instant", "suspension over", "suspension over, but out of its own time"),
    *("locked out until an instant", "locked out with no known end", "lock-out over", "lock-out stops nothing here"),
}
OFTEN = 100


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
    for seed in range(7_000, 7_000 + MOST_CITIES):
        folder = tmp_path / str(seed)
        shutil.copytree(migrated_files, folder)
        opened = open_databases(f"sqlite:///{folder}")
        interrogation = Interrogation(opened.state, FakeClock(), seed)
        for oracle in interrogation.states(STATES):
            answers = list(interrogation.ask(oracle, MOMENTS))
            assert _agrees(oracle, answers)
            seen.update(answer.reason for answer in answers)
            seen.update(case for answer in answers for case in _cases(oracle.facts, answer))
            believed = [kind for kind in believed if _agrees(kind(oracle.facts, oracle.worked_out_ms), answers)]
        refused += interrogation.world.refused
        opened.close()
        if not believed and set(seen) == REASONS | CASES and min(seen[case] for case in CASES) >= OFTEN:
            break
    assert [kind.__name__ for kind in believed] == []
    assert set(seen) == REASONS | CASES
    assert {case: seen[case] for case in CASES if seen[case] < OFTEN} == {}
    assert seen["granted"] > 500
    assert refused > 5


def _agrees(oracle: Oracle, answers: Iterable[Answer]) -> bool:
    return all(reason in oracle.answers(question) for question, reason in answers)


def _cases(facts: Facts, answer: Answer) -> Iterator[str]:
    """Name the cases of `CASES` that an answer is."""
    question, reason = answer
    card, point = facts.cards.get(question.credential), facts.points.get(question.point)
    if card is None or card.holder is None or point is None:
        return
    if card.suspension_ends_ms is not None and reason == "card_suspended":
        yield "suspended until an instant"
    elif card.suspension_ends_ms is not None and reason == "granted":
        yield "suspension over"
    elif card.suspension_ends_ms is not None and reason in {"card_expired", "card_not_yet_valid"}:
        yield "suspension over, but out of its own time"
    ends_ms = facts.people[card.holder].lock_ends_ms
    if reason == "person_locked_out":
        yield "locked out with no known end" if ends_ms is None else "locked out until an instant"
    elif reason == "granted" and facts.people[card.holder].locked_out:
        yield "lock-out over" if point.use in facts.lock_out_stops else "lock-out stops nothing here"
