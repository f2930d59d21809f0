# SPDX-License-Identifier: EUPL-1.2
"""Explains what somebody's cards are answered at a point. Reads the state store; `decide` has the last word."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.access import city, store
from cardservice.access.explain.facts import Asked, CardFacts, PointFacts
from cardservice.access.explain.rules import Step, explain
from cardservice.access.explain.store import credentials_of, point_facts
from cardservice.access.own.rules import level_at
from cardservice.access.rules import CardRecord, HouseRules, Level, PointRecord, Reason, Tap, decide
from cardservice.cards.rules import first_bytes
from cardservice.cards.store import card, credential
from cardservice.clock import Clock
from cardservice.database import read
from cardservice.errors import Conflict, NotFound
from cardservice.people.lookup import person_by_login
from cardservice.people.store import person as people

# Nobody carries as many.
MAX_CREDENTIALS: Final = 32
# Schedules and zones of time are worked out for these years; nobody asks about others.
EARLIEST_MS: Final = 946_684_800_000
LATEST_MS: Final = 4_102_444_800_000


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What somebody wants to know: one of `card` (a reference), `login` and `person`, where and when (None: now).

    `level` is what the card proves there (None: what its kind does without a PIN); `first_card` is the reference of the
    card that was held there just before.
    """

    point: str
    card: str | None = None
    login: str | None = None
    at_ms: int | None = None
    level: Level | None = None
    first_card: str | None = None
    person: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one credential is answered, by `decide`, and every step to it."""

    card: str
    method: Literal["desfire", "piv"]
    reason: Reason
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """Answers to one inquiry, of cards in use first; none: there is no card.

    `asked_about` is the row number of whoever it is about, None for a card without holder. `at_ms` is shown in
    `time_zone`.
    """

    point: str
    at_ms: int
    age_ms: int
    time_zone: str
    asked_about: int | None
    answers: tuple[Answer, ...]


class Explainer:
    """Answers inquiries; `age_ms_of` says how old what taps of a person (a row number, 0: nobody) are decided by is."""

    def __init__(self, state: Engine, clock: Clock, age_ms_of: Callable[[int], int], house: HouseRules) -> None:
        self._state, self._clock, self._age_ms_of, self._house = state, clock, age_ms_of, house

    def explain(self, inquiry: Inquiry) -> Explained:
        """Return every step for each credential that counts at the point. Blocks.

        Raises:
            NotFound: there is no such card or person.
            Conflict: not one of card, login and person, two people with that login, or a time nobody asks about.
            DatabaseUnavailable: the state store cannot be read.
        """
        at_ms = self._clock.now_ms() if inquiry.at_ms is None else inquiry.at_ms
        if not EARLIEST_MS <= at_ms < LATEST_MS:
            raise Conflict("at: allowed are instants of the years 2000 to 2099")
        login, person = inquiry.login, inquiry.person
        if login is not None and person is None:
            person = person_by_login(self._state, login)
            if person is None:
                raise NotFound("nobody who is present in the directory has this login")
        with read(self._state) as connection:
            number, holder = _card_and_holder(connection, inquiry, person)
            first = 0 if inquiry.first_card is None else _card(connection, inquiry.first_card).person_id or 0
            compiler = city.PointCompiler(connection, self._compile_at(at_ms), self._house)
            bench = _Bench(connection, compiler, inquiry.point)
            about = card.c.person_id == person if number is None else card.c.id == number
            found = credentials_of(connection, sa.and_(about, bench.fits()), at_ms=at_ms, limit=MAX_CREDENTIALS)
            age_ms = self._age_ms_of(holder or 0)
            asked = Asked(inquiry.point, at_ms, age_ms, inquiry.level, first)
            answers = tuple(bench.answer(key, facts, asked) for key, facts in bench.presented(found))
        return Explained(inquiry.point, at_ms, age_ms, bench.time_zone, holder, answers)

    def instant(self, local: datetime, point: str) -> int:
        """Return an instant; what names no zone of time is what a clock at the point shows."""
        if local.tzinfo is None:
            with read(self._state) as connection:
                zone = connection.execute(
                    sa.select(store.point.c.time_zone).where(store.point.c.code == point)
                ).scalar()
            local = local.replace(tzinfo=ZoneInfo(zone) if zone else UTC)
        return int(local.timestamp() * 1_000)

    def _compile_at(self, at_ms: int) -> int:
        """Return when to compile: as the service has done now, or will have done by then."""
        now_ms = self._clock.now_ms()
        from_ms, until_ms = city.compiled_period(now_ms)
        return now_ms if from_ms <= at_ms < until_ms else at_ms


def _card(connection: Connection, reference: str) -> sa.Row[int, int | None]:
    row = connection.execute(sa.select(card.c.id, card.c.person_id).where(card.c.reference == reference)).first()
    if row is None:
        raise NotFound(f"there is no card {reference!r}")
    return row


def _card_and_holder(connection: Connection, inquiry: Inquiry, person: int | None) -> tuple[int | None, int | None]:
    """Return the row numbers of the one card that is asked about, None for all of a person's, and of its holder."""
    if sum(one is not None for one in (inquiry.card, inquiry.login, inquiry.person)) != 1:
        raise Conflict("either a card or a person: name one of them")
    if inquiry.card is None:
        if connection.execute(sa.select(people.c.id).where(people.c.id == person)).first() is None:
            raise NotFound(f"there is no person {person}")
        return None, person
    row = _card(connection, inquiry.card)
    return row.id, row.person_id


