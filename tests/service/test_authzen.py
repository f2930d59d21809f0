# SPDX-License-Identifier: EUPL-1.2
"""Evaluations answer from memory what `decide` answers for the best card of a person, in random cities."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell
from service.facts import DAY_MS, HOUR_MS
from service.fake_clock import FakeClock
from service.random_city import RandomCity
from sqlalchemy.engine import Engine

from cardservice.access.explain.service import EARLIEST_MS, LATEST_MS, Explainer, Inquiry
from cardservice.access.own.rules import level_at
from cardservice.access.rules import HouseRules, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, ZoneSetup, apply
from cardservice.authzen.rules import LEVELS, Entity, Evaluation
from cardservice.authzen.sentences import UNKNOWN, Unknown
from cardservice.authzen.service import Detailed, Evaluator, needs_the_store
from cardservice.authzen.subjects import Subjects
from cardservice.cards.rules import desfire_credential, first_bytes
from cardservice.cards.service import NewCard, register
from cardservice.database import Databases

CITIES, ROUNDS, QUESTIONS = 2, 3, 150
AGES = (0, 0, 0, 60_001, HOUR_MS + 1, 2**62)


class CityOfRealNumbers(RandomCity):
    """Its cards have numbers of a use, or are PIV cards; and people may have several."""

    def _new(self, prefix: str) -> str:
        new = super()._new(prefix)
        return self.random.choice("\x01\x01\x01\x02\x03\x04\x10") + new if prefix == "key" else new


def evaluator_of(databases: Databases, clock: FakeClock, age_ms: int = 0) -> tuple[City, Subjects, Evaluator]:
    city, subjects = City(databases.state, clock), Subjects(databases.state)
    city.build()
    return city, subjects, Evaluator(city, subjects, clock, lambda _: age_ms)


def expected(world: RandomCity, city: City, name: str, asked: Evaluation, age_ms: int) -> set[str]:
    """Work out by hand what somebody may be answered: by every card of theirs, a permit first."""
    person = world.facts.people[name]
    if not person.present:
        return {Unknown.SUBJECT}
    theirs = [key for key, card in world.facts.cards.items() if card.holder == name]
    if not theirs:
        return {Unknown.NO_CARD}
    point, found = city.snapshot.points[asked.resource.id], set()
    for key in theirs:
        possible = level_at(point, key)
        if key[0] in first_bytes(point.use.value) and possible is not None:
            level = possible if asked.level is None else asked.level
            found.add(decide(city.snapshot, Tap(point.code, key, level), asked.at_ms or 0, age_ms).reason)
    if Reason.GRANTED in found:
        return {Reason.GRANTED}
    return set(found) or {Reason.CARD_UNSUPPORTED}


@pytest.mark.parametrize("seed", range(CITIES))
async def test_a_person_is_answered_as_the_best_of_their_cards(
    databases: Databases, clock: FakeClock, seed: int
) -> None:
    """Thousands of questions, and who follows the change log knows whom somebody knows who reads everything anew."""
    seed += 2_000 if databases.state.dialect.name == "postgresql" else 0
    world, rng = CityOfRealNumbers(databases.state, clock, seed), random.Random(seed)
    world.populate()
    city, subjects, _ = evaluator_of(databases, clock)
    subjects.catch_up()
    seen: Counter[str] = Counter()
    for _ in range(ROUNDS):
        for _ in range(8):
            world.change_something()
        city.catch_up()
        age_ms = rng.choice(AGES)
        evaluator = Evaluator(city, subjects, clock, lambda _, age_ms=age_ms: age_ms)
        await evaluator.ready()
        anew = Subjects(databases.state)
        anew.catch_up()
        for name in world.facts.people:
            assert subjects.find(Entity("person", name)) == anew.find(Entity("person", name))
        for name, asked in questions(world, clock, rng):
            verdict = evaluator.evaluate(asked)
            assert verdict.code in expected(world, city, name, asked, age_ms), (name, asked)
            assert verdict.permit is (verdict.code is Reason.GRANTED)
            seen[verdict.code] += 1
    assert sum(seen.values()) == ROUNDS * QUESTIONS
    assert len(seen) > 5


def questions(world: RandomCity, clock: FakeClock, rng: random.Random) -> Iterator[tuple[str, Evaluation]]:
    for _ in range(QUESTIONS):
        name, point = rng.choice(list(world.facts.people)), rng.choice(list(world.facts.points))
        at_ms = clock.now_ms() + rng.randrange(-3 * DAY_MS, 8 * DAY_MS)
        level = rng.choice((None, *LEVELS.values()))
        yield name, Evaluation(Entity("person", name), "pass", Entity("point", point), at_ms, level)


async def test_for_other_years_the_answer_is_the_explanation_s(databases: Databases, clock: FakeClock) -> None:
    """Where schedules were not worked out ahead the store is asked; and only there."""
    world = CityOfRealNumbers(databases.state, clock, 11)
    world.populate()
    city, subjects, evaluator = evaluator_of(databases, clock)
    subjects.catch_up()
    explainer = Explainer(databases.state, clock, lambda _: 0, HouseRules())
    detailed, rng, asked_of_store = Detailed(explainer), random.Random(5), 0
    for name, asked in questions(world, clock, rng):
        at_ms = clock.now_ms() + rng.choice((0, 900, 1_400)) * DAY_MS
        later = replace(asked, at_ms=at_ms)
        verdict = evaluator.evaluate(later)
        if not needs_the_store(later, verdict, city.snapshot):
            continue
        asked_of_store += 1
        assert not city.snapshot.compiled.from_ms <= verdict.at_ms < city.snapshot.compiled.until_ms
        if world.facts.people[name].sponsor is not None:
            # Nobody asks by login for whoever is in no directory.
            continue
        told = await detailed.answer(later, verdict)
        inquiry = Inquiry(asked.resource.id, login=name, at_ms=later.at_ms, level=asked.level)
        reasons = {one.reason for one in explainer.explain(inquiry).answers} or {Reason.CARD_UNSUPPORTED}
        assert told.code in reasons
        assert told.permit is (Reason.GRANTED in reasons)
        if asked_of_store == 15:
            break
    assert asked_of_store == 15


def small_city(databases: Databases, clock: FakeClock) -> tuple[City, Subjects, Evaluator, dict[str, int]]:
    tell(open_copy(databases.state, clock), someone("anna"), someone("ben"))
    rows = row_numbers(databases.state)
    register(databases.state, [NewCard(1, rows["anna"], (desfire_credential("door", b"\x01" * 12),))])
    zones, points = [ZoneSetup("hall", "Hall")], [PointSetup("door", "Door", "hall", "plain")]
    plain = [PointClassSetup("plain", "Plain")]
    apply(databases.state, 1, AccessSetup(zones=zones, point_classes=plain, points=points))
    city, subjects, evaluator = evaluator_of(databases, clock)
    return city, subjects, evaluator, rows


async def test_nothing_is_read_for_an_evaluation(databases: Databases, clock: FakeClock) -> None:
    """Once everybody is known: not one statement reaches the state store for a thousand questions."""
    city, _, evaluator, _ = small_city(databases, clock)
    (point,) = city.snapshot.points
    await evaluator.ready()
    with statements(databases.state) as made:
        for name in ["anna", "ben", "city:anna", "nobody"] * 250:
            await evaluator.ready()
            evaluator.evaluate(Evaluation(Entity("person", name), "pass", Entity("point", point)))
    assert made == []


class statements:  # noqa: N801  # reads as a sentence where it is used
    """Collects what an engine is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.made = engine, []

    def __enter__(self) -> list[str]:
        sa.event.listen(self._engine, "before_cursor_execute", self._note)
        return self.made

    def __exit__(self, *_: object) -> None:
        sa.event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, statement, *_: object) -> None:
        self.made.append(statement)


