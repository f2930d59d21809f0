# SPDX-License-Identifier: EUPL-1.2
"""Settling: what the agents stored against what the centre holds, event by event and line by line."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from faults.load import FULLY_JOURNALLED, LoadAgent, service_log
from support.service import CityFiles

from cardservice.agents.store import agent_event
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

# Outcomes of which the journal must hold a line of their own, whatever is kept of taps.
WORTH_A_LINE = frozenset({"late", "no_answer", "output_failed", "abandoned"})


class Account:
    """Both sides of one run. `wrong` names everything that is not exactly once; it must be empty."""

    def __init__(self, files: CityFiles, agents: Sequence[LoadAgent]) -> None:
        names = {agent.name for agent in agents}
        seen = {agent.name: agent.witness.seen() for agent in agents}
        self.opened = [name for one in seen.values() for name in one.opened]
        self.finished = [pair for one in seen.values() for pair in one.finished]
        self.acknowledged = [name for one in seen.values() for name in one.acknowledged]
        self._wanted_again = [name for one in seen.values() for name in one.wanted_again]
        self.reports = {name: report for one in seen.values() for name, report in one.reports().items()}
        self.stored = {
            f"{row.agent}/{row.epoch}/{row.sequence}": row for row in files.rows(agent_event) if row.agent in names
        }
        payloads = [json.loads(row.payload) for row in files.rows(journal_entry)]
        self._lines = [
            (payload["kind"], payload["event"], payload)
            for payload in payloads
            if str(payload.get("event")).split("/")[0] in names
        ]
        self._gaps_found = [f"{one['reason']} {one['epoch']}" for one in payloads if one.get("agent") in names]
        # A refusal that cannot be written in time is said without its line, and the log says so.
        self._said_unwritten = service_log(files).read_text().count('"event": "tap.not_recorded"')
        with files.stores() as databases:
            self.chains = len(verify(databases.record))

    @property
    def lost(self) -> list[str]:
        """Stored by an agent, unknown to the centre."""
        return sorted({*self.opened} - self.stored.keys())

    @property
    def acknowledged_lost(self) -> list[str]:
        """Acknowledged by the centre, and unknown to it: now, or when it asked for them again."""
        return sorted({*self.acknowledged} - self.stored.keys() | {*self._wanted_again})

    @property
    def double(self) -> list[str]:
        """Written down twice at the centre: two decisions for one tap, or two lines about one outcome."""
        lines = Counter((kind, event) for kind, event, _ in self._lines)
        return sorted(f"{kind} {event}" for (kind, event), number in lines.items() if number > 1)

    def alarms(self, reason: str) -> list[str]:
        """The events the journal holds an alarm about."""
        return [event for kind, event, payload in self._lines if kind == "alarm" and payload["reason"] == reason]

    def opened_for(self) -> list[str]:
        """The decisions a door opened for where permits are journalled too."""
        return [
            report.decision or ""
            for report in self.reports.values()
            if report.outcome == "acted" and report.point in FULLY_JOURNALLED
        ]

    def wrong(self) -> dict[str, list[str]]:
        """Everything that is not as promised, with the first few that show it."""
        found = {
            "lost": self.lost,
            "acknowledged and lost": self.acknowledged_lost,
            "written twice": self.double,
            "id given twice": _twice(self.opened),
            "finished twice": _twice([name for name, _ in self.finished]),
            "gap found by the centre": self._gaps_found,
            "never made by an agent": sorted(self.stored.keys() - {*self.opened}),
            "refused": sorted(name for name, row in self.stored.items() if row.refused),
            "other content": self.alarms("event_changed") + self._changed(),
            "outcome without its line": self._without_a_line(),
            "door opened without a journalled permit": self._opened_unwritten(),
            "refusal shown without its line": self._shown_unwritten(),
        }
        return {what: names[:5] for what, names in found.items() if names}

    def figures(self) -> dict[str, int]:
        """What a report says of every run."""
        return {
            "events": len(self.opened),
            "acknowledged": len(self.acknowledged),
            "lost": len(self.lost),
            "acknowledged_lost": len(self.acknowledged_lost),
            "double": len(self.double),
            "chains_verified": self.chains,
        }

    def gaps(self) -> list[str]:
        """Epochs whose sequences at the centre do not run from 1 without a gap."""
        sequences: dict[str, list[int]] = {}
        for row in self.stored.values():
            sequences.setdefault(f"{row.agent}/{row.epoch}", []).append(row.sequence)
        return [epoch for epoch, had in sequences.items() if sorted(had) != list(range(1, len(had) + 1))]

    def _changed(self) -> list[str]:
        """Events whose content at the centre is not what the agent had stored."""
        return sorted(
            name
            for name, content in self.finished
            if name in self.stored and bytes(self.stored[name].digest) != _digest(content)
        )

    def _without_a_line(self) -> list[str]:
        told = {event for kind, event, _ in self._lines if kind == "tap_outcome"}
        due = {name for name, report in self.reports.items() if report.outcome in WORTH_A_LINE}
        return sorted(due ^ told)

    def _taps(self) -> Mapping[str, Mapping[str, Any]]:
        """The journal's lines about taps, by decision."""
        return {payload["decision"]: payload for kind, _, payload in self._lines if kind == "tap"}

    def _opened_unwritten(self) -> list[str]:
        taps = self._taps()
        return [decision for decision in self.opened_for() if not taps.get(decision, {}).get("permit", False)]

    def _shown_unwritten(self) -> list[str]:
        shown = {report.decision or "" for report in self.reports.values() if report.outcome == "shown"}
        unwritten = sorted(shown - self._taps().keys())
        return unwritten if len(unwritten) > self._said_unwritten else []


def _twice(names: Sequence[str]) -> list[str]:
    return sorted(name for name, number in Counter(names).items() if number > 1)


def _digest(content: str) -> bytes:
    canonical = json.dumps(json.loads(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).digest()
