# SPDX-License-Identifier: EUPL-1.2
"""Appending to the journal, and proving that nobody changed it.

`Journal.append` runs inside the recorder's transaction. Personal data never stand in an entry's payload: they are
sealed with AES-256-GCM under a key of this person in this stream, which is itself wrapped under the stream's key.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

import sqlalchemy as sa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.engine import Connection, Engine

from cardservice.database import insert_or, read, write
from cardservice.errors import JournalBroken
from cardservice.hot_sql import fetch, insert_rows, run
from cardservice.journal import store
from cardservice.journal.canonical import canonical
from cardservice.journal.rules import GENESIS, Place, Scalar, chain_hash, sealed_digest
from cardservice.pseudonyms import pseudonym_of
from cardservice.randomness import random_bytes

_NONCE_BYTES: Final = 12
_DAY_MS: Final = 86_400_000
MAX_CACHED_KEYS: Final = 50_000
# The number under which is sealed what is about no person, such as what a system gave as its reason.
NOBODY: Final = 0

_FIND_KEY: Final = "SELECT wrapped_key FROM journal_subject_key WHERE stream = ? AND pseudonym = ?"
_MOVE_HEAD: Final = "UPDATE journal_head SET sequence = ?, hash = ? WHERE stream = ? AND epoch = ?"

# Returns the 32-byte secret of a purpose ("pseudonym", "seal") in one stream, from the key store.
StreamSecret = Callable[[str, str], bytes]


class Entry(NamedTuple):
    """One thing to remember: `payload` is open to auditors, `personal` is sealed for `person` (a stable number)."""

    stream: str
    at_ms: int
    payload: Mapping[str, Scalar]
    person: int | None = None
    personal: Mapping[str, Scalar] | None = None


@dataclass(slots=True)
class _Unwritten:
    """Rows appended and not written yet, and the streams whose heads moved."""

    entries: list[tuple[Any, ...]] = field(default_factory=list)
    subjects: list[tuple[Any, ...]] = field(default_factory=list)
    streams: set[str] = field(default_factory=set)


class Journal:
    """The chains of this writer's epoch. Used by the recorder's thread only."""

    def __init__(self, secret: StreamSecret) -> None:
        self._secret = secret
        self._epoch = 0
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._subjects: dict[tuple[str, int], tuple[str, AESGCM]] = {}
        self._unwritten: _Unwritten | None = None

    def begin_epoch(self, engine: Engine, now_ms: int) -> int:
        """Start the chains of a new writer; return its epoch.

        Never used before: it grows with every start and never stays below the seconds of the wall clock, so that a
        store restored from an older copy does not repeat itself.

        Raises:
            DatabaseUnavailable: the record store cannot be written.
        """
        table = store.journal_epoch
        with write(engine) as connection:
            begun = connection.execute(sa.select(sa.func.max(table.c.epoch))).scalar() or 0
            used = connection.execute(sa.select(sa.func.max(store.journal_head.c.epoch))).scalar() or 0
            self._epoch = max(begun + 1, used + 1, now_ms // 1_000)
            connection.execute(sa.insert(table).values(epoch=self._epoch, started_ms=now_ms))
        self._heads.clear()
        return self._epoch

    def append(self, connection: Connection, entry: Entry) -> Place:
        """Append `entry`; return its place in the chain."""
        sequence, previous = self._head(connection, entry.stream)
        place = Place(entry.stream, self._epoch, sequence + 1)
        payload = canonical(entry.payload)
        pseudonym, sealed = self._seal(connection, place, entry)
        personal = sealed_digest(sealed)
        link = chain_hash(previous, place, entry.at_ms, payload, personal)
        unwritten = _Unwritten() if self._unwritten is None else self._unwritten
        unwritten.entries.append((*place, entry.at_ms, payload, sealed, personal, link))
        if pseudonym is not None:
            unwritten.subjects.append((*place, pseudonym))
        self._heads[entry.stream] = (place.sequence, link)
        unwritten.streams.add(entry.stream)
        if self._unwritten is None:
            self._write(connection, unwritten)
        return place

    def gather(self) -> None:
        """Keep what is appended in memory until `flush`."""
        self._unwritten = _Unwritten()

    def flush(self, connection: Connection) -> None:
        """Write what was appended since `gather`."""
        unwritten, self._unwritten = self._unwritten, None
        if unwritten is not None:
            self._write(connection, unwritten)

    def write_gathered(self, connection: Connection) -> None:
        """Write what was gathered so far, so that a query sees it."""
        if self._unwritten is not None:
            gathered, self._unwritten = self._unwritten, _Unwritten()
            self._write(connection, gathered)

    def forget_keys(self, stream: str, pseudonyms: Collection[str]) -> None:
        """Read the keys of these people anew: they may be gone from the store."""
        for known, (pseudonym, _) in list(self._subjects.items()):
            if known[0] == stream and pseudonym in pseudonyms:
                del self._subjects[known]

    def nobodys(self, stream: str) -> str:
        """Return what a stream calls nobody: what is sealed about no person. Its key is never taken away."""
        return pseudonym_of(self._secret(stream, "pseudonym"), NOBODY)

    def _write(self, connection: Connection, unwritten: _Unwritten) -> None:
        insert_rows(connection, store.journal_entry, unwritten.entries)
        insert_rows(connection, store.journal_subject, unwritten.subjects)
        for stream in unwritten.streams:
            sequence, link = self._heads[stream]
            run(connection, _MOVE_HEAD, (sequence, link, stream, self._epoch))

    def count(self, connection: Connection, stream: str, at_ms: int, outcome: str) -> None:
        """Count one tap of the day, without keeping it."""
        table = store.journal_count
        first = insert_or(connection, table).values(stream=stream, day=at_ms // _DAY_MS, outcome=outcome, count=1)
        connection.execute(
            first.on_conflict_do_update(index_elements=list(table.primary_key), set_={"count": table.c["count"] + 1})
        )

    def mark(self) -> object:
        """Return what `back_to` needs to undo what follows."""
        return dict(self._heads)

    def back_to(self, mark: object) -> None:
        """Undo everything since `mark`."""
        self._heads = cast("dict[str, tuple[int, bytes]]", mark)
        # A key made since may have been rolled back with its row; reading it again costs nothing worth counting.
        self._subjects.clear()
        self._unwritten = None

    def forget(self) -> None:
        """Drop what is held in memory; the store is read again."""
        self._heads.clear()
        self._subjects.clear()
        self._unwritten = None

    def _head(self, connection: Connection, stream: str) -> tuple[int, bytes]:
        if stream not in self._heads:
            table = store.journal_head
            row = connection.execute(
                sa.select(table).where(table.c.stream == stream, table.c.epoch == self._epoch)
            ).first()
            if row is None:
                first = {"stream": stream, "epoch": self._epoch, "sequence": 0, "hash": GENESIS}
                connection.execute(sa.insert(table), first)
            self._heads[stream] = (0, GENESIS) if row is None else (row.sequence, bytes(row.hash))
        return self._heads[stream]

    def _seal(self, connection: Connection, place: Place, entry: Entry) -> tuple[str | None, bytes | None]:
        """Return the person's pseudonym in the stream and the sealed personal part, None if there is none."""
        if entry.person is None or entry.personal is None:
            return None, None
        pseudonym, key = self._subject(connection, entry.stream, entry.person)
        nonce = random_bytes(_NONCE_BYTES)
        return pseudonym, nonce + key.encrypt(nonce, canonical(entry.personal).encode(), _context(place))

    def _subject(self, connection: Connection, stream: str, person: int) -> tuple[str, AESGCM]:
        """Return the person's pseudonym and key in one stream; both are made when they are first needed."""
        known = self._subjects.get((stream, person))
        if known is not None:
            return known
        subject = pseudonym_of(self._secret(stream, "pseudonym"), person)
        key = self._stored_key(connection, stream, subject) or self._make_key(connection, stream, subject)
        if len(self._subjects) >= MAX_CACHED_KEYS:
            self._subjects.clear()
        self._subjects[stream, person] = subject, key
        return subject, key

    def _stored_key(self, connection: Connection, stream: str, pseudonym: str) -> AESGCM | None:
        found = fetch(connection, _FIND_KEY, (stream, pseudonym))
        if not found:
            return None
        wrapped = bytes(found[0][0])
        wrapping = AESGCM(self._secret(stream, "seal"))
        return AESGCM(wrapping.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], pseudonym.encode()))

    def _make_key(self, connection: Connection, stream: str, pseudonym: str) -> AESGCM:
        """Store a new key, unless another writer did so at the same moment: then theirs counts."""
        raw, nonce = random_bytes(32), random_bytes(_NONCE_BYTES)
        wrapped = nonce + AESGCM(self._secret(stream, "seal")).encrypt(nonce, raw, pseudonym.encode())
        row = {"stream": stream, "pseudonym": pseudonym, "wrapped_key": wrapped}
        table = store.journal_subject_key
        # What came back, not the driver's count: that is unknown on PostgreSQL where nothing was inserted.
        insert = insert_or(connection, table).on_conflict_do_nothing().returning(table.c.pseudonym)
        if connection.execute(insert, row).first() is not None:
            return AESGCM(raw)
        theirs = self._stored_key(connection, stream, pseudonym)
        if theirs is None:
            raise AssertionError("a key that is neither new nor there")
        return theirs

    def open_sealed(self, connection: Connection, place: Place) -> Mapping[str, Scalar] | None:
        """Return the personal part of one entry, None if it has none or it was erased."""
        entry, subject = store.journal_entry, store.journal_subject
        row = connection.execute(
            sa.select(entry.c.sealed, subject.c.pseudonym)
            .select_from(entry)
            .join(
                subject,
                sa.and_(
                    entry.c.stream == subject.c.stream,
                    entry.c.epoch == subject.c.epoch,
                    entry.c.sequence == subject.c.sequence,
                ),
            )
            .where(
                entry.c.stream == place.stream,
                entry.c.epoch == place.epoch,
                entry.c.sequence == place.sequence,
            )
        ).first()
        if row is None or row.sealed is None:
            return None
        # Always the stored key, never the remembered one: destroying it is how a person is erased.
        key = self._stored_key(connection, place.stream, row.pseudonym)
        if key is None:
            return None
        sealed = bytes(row.sealed)
        opened: Mapping[str, Scalar] = json.loads(
            key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _context(place))
        )
        return opened


