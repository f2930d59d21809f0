# SPDX-License-Identifier: EUPL-1.2
"""What is due, and what erases it: one `Step` for each limit and table. Nothing here says when; limits are handed over.

Whatever a step erases is named by a few rows that were read before, outside of any writer's transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice import changes
from cardservice.access.review.store import access_review, access_review_item
from cardservice.access.rules import Level
from cardservice.access.store import point, point_class, zone
from cardservice.agents.tap_lines import fact
from cardservice.approvals.store import approval
from cardservice.cards.bulk.store import card_batch
from cardservice.cards.encoding.store import encoding_job
from cardservice.cards.store import card, card_event
from cardservice.database import RECORD, StoreName, insert_or
from cardservice.doors.store import door_request
from cardservice.journal.rules import Place
from cardservice.journal.store import journal_entry, journal_head
from cardservice.ledger.store import ledger_request
from cardservice.people.holds.store import directory_hold
from cardservice.people.outsiders.store import outsider
from cardservice.people.rules import OUTSIDE
from cardservice.people.store import directory_group, person
from cardservice.people.web_sessions import web_session
from cardservice.printing.store import print_release
from cardservice.retention.rules import OTHER_STREAMS, STREAMS
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked
from cardservice.web.accounts.store import service_certificate, service_key
from cardservice.web.once import api_answer
from cardservice.webhooks.store import webhook_delivery

Row = sa.Row[Any]
_EMPTY: Final = ""

# Who is no longer in a directory, as a number, and since when: found by the first run that misses them. `blanked_ms` is
# when their name went, `settled_ms` when nothing told any more which canteen account was theirs.
departure = sa.Table(
    "departure",
    RECORD,
    sa.Column("person", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.Column("blanked_ms", sa.BigInteger),
    sa.Column("settled_ms", sa.BigInteger),
)

# The last run of each limit.
retention_pass = sa.Table(
    "retention_pass",
    RECORD,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("ran_ms", sa.BigInteger, nullable=False),
    sa.Column("erased", sa.BigInteger, nullable=False),
)

# One row: the latest wall clock that was believed, and the one that somebody confirmed.
retention_clock = sa.Table(
    "retention_clock",
    RECORD,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seen_ms", sa.BigInteger),
    sa.Column("confirmed_ms", sa.BigInteger),
    sa.CheckConstraint("number = 1", name="number"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one limit ends in one table.

    `due` returns the rows of which `at` is not after an instant, the oldest first where that costs nothing; `erase`
    ends some of them and returns how many. `oldest` returns the instant of the oldest.
    """

    limit: str
    store: StoreName
    due: Callable[[Connection, int], sa.Select[Any]]
    erase: Callable[[Connection, Sequence[Row]], int]
    oldest: Callable[[Connection], int | None]


# Erases the personal part of these lines of the journal; returns how many had one.
EraseLines = Callable[[Connection, Iterable[Place]], int]


def steps(high_points: Sequence[str], streams: Iterable[str], erase_lines: EraseLines) -> list[Step]:
    """Return every step but those of people who left."""
    found = []
    for stream in sorted({*STREAMS, *streams}):
        limits = STREAMS.get(stream, OTHER_STREAMS)
        points = high_points if len(limits) > 1 else ()
        found.append(_lines_step(limits[0], stream, erase_lines, beside=points))
        if points:
            found.append(_lines_step(limits[1], stream, erase_lines, only=points))
    return [*found, *_ROWS, *_COLUMNS]


def _lines_step(
    limit: str, stream: str, erase_lines: EraseLines, *, beside: Sequence[str] = (), only: Sequence[str] = ()
) -> Step:
    entry = journal_entry.c

    def chosen(connection: Connection) -> sa.Select[Any]:
        lines = sa.select(entry.stream, entry.epoch, entry.sequence, entry.at_ms)
        lines = lines.where(entry.stream == stream, entry.sealed.is_not(None)).order_by(entry.at_ms)
        # A line may be about a zone.
        of = sa.func.coalesce(fact(connection, "point").as_string(), _EMPTY) if beside or only else None
        if of is None:
            return lines
        return lines.where(of.in_(only) if only else of.not_in(beside))

    def due(connection: Connection, until_ms: int) -> sa.Select[Any]:
        return chosen(connection).where(entry.at_ms <= until_ms)

    def erase(connection: Connection, rows: Sequence[Row]) -> int:
        return erase_lines(connection, [Place(row.stream, row.epoch, row.sequence) for row in rows])

    def oldest(connection: Connection) -> int | None:
        row = connection.execute(chosen(connection).limit(1)).first()
        return None if row is None else int(row.at_ms)

    return Step(limit, "record", due, erase, oldest)


