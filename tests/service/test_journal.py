# SPDX-License-Identifier: EUPL-1.2
"""The journal: chains that verify, every tampering named, personal parts sealed and erasable."""

import secrets
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from service.chains import append, begin, entry
from service.fake_clock import MONDAY_MS
from sqlalchemy.engine import Connection

from cardservice.database import Databases, read, write
from cardservice.errors import JournalBroken
from cardservice.journal import service
from cardservice.journal.rules import GENESIS, Place, chain_hash, sealed_digest
from cardservice.journal.service import ChainReport, Journal, verify
from cardservice.journal.store import (
    journal_count,
    journal_entry,
    journal_head,
    journal_subject,
    journal_subject_key,
)

PERSONAL = {"person": 4711, "card": 12}
E = journal_entry.c


@pytest.fixture
def journal(databases: Databases) -> Journal:
    return begin(databases.record)


def test_an_empty_journal_verifies(databases: Databases, journal: Journal) -> None:
    assert verify(databases.record) == []


def test_each_stream_is_a_chain_of_its_own(databases: Databases, journal: Journal) -> None:
    places = append(databases.record, journal, entry(1), entry(2, stream="printer"), entry(3))
    assert [(place.stream, place.sequence) for place in places] == [("door", 1), ("printer", 1), ("door", 2)]
    assert verify(databases.record) == [ChainReport("door", 1, 2), ChainReport("printer", 1, 1)]


def test_a_long_chain_verifies(databases: Databases, journal: Journal) -> None:
    append(databases.record, journal, *(entry(number) for number in range(1_500)))
    assert verify(databases.record) == [ChainReport("door", 1, 1_500)]


def test_each_writer_has_its_own_epoch(databases: Databases, journal: Journal) -> None:
    """A restart, or a second writer beside the first, never continues another's chain."""
    other = begin(databases.record)
    for writer in (journal, other, journal):
        append(databases.record, writer, entry(1))
    assert verify(databases.record) == [ChainReport("door", 1, 2), ChainReport("door", 2, 1)]
    third = begin(databases.record)
    assert third.begin_epoch(databases.record, 0) == 4


def test_an_epoch_is_never_used_again(databases: Databases, journal: Journal) -> None:
    """Not even when its row was deleted."""
    append(databases.record, journal, entry(1))
    with write(databases.record) as connection:
        connection.execute(sa.text("DELETE FROM journal_epoch"))
    assert journal.begin_epoch(databases.record, 0) == 2


def _change(**values: object) -> Callable[[Connection], None]:
    return lambda connection: _run(connection, sa.update(journal_entry).where(E.sequence == 3).values(**values))


def _run(connection: Connection, statement: sa.Executable) -> None:
    assert connection.execute(statement).rowcount > 0


