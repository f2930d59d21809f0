# SPDX-License-Identifier: EUPL-1.2
"""The end of a world: what the centre has on its disk is what happened, no more and no less."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from simulation.parts import Parts
from simulation.town import POINTS
from simulation.witness import Key, Sent, Witness
from sqlalchemy.engine import Engine

from cardservice.agents.store import agent_event, event_gap
from cardservice.database import read
from cardservice.errors import JournalBroken
from cardservice.journal.service import verify
from cardservice.journal.store import journal_count, journal_entry

# Outcomes that leave a line of their own.
KEPT_OUTCOMES = {"late", "no_answer", "output_failed", "abandoned"}
# Of a centre that could not write in time: nothing is permitted then, and the line may be missing.
UNWRITTEN = "overloaded"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the journal."""

    kind: str
    event: Key
    content: dict[str, Any]


def check(parts: Parts, record: Engine) -> None:
    """Compare what is stored with what was seen; the first difference is reported."""
    for problem in _problems(parts, record):
        parts.trace.violated(problem)


def _problems(parts: Parts, record: Engine) -> Iterator[str]:
    witness = parts.witness
    yield from _events(parts, record)
    try:
        verify(record)
    except JournalBroken as broken:
        yield f"the journal is broken: {broken}"
    with read(record) as connection:
        rows = connection.execute(
            sa.select(journal_entry.c.payload).order_by(
                journal_entry.c.epoch, journal_entry.c.stream, journal_entry.c.sequence
            )
        ).scalars()
        lines = [_line(json.loads(payload)) for payload in rows]
        counted = Counter(
            {
                row.outcome: row.total
                for row in connection.execute(
                    sa.select(journal_count.c.outcome, sa.func.sum(journal_count.c["count"]).label("total")).group_by(
                        journal_count.c.outcome
                    )
                )
            }
        )
    for line in lines:
        # A centre says once which events are lost, and after it was restored, which it misses until they come again.
        missing = line.content["reason"] == "events_lost" or (
            line.content["reason"] == "events_missing" and parts.centre.lost
        )
        if line.kind not in {"tap", "tap_outcome"} and not missing:
            yield f"the journal says {line.content}"
    kept = [
        sent for sent in witness.sent if not any(since <= sent.at_us <= until for since, until in parts.centre.lost)
    ]
    taps = [line for line in lines if line.kind == "tap"]
    yield from _decisions(witness, taps, kept)
    yield from _outcomes(parts, [line for line in lines if line.kind == "tap_outcome"])
    yield from _counted(witness, counted, kept)
    yield from _revisions(taps)


def _line(content: dict[str, Any]) -> Line:
    agent, epoch, sequence = str(content.get("event", "//")).split("/")
    return Line(content["kind"], (agent, int(epoch or 0), int(sequence or 0)), content)


def _events(parts: Parts, record: Engine) -> Iterator[str]:
    """Every tap that an agent ever stored is here once, as the agent stored it, and nothing else is."""
    taps = parts.witness.taps
    with read(record) as connection:
        stored = {(row.agent, row.epoch, row.sequence): row for row in connection.execute(sa.select(agent_event))}
        gaps = connection.execute(sa.select(event_gap)).all()
    for key, row in stored.items():
        seen = taps.get(key)
        if row.refused is not None or seen is None or bytes(row.digest) != seen.content:
            yield f"{key} is not stored as the agent kept it (refused: {row.refused})"
    absent = taps.keys() - stored.keys()
    for key in sorted(absent):
        if taps[key].kept and not _is_worn_out(parts, key):
            yield f"{key} never came to the centre"
    for key in sorted(_named_lost(gaps) ^ absent):
        yield f"{key} is {'' if key in absent else 'not '}lost, and the centre believes otherwise"
    for gap in gaps:
        if gap.state != "lost":
            yield f"the centre still misses {gap}"


