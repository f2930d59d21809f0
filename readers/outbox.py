# SPDX-License-Identifier: EUPL-1.2
"""The durable outbox: every tap is on the disk before the centre hears of it, and stays until the centre has it.

What the centre has acknowledged is kept some days longer, so that a centre that was restored from an older copy can ask
for it again (`account` says what it must have, `again` brings it back).

One SQLite file with nothing about cards or people in it. All methods are called from one thread (a `Worker`).

Event ids are never used twice. The boot epoch grows with every start, by at least one, and never stays below the
seconds of the wall clock: so an outbox restored from an older copy, or a lost one made anew, does not repeat itself.
Within an epoch the sequence has no gaps. When the outbox is full, a tap still gets the next id, but is not kept:
the outbox then remembers the range of ids whose reports are lost, and says so, instead of inventing reports later.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from cardservice.agents.messages import MAX_ACCOUNTED_EPOCHS, MAX_RANGES, EpochAccount, EventId, EventRange, TapEvent
from readers import outbox_file
from readers.errors import OutboxFault

DEFAULT_CAPACITY = 200_000
# Once full, entries are kept again only below this share, so that the lost ranges stay few.
REFILL_SHARE = 0.9
# A centre's last backup should not be older.
DEFAULT_KEEP_DAYS = 7
TIDY_EVERY = 500
MAX_EPOCH_DIGITS = 15
UNREADABLE = "unreadable"
_DAY_MS = 86_400_000
# An event that is complete and that the centre has neither acknowledged nor refused.
_WAITS = "content IS NOT NULL AND aside IS NULL AND NOT acknowledged"


@dataclass(frozen=True, slots=True)
class Aside:
    """An event the centre did not take, kept for an administrator."""

    event: TapEvent
    code: str


@dataclass(frozen=True, slots=True)
class LostRange:
    """The reports of the events `first`..`last` of `epoch` were not kept: the outbox was full since `since_ms`."""

    epoch: int
    first: int
    last: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How many entries wait for the centre, were set aside, and are lost."""

    waiting: int
    aside: int
    lost: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How many entries wait at most, and how many days acknowledged ones are kept (never more of them than that)."""

    capacity: int = DEFAULT_CAPACITY
    keep_days: int = DEFAULT_KEEP_DAYS


class Outbox:
    """The outbox of one agent; made with `open`, which starts a new epoch."""

    def __init__(self, connection: sqlite3.Connection, lock_fd: int, agent: str, limits: Limits) -> None:
        self._connection = connection
        self._lock_fd = lock_fd
        self._agent = agent
        self._limits = limits
        self._sequence = 0
        self._full = False
        self.depth = Depth(waiting=0, aside=0, lost=0)
        self.epoch = 0
        self.abandoned = 0

    @classmethod
    def open(
        cls,
        path: Path,
        agent: str,
        *,
        at_ms: int,
        capacity: int = DEFAULT_CAPACITY,
        keep_days: int = DEFAULT_KEEP_DAYS,
    ) -> Self:
        """Open or make the outbox at `path`, begin a new epoch, and end every tap a crash left open as `abandoned`.

        Raises:
            OutboxFault: unreadable, damaged, readable by others, of another agent, of a newer version, or in use.
        """
        lock_fd = outbox_file.lock(path)
        try:
            outbox_file.make_private(path)
            connection = outbox_file.connect(path)
        except OutboxFault:
            os.close(lock_fd)
            raise
        outbox = cls(connection, lock_fd, agent, Limits(capacity, keep_days))
        try:
            outbox._begin_epoch(path, at_ms)
        except OutboxFault:
            outbox.close()
            raise
        return outbox

    def open_tap(self, point: str, at_ms: int) -> EventId:
        """Give a tap its id and store it as open; when the outbox is full, store only that its report is lost.

        Raises:
            OutboxFault: it did not become durable; the id was not used.
        """
        sequence = self._sequence + 1
        full = self._is_full()
        with self._durable():
            if full:
                self._note_lost(sequence, at_ms)
            else:
                self._connection.execute(
                    "INSERT INTO entries (epoch, sequence, point, at_ms) VALUES (?, ?, ?, ?)",
                    (self.epoch, sequence, point, at_ms),
                )
            self._connection.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (self.epoch, sequence))
            if sequence % TIDY_EVERY == 0:
                self._tidy(at_ms)
        self._sequence = sequence
        self._count(waiting=0 if full else 1, lost=1 if full else 0)
        return EventId(agent=self._agent, epoch=self.epoch, sequence=sequence)

    def finish(self, event: TapEvent) -> bool:
        """Store what came of a tap; return whether it was kept (not if the outbox was full when the tap began).

        Raises:
            OutboxFault: it did not become durable.
        """
        with self._durable():
            changed = self._connection.execute(
                "UPDATE entries SET content = ? WHERE epoch = ? AND sequence = ? AND content IS NULL",
                (event.model_dump_json(exclude_none=True), event.event.epoch, event.event.sequence),
            ).rowcount
        return changed == 1

    def pending(self, limit: int) -> Sequence[TapEvent]:
        """Return up to `limit` finished events the centre has not acknowledged, oldest first.

        Raises:
            OutboxFault: the outbox cannot be read.
        """
        rows = self._select(
            f"SELECT epoch, sequence, content FROM entries WHERE {_WAITS} ORDER BY epoch, sequence LIMIT ?",  # noqa: S608  # our own words
            (limit,),
        )
        events = []
        for epoch, sequence, content in rows:
            try:
                events.append(TapEvent.model_validate_json(content))
            except ValidationError:
                self._set_unreadable_aside(epoch, sequence)
        return events

    def acknowledged(self, events: Sequence[EventId]) -> int:
        """Note that the centre has stored these finished events durably; return how many were known and are new.

        Raises:
            OutboxFault: it did not become durable.
        """
        with self._durable():
            noted = sum(
                self._connection.execute(
                    f"UPDATE entries SET acknowledged = 1 WHERE epoch = ? AND sequence = ? AND {_WAITS}",  # noqa: S608  # as above
                    (event.epoch, event.sequence),
                ).rowcount
                for event in events
            )
        self._count(waiting=-noted)
        return noted

    def account(self) -> Sequence[EpochAccount]:
        """Return, for the newest epochs, up to where the centre must have every event, and which it cannot have.

        Raises:
            OutboxFault: the outbox cannot be read.
        """
        epochs = self._select("SELECT epoch, last FROM epochs ORDER BY epoch DESC LIMIT ?", (MAX_ACCOUNTED_EPOCHS,))
        accounts = [self._account(epoch, last) for epoch, last in epochs]
        return [account for account in accounts if account is not None]

    def again(self, wanted: EventRange, at_ms: int) -> int:
        """Let kept events of `wanted` wait for the centre again; return how many those are.

        What is not kept any more counts as lost from now on.

        Raises:
            OutboxFault: it did not become durable.
        """
        # No further than we ever counted, whatever is asked for.
        row = self._select("SELECT last FROM epochs WHERE epoch = ?", (wanted.epoch,))
        end = min(wanted.last, row[0][0]) if row else 0
        chosen = (wanted.epoch, wanted.first, end)
        with self._durable():
            waiting = self._connection.execute(
                "UPDATE entries SET acknowledged = 0 WHERE epoch = ? AND sequence BETWEEN ? AND ? AND acknowledged",
                chosen,
            ).rowcount
            known = self._connection.execute(
                "SELECT sequence, sequence FROM entries WHERE epoch = ? AND sequence BETWEEN ? AND ?"
                " UNION SELECT first, last FROM lost WHERE epoch = ? AND last >= ? AND first <= ? ORDER BY 1",
                chosen + chosen,
            ).fetchall()
            gaps = _gaps(wanted.first, end, known)
            self._connection.executemany(
                "INSERT OR REPLACE INTO lost VALUES (?, ?, ?, ?)",
                [(wanted.epoch, first, last, at_ms) for first, last in gaps],
            )
        self._count(waiting=waiting, lost=sum(last - first + 1 for first, last in gaps))
        return waiting

    def set_aside(self, event: EventId, code: str) -> bool:
        """Keep a finished event that the centre refused, but send it no more; return whether it was known.

        Raises:
            OutboxFault: it did not become durable.
        """
        with self._durable():
            changed = self._connection.execute(
                f"UPDATE entries SET aside = ? WHERE epoch = ? AND sequence = ? AND {_WAITS}",  # noqa: S608  # as above
                (code, event.epoch, event.sequence),
            ).rowcount
        self._count(waiting=-changed, aside=changed)
        return changed == 1

    def remember(self, key: str, value: str) -> None:
        """Keep a small setting of the centre for the next start.

        Raises:
            OutboxFault: it did not become durable.
        """
        with self._durable():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def recall(self, key: str) -> str | None:
        """Return what was remembered under `key`.

        Raises:
            OutboxFault: the outbox cannot be read.
        """
        rows = self._select("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else None

    def close(self) -> None:
        """Close the file and let another process open it."""
        self._connection.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _begin_epoch(self, path: Path, at_ms: int) -> None:
        owner = self.recall("agent")
        if owner is not None and owner != self._agent:
            raise OutboxFault(f"outbox {path} belongs to agent {owner!r}, not to {self._agent!r}")
        epoch = max(self._last_epoch() + 1, at_ms // 1_000)
        with self._durable():
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('agent', ?)", (self._agent,))
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", (str(epoch),))
            self._connection.execute(
                "DELETE FROM epochs WHERE epoch NOT IN (SELECT epoch FROM epochs ORDER BY epoch DESC LIMIT ?)",
                (MAX_ACCOUNTED_EPOCHS,),
            )
            self._abandon_open_taps()
            self._tidy(at_ms)
        self.epoch = epoch
        waiting, aside = self._select(
            "SELECT count(*) - count(aside), count(aside) FROM entries WHERE NOT acknowledged"
        )[0]
        (lost,) = self._select("SELECT coalesce(sum(last - first + 1), 0) FROM lost")[0]
        self.depth = Depth(waiting=waiting, aside=aside, lost=lost)

    def _last_epoch(self) -> int:
        text = self.recall("epoch") or "0"
        if len(text) > MAX_EPOCH_DIGITS or not text.isdecimal():
            raise OutboxFault("outbox: its epoch is none of ours; move the file away, a new one is made")
        return int(text)

    def _abandon_open_taps(self) -> None:
        open_taps = self._select("SELECT epoch, sequence, point, at_ms FROM entries WHERE content IS NULL")
        for epoch, sequence, point, at_ms in open_taps:
            event = self._abandoned_tap(epoch, sequence, point, at_ms)
            self._connection.execute(
                "UPDATE entries SET content = ? WHERE epoch = ? AND sequence = ?",
                (event.model_dump_json(exclude_none=True), epoch, sequence),
            )
        self.abandoned = len(open_taps)

    def _abandoned_tap(self, epoch: int, sequence: int, point: str, at_ms: int) -> TapEvent:
        try:
            event = EventId(agent=self._agent, epoch=epoch, sequence=sequence)
            return TapEvent(event=event, point=point, at_ms=at_ms, outcome="abandoned")
        except ValidationError:
            raise OutboxFault(
                f"outbox: the entry {epoch}/{sequence} is none of ours; move the file away, a new one is made"
            ) from None

    def _is_full(self) -> bool:
        limit = self._limits.capacity * REFILL_SHARE if self._full else self._limits.capacity
        self._full = self.depth.waiting + self.depth.aside >= limit
        return self._full

    def _note_lost(self, sequence: int, at_ms: int) -> None:
        extended = self._connection.execute(
            "UPDATE lost SET last = ? WHERE epoch = ? AND last = ?", (sequence, self.epoch, sequence - 1)
        ).rowcount
        if not extended:
            self._connection.execute("INSERT INTO lost VALUES (?, ?, ?, ?)", (self.epoch, sequence, sequence, at_ms))

    def _set_unreadable_aside(self, epoch: int, sequence: int) -> None:
        """Keep a report that is damaged, so that it does not hold up those behind it."""
        with self._durable():
            self._connection.execute(
                "UPDATE entries SET aside = ? WHERE epoch = ? AND sequence = ?", (UNREADABLE, epoch, sequence)
            )
        self._count(waiting=-1, aside=1)

    def _tidy(self, at_ms: int) -> None:
        """Forget what was acknowledged and need not be kept any longer."""
        self._connection.execute(
            "DELETE FROM entries WHERE acknowledged AND at_ms < ?", (at_ms - self._limits.keep_days * _DAY_MS,)
        )
        (kept,) = self._connection.execute("SELECT count(*) FROM entries WHERE acknowledged").fetchone()
        if kept > self._limits.capacity:
            self._connection.execute(
                "DELETE FROM entries WHERE (epoch, sequence) IN"
                " (SELECT epoch, sequence FROM entries WHERE acknowledged ORDER BY epoch, sequence LIMIT ?)",
                (kept - self._limits.capacity,),
            )

    def _account(self, epoch: int, last: int) -> EpochAccount | None:
        ((unsent,),) = self._select(
            "SELECT min(sequence) FROM entries WHERE epoch = ? AND aside IS NULL AND NOT acknowledged", (epoch,)
        )
        through = last if unsent is None else unsent - 1
        lost = self._select(
            "SELECT first, last FROM lost WHERE epoch = ? AND first <= ? ORDER BY first LIMIT ?",
            (epoch, through, MAX_RANGES + 1),
        )
        refused = self._select(
            "SELECT sequence, sequence FROM entries WHERE epoch = ? AND sequence <= ? AND aside IS NOT NULL"
            " ORDER BY sequence LIMIT ?",
            (epoch, through, MAX_RANGES + 1),
        )
        # Claim only as far as the exceptions fit into the message.
        for ranges in (lost, refused):
            if len(ranges) > MAX_RANGES:
                through = min(through, ranges[MAX_RANGES][0] - 1)
        if through < 1:
            return None
        try:
            return EpochAccount(
                epoch=epoch,
                through=through,
                lost=tuple((first, min(end, through)) for first, end in lost if first <= through),
                refused=tuple((first, end) for first, end in refused if first <= through),
            )
        except ValidationError:
            # Numbers that no agent counts to: of this epoch nothing is claimed.
            return None

    def _count(self, *, waiting: int = 0, aside: int = 0, lost: int = 0) -> None:
        self.depth = Depth(self.depth.waiting + waiting, self.depth.aside + aside, self.depth.lost + lost)

    def _select(self, statement: str, values: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise OutboxFault(f"outbox cannot be read: {error}") from error

    @contextmanager
    def _durable(self) -> Iterator[None]:
        """One transaction, on the disk when the block ends without an error."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            self._connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError) as error:
            raise OutboxFault(f"outbox cannot be written: {error}") from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _gaps(first: int, last: int, known: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges of `first`..`last` that the sorted ranges `known` leave out."""
    gaps = []
    for begins, ends in known:
        if begins > first:
            gaps.append((first, begins - 1))
        first = max(first, ends + 1)
    if first <= last:
        gaps.append((first, last))
    return gaps


def read_aside(path: Path) -> tuple[Sequence[Aside], Sequence[LostRange]]:
    """Return what an administrator should look at in the outbox at `path`, even while its agent runs.

    Raises:
        OutboxFault: there is none, or it cannot be read.
    """
    with closing(outbox_file.connect_to_read(path)) as connection:
        try:
            refused = connection.execute(
                "SELECT content, aside FROM entries WHERE aside != ? ORDER BY epoch, sequence", (UNREADABLE,)
            ).fetchall()
            lost = connection.execute(
                "SELECT epoch, first, last, since_ms FROM lost"
                " UNION SELECT epoch, sequence, sequence, at_ms FROM entries WHERE aside = ? ORDER BY epoch, first",
                (UNREADABLE,),
            ).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise OutboxFault(f"outbox {path} cannot be read: {error}") from error
    try:
        asides = [Aside(TapEvent.model_validate_json(content), code) for content, code in refused]
    except ValidationError:
        raise OutboxFault(f"outbox {path} holds a report that is none of ours") from None
    return asides, [LostRange(*row) for row in lost]


def read_waiting(path: Path) -> Sequence[TapEvent]:
    """Return what waits for the centre in the outbox at `path`, oldest first, even while its agent runs.

    Raises:
        OutboxFault: there is none, or it cannot be read.
    """
    with closing(outbox_file.connect_to_read(path)) as connection:
        try:
            rows = connection.execute(
                f"SELECT content FROM entries WHERE {_WAITS} ORDER BY epoch, sequence"  # noqa: S608  # as above
            ).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise OutboxFault(f"outbox {path} cannot be read: {error}") from error
    try:
        return [TapEvent.model_validate_json(content) for (content,) in rows]
    except ValidationError:
        raise OutboxFault(f"outbox {path} holds a report that is none of ours") from None