def _rows_step(limit: str, store: StoreName, table: sa.Table, at: sa.ColumnElement[int]) -> Step:
    """Rows that are deleted as a whole."""
    key = list(table.primary_key)

    def due(_: Connection, until_ms: int) -> sa.Select[Any]:
        return sa.select(*key).where(at <= until_ms)

    def erase(connection: Connection, rows: Sequence[Row]) -> int:
        return connection.execute(sa.delete(table).where(_among(key, rows))).rowcount

    return Step(limit, store, due, erase, lambda connection: _minimum(connection, at))


def _columns_step(limit: str, table: sa.Table, at: sa.ColumnElement[int], blank: Mapping[str, str | None]) -> Step:
    """Rows that stay, and lose what stands in these columns."""
    key = list(table.primary_key)
    said = sa.or_(*(sa.func.coalesce(table.c[name], _EMPTY) != _EMPTY for name in blank))

    def due(_: Connection, until_ms: int) -> sa.Select[Any]:
        return sa.select(*key).where(at <= until_ms, said)

    def erase(connection: Connection, rows: Sequence[Row]) -> int:
        return connection.execute(sa.update(table).where(_among(key, rows)).values(**blank)).rowcount

    return Step(limit, "state", due, erase, lambda connection: _minimum(connection, at, said))


def _among(key: Sequence[sa.Column[Any]], rows: Sequence[Row]) -> sa.ColumnElement[bool]:
    if len(key) == 1:
        return key[0].in_([row[0] for row in rows])
    return sa.tuple_(*key).in_([tuple(row) for row in rows])


def _minimum(connection: Connection, at: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]) -> int | None:
    found = connection.execute(sa.select(sa.func.min(at)).where(*conditions)).scalar()
    return None if found is None else int(found)


_MADE_AND_ENDED: Final = {"created_by": _EMPTY, "revoked_by": None}
_KEY_ENDS: Final = sa.func.coalesce(service_key.c.revoked_ms, service_key.c.expires_ms)
_ROWS: Final = (
    _rows_step("time_bookings", "record", timeclock_booking, timeclock_booking.c.at_ms),
    _rows_step("unbooked_taps", "record", timeclock_unbooked, timeclock_unbooked.c.at_ms),
    _rows_step("printing", "record", print_release, print_release.c.at_ms),
    _rows_step("canteen_requests", "record", ledger_request, ledger_request.c.at_ms),
    _rows_step("sessions", "state", web_session, web_session.c.ends_ms),
    _rows_step("answers", "state", api_answer, api_answer.c.made_ms),
    _rows_step("door_requests", "state", door_request, door_request.c.at_ms),
    _rows_step("deliveries", "state", webhook_delivery, webhook_delivery.c.made_ms),
)
_CERTIFICATE_ENDS: Final = sa.func.coalesce(service_certificate.c.revoked_ms, service_certificate.c.expires_ms)
_REQUEST_ENDS: Final = sa.func.coalesce(approval.c.answered_ms, approval.c.expires_ms)
_COLUMNS: Final = (
    _rows_step("decisions", "state", approval, _REQUEST_ENDS),
    _columns_step("decisions", directory_hold, directory_hold.c.settled_ms, {"decided_by": None}),
    _columns_step("decisions", access_review, access_review.c.begun_ms, {"begun_by": _EMPTY}),
    _columns_step(
        "decisions", access_review_item, access_review_item.c.answered_ms, {"answered_by": None, "reason": None}
    ),
    _columns_step("decisions", card_event, card_event.c.at_ms, {"actor": _EMPTY, "second_actor": None, "reason": None}),
    _columns_step("decisions", card_batch, card_batch.c.made_ms, {"made_by": _EMPTY}),
    _columns_step("decisions", encoding_job, encoding_job.c.made_ms, {"actor": _EMPTY}),
    _columns_step("decisions", service_key, _KEY_ENDS, _MADE_AND_ENDED),
    _columns_step("decisions", service_certificate, _CERTIFICATE_ENDS, _MADE_AND_ENDED),
    _columns_step("decisions", outsider, outsider.c.erased_ms, {"created_by": _EMPTY, "changed_by": _EMPTY}),
)


def high_points(connection: Connection) -> list[str]:
    """Return the codes of the points at which card and PIN are demanded: by their class, or by a zone around them."""
    found = connection.execute(sa.select(zone.c.id, zone.c.parent_id, zone.c.level))
    zones: dict[int, Any] = {row.id: row for row in found}
    rows = connection.execute(
        sa.select(point.c.code, point.c.zone_id, point_class.c.level).join(
            point_class, point.c.point_class_id == point_class.c.id
        )
    )
    return sorted(row.code for row in rows if max(row.level, _level_within(zones, row.zone_id)) >= Level.CARD_PIN)


def _level_within(zones: Mapping[int, Any], number: int) -> int:
    level, seen = int(Level.NONE), set[int]()
    at: int | None = number
    while at is not None and at in zones and at not in seen:
        seen.add(at)
        level, at = max(level, zones[at].level or Level.NONE), zones[at].parent_id
    return level


