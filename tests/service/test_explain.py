# SPDX-License-Identifier: EUPL-1.2
"""Explanations read from both databases come to what `decide` answers, and name what led there."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from service.directory import group, open_copy, row_numbers, someone, tell
from service.facts import DAY_MS, HOUR_MS
from service.fake_clock import FakeClock
from service.random_city import RandomCity

from cardservice.access.city import PointCompiler
from cardservice.access.explain.facts import Asked
from cardservice.access.explain.rules import explain, reason_of
from cardservice.access.explain.service import Explainer, Inquiry
from cardservice.access.explain.store import credentials_of, point_facts
from cardservice.access.rules import HouseRules, Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, ZoneSetup, apply
from cardservice.cards.rules import CardState, desfire_credential
from cardservice.cards.service import NewCard, register
from cardservice.database import Databases, open_databases, read, write
from cardservice.people.overview import stored_age_ms
from cardservice.people.store import store_copy

MOMENTS = 60
CITIES = 14
# Of a card's states those of one card a city; what else a tap may be answered is known before `decide` or after it.
ANSWERS = (
    *(Reason.GRANTED, Reason.POINT_UNKNOWN, Reason.CARD_UNKNOWN, Reason.CARD_UNSUPPORTED, Reason.NO_HOLDER),
    *(Reason.CARD_EXPIRED, Reason.CARD_NOT_YET_VALID, Reason.PERSON_EXPIRED, Reason.PERSON_NOT_YET_VALID),
    *(Reason.PERSON_LEFT, Reason.PERSON_DISABLED, Reason.DIRECTORY_STALE, Reason.LOCKED_DOWN, Reason.CLOCK_DOUBTFUL),
    *(Reason.CARD_SUSPENDED, Reason.PERSON_LOCKED_OUT, Reason.NO_SPONSOR),
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
        compiler = PointCompiler(connection, clock.now_ms(), HouseRules())
        points = {code: point_facts(connection, compiler, code) for code in [*world.facts.points, "nowhere"]}
        found = credentials_of(connection, sa.true(), at_ms=clock.now_ms(), limit=1_000)
        for code in world.facts.points:
            assert compiler.point(connection, code) == city.snapshot.point(code)
    assert len(found) == len(world.facts.cards)
    in_use = [one for one in found if one[1].state == CardState.ACTIVE or one[1].suspended_until_ms is not None]
    cards = in_use + found[-1:]
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


def test_the_age_that_counts_is_that_of_the_holder_s_own_directory(databases: Databases, clock: FakeClock) -> None:
    """As at a tap: people of a directory that can be followed are not refused for another that cannot."""
    for name in ("city", "works"):
        tell(open_copy(databases.state, clock, name=name), someone(name), group(f"of {name}", name))
    numbers = row_numbers(databases.state)
    doors = PointClassSetup("plain", "Plain", freshness_ms=60_000)
    zones, points = [ZoneSetup("hall", "Hall")], [PointSetup("door", "Door", "hall", "plain")]
    rules = [RuleSetup(login=login, point="door") for login in numbers]
    apply(databases.state, 1, AccessSetup(zones=zones, point_classes=[doors], points=points, rules=rules))
    register(
        databases.state, [NewCard(1, row, (desfire_credential("door", bytes([row]) * 12),)) for row in numbers.values()]
    )
    with write(databases.state) as connection:
        store_copy(connection, "city", verified_at_ms=clock.now_ms() - 1_000)
        store_copy(connection, "works", verified_at_ms=clock.now_ms() - 100_000)

    def age_ms_of(person: int) -> int:
        age_ms = stored_age_ms(databases.state, ("city", "works"), person, clock.now_ms())
        assert age_ms is not None
        return age_ms

    explainer = Explainer(databases.state, clock, age_ms_of, HouseRules())
    explained = {login: explainer.explain(Inquiry("door", login=login)) for login in numbers}
    assert {login: (one.age_ms, one.answers[0].reason) for login, one in explained.items()} == {
        "city": (1_000, Reason.GRANTED),
        "works": (100_000, Reason.DIRECTORY_STALE),
    }
    # Of nobody's the oldest.
    assert age_ms_of(0) == 100_000
    assert stored_age_ms(databases.state, ("city", "never"), 0, clock.now_ms()) is None


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
