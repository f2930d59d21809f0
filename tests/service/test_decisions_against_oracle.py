# SPDX-License-Identifier: EUPL-1.2
"""The compiled snapshot answers as the plain facts do: random cities, random moments, both databases."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from service.fake_clock import FakeClock
from service.oracle import Question, answers
from service.random_city import DAY_MS, HOUR_MS, RandomCity

from cardservice.access.rules import Tap, decide
from cardservice.access.service import City
from cardservice.database import Databases, open_databases, upgrade

CITIES = 14
MOMENTS = 75
TAPS_A_MOMENT = 3
# Both changes of summer time, public holidays of some Länder and of all, a leap of the year, an ordinary Sunday.
NOTABLE_DAYS = ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25", "2026-10-26", "2026-05-01", "2026-06-04")
NOTABLE_DAYS += (
    "2026-03-29",
    "2026-03-29",
    "2026-10-25",
    "2026-10-25",
    "2026-10-25",
    "2026-10-25",
    "2026-11-01",
    "2026-12-25",
    "2026-12-31",
    "2027-01-01",
    "2027-01-06",
    "2026-07-12",
    "2027-03-28",
)


def moments(rng: random.Random, clock: FakeClock) -> list[int]:
    found = []
    for _ in range(MOMENTS):
        if rng.random() < 0.75:
            day = int(datetime.fromisoformat(rng.choice(NOTABLE_DAYS)).replace(tzinfo=UTC).timestamp() * 1000)
            # Three in four lie where clocks change; to the minute, or a millisecond beside it.
            offset = rng.randrange(-2 * HOUR_MS, 4 * HOUR_MS) if rng.random() < 0.75 else rng.randrange(DAY_MS)
            found.append((day + offset) // 60_000 * 60_000 + rng.choice((-1, 0, 0, 1)))
        else:
            found.append(clock.now_ms() + rng.randrange(60) * DAY_MS // 8)
    return found


@pytest.mark.parametrize("seed", range(CITIES))
def test_the_snapshot_answers_as_the_facts_do(databases: Databases, clock: FakeClock, seed: int) -> None:
    """2,100 pairs of city and moment over both databases, other ones on each; three taps a pair."""
    seed += 1_000 if databases.state.dialect.name == "postgresql" else 0
    world = RandomCity(databases.state, clock, seed)
    world.populate()
    for _ in range(10):
        world.change_something()
    city = City(databases.state, clock)
    city.build()
    facts, rng = world.facts, world.random
    for at_ms in moments(rng, clock):
        for _ in range(TAPS_A_MOMENT):
            question = Question(
                credential=rng.choice([*facts.cards, b"nobody's"]),
                point=rng.choice(list(facts.points) * 5 + ["nowhere"]),
                level=rng.choice((1, 3, 4, 4, 4)),
                at_ms=at_ms,
                age_ms=rng.choice((0, 0, 0, 60_000, 60_001, HOUR_MS + 1)),
            )
            tap = Tap(question.point, question.credential, question.level)
            decision = decide(city.snapshot, tap, at_ms, question.age_ms)
            assert decision.reason.value in answers(facts, question), (seed, question)


def test_the_random_cities_are_worth_asking(tmp_path_factory: pytest.TempPathFactory, clock: FakeClock) -> None:
    """Among the questions nearly every answer of `decide` occurs, permits among them; else nothing is proved."""
    seen: Counter[str] = Counter()
    for seed in range(10):
        opened = open_databases(f"sqlite:///{tmp_path_factory.mktemp('city')}")
        upgrade(opened)
        world = RandomCity(opened.state, clock, seed)
        world.populate()
        opened.close()
        for at_ms in moments(world.random, clock)[:25]:
            for credential in [*world.facts.cards, b"nobody's"]:
                for point in [*world.facts.points, "nowhere"]:
                    seen.update(answers(world.facts, Question(credential, point, 3, at_ms, 60_001)))
    assert set(seen) >= {"granted", "blocked", "no_grant", "outside_schedule", "level_too_low", "directory_stale"}
    assert set(seen) >= {"point_unknown", "card_unknown", "card_revoked", "no_holder", "person_disabled"}
    assert set(seen) >= {"card_expired", "card_not_yet_valid", "person_expired", "person_not_yet_valid"}
    assert seen["granted"] > 200