def streams(connection: Connection) -> list[str]:
    """Return the names of the journal's streams."""
    return list(connection.execute(sa.select(journal_head.c.stream).distinct()).scalars())


def absent_people(connection: Connection) -> set[int]:
    """Return the numbers of everybody whom no directory names any more."""
    return set(connection.execute(sa.select(person.c.id).where(~person.c.present)).scalars())


def departed(connection: Connection) -> set[int]:
    """Return the numbers of everybody who was found to have left."""
    return set(connection.execute(sa.select(departure.c.person)).scalars())


def add_departures(connection: Connection, people: Sequence[int], now_ms: int) -> int:
    """Note that these have left."""
    rows = [{"person": one, "since_ms": now_ms} for one in people]
    connection.execute(insert_or(connection, departure).on_conflict_do_nothing(), rows)
    return len(rows)


def drop_departures(connection: Connection, people: Sequence[int]) -> int:
    """Note that these are there again."""
    return connection.execute(sa.delete(departure).where(departure.c.person.in_(people))).rowcount


def left_by(connection: Connection, until_ms: int, undone: str, limit: int, after: int) -> list[int]:
    """Return who had left by then and of whom something is not done (a column), by number after `after`."""
    wanted = sa.select(departure.c.person).where(
        departure.c.since_ms <= until_ms, departure.c[undone].is_(None), departure.c.person > after
    )
    return list(connection.execute(wanted.order_by(departure.c.person).limit(limit)).scalars())


def count_left(connection: Connection, until_ms: int) -> int:
    """Return how many had left by then whose name is here yet."""
    wanted = sa.select(sa.func.count()).where(departure.c.since_ms <= until_ms, departure.c.blanked_ms.is_(None))
    return int(connection.execute(wanted).scalar_one())


def oldest_named_departure(connection: Connection) -> int | None:
    """Return when the first of those left whose name is here yet."""
    return _minimum(connection, departure.c.since_ms, departure.c.blanked_ms.is_(None))


def note(connection: Connection, people: Sequence[int], done: str, now_ms: int) -> int:
    """Note of people who left that something is done (a column)."""
    row = sa.update(departure).where(departure.c.person.in_(people))
    return connection.execute(row.values({done: now_ms})).rowcount


# What is left of somebody who left: a number, the key of their directory's entry, and that they are not there.
_BLANK: Final[Mapping[str, Any]] = {
    "dn": _EMPTY,
    "name": _EMPTY,
    "login": None,
    "mail": None,
    "personnel_number": None,
    "upn": None,
    "sid": None,
    "department": None,
    "cost_centre": None,
    "locked_until_ms": None,
    "valid_from_ms": None,
    "valid_until_ms": None,
    "groups": "[]",
}


def blank_people(connection: Connection, people: Sequence[int]) -> int:
    """Erase what is known of these people, unless they are there again; who was never in a directory ends otherwise."""
    gone = sa.update(person).where(person.c.id.in_(people), ~person.c.present, person.c.directory != OUTSIDE)
    rows = list(connection.execute(gone.values(**_BLANK).returning(person.c.id)).scalars())
    connection.execute(sa.update(card).where(card.c.person_id.in_(rows)).values(state_reason=None))
    changes.append(connection, "person", rows)
    return len(rows)


def blank_groups(connection: Connection, limit: int) -> int:
    """Erase who was in groups that no directory names any more; return how many groups."""
    stale = sa.select(directory_group.c.id).where(
        ~directory_group.c.present, directory_group.c.members != "[]", directory_group.c.directory != OUTSIDE
    )
    groups = list(connection.execute(stale.limit(limit)).scalars())
    if groups:
        connection.execute(sa.update(directory_group).where(directory_group.c.id.in_(groups)).values(members="[]"))
    return len(groups)


def clock(connection: Connection) -> tuple[int | None, int | None]:
    """Return the latest wall clock that was believed, and the one that was confirmed."""
    row = connection.execute(sa.select(retention_clock)).first()
    return (None, None) if row is None else (row.seen_ms, row.confirmed_ms)


def set_clock(connection: Connection, **values: int) -> None:
    """Store one of them."""
    row = insert_or(connection, retention_clock).values(number=1, **values)
    connection.execute(row.on_conflict_do_update(index_elements=["number"], set_=values))


def passes(connection: Connection) -> dict[str, Row]:
    """Return the last run of each limit."""
    return {row.name: row for row in connection.execute(sa.select(retention_pass))}


def note_passes(connection: Connection, erased: Mapping[str, int], now_ms: int) -> None:
    """Store that a run has ended, and what it erased."""
    for name, count in erased.items():
        values = {"ran_ms": now_ms, "erased": count}
        row = insert_or(connection, retention_pass).values(name=name, **values)
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))
