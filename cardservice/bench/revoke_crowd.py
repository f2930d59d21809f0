# SPDX-License-Identifier: EUPL-1.2
"""Who else taps while the directory is measured, and what the service wrote down about every tap it decided."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple

import sqlalchemy as sa

from cardservice.bench.city import BenchCity
from cardservice.bench.city_figures import spread
from cardservice.bench.city_load import Load, Loaded, LoadProcess
from cardservice.bench.report import Ratio, Report
from cardservice.database import open_databases, read
from cardservice.journal.store import journal_entry

PACE_SHARE_GOAL: Final = 0.99


@dataclass(frozen=True, slots=True)
class Crowd:
    """Agents that tap at this pace, whatever the answers do."""

    agents: int = 25
    taps_per_s: float = 100.0

    def at(self, city: BenchCity, *, cards: int, seconds: float) -> LoadProcess:
        """Return the crowd's process: for `seconds` at most, with the first so many cards of the city."""
        return LoadProcess(
            Load(
                url=city.agents_url,
                folder=city.folder,
                deck=city.deck_file,
                service_pid=city.service.pid,
                agents=self.agents,
                cards=cards,
                taps_per_s=self.taps_per_s,
                seconds=seconds,
            )
        )

    def tell(self, report: Report, part: str, loaded: Loaded) -> None:
        """Report what came of the crowd's taps during one part of the measurement."""
        took_ms = [answer.took_s * 1_000 for answer in loaded.answers]
        report.rows += [
            spread(f"{part}: meanwhile: card.present to decision", took_ms, "ms"),
            {
                "case": f"{part}: meanwhile",
                "taps_per_s": round(loaded.pace(), 1),
                "service_cores": round(loaded.service_cpu_s / loaded.took_s, 3),
                "agents": self.agents,
            },
            {"case": f"{part}: meanwhile: errors", **loaded.errors},
        ]
        share = loaded.pace() / self.taps_per_s
        report.ratios += [
            Ratio(f"{part}: meanwhile: taps a second, of those asked for", share, PACE_SHARE_GOAL, at_least=True),
            Ratio(f"{part}: meanwhile: errors", sum(loaded.errors.values()), 0, at_least=False),
        ]


class DecidedTap(NamedTuple):
    """What the record says of one decision: when (wall clock), how old what it rests on was, which server said so."""

    at_ms: int
    age_ms: int
    server: str


def decided_taps(city: BenchCity) -> list[DecidedTap]:
    """Return every tap on record, oldest first."""
    with closing(open_databases(city.database_url)) as databases, read(databases.record) as connection:
        query = sa.select(journal_entry.c.at_ms, journal_entry.c.payload).order_by(journal_entry.c.at_ms)
        rows: Sequence[tuple[int, str]] = [(row.at_ms, row.payload) for row in connection.execute(query)]
    facts = [(at_ms, json.loads(payload)) for at_ms, payload in rows]
    return [
        DecidedTap(at_ms, fact["directory_age_ms"], fact["directory"].partition(" ")[0])
        for at_ms, fact in facts
        if fact.get("kind") == "tap"
    ]