def _context(place: Place) -> bytes:
    return f"{place.stream}\0{place.epoch}\0{place.sequence}".encode()


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One verified chain."""

    stream: str
    epoch: int
    entries: int


def verify(engine: Engine) -> list[ChainReport]:
    """Recompute every chain; return them.

    Raises:
        JournalBroken: names the first entry that is missing, moved or changed.
    """
    with read(engine) as connection:
        heads = connection.execute(
            sa.select(store.journal_head).order_by(store.journal_head.c.stream, store.journal_head.c.epoch)
        ).all()
        _refuse_orphans(connection)
        return [_verify_chain(connection, head) for head in heads]


def _refuse_orphans(connection: Connection) -> None:
    entry, head = store.journal_entry, store.journal_head
    same = sa.and_(entry.c.stream == head.c.stream, entry.c.epoch == head.c.epoch)
    orphan = connection.execute(
        sa.select(entry.c.stream, entry.c.epoch).join(head, same, isouter=True).where(head.c.stream.is_(None)).limit(1)
    ).first()
    if orphan is not None:
        raise JournalBroken(f"stream {orphan.stream}, epoch {orphan.epoch}: entries without a head; it was removed")


def _verify_chain(connection: Connection, head: sa.Row[Any]) -> ChainReport:
    previous, expected = GENESIS, 1
    # Closed here: a chain that is broken in the middle must not leave its cursor open at the server.
    with _entries(connection, head.stream, head.epoch) as rows:
        for row in rows:
            where = f"stream {head.stream}, epoch {head.epoch}, entry {expected}"
            if row.sequence != expected:
                raise JournalBroken(f"{where}: missing; the next one found is {row.sequence}")
            if row.sealed is not None and sealed_digest(bytes(row.sealed)) != bytes(row.sealed_digest):
                raise JournalBroken(f"{where}: the sealed part was changed")
            place = Place(row.stream, row.epoch, row.sequence)
            link = chain_hash(previous, place, row.at_ms, row.payload, bytes(row.sealed_digest))
            if link != bytes(row.hash):
                raise JournalBroken(f"{where}: does not fit its hash; it or its place was changed")
            previous, expected = link, expected + 1
    if (expected - 1, previous) != (head.sequence, bytes(head.hash)):
        raise JournalBroken(
            f"stream {head.stream}, epoch {head.epoch}: ends at entry {expected - 1}, its head says {head.sequence}; "
            "it was cut short"
        )
    return ChainReport(head.stream, head.epoch, expected - 1)


def _entries(connection: Connection, stream: str, epoch: int) -> sa.CursorResult[Any]:
    table = store.journal_entry
    return connection.execution_options(yield_per=1_000).execute(
        sa.select(table).where(table.c.stream == stream, table.c.epoch == epoch).order_by(table.c.sequence)
    )
