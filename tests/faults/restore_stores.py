# SPDX-License-Identifier: EUPL-1.2
"""Yesterday's copies of the centre's stores: taken while the service runs, put back when it is dead."""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from support.service import CityFiles

from cardservice.agents.store import agent_event, event_gap
from cardservice.database import read
from cardservice.journal.store import journal_entry, journal_epoch


class Range(NamedTuple):
    """Events `first`..`last` of one boot epoch of one agent."""

    agent: str
    epoch: int
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Held:
    """What the record store holds: events by name, the journal's lines about taps by decision, the gaps it knows of."""

    events: frozenset[str]
    taps: Mapping[str, Mapping[str, Any]]
    gaps: frozenset[Range]


class Backup:
    """Copies of some of the stores as they are now, made as an administrator makes them: beside the running service."""

    def __init__(self, files: CityFiles, name: str, stores: Iterable[str]) -> None:
        self._stores = {files.folder / "db" / f"{store}.db": files.folder / f"{store}.{name}" for store in stores}
        for store, copy in self._stores.items():
            with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)

    def put_back(self) -> None:
        """Put the copies in the place of the stores, of which nothing is left; the service must not run."""
        for store, copy in self._stores.items():
            for beside in ("-wal", "-shm"):
                store.with_name(store.name + beside).unlink(missing_ok=True)
            shutil.copyfile(copy, store)


def held(files: CityFiles) -> Held:
    """Read the record store."""
    taps = (json.loads(row.payload) for row in files.rows(journal_entry))
    return Held(
        held_events(files),
        {line["decision"]: line for line in taps if line["kind"] == "tap"},
        frozenset(gap for found in gaps(files).values() for gap in found),
    )


def held_events(files: CityFiles) -> frozenset[str]:
    """The names of the events that are at the centre."""
    return frozenset(f"{row.agent}/{row.epoch}/{row.sequence}" for row in files.rows(agent_event))


def gaps(files: CityFiles) -> dict[str, list[Range]]:
    """The gaps the centre has written down, by their state, in order."""
    found: dict[str, list[Range]] = {"asked": [], "lost": []}
    for row in files.rows(event_gap):
        found[row.state].append(Range(row.agent, row.epoch, row.first, row.last))
    return {state: sorted(ranges) for state, ranges in found.items()}


def alarms_since_start(files: CityFiles, reason: str) -> list[Range]:
    """The ranges that alarms of the service's newest start name, in order."""
    return sorted(
        Range(line["agent"], line["epoch"], line["first"], line["last"])
        for _, line in _lines_since_start(files, "system")
        if (line["kind"], line["reason"]) == ("alarm", reason)
    )


def answers_since_start(files: CityFiles, point: str) -> list[tuple[int, str]]:
    """When and how taps at a fully journalled door were answered by the service's newest start, one after the other."""
    lines = _lines_since_start(files, "door")
    return [(at_ms, line["reason"]) for at_ms, line in lines if (line["kind"], line["point"]) == ("tap", point)]


def _lines_since_start(files: CityFiles, stream: str) -> list[tuple[int, dict[str, Any]]]:
    entry = journal_entry.c
    newest = sa.select(sa.func.max(journal_epoch.c.epoch)).scalar_subquery()
    wanted = sa.select(entry.at_ms, entry.payload).where(entry.stream == stream, entry.epoch == newest)
    with files.stores() as databases, read(databases.record) as connection:
        rows = connection.execute(wanted.order_by(entry.sequence)).all()
    return [(row.at_ms, json.loads(row.payload)) for row in rows]


def ranges(names: Iterable[str]) -> list[Range]:
    """The events as ranges, none of them longer than need be and no two side by side."""
    numbered = []
    for name in names:
        agent, epoch, sequence = name.split("/")
        numbered.append((agent, int(epoch), int(sequence)))
    found = []
    # Numbers that follow each other all differ from their places in the order by the same.
    placed = [
        (agent, epoch, sequence - place, sequence) for place, (agent, epoch, sequence) in enumerate(sorted(numbered))
    ]
    for (agent, epoch, _), run in groupby(placed, itemgetter(0, 1, 2)):
        sequences = [sequence for *_, sequence in run]
        found.append(Range(agent, epoch, sequences[0], sequences[-1]))
    return found


def names(found: Iterable[Range]) -> set[str]:
    """The events of these ranges."""
    return {f"{one.agent}/{one.epoch}/{number}" for one in found for number in range(one.first, one.last + 1)}
