# SPDX-License-Identifier: EUPL-1.2
"""Batches: a list is looked at, then stored as a whole, then carried out line by line, each in its own transaction.

Whoever goes on after a crash finds each line done or waiting, never half. Nobody has to: `worker.py` goes on by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice.cards.bulk import rules
from cardservice.cards.bulk.reaches import reaches_from, text_of
from cardservice.cards.bulk.rules import MAX_FAULTS, Fault, ListRefused, Wanted, fault, read_list
from cardservice.cards.bulk.store import card_batch, card_batch_line
from cardservice.cards.life.service import Gift, Giver, give
from cardservice.cards.rules import ISSUE
from cardservice.cards.service import By
from cardservice.cards.store import card
from cardservice.courtesy import give_way
from cardservice.database import read, row_id, write
from cardservice.errors import CardServiceError, Conflict, DatabaseError, NotFound
from cardservice.people.register import within
from cardservice.people.store import organisation, person

AT_ONCE: Final = 50
MAX_SHOWN: Final = 50
# What stands in the place of a fault where somebody cancelled what was left.
CANCELLED: Final = "cancelled"
_MAX_FAULT: Final = 200


class ListUnfit(Conflict):
    """A list that cannot be carried out; the dry run tells what is wrong."""

    code = "list_unfit"


@dataclass(frozen=True, slots=True)
class Understood:
    """How a list was understood: each line with the row number of who is meant."""

    lines: tuple[tuple[Wanted, int], ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class LineDone:
    """What came of one line: a card, a fault, or neither: it waits."""

    line: int
    person: int
    profile: str
    card: str | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is; `ended_ms` is since when no line waits; `failed` does not count `cancelled`."""

    batch: int
    made_ms: int
    lines: int
    done: int
    failed: int
    cancelled: int = 0
    ended_ms: int | None = None

    @property
    def waiting(self) -> int:
        """How many lines nobody has got to."""
        return self.lines - self.done - self.failed - self.cancelled


def look_at(connection: Connection, content: bytes, giver: Giver) -> Understood:
    """Return how a list is understood. Nothing is stored.

    Raises:
        ListUnfit: the file is no list.
    """
    try:
        wanted, faults = read_list(content)
    except ListRefused as refused:
        raise ListUnfit(str(refused)) from None
    lines: list[tuple[Wanted, int]] = []
    holders: dict[tuple[int, str], int] = {}
    for one in wanted:
        found = people_called(connection, one.person, giver)
        if len(found) != 1:
            faults.append(fault(one.line, "person", rules.SEVERAL if found else rules.UNKNOWN))
        elif found[0] == giver.by.person:
            faults.append(fault(one.line, "person", rules.ONESELF))
        elif (first := holders.setdefault((found[0], one.profile), one.line)) != one.line:
            faults.append(fault(one.line, "person", rules.SAME_PERSON, first=first))
        else:
            lines.append((one, found[0]))
    return Understood(tuple(lines), tuple(sorted(faults, key=lambda one: one.line)[:MAX_FAULTS]))


def begin(connection: Connection, content: bytes, giver: Giver, now_ms: int) -> int:
    """Store a list as a batch, all lines or none; return its number.

    Raises:
        ListUnfit: something is wrong with it.
    """
    found = look_at(connection, content, giver)
    if found.faults:
        first = found.faults[0]
        raise ListUnfit(f"line {first.line}, {first.column}: {first.message}")
    if not found.lines:
        raise ListUnfit("the list names nobody")
    made: dict[str, Any] = {"made_ms": now_ms, "made_by": giver.by.name, "made_by_id": giver.by.person}
    made |= {"lines": len(found.lines), "reaches": text_of(giver.reaches)}
    number = row_id(connection.execute(sa.insert(card_batch).values(**made)))
    rows = [
        {
            "batch_id": number,
            "line": one.line,
            "person_id": holder,
            "profile": one.profile,
            "valid_from_ms": one.from_ms,
        }
        for one, holder in found.lines
    ]
    connection.execute(sa.insert(card_batch_line), rows)
    return number


def go_on(engine: Engine, batch: int, giver: Giver, now_ms: int, at_once: int = AT_ONCE) -> Progress:
    """Carry out the next lines of a batch, at most `at_once`; return how far it is.

    Two that go on at the same moment make each card once.

    Raises:
        NotFound: there is none of this number, or it is somebody else's.
        DatabaseUnavailable: what is done is done; the rest waits.
    """
    with read(engine) as connection:
        _require_own(connection, batch, giver)
        lines = list(connection.scalars(_waiting(batch, at_once)))
    for line in lines:
        give_way()
        try:
            with write(engine) as connection:
                carry_out(connection, batch, line, giver, now_ms)
        except DatabaseError:
            raise
        except CardServiceError as error:
            with write(engine) as connection:
                _store(connection, batch, line, fault=str(error)[:_MAX_FAULT])
    with write(engine) as connection:
        _end(connection, batch, now_ms)
    return progress(engine, batch, giver)


def open_batches(engine: Engine) -> list[tuple[int, Giver]]:
    """Return the batches with lines that wait, the oldest first, with whoever began each, as they could then."""
    chosen = sa.select(card_batch).where(card_batch.c.ended_ms.is_(None), card_batch.c.reaches.is_not(None))
    with read(engine) as connection:
        rows = connection.execute(chosen.order_by(card_batch.c.id)).all()
    return [
        (row.id, Giver(By(row.made_by, row.made_by_id, operation=ISSUE), reaches_from(row.reaches))) for row in rows
    ]


