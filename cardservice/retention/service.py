# SPDX-License-Identifier: EUPL-1.2
"""Erases what is over, in small transactions, and says how far it is.

Each run begins anew with what is due: one that was cut off leaves nothing half done, since a line is erased whole or
not at all. The record store is written by its recorder alone, between taps.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from cardservice.clock import Clock
from cardservice.database import STORES, Databases, StoreName, read, write
from cardservice.errors import Overloaded
from cardservice.journal.erasure import erase
from cardservice.journal.rules import Place
from cardservice.journal.service import Journal
from cardservice.keeping import LIMITS, RetentionSection
from cardservice.ledger.service import Ledger
from cardservice.recorder import Recorder, Unit
from cardservice.retention import books, store
from cardservice.retention.leavers import close_wallet, note_leavers
from cardservice.retention.rules import AT_ONCE, DAY_MS, FIXED, Moment, Standing, Witnesses, doubt, last_over_ms
from cardservice.retention.store import Row, Step

# systemd-timesyncd's mark that the clock follows a time server.
SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
RECORD_TIMEOUT_S: Final = 30.0
# After each transaction nothing is erased for so long, so that taps never queue behind a row of them.
PAUSE_S: Final = 0.02
_log = structlog.get_logger()


def _go_on(_pause_s: float) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Hands:
    """What erasing works with. `secret` names the people of the canteen; `pause` waits, and tells whether to stop."""

    databases: Databases
    recorder: Recorder
    journal: Journal
    ledger: Ledger
    secret: Callable[[], bytes]
    clock: Clock
    pause: Callable[[float], bool] = _go_on
    synchronised: Callable[[], bool] = SYNCHRONISED.exists


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did: limit -> how many entries were erased, or would be; `doubt` says why it did nothing."""

    erased: Mapping[str, int]
    doubt: str | None = None


