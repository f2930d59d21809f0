# SPDX-License-Identifier: EUPL-1.2
"""A random city is asked at many moments, and the oracle too: on edges to the millisecond, where clocks change.

What one seed asks depends on the seed alone.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

from service.directory import row_numbers
from service.facts import DAY_MS, HOUR_MS, MINUTE_MS
from service.fake_clock import FakeClock
from service.oracle import SURELY_WORKED_OUT_MS, Oracle, Question
from service.random_city import RandomCity
from sqlalchemy.engine import Engine

from cardservice.access.rules import Reason, Tap, decide
from cardservice.access.service import City

TAPS_A_MOMENT = 4
CHANGES_BETWEEN = 3
PASSING_MS = (0, HOUR_MS, 26 * HOUR_MS, 3 * DAY_MS)
# Both changes of summer time, public holidays of some Länder and of all, a leap of the year, an ordinary Sunday.
NOTABLE_DAYS = tuple(
    date.fromisoformat(day)
    for day in (
        *("2026-03-28", "2026-03-29", "2026-03-29", "2026-03-29", "2026-10-24", "2026-10-25", "2026-10-25"),
        *("2026-10-25", "2026-10-25", "2026-10-26", "2026-05-01", "2026-06-04", "2026-11-01", "2026-12-25"),
        *("2026-12-31", "2027-01-01", "2027-01-06", "2026-07-12", "2027-03-28"),
    )
)
BESIDE_MS = (-1, 0, 0, 1)


class Answer(NamedTuple):
    """What the service answered to a question."""

    question: Question
    reason: str


@dataclass
class Record:
    """What was asked and answered. A pair is a city at a moment; a city counts anew after changes."""

    cities: int = 0
    pairs: int = 0
    taps: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, other: "Record") -> None:
        """Add what another record holds."""
        self.cities += other.cities
        self.pairs += other.pairs
        self.taps += other.taps
        self.reasons += other.reasons
        self.wrong += other.wrong


class Moments:
    """Draws moments that matter to a city."""

    def __init__(self, oracle: Oracle, rng: random.Random) -> None:
        self._oracle, self._facts, self._rng = oracle, oracle.facts, rng
        self._now_ms = oracle.worked_out_ms
        # None: there was no such moment.
        self._drawn: set[int | None] = {None}
        self._zones = sorted({point.time_zone for point in self._facts.points.values()})
        self._days = [*NOTABLE_DAYS, *sorted({day for days in self._facts.special_days.values() for day in days})]
        rules = (*self._facts.rules, *self._facts.cards.values(), *self._facts.people.values())
        self._bounds = [at_ms for one in rules for at_ms in (one.from_ms, one.until_ms) if at_ms is not None]
        ends = (point.exception_until_ms for point in self._facts.points.values())
        self._exception_ends = [at_ms for at_ms in ends if at_ms is not None]

    def draw(self) -> int:
        """Return a moment not drawn before; none lies where it is open whether schedules are worked out."""
        kinds = (self._edge, self._bound, self._exception_end, self._notable, self._soon, self._anywhere, self._beyond)
        while True:
            (kind,) = self._rng.choices(kinds, (30, 10, 10, 30, 10, 5, 5))
            at_ms = kind()
            if at_ms not in self._drawn and self._oracle.is_worked_out(at_ms) is not None:
                self._drawn.add(at_ms)
                return at_ms

    def _beside(self, at_ms: int) -> int:
        return at_ms + self._rng.choice(BESIDE_MS)

    def _edge(self) -> int | None:
        """The hours of some day begin or end."""
        schedule, zone = self._rng.choice(list(self._facts.schedules)), self._rng.choice(self._zones)
        spans = self._oracle.spans_on(schedule, zone, self._rng.choice(self._days))
        return self._beside(self._rng.choice(self._rng.choice(spans))) if spans else None

    def _bound(self) -> int | None:
        """A card's, a person's or a rule's time begins or ends."""
        return self._beside(self._rng.choice(self._bounds)) if self._bounds else None

    def _exception_end(self) -> int | None:
        return self._beside(self._rng.choice(self._exception_ends)) if self._exception_ends else None

    def _notable(self) -> int:
        """Three in four lie where clocks change; to the minute, or a millisecond beside it."""
        day = self._rng.choice(NOTABLE_DAYS)
        begin_ms = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        rng = self._rng
        offset_ms = rng.randrange(-2 * HOUR_MS, 4 * HOUR_MS) if rng.random() < 0.75 else rng.randrange(DAY_MS)
        return self._beside((begin_ms + offset_ms) // MINUTE_MS * MINUTE_MS)

    def _soon(self) -> int:
        return self._now_ms + self._rng.randrange(60) * DAY_MS // 8

    def _anywhere(self) -> int:
        return self._now_ms + self._rng.randrange(SURELY_WORKED_OUT_MS)

    def _beyond(self) -> int:
        """After the schedules that are worked out, or before."""
        days = self._rng.choice((402, 600, -40))
        return self._now_ms + days * DAY_MS + self._rng.randrange(20 * DAY_MS)


class Questions:
    """Draws taps, most of them such as pass the first questions."""

    def __init__(self, oracle: Oracle, rng: random.Random) -> None:
        self._facts, self._rng = oracle.facts, rng
        able = {name for name, person in self._facts.people.items() if person.present and person.enabled}
        self._promising = [
            (credential, point)
            for credential, card in self._facts.cards.items()
            for point in self._facts.points
            if card.state == "active" and card.holder in able and oracle.rules_for(card.holder, point)
        ]

    def draw(self, at_ms: int) -> Question:
        rng = self._rng
        if self._promising and rng.random() < 0.8:
            credential, point = rng.choice(self._promising)
        else:
            credential = rng.choice([*self._facts.cards, b"nobody's"])
            point = rng.choice(list(self._facts.points) * 5 + ["nowhere"])
        holder = self._facts.cards[credential].holder if credential in self._facts.cards else None
        first = rng.choice((None, None, holder, rng.choice(list(self._facts.people))))
        level = rng.choice((0, 1, 2, 3, 4, 4, 4))
        return Question(credential, point, level, at_ms, rng.choice((0, 0, 0, 60_000, 60_001, HOUR_MS + 1)), first)


class Interrogation:
    """One seed's city: filled, changed and asked, changed and asked again."""

    def __init__(self, state: Engine, clock: FakeClock, seed: int) -> None:
        self.seed = seed
        self.world = RandomCity(state, clock, seed)
        self._state, self._clock = state, clock
        self.world.populate()
        for _ in range(10):
            self.world.change_something()
        self._city = City(state, clock)
        self._city.build()

    def states(self, number: int) -> Iterator[Oracle]:
        """Go through `number` states of the city, followed change by change, days passing; yield an oracle for each."""
        for state in range(number):
            if state:
                for _ in range(CHANGES_BETWEEN):
                    self.world.change_something()
                self._clock.pass_ms(self.world.random.choice(PASSING_MS))
                self._city.catch_up()
            yield Oracle(self.world.facts, self._clock.now_ms())

    def ask(self, oracle: Oracle, moments: int) -> Iterator[Answer]:
        """Ask the service at `moments` moments, in no order: what holds at one must not stick at the next."""
        rng, snapshot = self.world.random, self._city.snapshot
        draw_moment, draw_question = Moments(oracle, rng).draw, Questions(oracle, rng).draw
        numbers = row_numbers(self._state)
        for _ in range(moments):
            at_ms = draw_moment()
            for _ in range(TAPS_A_MOMENT):
                question = draw_question(at_ms)
                first = 0 if question.first is None else numbers[question.first]
                tap = Tap(question.point, question.credential, question.level, first)
                decision = decide(snapshot, tap, at_ms, question.age_ms)
                assert decision.permit is (decision.reason is Reason.GRANTED)
                yield Answer(question, decision.reason.value)


def interrogate(state: Engine, seed: int, states: int, moments: int) -> Record:
    """Play one seed; go on after a wrong answer."""
    record = Record()
    interrogation = Interrogation(state, FakeClock(), seed)
    for oracle in interrogation.states(states):
        record.cities += 1
        asked_at = set()
        for question, reason in interrogation.ask(oracle, moments):
            asked_at.add(question.at_ms)
            record.taps += 1
            record.reasons[reason] += 1
            right = oracle.answers(question)
            if reason not in right:
                record.wrong.append(f"seed {seed}, state {record.cities}: {question}: {reason}, not {sorted(right)}")
        record.pairs += len(asked_at)
    return record