def _swap(connection: Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        _run(connection, sa.update(journal_entry).where(E.sequence == old).values(sequence=new))


def _delete(*sequences: int) -> Callable[[Connection], None]:
    return lambda connection: _run(connection, sa.delete(journal_entry).where(E.sequence.in_(sequences)))


def _insert(connection: Connection) -> None:
    """An entry that fits its place and its own hash, put between two others."""
    previous = connection.execute(sa.select(E.hash).where(E.sequence == 2)).scalar_one()
    for sequence in (5, 4, 3):
        _run(connection, sa.update(journal_entry).where(E.sequence == sequence).values(sequence=sequence + 1))
    link = chain_hash(bytes(previous), Place("door", 1, 3), 1, "{}", GENESIS)
    _add(connection, sequence=3, link=link)


def _append_forged(connection: Connection) -> None:
    previous = connection.execute(sa.select(E.hash).where(E.sequence == 5)).scalar_one()
    _add(connection, sequence=6, link=chain_hash(bytes(previous), Place("door", 1, 6), 1, "{}", GENESIS))


def _add(connection: Connection, *, sequence: int, link: bytes) -> None:
    values = {"stream": "door", "epoch": 1, "sequence": sequence, "at_ms": 1, "payload": "{}"}
    connection.execute(sa.insert(journal_entry).values(**values, sealed_digest=GENESIS, hash=link))


def _remove_head(connection: Connection) -> None:
    _run(connection, sa.delete(journal_head))


def _change_head(connection: Connection) -> None:
    _run(connection, sa.update(journal_head).values(hash=secrets.token_bytes(32)))


def _seal_what_was_not(connection: Connection) -> None:
    _run(connection, sa.update(journal_entry).where(E.sequence == 4).values(sealed=b"secret"))


def _other_seal(connection: Connection) -> None:
    other = b"another sealed part"
    _run(
        connection,
        sa.update(journal_entry).where(E.sequence == 3).values(sealed=other, sealed_digest=sealed_digest(other)),
    )


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (_change(payload='{"number":4}'), "entry 3: does not fit its hash"),
        (_change(payload='{"number": 3}'), "entry 3: does not fit its hash"),
        (_change(at_ms=MONDAY_MS + 4), "entry 3: does not fit its hash"),
        (_change(sealed=b"changed"), "entry 3: the sealed part was changed"),
        (_change(sealed=b""), "entry 3: the sealed part was changed"),
        (_change(sealed_digest=bytes(32)), "entry 3: the sealed part was changed"),
        (_change(hash=bytes(32)), "entry 3: does not fit its hash"),
        (_change(stream="printer"), "stream printer, epoch 1: entries without a head"),
        (_change(epoch=2), "stream door, epoch 2: entries without a head"),
        (_seal_what_was_not, "entry 4: the sealed part was changed"),
        (_other_seal, "entry 3: does not fit its hash"),
        (_swap, "entry 2: does not fit its hash"),
        (_delete(1), "entry 1: missing; the next one found is 2"),
        (_delete(3), "entry 3: missing; the next one found is 4"),
        (_delete(2, 3, 4), "entry 2: missing; the next one found is 5"),
        (_delete(5), "ends at entry 4, its head says 5; it was cut short"),
        (_delete(1, 2, 3, 4, 5), "ends at entry 0, its head says 5; it was cut short"),
        (_insert, "entry 4: does not fit its hash"),
        (_append_forged, "ends at entry 6, its head says 5"),
        (_remove_head, "stream door, epoch 1: entries without a head; it was removed"),
        (_change_head, "stream door, epoch 1: ends at entry 5"),
    ],
)
def test_tampering_is_found_and_named(
    databases: Databases, journal: Journal, tamper: Callable[[Connection], None], message: str
) -> None:
    append(databases.record, journal, *(entry(n) for n in (1, 2)), entry(3, person=1, personal=PERSONAL), entry(4))
    append(databases.record, journal, entry(5))
    assert verify(databases.record) == [ChainReport("door", 1, 5)]
    with write(databases.record) as connection:
        tamper(connection)
    with pytest.raises(JournalBroken, match=message):
        verify(databases.record)


def test_tampering_in_one_chain_is_found_whatever_the_others_say(databases: Databases, journal: Journal) -> None:
    append(databases.record, journal, entry(1), entry(2, stream="printer"))
    append(databases.record, begin(databases.record), entry(1), entry(2, stream="printer"))
    with write(databases.record) as connection:
        connection.execute(sa.update(journal_entry).where(E.stream == "printer", E.epoch == 2).values(payload="{}"))
    with pytest.raises(JournalBroken, match="stream printer, epoch 2, entry 1"):
        verify(databases.record)


