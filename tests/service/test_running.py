# SPDX-License-Identifier: EUPL-1.2
"""What the page of operations counts in the journal, on both databases: by hour and by day, of nobody."""

from cardservice.database import Databases, read, write
from cardservice.journal.service import Entry, Journal
from cardservice.running import store

HOUR_MS = store.HOUR_MS
NOW_MS = 500_000 * HOUR_MS


def write_taps(databases: Databases, hours_ago: list[int], point: str = "haupteingang", *, permit: bool = True) -> None:
    """Write a tap for each of these, as one run of the service does."""
    journal = Journal(lambda stream, purpose: b"k" * 32)
    journal.begin_epoch(databases.record, NOW_MS - max(hours_ago) * HOUR_MS)
    with write(databases.record) as connection:
        for ago in hours_ago:
            payload = {"kind": "tap", "point": point, "permit": permit, "reason": "granted"}
            journal.append(connection, Entry("door", NOW_MS - ago * HOUR_MS, payload))
            journal.append(connection, Entry("door", NOW_MS - ago * HOUR_MS, {"kind": "alarm", "point": point}))


def counted(databases: Databases, from_ms: int, codes: frozenset[str] | None = None) -> set[tuple[int, bool, int]]:
    """Return (hours ago, permitted, how many)."""
    with read(databases.record) as connection:
        found = list(store.taps_by_hour(connection, "door", from_ms, codes))
    return {(500_000 - hour, permitted, count) for hour, permitted, count in found}


def test_taps_are_counted_by_hour_and_outcome_and_nothing_else_is(databases: Databases) -> None:
    """Only taps, only of the time asked for; a chain that began long before is entered where that time begins."""
    write_taps(databases, [*range(200, 24, -1), 24, 3, 3, 2, 0])
    assert counted(databases, NOW_MS - 24 * HOUR_MS) == {(24, True, 1), (3, True, 2), (2, True, 1), (0, True, 1)}
    assert counted(databases, NOW_MS - HOUR_MS) == {(0, True, 1)}
    assert counted(databases, NOW_MS + HOUR_MS) == set()


def test_every_run_of_the_service_counts_and_points_out_of_reach_do_not(databases: Databases) -> None:
    """A restart begins a chain of its own; whoever may see some points is told of those."""
    write_taps(databases, [50, 5])
    write_taps(databases, [4, 1], "serverraum", permit=False)
    from_ms = NOW_MS - 24 * HOUR_MS
    assert counted(databases, from_ms) == {(5, True, 1), (4, False, 1), (1, False, 1)}
    assert counted(databases, from_ms, frozenset({"serverraum"})) == {(4, False, 1), (1, False, 1)}
    assert counted(databases, from_ms, frozenset()) == set()


def test_points_that_only_count_are_told_by_day(databases: Databases) -> None:
    """No hour, no point: how many of a day ended how, the newest day first."""
    journal = Journal(lambda stream, purpose: b"k" * 32)
    journal.begin_epoch(databases.record, NOW_MS)
    day = NOW_MS // store.DAY_MS
    with write(databases.record) as connection:
        for at_ms, reason in ((NOW_MS, "granted"), (NOW_MS, "granted"), (NOW_MS - 2 * store.DAY_MS, "no_grant")):
            journal.count(connection, "door", at_ms, reason)
    with read(databases.record) as connection:
        assert store.taps_by_day(connection, NOW_MS - 5 * store.DAY_MS) == [
            ("door", day, "granted", 2),
            ("door", day - 2, "no_grant", 1),
        ]
        assert len(store.taps_by_day(connection, NOW_MS)) == 1
