# SPDX-License-Identifier: EUPL-1.2
"""What an agent handed over and is not in the record store: found, named once, asked for, and closed when it comes."""

import pytest
import sqlalchemy as sa

from cardservice.agents import gaps, store
from cardservice.agents.gaps import Gap
from cardservice.agents.messages import MAX_RANGES, EpochAccount
from cardservice.database import Databases, read, write
from cardservice.journal.service import Journal
from cardservice.journal.store import journal_entry

EPOCH = 1_790_000_000
AGENT = "rathaus"


@pytest.fixture
def journal(databases: Databases) -> Journal:
    journal = Journal(lambda stream, purpose: f"{stream} {purpose}".encode().ljust(32, b".")[:32])
    journal.begin_epoch(databases.record, 0)
    return journal


def have(databases: Databases, *sequences: int, epoch: int = EPOCH) -> None:
    rows = [
        {"agent": AGENT, "epoch": epoch, "sequence": sequence, "digest": bytes(32), "received_ms": 0}
        for sequence in sequences
    ]
    with write(databases.record) as connection:
        connection.execute(sa.insert(store.agent_event), rows)


def settle(databases: Databases, journal: Journal, *accounts: EpochAccount) -> set[Gap]:
    """Compare and write down, as the desk does."""
    with read(databases.record) as connection:
        found, before = gaps.compare(connection, AGENT, accounts), gaps.known(connection, AGENT, accounts)
    with write(databases.record) as connection:
        gaps.write_down(connection, journal, found, before, 5)
    return found


def asked(first: int, last: int, epoch: int = EPOCH) -> Gap:
    return Gap(AGENT, epoch, first, last, "asked")


def alarms(databases: Databases) -> list[str]:
    with read(databases.record) as connection:
        return list(connection.execute(sa.select(journal_entry.c.payload)).scalars())


def test_nothing_is_missing_when_all_is_here(databases, journal):
    have(databases, *range(1, 8))
    assert settle(databases, journal, EpochAccount(epoch=EPOCH, through=5)) == set()
    assert alarms(databases) == []


@pytest.mark.parametrize(
    ("here", "ranges"),
    [
        ((), [(1, 9)]),
        ((1, 2, 3), [(4, 9)]),
        ((5, 9), [(1, 4), (6, 8)]),
        ((1, 3, 5, 7, 9, 10, 11), [(2, 2), (4, 4), (6, 6), (8, 8)]),
    ],
)
def test_each_missing_range_is_named(databases, journal, here, ranges):
    """Exactly the sequences up to `through` that are not here."""
    if here:
        have(databases, *here)
    found = settle(databases, journal, EpochAccount(epoch=EPOCH, through=9))
    assert found == {asked(first, last) for first, last in ranges}
    assert len(alarms(databases)) == len(ranges)
    with read(databases.record) as connection:
        (total,) = gaps.totals(connection)
    assert (total.agent, total.asked, total.lost) == (AGENT, sum(gap.size for gap in found), 0)


def test_what_the_agent_cannot_have_handed_over_is_not_asked_for(databases, journal):
    """Lost events are named as lost, refused ones not at all, and one that came before it was lost is no gap."""
    have(databases, 1, 2, 6, 7, 8)
    account = EpochAccount(epoch=EPOCH, through=8, lost=((3, 4), (7, 7)), refused=((5, 5),))
    assert settle(databases, journal, account) == {Gap(AGENT, EPOCH, 3, 4, "lost")}
    assert len(alarms(databases)) == 1
    assert '"reason":"events_lost"' in alarms(databases)[0]


def test_a_gap_is_told_once_and_closes_when_the_events_come(databases, journal):
    """The same account again writes nothing; what came is no gap; what the agent then calls lost stays one."""
    have(databases, 1, 2)
    account = EpochAccount(epoch=EPOCH, through=6)
    for _ in range(3):
        settle(databases, journal, account)
    assert len(alarms(databases)) == 1
    have(databases, 3, 4)
    lost = EpochAccount(epoch=EPOCH, through=6, lost=((5, 6),))
    assert settle(databases, journal, lost) == {Gap(AGENT, EPOCH, 5, 6, "lost")}
    with read(databases.record) as connection:
        assert [(one.asked, one.lost) for one in gaps.totals(connection)] == [(0, 2)]
    settle(databases, journal, EpochAccount(epoch=EPOCH, through=2))
    settle(databases, journal, lost)
    assert '"first":5' in alarms(databases)[-1]


def test_other_agents_and_epochs_are_left_alone(databases, journal):
    """An account speaks only for its own epochs."""
    older = EpochAccount(epoch=EPOCH - 9, through=3)
    assert settle(databases, journal, older) == {asked(1, 3, EPOCH - 9)}
    have(databases, 1)
    assert settle(databases, journal, EpochAccount(epoch=EPOCH, through=1)) == set()
    with read(databases.record) as connection:
        assert gaps.known(connection, AGENT, [older]) == {asked(1, 3, EPOCH - 9)}


def test_very_many_gaps_are_worked_off_in_parts(databases, journal):
    """Every other event of thousands is missing: what is asked for is bounded, true, and comes to an end."""
    through = 6 * MAX_RANGES
    have(databases, *range(1, through, 2))
    account = EpochAccount(epoch=EPOCH, through=through)
    rounds = 0
    while found := settle(databases, journal, account):
        assert len(found) <= MAX_RANGES
        assert all(gap.first == gap.last and gap.first % 2 == 0 for gap in found)
        have(databases, *(gap.first for gap in found))
        rounds += 1
    assert rounds == through // 2 / MAX_RANGES
