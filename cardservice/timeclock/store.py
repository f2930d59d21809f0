# SPDX-License-Identifier: EUPL-1.2
"""Tables of the time clock, in the record store: what was booked, and which taps booked nothing. Rows never change."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.database import RECORD, RowNumber
from cardservice.pseudonyms import PSEUDONYM_LENGTH
from cardservice.timeclock.rules import BOOKED_AS, Booking, Code, Kind

_TIMECLOCK: Final = {"use": "timeclock"}
# Where every booking comes from as yet.
_TERMINAL: Final = "terminal"
_MAX_EVENT_LENGTH: Final = 74
# More than anybody taps in these times; what one answer reads is bounded all the same.
MAX_HISTORY: Final = 1_000
MAX_SHEET: Final = 10_000

# `number` grows from booking to booking, whatever clocks say.
timeclock_booking = sa.Table(
    "timeclock_booking",
    RECORD,
    sa.Column("number", RowNumber, primary_key=True, autoincrement=True),
    sa.Column("pseudonym", sa.String(PSEUDONYM_LENGTH), nullable=False),
    # "agent/epoch/sequence"
    sa.Column("event", sa.String(_MAX_EVENT_LENGTH), nullable=False, unique=True),
    sa.Column("kind", sa.String(12), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("point", sa.String(64), nullable=False),
    sa.Column("recorded_ms", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(12), nullable=False),
    sa.CheckConstraint("kind IN ('in', 'out', 'break_start', 'break_end')", name="kind"),
    sa.Index("ix_timeclock_booking_pseudonym_at_ms", "pseudonym", "at_ms"),
    sqlite_autoincrement=True,
    info=_TIMECLOCK,
)

# A tap that was told "not booked" stays so, however often its event comes again. `seen` is the newest booking then.
timeclock_unbooked = sa.Table(
    "timeclock_unbooked",
    RECORD,
    sa.Column("event", sa.String(_MAX_EVENT_LENGTH), primary_key=True),
    sa.Column("pseudonym", sa.String(PSEUDONYM_LENGTH), nullable=False),
    sa.Column("code", sa.String(20), nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False, index=True),
    sa.Column("seen", sa.BigInteger, nullable=False),
    info=_TIMECLOCK,
)


class Settled(NamedTuple):
    """A tap that was answered before: whose, what became of it, when, and the newest booking its answer knew of."""

    pseudonym: str
    code: Code
    at_ms: int
    through: int


class NewBooking(NamedTuple):
    """A booking to be kept."""

    pseudonym: str
    event: str
    booking: Booking
    recorded_ms: int


_B: Final = timeclock_booking.c
_U: Final = timeclock_unbooked.c

_SETTLED: Final = sa.union_all(
    sa.select(_B.pseudonym, _B.kind.label("said"), _B.at_ms, _B.number.label("through")).where(
        _B.event == sa.bindparam("event")
    ),
    sa.select(_U.pseudonym, _U.code, _U.at_ms, _U.seen).where(_U.event == sa.bindparam("event")),
)

_HISTORY: Final = (
    sa.select(_B.number, _B.kind, _B.at_ms, _B.point)
    .where(_B.pseudonym == sa.bindparam("pseudonym"), _B.at_ms >= sa.bindparam("since_ms"))
    .order_by(_B.number.desc())
    .limit(MAX_HISTORY)
)

_SHEET: Final = (
    sa.select(_B.kind, _B.at_ms, _B.point)
    .where(
        _B.pseudonym == sa.bindparam("pseudonym"),
        _B.at_ms >= sa.bindparam("from_ms"),
        _B.at_ms < sa.bindparam("until_ms"),
    )
    .order_by(_B.number)
    .limit(MAX_SHEET + 1)
)


class History(NamedTuple):
    """A person's newest bookings in the order they were made, and the number of the last one (0: none)."""

    bookings: list[Booking]
    through: int


def settled(connection: Connection, event: str) -> Settled | None:
    """Return what became of the tap `event` before, None if it is new."""
    row = connection.execute(_SETTLED, {"event": event}).first()
    if row is None:
        return None
    code = BOOKED_AS[Kind(row.said)] if row.said in tuple(Kind) else Code(row.said)
    return Settled(row.pseudonym, code, row.at_ms, row.through)


def history(connection: Connection, pseudonym: str, since_ms: int, through: int | None = None) -> History:
    """Return the bookings since `since_ms`; with `through`, as they were when that was the newest booking."""
    question = _HISTORY if through is None else _HISTORY.where(_B.number <= through)
    rows = connection.execute(question, {"pseudonym": pseudonym, "since_ms": since_ms}).all()
    bookings = [Booking(Kind(row.kind), row.at_ms, row.point) for row in reversed(rows)]
    return History(bookings, rows[0].number if rows else 0)


def keep_booking(connection: Connection, new: NewBooking) -> None:
    """Write a booking down."""
    connection.execute(
        sa.insert(timeclock_booking),
        {
            "pseudonym": new.pseudonym,
            "event": new.event,
            "kind": new.booking.kind.value,
            "at_ms": new.booking.at_ms,
            "point": new.booking.point,
            "recorded_ms": new.recorded_ms,
            "source": _TERMINAL,
        },
    )


def keep_unbooked(connection: Connection, event: str, tap: Settled) -> None:
    """Write down that the tap `event` booked nothing."""
    connection.execute(
        sa.insert(timeclock_unbooked),
        {
            "event": event,
            "pseudonym": tap.pseudonym,
            "code": tap.code.value,
            "at_ms": tap.at_ms,
            "seen": tap.through,
        },
    )


def sheet(connection: Connection, pseudonym: str, from_ms: int, until_ms: int) -> Sequence[Booking]:
    """Return the bookings from `from_ms` to before `until_ms`, in the order they were made; one too many at most."""
    values = {"pseudonym": pseudonym, "from_ms": from_ms, "until_ms": until_ms}
    return [Booking(Kind(row.kind), row.at_ms, row.point) for row in connection.execute(_SHEET, values)]
