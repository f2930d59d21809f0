# SPDX-License-Identifier: EUPL-1.2
"""What a tap costs while the copy reads everybody anew from OpenLDAP, against what it costs between two such readings.

Two kinds in turn: the comparison that `cardservice directory sync` asks for, beside the live search; and the refresh
after a hung server was given up, when the copy's position is no longer enough.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from cardservice.bench.city import BenchCity, Plan, person_dn, running_city
from cardservice.bench.city_agent import Answer
from cardservice.bench.city_figures import percentile, spread
from cardservice.bench.city_program import BenchError
from cardservice.bench.report import Ratio, Report
from cardservice.bench.revoke_administrator import signed_in
from cardservice.bench.revoke_crowd import Crowd
from cardservice.bench.revoke_directory import running_slapd, slapd_address, slapd_administrator
from cardservice.clock import SystemClock
from cardservice.database import open_databases
from cardservice.people.overview import ask_for_reading
from rig.program import wait_for
from rig.slapd import Slapd, SlapdOptions

RATIO_GOAL: Final = 2.0
_DIRECTORY: Final = "city"
_COMPARED: Final = "directory.reconciled"
_REFRESHED: Final = "directory.refreshed"
_KINDS: Final = {_COMPARED: "comparison asked for", _REFRESHED: "position refused"}
_LIMIT_S: Final = 60.0
_LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """How many people are read how often in each way, and how long nothing is read before each time."""

    people: int = 10_000
    rounds: int = 8
    quiet_s: float = 5.0


class _Span(NamedTuple):
    """From when to when (monotonic seconds)."""

    began_s: float
    ended_s: float

    def meets(self, answer: Answer) -> bool:
        """Tell whether a tap was under way at any time of the span."""
        return answer.at_s - answer.took_s <= self.ended_s and answer.at_s >= self.began_s

    def holds(self, answer: Answer) -> bool:
        """Tell whether a tap began and ended within the span."""
        return self.began_s <= answer.at_s - answer.took_s and answer.at_s <= self.ended_s


def measure(report: Report, folder: Path, size: Size, crowd: Crowd) -> None:
    """Measure and report.

    Raises:
        CardServiceError: slapd is not installed, or a part did not start; one sentence.
    """
    plan = Plan(size.people, crowd.agents)
    with (
        running_slapd(folder, plan, SlapdOptions(session_log=False)) as slapd,
        running_city(folder, plan, lambda *_: nullcontext(slapd_address(slapd))) as city,
    ):
        seconds = 2 * size.rounds * (size.quiet_s + _LIMIT_S)
        with crowd.at(city, cards=size.people, seconds=seconds) as tapping:
            quiet = _read_again_and_again(city, slapd, size)
            tapping.stop()
            loaded = tapping.result()
        readings = {kind: _readings(city, kind, size.people) for kind in _KINDS}
    _tell(report, loaded.answers, quiet, readings)
    crowd.tell(report, "refresh", loaded)


def _tell(report: Report, answers: Sequence[Answer], quiet: Sequence[_Span], readings: dict[str, list[_Span]]) -> None:
    spans = [span for some in readings.values() for span in some]
    still = [one for one in answers if any(s.holds(one) for s in quiet) and not any(s.meets(one) for s in spans)]
    quiet_ms = [one.took_s * 1_000 for one in still]
    report.rows.append(spread("refresh: nothing is read: card.present to decision", quiet_ms, "ms"))
    for kind, found in readings.items():
        # The very first reading was over before anybody tapped.
        some = [span for span in found if span.ended_s > quiet[0].ended_s]
        name = f"refresh: {_KINDS[kind]}"
        busy_ms = [one.took_s * 1_000 for one in answers if any(span.meets(one) for span in some)]
        if not busy_ms:
            raise BenchError("nobody tapped while everybody was read")
        report.rows += [
            spread(f"{name}: everybody read", [(span.ended_s - span.began_s) * 1_000 for span in some], "ms"),
            spread(f"{name}: card.present to decision", busy_ms, "ms"),
        ]
        ratio = percentile(busy_ms, 0.99) / percentile(quiet_ms, 0.99)
        report.ratios.append(Ratio(f"{name}: tap p99 against quiet", ratio, RATIO_GOAL, at_least=False))


def _read_again_and_again(city: BenchCity, slapd: Slapd, size: Size) -> list[_Span]:
    """Have everybody read in both ways in turn; return when nothing was read."""
    quiet = []
    for _ in range(size.rounds):
        for kind in _KINDS:
            began_s = time.monotonic()
            time.sleep(size.quiet_s)
            quiet.append(_Span(began_s, time.monotonic()))
            if kind == _COMPARED:
                _ask(city)
            else:
                asyncio.run(_outdate(city, slapd, size.people - 1))
            _wait_until_read(city, kind, size.people, since_s=quiet[-1].ended_s)
    return quiet


def _wait_until_read(city: BenchCity, kind: str, people: int, *, since_s: float) -> None:
    def done() -> bool:
        return any(span.ended_s > since_s for span in _readings(city, kind, people))

    if not wait_for(done, _LIMIT_S, pause_s=_LOOK_S):
        raise BenchError(f"not everybody was read anew within {_LIMIT_S:.0f} s")


def _ask(city: BenchCity) -> None:
    """Do what `cardservice directory sync` does."""
    with closing(open_databases(city.database_url)) as databases:
        ask_for_reading(databases.state, [_DIRECTORY], SystemClock().now_ms())


async def _outdate(city: BenchCity, slapd: Slapd, number: int) -> None:
    """Hang slapd until it is given up, and have it change somebody before it is reached again.

    Without a log of its changes it can only name who is present, and the service reads everybody.
    """
    async with signed_in(slapd_administrator(slapd)) as administrator:
        slapd.pause()
        try:
            # It waits in the queue of a connection that stands: the first thing slapd does when it goes on.
            administrator.replace(person_dn(number), "cn", [f"Somebody {time.monotonic_ns()}"])
            await asyncio.to_thread(city.wait, "a hung server was not given up", lambda _state: not city.followed())
        finally:
            slapd.resume()
        await administrator.answered()


def _readings(city: BenchCity, event: str, people: int) -> list[_Span]:
    """Return when the service read everybody, as its log says."""
    ahead_s = time.time() - time.monotonic()
    found = []
    for line in city.log_file.read_text("utf-8").splitlines():
        entry = json.loads(line) if event in line else {}
        if entry.get("event") == event and entry.get("complete", True) and entry["entries"] > people:
            ended_s = datetime.fromisoformat(entry["timestamp"]).timestamp() - ahead_s
            found.append(_Span(ended_s - entry["took_ms"] / 1_000, ended_s))
    return found
