# SPDX-License-Identifier: EUPL-1.2
"""A small city whose days pass: what is written of people every day, and what is left of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from service.chains import secret
from service.fake_clock import FakeClock
from sqlalchemy.engine import Connection

from cardservice.access.review.store import access_review, access_review_item
from cardservice.canteen.rules import Source, TopUp
from cardservice.canteen.service import Canteen
from cardservice.database import Databases, read, write
from cardservice.journal.service import Entry, Journal
from cardservice.journal.store import journal_entry
from cardservice.keeping import DAY_MS, RetentionSection
from cardservice.ledger.service import Ledger
from cardservice.ledger.store import RequestKey
from cardservice.people.web_sessions import web_session
from cardservice.printing.store import print_release
from cardservice.recorder import Recorder
from cardservice.retention.rules import STREAMS
from cardservice.retention.service import Hands, Retention
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked
from cardservice.web.once import api_answer

LIMIT_S = 20.0
ANNA, BERT = 1, 2
HIGH, PLAIN = "archiv", "haupt"


def wallet_secret() -> bytes:
    """Return what names the people of the canteen."""
    return secret("canteen", "pseudonym")


@dataclass(slots=True)
class World:
    """Both stores with their recorder, and a clock that a test moves."""

    databases: Databases
    clock: FakeClock
    journal: Journal
    ledger: Ledger
    recorder: Recorder
    canteen: Canteen
    section: RetentionSection = field(default_factory=RetentionSection)
    synchronised: bool = False
    pauses: list[float] = field(default_factory=list)
    _events: int = 0

    def retention(self, recorder: Any = None) -> Retention:
        """Return what erases, as a process that has just begun has it."""
        return Retention(self.hands(recorder), self.section)

    def hands(self, recorder: Any = None) -> Hands:
        """Return what erasing works with."""

        def pause(seconds: float) -> bool:
            self.pauses.append(seconds)
            return False

        return Hands(
            self.databases,
            recorder or self.recorder,
            self.journal,
            self.ledger,
            wallet_secret,
            self.clock,
            pause,
            lambda: self.synchronised,
        )

    def record(self, unit: Callable[[Connection], Any]) -> Any:
        """Have one unit on disk."""
        return self.recorder.submit(unit).result(LIMIT_S)

    def line(self, stream: str, person: int = ANNA, **facts: Any) -> Any:
        """Write a line with a personal part; return its place."""
        entry = self._entry(stream, person, **facts)
        return self.record(lambda connection: self.journal.append(connection, entry))

    def _entry(self, stream: str, person: int, **facts: Any) -> Entry:
        return Entry(stream, self.clock.now_ms(), {"kind": "tap", **facts}, person, {"person": person})

    def live_a_day(self) -> None:
        """Write one of everything that is kept of somebody by itself."""
        self.record(self._rows_of_the_day)
        with write(self.databases.state) as connection:
            self._state_of_the_day(connection)

    def _rows_of_the_day(self, connection: Connection) -> None:
        self._events += 1
        now_ms, event = self.clock.now_ms(), f"agent/1/{self._events}"
        for stream in STREAMS:
            self.journal.append(connection, self._entry(stream, ANNA, point=PLAIN))
        self.journal.append(connection, self._entry("door", BERT, point=HIGH))
        booking = {"kind": "in", "point": "uhr", "recorded_ms": now_ms, "source": "terminal"}
        unbooked = {"code": "too_soon", "seen": 0}
        whose = {"pseudonym": "a" * 32, "event": event, "at_ms": now_ms}
        connection.execute(sa.insert(timeclock_booking).values(**whose, **booking))
        connection.execute(sa.insert(timeclock_unbooked).values(**whose, **unbooked))
        release = {"queue": "followme", "job": self._events, "made_ms": now_ms, "printer": "p1", "state": "released"}
        connection.execute(sa.insert(print_release).values(**whose, **release))
        self.ledger.once(connection, RequestKey.of("till", event), b"d" * 32, lambda: {"wallet": "a" * 32})

    def _state_of_the_day(self, connection: Connection) -> None:
        now_ms = self.clock.now_ms()
        row = {"caller": "a", "key": str(now_ms), "digest": b"d" * 32, "answer": "{}", "made_ms": now_ms}
        connection.execute(sa.insert(api_answer).values(**row))
        review = {"code": str(now_ms), "name": "r", "deadline_ms": now_ms, "begun_ms": now_ms, "begun_by": "meier"}
        number = connection.execute(sa.insert(access_review).values(**review).returning(access_review.c.id)).scalar()
        answered = {"answered_ms": now_ms, "answered_by": "meier", "reason": "knows him", "verdict": "keep"}
        connection.execute(sa.insert(access_review_item).values(review_id=number, bound_ms=now_ms, **answered))

    def top_up(self, wallet: str, cents: int) -> None:
        """Put money onto a wallet."""
        top_up = TopUp(wallet, cents, Source.PAYROLL, self.clock.now_ms())
        self.record(lambda connection: self.canteen.top_up(connection, top_up))

    def sealed(self, stream: str) -> int:
        """Return how many lines of a stream still have a personal part."""
        lines = sa.select(sa.func.count()).where(journal_entry.c.stream == stream, journal_entry.c.sealed.is_not(None))
        with read(self.databases.record) as connection:
            return int(connection.execute(lines).scalar_one())

    def count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        """Return how many rows a table has."""
        store = self.databases.state if table.metadata is web_session.metadata else self.databases.record
        with read(store) as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()
            )

    def open(self, place: Any) -> Any:
        """Return the personal part of a line."""
        with read(self.databases.record) as connection:
            return self.journal.open_sealed(connection, place)

    def pass_days(self, days: float) -> None:
        """Let time pass on both clocks."""
        self.clock.pass_ms(int(days * DAY_MS))


@contextmanager
def world(databases: Databases, clock: FakeClock) -> Iterator[World]:
    """Run a recorder over both stores."""
    journal, ledger = Journal(secret), Ledger(clock)
    journal.begin_epoch(databases.record, 0)
    recorder = Recorder(databases.record, (journal, ledger))
    recorder.start()
    yield World(databases, clock, journal, ledger, recorder, Canteen(ledger))
    recorder.stop()
