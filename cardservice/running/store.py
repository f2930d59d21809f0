# SPDX-License-Identifier: EUPL-1.2
"""What is read for the page: classes of points, and how many taps the journal has, by hour and by day. Of nobody."""

from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.access.store import point, point_class
from cardservice.agents.tap_lines import fact
from cardservice.journal.store import journal_count, journal_entry, journal_epoch, journal_head
from cardservice.running.rules import ClassOfPoints

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
# Of writers: each start of the service is one.
_MAX_EPOCHS: Final = 100
_IN_ONE: Final = 500


def classes_of_points(connection: Connection, codes: frozenset[str] | None) -> list[ClassOfPoints]:
    """Return the classes that have points, those with the shortest freshness first; `codes` None: of all points."""
    columns = (point_class.c.code, point_class.c.name, point_class.c.freshness_ms, point_class.c.stale_policy)
    counted = sa.select(*columns, point_class.c.directory_check, sa.func.count().label("points"))
    counted = counted.join(point, point.c.point_class_id == point_class.c.id)
    if codes is not None:
        counted = counted.where(point.c.code.in_(sorted(codes)))
    counted = counted.group_by(*columns, point_class.c.directory_check).order_by(*columns[2:3], point_class.c.code)
    return [
        ClassOfPoints(
            row.code,
            row.name,
            row.freshness_ms,
            row.stale_policy == "permit",
            row.directory_check == "live",
            row.points,
        )
        for row in connection.execute(counted)
    ]


def taps_by_hour(
    connection: Connection, stream: str, from_ms: int, codes: frozenset[str] | None
) -> Iterator[tuple[int, bool, int]]:
    """Yield (hour since 1970, permitted, how many) of the taps that one stream keeps, from an instant on.

    No index knows the instants: within one writer's chain they grow, and where they begin is found by halving.
    """
    table = journal_entry.c
    for epoch, first in _beginnings(connection, stream, from_ms):
        taps = sa.select(
            (table.at_ms // HOUR_MS).label("hour"), fact(connection, "permit").as_boolean().label("permitted")
        ).where(
            table.stream == stream,
            table.epoch == epoch,
            table.sequence >= first,
            table.at_ms >= from_ms,
            fact(connection, "kind").as_string() == "tap",
        )
        if codes is not None:
            taps = taps.where(fact(connection, "point").as_string().in_(sorted(codes)))
        # Within: PostgreSQL takes no expression with a parameter for the same one twice.
        found = taps.subquery()
        counted = sa.select(found.c.hour, found.c.permitted, sa.func.count()).group_by(found.c.hour, found.c.permitted)
        yield from ((row[0], bool(row[1]), row[2]) for row in connection.execute(counted))


def taps_by_day(connection: Connection, from_ms: int) -> list[tuple[str, int, str, int]]:
    """Return (stream, day since 1970, outcome, how many) of points that keep no single tap, the newest first."""
    table = journal_count.c
    chosen = sa.select(table.stream, table.day, table.outcome, table["count"]).where(table.day >= from_ms // DAY_MS)
    rows = connection.execute(chosen.order_by(table.day.desc(), table.stream, table.outcome).limit(_IN_ONE))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _beginnings(connection: Connection, stream: str, from_ms: int) -> Iterator[tuple[int, int]]:
    """Yield (epoch, first sequence at or after an instant) of every chain of a stream that reaches so far."""
    heads = sa.select(journal_head.c.epoch, journal_head.c.sequence, journal_epoch.c.started_ms)
    heads = heads.join(journal_epoch, journal_epoch.c.epoch == journal_head.c.epoch)
    heads = heads.where(journal_head.c.stream == stream).order_by(journal_head.c.epoch.desc()).limit(_MAX_EPOCHS)
    for epoch, last, started_ms in connection.execute(heads).all():
        if started_ms >= from_ms:
            yield epoch, 1
            continue
        yield epoch, _first_since(connection, (stream, epoch), last, from_ms)
        # Whoever wrote before this one had ended by then.
        return


def _first_since(connection: Connection, chain: tuple[str, int], last: int, from_ms: int) -> int:
    low, high = 1, last + 1
    while low < high:
        middle = (low + high) // 2
        at_ms = _instant(connection, chain, middle)
        if at_ms is not None and at_ms >= from_ms:
            high = middle
        else:
            low = middle + 1
    return low


def _instant(connection: Connection, chain: tuple[str, int], sequence: int) -> Any:
    """Return when the entry was written, or the one before it that is still there."""
    table = journal_entry.c
    upto = sa.select(table.at_ms).where(table.stream == chain[0], table.epoch == chain[1], table.sequence <= sequence)
    return connection.execute(upto.order_by(table.sequence.desc()).limit(1)).scalar()
