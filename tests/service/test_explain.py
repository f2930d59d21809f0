# SPDX-License-Identifier: EUPL-1.2
"""Explanations read from both databases come to what `decide` answers, and name what led there."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from service.facts import DAY_MS, HOUR_MS
from service.fake_clock import FakeClock
from service.random_city import RandomCity

from cardservice.access.city import PointCompiler, compiled_period
from cardservice.access.explain.facts import Asked
from cardservice.access.explain.rules import explain, reason_of
from cardservice.access.explain.store import credentials_of, point_facts
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards.rules import CardState
from cardservice.database import Databases, open_databases, read

MOMENTS = 60
CITIES = 10
# Of a card's states those of one card a city; what else a tap may be answered is known before `decide` or after it.
ANSWERS = (
    *(Reason.GRANTED, Reason.POINT_UNKNOWN, Reason.CARD_UNKNOWN, Reason.CARD_UNSUPPORTED, Reason.NO_HOLDER),
    *(Reason.CARD_EXPIRED, Reason.CARD_NOT_YET_VALID, Reason.PERSON_EXPIRED, Reason.PERSON_NOT_YET_VALID),
    *(Reason.PERSON_LEFT, Reason.PERSON_DISABLED, Reason.DIRECTORY_STALE, Reason.LOCKED_DOWN, Reason.CLOCK_DOUBTFUL),
    *(Reason.BLOCKED, Reason.NO_GRANT, Reason.OUTSIDE_SCHEDULE, Reason.LEVEL_TOO_LOW),
    *(Reason.SECOND_PERSON_NEEDED, Reason.SAME_PERSON_TWICE),
)
LEVELS = (None, 1, 3, 3, 4, 4, 4, 4)


def questions(world: RandomCity, clock: FakeClock) -> Iterator[Asked]:
    rng, facts = world.random, world.facts
    people = [0, 0, *range(1, len(facts.people) + 1)]
    for _ in range(MOMENTS):
        # Also before and after what is compiled.
        at_ms = clock.now_ms() + rng.randrange(-3 * DAY_MS, rng.choice((8, 8, 420)) * DAY_MS)
        for point in [*facts.points, *(["nowhere"] if rng.random() < 0.1 else [])]:
            age_ms = rng.choice((0, 0, 0, 60_001, HOUR_MS + 1, 2**62))
            yield Asked(point, at_ms, age_ms, rng.choice(LEVELS), rng.choice(people))


def compare(databases: Databases, clock: FakeClock, seed: int) -> Counter[Reason]:
    """Ask a random city everything twice; return what was answered."""
    world = RandomCity(databases.state, clock, seed)
    world.populate()
    for _ in range(12):
        world.change_something()
    city = City(databases.state, clock)
    city.build()
    with read(databases.state) as connection:
        compiler, compiled = PointCompiler(connection, clock.now_ms()), compiled_period(clock.now_ms())
        points = {code: point_facts(connection, compiler, compiled, code) for code in [*world.facts.points, "nowhere"]}
        found = credentials_of(connection, sa.true(), 1_000)
        for code in world.facts.points:
            assert compiler.point(connection, code) == city.snapshot.point(code)
    assert len(found) == len(world.facts.cards)
    cards = [(key, card) for key, card in found if card.state == CardState.ACTIVE] + found[-1:]
    seen: Counter[Reason] = Counter()
    for asked in questions(world, clock):
        for key, card in [*cards, (b"nobody's", None)]:
            reason = reason_of(explain(points[asked.point], card, asked))
            tap = Tap(asked.point, key, asked.level or Level.NONE, asked.first)
            decided = decide(city.snapshot, tap, asked.at_ms, asked.age_ms).reason
            # Before it is asked whether a card may pass, a point must know what to ask it at all.
            unfit = card is not None and asked.level is None and decided is not Reason.POINT_UNKNOWN
            assert reason is (Reason.CARD_UNSUPPORTED if unfit else decided), (seed, asked, key)
            seen[reason] += 1
    return seen


def test_an_explanation_comes_to_what_decide_answers(databases: Databases, clock: FakeClock) -> None:
    """Thousands of questions to a random city, on both databases."""
    seed = 1_000 if databases.state.dialect.name == "postgresql" else 0
    assert sum(compare(databases, clock, seed).values()) > 2_000


def test_every_answer_of_decide_is_explained(migrated_files: Path, tmp_path: Path) -> None:
    """Many cities more, until every reason that a tap can be answered with has been explained, permits many times."""
    seen: Counter[Reason] = Counter()
    for seed in range(1, CITIES):
        shutil.copytree(migrated_files, tmp_path / str(seed))
        databases = open_databases(f"sqlite:///{tmp_path / str(seed)}")
        seen += compare(databases, FakeClock(), seed)
        databases.close()
    assert set(ANSWERS) - set(seen) == set()
    assert seen[Reason.GRANTED] > 100, seen