class _Bench:
    """One point, compiled and in plain facts, from one transaction; a `DecisionState` of it and one credential."""

    def __init__(self, connection: Connection, compiler: city.PointCompiler, code: str) -> None:
        self._connection = connection
        self._record = compiler.point(connection, code)
        self._facts: PointFacts | None = point_facts(connection, compiler, code)
        self._direct = city.people_named_directly(connection)
        self._cards: dict[bytes, CardRecord | None] = {}

    @property
    def time_zone(self) -> str:
        """Where the point is."""
        return "UTC" if self._facts is None else self._facts.time_zone

    def fits(self) -> sa.ColumnElement[bool]:
        """Return which credentials may be presented at the point: the numbers of its use, and PIV cards."""
        if self._record is None:
            return sa.true()
        key = credential.c.key
        begins = first_bytes(self._record.use)
        return sa.or_(*(sa.and_(key >= bytes((first,)), key < bytes((first + 1,))) for first in begins))

    def presented(self, found: Sequence[tuple[bytes, CardFacts]]) -> list[tuple[bytes, CardFacts]]:
        """Return what the point asks of each card: where it has nothing that fits, what it has instead."""
        fitting = {facts.reference for key, facts in found if self._possible(key) is not None}
        return [one for one in found if one[1].reference not in fitting or self._possible(one[0]) is not None]

    def answer(self, key: bytes, facts: CardFacts, asked: Asked) -> Answer:
        """Return what one credential is answered and why."""
        level = self._level(key, asked)
        this = Asked(asked.point, asked.at_ms, asked.age_ms, level, asked.first)
        return Answer(facts.reference, facts.method, self._decided(key, this), explain(self._facts, facts, this))

    def card(self, key: bytes) -> CardRecord | None:
        """Return the record of a credential."""
        return self._cards.get(key)

    def point(self, _: str) -> PointRecord | None:
        """Return the record of the point."""
        return self._record

    def _possible(self, key: bytes) -> Level | None:
        return None if self._record is None else level_at(self._record, key)

    def _level(self, key: bytes, asked: Asked) -> int | None:
        possible = self._possible(key)
        return possible if possible is None or asked.level is None else asked.level

    def _decided(self, key: bytes, asked: Asked) -> Reason:
        if self._record is not None and asked.level is None:
            return Reason.CARD_UNSUPPORTED
        number = sa.select(credential.c.card_id).where(credential.c.key == key)
        cards = [self._connection.execute(number).scalar_one()]
        self._cards |= city.cards_of(self._connection, city.CardCompiler(), self._direct, cards=cards)
        tap = Tap(asked.point, key, asked.level or Level.NONE, asked.first)
        return decide(self, tap, asked.at_ms, asked.age_ms).reason
