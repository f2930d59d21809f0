# SPDX-License-Identifier: EUPL-1.2
"""Finding events that the centre should have and has not: its record store was restored, or an agent lost some.

An agent says how far each of its boot epochs was acknowledged. What is missing here is asked for again; what the agent
cannot send any more is a gap that stays, with a name, in the table, the journal, the metrics and the health page.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cardservice.agents import store
from cardservice.agents.messages import MAX_RANGES, EpochAccount
from cardservice.database import insert_or
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal

State = Literal["asked", "lost"]
# Of one agent; more say nothing more.
MAX_GAPS: Final = 1_000


class Gap(NamedTuple):
    """Events `first`..`last` of one agent's boot epoch that are not here."""

    agent: str
    epoch: int
    first: int
    last: int
    state: State

    @property
    def size(self) -> int:
        """How many events that are."""
        return self.last - self.first + 1


def compare(connection: Connection, agent: str, accounts: Sequence[EpochAccount]) -> set[Gap]:
    """Return the gaps between what `agent` says and what is stored; only the first ones if there are very many."""
    gaps: set[Gap] = set()
    for account in accounts:
        lost = [Gap(agent, account.epoch, first, last, "lost") for first, last in account.lost if first <= last]
        # Lost for the agent and yet here: the centre had it before the agent forgot.
        gaps.update(gap for gap in lost if _count_here(connection, gap) < gap.size)
        gaps.update(_missing(connection, agent, account)[:MAX_RANGES])
    return gaps


def known(connection: Connection, agent: str, accounts: Sequence[EpochAccount]) -> set[Gap]:
    """Return the gaps written down before for the epochs of `accounts`."""
    table = store.event_gap
    rows = connection.execute(
        sa.select(table.c.agent, table.c.epoch, table.c.first, table.c.last, table.c.state).where(
            table.c.agent == agent, table.c.epoch.in_([account.epoch for account in accounts])
        )
    )
    return {Gap(*row) for row in rows}


def write_down(connection: Connection, journal: Journal, found: set[Gap], before: set[Gap], now_ms: int) -> None:
    """Keep the gaps `found` in the place of those `before`; each new one is an alarm in the journal.

    Runs inside the recorder.
    """
    table = store.event_gap
    for gap in sorted(before - found):
        connection.execute(
            sa.delete(table).where(table.c.agent == gap.agent, table.c.epoch == gap.epoch, table.c.first == gap.first)
        )
    new = sorted(found - before)
    room = MAX_GAPS - _count_gaps(connection, new[0].agent) if new else 0
    for gap in new[: max(0, room)]:
        row = gap._asdict() | {"found_ms": now_ms}
        kept = insert_or(connection, table).values(**row)
        connection.execute(kept.on_conflict_do_update(index_elements=["agent", "epoch", "first"], set_=row))
        reason = "events_lost" if gap.state == "lost" else "events_missing"
        named: dict[str, Scalar] = {"agent": gap.agent, "epoch": gap.epoch, "first": gap.first, "last": gap.last}
        journal.append(connection, Entry("system", now_ms, {"kind": "alarm", "reason": reason} | named))


def _count_gaps(connection: Connection, agent: str) -> int:
    table = store.event_gap
    return int(connection.execute(sa.select(sa.func.count()).where(table.c.agent == agent)).scalar_one())


def _missing(connection: Connection, agent: str, account: EpochAccount) -> list[Gap]:
    """Return the ranges up to `through` that neither are here nor excused by the agent."""
    excused = [(first, last) for first, last in (*account.lost, *account.refused) if first <= last]
    whole = Gap(agent, account.epoch, 1, account.through, "asked")
    if not excused and _count_here(connection, whole) == whole.size:
        return []
    gaps: list[Gap] = []
    expected = 1
    here = _ranges_here(connection, agent, account)
    for first, last in sorted([*here, *excused, (account.through + 1, account.through + 1)]):
        if first > expected:
            gaps.append(whole._replace(first=expected, last=min(first - 1, account.through)))
        expected = max(expected, last + 1)
    return gaps


def _ranges_here(connection: Connection, agent: str, account: EpochAccount) -> list[tuple[int, int]]:
    """Return the contiguous ranges stored up to `through`, the first ones only: numbers minus their rank are equal."""
    event = store.agent_event
    rank = sa.func.row_number().over(order_by=event.c.sequence)
    rows = (
        sa.select(event.c.sequence, (event.c.sequence - rank).label("island"))
        .where(event.c.agent == agent, event.c.epoch == account.epoch, event.c.sequence <= account.through)
        .subquery()
    )
    islands = connection.execute(
        sa.select(sa.func.min(rows.c.sequence), sa.func.max(rows.c.sequence))
        .group_by(rows.c.island)
        .order_by(rows.c.island)
        .limit(2 * MAX_RANGES)
    ).all()
    ranges = [(int(first), int(last)) for first, last in islands]
    if len(ranges) == 2 * MAX_RANGES:
        # More follow that were not read: nothing is claimed to be missing behind these.
        ranges.append((ranges[-1][1] + 1, account.through))
    return ranges


def _count_here(connection: Connection, gap: Gap) -> int:
    event = store.agent_event
    count = connection.execute(
        sa.select(sa.func.count()).where(
            event.c.agent == gap.agent, event.c.epoch == gap.epoch, event.c.sequence.between(gap.first, gap.last)
        )
    ).scalar_one()
    return int(count)


@dataclass(frozen=True, slots=True)
class GapTotals:
    """How many events of one agent are missing here: still expected, and gone for good."""

    agent: str
    asked: int
    lost: int


def totals(connection: Connection) -> list[GapTotals]:
    """Return the agents of which events are missing."""
    table = store.event_gap
    # Not as whole numbers: what an agent claims may be more than the database can add up.
    size = sa.cast(table.c.last - table.c.first + 1, sa.Float)
    rows = connection.execute(
        sa.select(
            table.c.agent,
            sa.func.coalesce(sa.func.sum(size).filter(table.c.state == "asked"), 0),
            sa.func.coalesce(sa.func.sum(size).filter(table.c.state == "lost"), 0),
        )
        .group_by(table.c.agent)
        .order_by(table.c.agent)
    )
    return [GapTotals(agent, int(asked), int(lost)) for agent, asked, lost in rows]