def cancel(connection: Connection, batch: int, giver: Giver | None, now_ms: int) -> int:
    """Have nobody get to the lines that still wait; return how many. Cards that are made stay.

    Raises:
        NotFound: there is none of this number, or it is somebody else's.
    """
    _require_own(connection, batch, giver)
    row = card_batch_line.c
    waits = sa.and_(row.batch_id == batch, row.card_id.is_(None), row.fault.is_(None))
    left = connection.execute(sa.update(card_batch_line).where(waits).values(fault=CANCELLED)).rowcount
    _end(connection, batch, now_ms)
    return left


def progress(engine: Engine, batch: int, giver: Giver | None) -> Progress:
    """Return how far a batch is; `giver` None: whoever began it.

    Raises:
        NotFound: there is none of this number, or it is somebody else's.
    """
    with read(engine) as connection:
        _require_own(connection, batch, giver)
        return _progress(connection, card_batch.c.id == batch)[0]


def batches(engine: Engine, giver: Giver | None) -> list[Progress]:
    """Return how far the newest batches are that somebody began, at most `MAX_SHOWN`; None: whoever began them."""
    with read(engine) as connection:
        return _progress(connection, sa.true() if giver is None else card_batch.c.made_by == giver.by.name)


def lines_of(engine: Engine, batch: int, giver: Giver | None) -> Sequence[LineDone]:
    """Return every line of a batch.

    Raises:
        NotFound: there is none of this number, or it is somebody else's.
    """
    with read(engine) as connection:
        _require_own(connection, batch, giver)
        line = card_batch_line.c
        chosen = sa.select(line.line, line.person_id, line.profile, card.c.reference, line.fault)
        chosen = chosen.join(card, card.c.id == line.card_id, isouter=True).where(line.batch_id == batch)
        return [LineDone(*row) for row in connection.execute(chosen.order_by(line.line))]


def _require_own(connection: Connection, batch: int, giver: Giver | None) -> None:
    chosen = sa.select(card_batch.c.id).where(card_batch.c.id == batch)
    if giver is not None:
        chosen = chosen.where(card_batch.c.made_by == giver.by.name)
    if connection.execute(chosen).first() is None:
        raise NotFound(f"there is no batch {batch}{' of yours' if giver else ''}")


def _progress(connection: Connection, which: sa.ColumnElement[bool]) -> list[Progress]:
    """Return how far the newest batches are of those meant."""
    line = card_batch_line.c
    newest = sa.select(card_batch).where(which).order_by(card_batch.c.id.desc()).limit(MAX_SHOWN).subquery()
    counts = (
        sa.func.count(line.card_id),
        sa.func.count(sa.case((line.fault != CANCELLED, 1))),
        sa.func.count(sa.case((line.fault == CANCELLED, 1))),
    )
    made = (newest.c.id, newest.c.made_ms, newest.c.lines)
    chosen = sa.select(*made, *counts, newest.c.ended_ms).join(card_batch_line, line.batch_id == newest.c.id)
    rows = connection.execute(chosen.group_by(*made, newest.c.ended_ms).order_by(newest.c.id.desc()))
    return [Progress(*row) for row in rows]


def _end(connection: Connection, batch: int, now_ms: int) -> None:
    """Note since when no line of a batch waits, if none does."""
    over = sa.and_(card_batch.c.id == batch, card_batch.c.ended_ms.is_(None), ~sa.exists(_waiting(batch, 1)))
    connection.execute(sa.update(card_batch).where(over).values(ended_ms=now_ms))


def _waiting(batch: int, limit: int) -> sa.Select[Any]:
    line = card_batch_line.c
    waits = sa.and_(line.batch_id == batch, line.card_id.is_(None), line.fault.is_(None))
    return sa.select(line.line).where(waits).order_by(line.line).limit(limit)


def carry_out(connection: Connection, batch: int, line: int, giver: Giver, now_ms: int) -> None:
    """Give the card of one line, unless it is done, in the caller's transaction. Raises as `give`."""
    here = sa.and_(card_batch_line.c.batch_id == batch, card_batch_line.c.line == line)
    row = connection.execute(sa.select(card_batch_line).where(here).with_for_update()).one()
    if row.card_id is not None or row.fault is not None:
        return
    reference = give(connection, Gift(row.person_id, row.profile, from_ms=row.valid_from_ms), giver, now_ms)
    number = connection.execute(sa.select(card.c.id).where(card.c.reference == reference)).scalar_one()
    _store(connection, batch, line, card_id=number)


def _store(connection: Connection, batch: int, line: int, card_id: int | None = None, fault: str | None = None) -> None:
    """Say what came of a line that still waits."""
    row = card_batch_line.c
    here = sa.and_(row.batch_id == batch, row.line == line, row.card_id.is_(None), row.fault.is_(None))
    connection.execute(sa.update(card_batch_line).where(here).values(card_id=card_id, fault=fault))


def people_called(connection: Connection, called: str, giver: Giver) -> list[int]:
    """Return who has this personnel number or login, within reach; two of them when there are several."""
    chosen = sa.select(person.c.id).join(organisation, person.c.organisation_id == organisation.c.id)
    meant = sa.or_(person.c.personnel_number == called, person.c.login == called)
    found = connection.execute(chosen.where(meant, person.c.present, within(giver.reaches)).limit(2))
    return list(found.scalars())