def _is_worn_out(parts: Parts, key: Key) -> bool:
    """Tell whether an agent may no longer have kept an event when a restored centre asked for it again.

    Of those acknowledged it keeps as many as its outbox holds; the oldest go first.
    """
    newer = sum(1 for other, seen in parts.witness.taps.items() if other[0] == key[0] and other > key and seen.kept)
    return bool(parts.centre.lost) and newer >= parts.agents[key[0]].capacity


def _named_lost(gaps: Sequence[sa.Row[Any]]) -> set[Key]:
    return {
        (gap.agent, gap.epoch, sequence)
        for gap in gaps
        for sequence in range(gap.first, gap.last + 1)
        if gap.state == "lost"
    }


def _decisions(witness: Witness, lines: list[Line], kept: list[Sent]) -> Iterator[str]:
    """Each decision left the line that its point's mode demands, and no line is there twice.

    `kept` are the decisions that no restored copy of the record store has wiped out.
    """
    by_decision = {line.content["decision"]: line for line in lines}
    events = Counter(line.event for line in lines)
    for event, count in events.items():
        if count > 1:
            yield f"{event} has {count} lines"
    for sent in kept:
        yield from _one_decision(sent, by_decision.get(sent.decision))
    for line in lines:
        seen = witness.taps.get(line.event)
        if seen is None or seen.point != line.content["point"]:
            yield f"the journal knows of {line.event} at {line.content['point']}, nobody else does"
        elif not _is_kept(seen.point, permit=line.content["permit"]):
            yield f"the journal has a line of {line.event}, which its point does not ask for"


def _is_kept(point: str, *, permit: bool) -> bool:
    mode = POINTS[point].setup.journal_mode
    return mode == "full" or (mode == "refusals" and not permit)


def _one_decision(sent: Sent, line: Line | None) -> Iterator[str]:
    if not _is_kept(sent.point, permit=sent.permit):
        if line is not None:
            yield f"the decision of {sent.event} at {sent.point} has a line"
    elif sent.reason == UNWRITTEN:
        # The line may have been written after all, and then it says what was decided before.
        return
    elif line is None:
        if not sent.while_stalled:
            yield f"the decision of {sent.event} at {sent.point} ({sent.reason}) has no line"
    elif (line.event, line.content["permit"], line.content["reason"]) != (sent.event, sent.permit, sent.reason):
        yield f"the line of {sent.event} says {line.content['reason']}, the agent was told {sent.reason}"


def _outcomes(parts: Parts, lines: list[Line]) -> Iterator[str]:
    """Each tap that did not end as decided left one line that says so, where its report arrived."""
    wanted = {
        (key, seen.outcome)
        for key, seen in parts.witness.taps.items()
        if seen.outcome in KEPT_OUTCOMES and parts.centre.has_stored(*key)
    }
    found = Counter((line.event, line.content["reason"]) for line in lines)
    for key, outcome in sorted(wanted - found.keys()):
        yield f"the outcome {outcome} of {key} left no line"
    for (key, outcome), count in found.items():
        if (key, outcome) not in wanted or count > 1:
            yield f"{count} lines say {outcome} of {key}"


def _counted(witness: Witness, counted: Counter[str], kept: list[Sent]) -> Iterator[str]:
    """Points that only count have counted every decision they gave, and no more taps than there were."""
    at_points = {code for code, point in POINTS.items() if point.setup.journal_mode == "counts"}
    given = Counter(
        sent.reason for sent in kept if sent.point in at_points and sent.reason != UNWRITTEN and not sent.while_stalled
    )
    for reason, count in given.items():
        if counted[reason] < count:
            yield f"{count} decisions said {reason}, {counted[reason]} were counted"
    presented = sum(1 for seen in witness.taps.values() if seen.point in at_points and seen.connection is not None)
    if counted.total() > presented:
        yield f"{counted.total()} taps were counted, {presented} were presented"


def _revisions(lines: list[Line]) -> Iterator[str]:
    """What an agent's taps were decided from never became older."""
    newest: dict[str, int] = {}
    for line in lines:
        agent, revision = line.event[0], line.content["revision"]
        if revision < newest.get(agent, 0):
            yield f"{line.event} was decided from revision {revision}, after {newest[agent]}"
        newest[agent] = revision