class Retention:
    """Erases by the limits of the settings. Everything blocks; one thread at a time runs."""

    def __init__(self, hands: Hands, section: RetentionSection) -> None:
        self._hands, self._section = hands, section
        self._anchor: Moment | None = None

    def run(self) -> Report:
        """Erase everything that is due.

        Raises:
            DatabaseUnavailable: a store cannot be used; what was erased stays so, the next run finds the rest.
            Overloaded: too much waits to be written.
        """
        now = Moment(self._hands.clock.now_ms(), self._hands.clock.monotonic_ns() // 1_000_000)
        found = self._doubt(now)
        if found is not None:
            _log.error("retention.clock_doubtful")
            return Report({}, found)
        if self._anchor is None or self._ahead_of_anchor(now):
            self._anchor = now
        erased = dict.fromkeys((*LIMITS, *FIXED), 0)
        for step in self._begun(now.wall_ms):
            erased[step.limit] += self._empty(step, now.wall_ms)
        erased["leavers"] += self._leavers(now.wall_ms)
        self._write("record", lambda connection: self._note(connection, erased, now.wall_ms))
        if any(erased.values()):
            _log.info("retention.erased", **{name: count for name, count in erased.items() if count})
        return Report(erased)

    def due(self) -> Report:
        """Return what a run would erase now, and erase nothing.

        Raises:
            DatabaseUnavailable: a store cannot be read.
        """
        now = Moment(self._hands.clock.now_ms(), self._hands.clock.monotonic_ns() // 1_000_000)
        counts = dict.fromkeys((*LIMITS, *FIXED), 0)
        for connection, step in self._each_step():
            rows = step.due(connection, self._until_ms(step.limit, now.wall_ms)).order_by(None).subquery()
            counts[step.limit] += connection.execute(sa.select(sa.func.count()).select_from(rows)).scalar_one()
        with self._reading("record") as connection:
            counts["leavers"] += store.count_left(connection, self._until_ms("leavers", now.wall_ms))
        return Report(counts, self._doubt(now))

    def standing(self) -> list[Standing]:
        """Return how each limit is kept at this moment.

        Raises:
            DatabaseUnavailable: a store cannot be read.
        """
        oldest: dict[str, list[int]] = {name: [] for name in (*LIMITS, *FIXED)}
        for connection, step in self._each_step():
            at_ms = step.oldest(connection)
            oldest[step.limit] += [] if at_ms is None else [at_ms]
        with self._reading("record") as connection:
            left_ms = store.oldest_named_departure(connection)
            oldest["leavers"] += [] if left_ms is None else [left_ms]
            ran = store.passes(connection)
        return [self._standing(name, min(found, default=None), ran.get(name)) for name, found in oldest.items()]

    def doubtful(self) -> str | None:
        """Return why nothing is erased at the moment, None if all is well.

        Raises:
            DatabaseUnavailable: the record store cannot be read.
        """
        return self._doubt(Moment(self._hands.clock.now_ms(), self._hands.clock.monotonic_ns() // 1_000_000))

    def high_points(self) -> frozenset[str]:
        """Return the points whose lines have the limit of high protection.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with self._reading("state") as connection:
            return frozenset(store.high_points(connection))

    def confirm_clock(self) -> None:
        """Take somebody's word that the clock is right.

        Raises:
            DatabaseUnavailable: the record store cannot be written.
        """
        now_ms = self._hands.clock.now_ms()
        with write(self._hands.databases.record) as connection:
            store.set_clock(connection, confirmed_ms=now_ms)

    def _standing(self, name: str, oldest_ms: int | None, ran: Row | None) -> Standing:
        usual = LIMITS[name].usual if name in LIMITS else FIXED[name]
        reason = self._section.longer().get(name)
        last = (None, None) if ran is None else (ran.ran_ms, ran.erased)
        return Standing(name, self._days(name), usual, reason, oldest_ms, *last)

    def _days(self, name: str) -> int:
        return FIXED[name] if name in FIXED else self._section.days(name)

    def _until_ms(self, name: str, now_ms: int) -> int:
        return last_over_ms(name, now_ms - self._days(name) * DAY_MS)

    def _doubt(self, now: Moment) -> str | None:
        with self._reading("record") as connection:
            seen_ms, confirmed_ms = store.clock(connection)
        return doubt(now, Witnesses(self._anchor, seen_ms, confirmed_ms, self._hands.synchronised()))

    def _ahead_of_anchor(self, now: Moment) -> bool:
        """Tell whether the anchor is one that somebody's word has overtaken: what follows is measured anew."""
        anchor = self._anchor
        return anchor is not None and doubt(now, Witnesses(anchor, None, None, synchronised=False)) is not None

    def _note(self, connection: Connection, erased: Mapping[str, int], now_ms: int) -> None:
        seen_ms, _ = store.clock(connection)
        store.set_clock(connection, seen_ms=max(now_ms, seen_ms or 0))
        store.note_passes(connection, erased, now_ms)

    def _steps(self) -> list[Step]:
        with self._reading("state") as connection:
            high = store.high_points(connection)
        with self._reading("record") as connection:
            streams = store.streams(connection)
        return [*store.steps(high, streams, self._erase_lines), *books.steps(self._hands.ledger)]

    def _each_step(self) -> Iterator[tuple[Connection, Step]]:
        """Yield each step with its store, as of one moment."""
        found = self._steps()
        for name in STORES:
            with self._reading(name) as connection:
                yield from ((connection, step) for step in found if step.store == name)

    def _begun(self, now_ms: int) -> list[Step]:
        """Return the steps that have something to erase."""
        return [
            step
            for connection, step in self._each_step()
            if connection.execute(step.due(connection, self._until_ms(step.limit, now_ms)).limit(1)).first()
        ]

    def _erase_lines(self, connection: Connection, places: Iterable[Place]) -> int:
        return erase(connection, self._hands.journal, places)

    def _empty(self, step: Step, now_ms: int) -> int:
        """Erase everything of one step that is due, some at a time."""
        until_ms, erased = self._until_ms(step.limit, now_ms), 0
        while not self._hands.pause(PAUSE_S if erased else 0):
            with self._reading(step.store) as connection:
                rows = list(connection.execute(step.due(connection, until_ms).limit(AT_ONCE)))
            if rows:
                erased += self._write(step.store, partial(_erase, step, rows))
            if len(rows) < AT_ONCE:
                break
        return erased

    def _leavers(self, now_ms: int) -> int:
        """Note who left, and erase who left long ago: their names first, then whose canteen account was whose."""
        note_leavers(self._reading, self._write, now_ms)
        until_ms, blanked = self._until_ms("leavers", now_ms), 0
        for people in self._left(until_ms, "blanked_ms"):
            blanked += self._write("state", partial(_blank, people))
            self._write("record", partial(_note_done, people, "blanked_ms", now_ms))
        while self._write("state", partial(store.blank_groups, limit=AT_ONCE)) == AT_ONCE:
            self._hands.pause(PAUSE_S)
        for people in self._left(until_ms, "settled_ms"):
            settled = [
                one
                for one in people
                if close_wallet(self._reading, self._write, self._hands.ledger, self._hands.secret(), one)
            ]
            if settled:
                self._write("record", partial(_note_done, settled, "settled_ms", now_ms))
        return blanked

    def _left(self, until_ms: int, undone: str) -> Iterable[Sequence[int]]:
        after = 0
        while not self._hands.pause(PAUSE_S if after else 0):
            with self._reading("record") as connection:
                people = store.left_by(connection, until_ms, undone, AT_ONCE, after)
            if not people:
                return
            yield people
            after = people[-1]

    def _reading(self, name: StoreName) -> Any:
        return read(getattr(self._hands.databases, name))

    def _write(self, name: StoreName, unit: Unit[Any]) -> Any:
        """Have one small transaction on disk."""
        if name == "state":
            with write(self._hands.databases.state) as connection:
                return unit(connection)
        kept = self._hands.recorder.submit(unit)
        try:
            return kept.result(RECORD_TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise Overloaded(f"the record store took no erasure within {RECORD_TIMEOUT_S:.0f} s") from None


def _erase(step: Step, rows: Sequence[Row], connection: Connection) -> int:
    return step.erase(connection, rows)


def _blank(people: Sequence[int], connection: Connection) -> int:
    return store.blank_people(connection, people)


def _note_done(people: Sequence[int], done: str, now_ms: int, connection: Connection) -> int:
    return store.note(connection, people, done, now_ms)