def test_verifying_beside_a_writer_raises_no_false_alarm(
    databases: Databases, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that come between reading the heads and reading the entries belong to a later moment."""
    append(databases.record, journal, entry(1))
    original = service._refuse_orphans

    def late_entry(connection: Connection) -> None:
        append(databases.record, journal, entry(2), entry(3, stream="printer"))
        original(connection)

    monkeypatch.setattr(service, "_refuse_orphans", late_entry)
    assert verify(databases.record) == [ChainReport("door", 1, 1)]


def opened(databases: Databases, journal: Journal, place: Place) -> object:
    with read(databases.record) as connection:
        return journal.open_sealed(connection, place)


def test_personal_parts_are_sealed_and_open_with_the_key(databases: Databases, journal: Journal) -> None:
    """No payload, no column holds them in the clear; the same secrets open them after a restart."""
    sealed, plain, other = append(
        databases.record,
        journal,
        entry(1, person=4711, personal=PERSONAL),
        entry(2),
        entry(3, person=4712, personal={"person": 4712}),
    )
    again = begin(databases.record)
    for reader in (journal, again):
        assert opened(databases, reader, sealed) == PERSONAL
        assert opened(databases, reader, plain) is None
        assert opened(databases, reader, other) == {"person": 4712}
        assert opened(databases, reader, Place("door", 1, 99)) is None
    with databases.record.connect() as connection:
        rows = connection.execute(sa.select(journal_entry)).all()
        assert not any("4711" in repr(row) for row in rows)
        assert not any("4711" in repr(row) for row in connection.execute(sa.select(journal_subject)))


def test_without_the_secrets_nothing_opens(databases: Databases, journal: Journal) -> None:
    (sealed,) = append(databases.record, journal, entry(1, person=1, personal=PERSONAL))
    with pytest.raises(InvalidTag):
        opened(databases, Journal(lambda *_: bytes(32)), sealed)


def test_a_sealed_part_opens_in_its_own_place_alone(databases: Databases, journal: Journal) -> None:
    one, two = append(databases.record, journal, *(entry(n, person=1, personal={"n": n}) for n in (1, 2)))
    with write(databases.record) as connection:
        moved = sa.select(E.sealed).where(E.sequence == one.sequence).scalar_subquery()
        connection.execute(sa.update(journal_entry).where(E.sequence == two.sequence).values(sealed=moved))
    with pytest.raises(InvalidTag):
        opened(databases, journal, two)


def test_one_person_has_one_pseudonym_in_a_stream_and_another_in_each(databases: Databases, journal: Journal) -> None:
    """Nothing in the record links what one person does in two uses."""
    for stream in ("door", "door", "printer"):
        append(databases.record, journal, entry(stream=stream, person=1, personal=PERSONAL))
    with databases.record.connect() as connection:
        subjects = connection.execute(sa.select(journal_subject).order_by("stream", "sequence")).all()
        keys = connection.execute(sa.select(journal_subject_key)).all()
    assert subjects[0].pseudonym == subjects[1].pseudonym != subjects[2].pseudonym
    assert len(keys) == 2
    assert bytes(keys[0].wrapped_key) != bytes(keys[1].wrapped_key)


@pytest.mark.parametrize("cached", [True, False])
def test_erasing_leaves_the_chain_valid(databases: Databases, journal: Journal, *, cached: bool) -> None:
    """Destroying the key, the sealed part or the subject's rows: nothing opens any more, the chain verifies."""
    places = append(databases.record, journal, *(entry(n, person=n, personal=PERSONAL) for n in (1, 2, 3, 4)))
    reader = journal if cached else begin(databases.record)
    with databases.record.connect() as connection:
        names = list(connection.execute(sa.select(journal_subject.c.pseudonym).order_by("sequence")).scalars())
    with write(databases.record) as connection:
        connection.execute(sa.delete(journal_subject_key).where(journal_subject_key.c.pseudonym == names[0]))
        connection.execute(sa.update(journal_entry).where(E.sequence == 2).values(sealed=None))
        connection.execute(sa.delete(journal_subject).where(journal_subject.c.pseudonym == names[2]))
    assert [opened(databases, reader, place) for place in places] == [None, None, None, PERSONAL]
    assert verify(databases.record) == [ChainReport("door", 1, 4)]
    with databases.record.connect() as connection:
        kept = list(connection.execute(sa.select(journal_subject_key.c.pseudonym)).scalars())
    assert sorted(kept) == sorted(names[1:]), "reading what was erased makes no new key"


def test_counts_keep_no_entry(databases: Databases, journal: Journal) -> None:
    """A day is a UTC day; outcomes are counted apart, streams too."""
    day_ms = 86_400_000
    taps = [
        ("door", 5, "granted"),
        ("door", day_ms - 1, "granted"),
        ("door", day_ms, "granted"),
        ("door", 5, "blocked"),
    ]
    with write(databases.record) as connection:
        for stream, at_ms, outcome in [*taps, ("printer", 5, "granted")]:
            journal.count(connection, stream, at_ms, outcome)
    with databases.record.connect() as connection:
        rows = connection.execute(sa.select(journal_count)).all()
    found = {tuple(row)[:3]: tuple(row)[3] for row in rows}
    assert found == {
        ("door", 0, "granted"): 2,
        ("door", 1, "granted"): 1,
        ("door", 0, "blocked"): 1,
        ("printer", 0, "granted"): 1,
    }
    assert verify(databases.record) == []


def test_a_restored_store_repeats_no_epoch(databases: Databases) -> None:
    """An epoch is never below the seconds of the wall clock, and grows even when that clock goes back."""
    journal = begin(databases.record)
    assert journal.begin_epoch(databases.record, MONDAY_MS) == MONDAY_MS // 1_000
    assert journal.begin_epoch(databases.record, MONDAY_MS - 86_400_000) == MONDAY_MS // 1_000 + 1