async def test_a_change_is_known_to_the_next_question(databases: Databases, clock: FakeClock) -> None:
    """A new person, another login, a new card, somebody who left, and two people with one login."""
    city, subjects, evaluator, rows = small_city(databases, clock)
    (point,) = city.snapshot.points
    copy = open_copy(databases.state, clock)

    async def answer(name: str) -> str:
        city.catch_up()
        await evaluator.ready()
        return evaluator.evaluate(Evaluation(Entity("person", name), "pass", Entity("point", point))).code

    assert await answer("clara") == Unknown.SUBJECT
    assert await answer("ben") == Unknown.NO_CARD
    tell(copy, someone("clara"))
    assert await answer("clara") == Unknown.NO_CARD
    register(databases.state, [NewCard(1, rows["ben"], (desfire_credential("door", b"\x02" * 12),))])
    assert await answer("ben") not in set(Unknown)
    tell(copy, removed=("ben",))
    assert await answer("ben") == Unknown.SUBJECT
    # By the stable id they are still known, and refused.
    assert await answer("city:ben") == Reason.PERSON_LEFT
    assert subjects.find(Entity("robot", "anna")) is None


async def test_what_is_out_of_reach_is_refused_not_guessed(databases: Databases, clock: FakeClock) -> None:
    """Years that nobody works out, resources that are no points, actions of another use."""
    city, _, evaluator, _ = small_city(databases, clock)
    (point,) = city.snapshot.points.values()
    await evaluator.ready()
    here, anna = Entity("point", point.code), Entity("person", "anna")
    asked = {
        Evaluation(anna, "pass", here, EARLIEST_MS - 1): Reason.CLOCK_DOUBTFUL,
        Evaluation(anna, "pass", here, LATEST_MS): Reason.CLOCK_DOUBTFUL,
        Evaluation(anna, "pass", Entity("point", "nowhere")): Reason.POINT_UNKNOWN,
        Evaluation(anna, "pass", Entity("account", point.code)): Unknown.RESOURCE,
        Evaluation(anna, "fly", here): Unknown.ACTION,
    }
    for question, code in asked.items():
        verdict = evaluator.evaluate(question)
        assert (verdict.permit, verdict.code) == (False, code)
    assert set(UNKNOWN) == set(Unknown)
