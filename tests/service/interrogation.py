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
from service.facts import DAY_MS, HOUR_MS, MINUTE_MS, Card
from service.fake_clock import FakeClock
from service.oracle import WORKED_OUT_DAYS, Oracle, Question
from service.random_city import RandomCity
from sqlalchemy.engine import Engine

from cardservice.access.rules import HouseRules, Reason, Tap, Use, decide
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
USES = frozenset(use.value for use in Use)
# What a lock-out stops: as it is unless somebody sets it, everything, what is neither, and nothing.
LOCK_OUT_STOPS = (frozenset({"workstation"}), USES, USES, USES - {"workstation"}, frozenset({"door"}), frozenset())


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
        ends = [point.exception_until_ms for point in self._facts.points.values()]
        ends += [card.suspension_ends_ms for card in self._facts.cards.values()]
        ends += [person.lock_ends_ms for person in self._facts.people.values()]
        self._ends = [at_ms for at_ms in ends if at_ms is not None]

    def draw(self) -> int:
        """Return a moment not drawn before."""
        kinds = (self._edge, self._bound, self._end, self._notable, self._soon, self._anywhere, self._beyond)
        kinds += (self._horizon,)
        while True:
            (kind,) = self._rng.choices(kinds, (26, 12, 16, 25, 9, 4, 4, 4))
            at_ms = kind()
            if at_ms not in self._drawn:
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

    def _end(self) -> int | None:
        """An exception ends, a card's suspension or somebody's lock-out."""
        return self._beside(self._rng.choice(self._ends)) if self._ends else None

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
        """Where schedules are worked out."""
        return self._day(self._rng.choice(WORKED_OUT_DAYS)) + self._rng.randrange(DAY_MS)

    def _beyond(self) -> int:
        """After the schedules that are worked out, or before."""
        days = self._rng.choice((WORKED_OUT_DAYS.stop, 600, WORKED_OUT_DAYS.start - 20))
        return self._day(days) + self._rng.randrange(20 * DAY_MS)

    def _horizon(self) -> int:
        """What is worked out begins or ends: to the millisecond, or within the days around."""
        edge_ms = self._day(self._rng.choice((WORKED_OUT_DAYS.start, WORKED_OUT_DAYS.stop)))
        near = self._rng.randrange(-2 * DAY_MS, 2 * DAY_MS)
        return self._rng.choice((self._beside(edge_ms), edge_ms + near))

    def _day(self, number: int) -> int:
        """Return when a day of UTC begins, counted from the one on which schedules were worked out."""
        return (self._now_ms // DAY_MS + number) * DAY_MS


class Questions:
    """Draws taps: most of them pass the first questions; beside an instant often those whom it concerns."""

    def __init__(self, oracle: Oracle, rng: random.Random) -> None:
        self._facts, self._rng = oracle.facts, rng
        self._promising: list[tuple[bytes, str]] = []
        # Instant -> taps of those to whom something happens then.
        self._concerned: dict[int | None, list[tuple[bytes, str]]] = {}
        for credential, card in self._facts.cards.items():
            if not self._is_promising(card):
                continue
            for name, point in self._facts.points.items():
                if rules := oracle.rules_for(card.holder, name):
                    self._promising.append((credential, name))
                    instants = {at_ms for rule in rules for at_ms in (rule.from_ms, rule.until_ms)}
                    for at_ms in instants | self._own_instants(card) | {point.exception_until_ms}:
                        self._concerned.setdefault(at_ms, []).append((credential, name))

    def _is_promising(self, card: Card) -> bool:
        in_use = card.state == "active" or card.suspension_ends_ms is not None
        person = self._facts.people.get(card.holder) if in_use else None
        return person is not None and person.present and person.enabled

    def _own_instants(self, card: Card) -> set[int | None]:
        person = self._facts.people[card.holder]
        of_card = {card.from_ms, card.until_ms, card.suspension_ends_ms}
        if person.sponsor is not None:
            sponsor = self._facts.people[person.sponsor]
            of_card |= {sponsor.from_ms, sponsor.until_ms}
        return of_card | {person.from_ms, person.until_ms, person.lock_ends_ms}

    def draw(self, at_ms: int) -> Question:
        rng = self._rng
        concerned = [tap for near in (-1, 0, 1) for tap in self._concerned.get(at_ms + near, ())]
        if concerned and rng.random() < 0.6:
            credential, point = rng.choice(concerned)
        elif self._promising and rng.random() < 0.8:
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
        self._start()

    def _start(self) -> None:
        """Start the service, with some setting of what a lock-out stops."""
        stops = self.world.random.choice(LOCK_OUT_STOPS)
        self.world.facts.lock_out_stops = stops
        self._city = City(self._state, self._clock, house=HouseRules(frozenset(map(Use, stops))))
        self._city.build()

    def states(self, number: int) -> Iterator[Oracle]:
        """Go through `number` states of the city, followed change by change, days passing; yield an oracle for each.

        Now and then the service is started anew.
        """
        for state in range(number):
            if state:
                for _ in range(CHANGES_BETWEEN):
                    self.world.change_something()
                self._clock.pass_ms(self.world.random.choice(PASSING_MS))
                self._city.catch_up()
                if self.world.random.random() < 0.4:
                    self._start()
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
