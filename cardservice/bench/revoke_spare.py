# SPDX-License-Identifier: EUPL-1.2
"""How soon a hung OpenLDAP server is replaced: from its standstill to the first tap that rests on its replica.

The first server hangs (SIGSTOP) until the service follows the replica; then the replica hangs, which brings it back.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cardservice.bench.city import BenchCity, Plan, running_city
from cardservice.bench.city_figures import spread
from cardservice.bench.city_program import BenchError
from cardservice.bench.report import Ratio, Report
from cardservice.bench.revoke_crowd import Crowd, DecidedTap, decided_taps
from cardservice.bench.revoke_directory import running_slapd, slapd_address
from rig.program import wait_for
from rig.slapd import Slapd
from rig.slapd_replica import Replica

REPLACED_GOAL_MS: Final = 1_500.0
TIMES_GOAL: Final = 20
_LIMIT_S: Final = 30.0
# A server that has not served for half a second is not left at once: it counts as one of a failing round.
_LEAST_PAUSE_S: Final = 1.0
_PAUSE_S: Final = 0.5
_LOOK_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Size:
    """How often the first server hangs, and how many people there are."""

    times: int = TIMES_GOAL
    people: int = 1_000


@dataclass(slots=True)
class _Hung:
    """When (wall clock, milliseconds) the first server stood still, and when its replica did."""

    first: list[int] = field(default_factory=list)
    replica: list[int] = field(default_factory=list)


def measure(report: Report, folder: Path, size: Size, crowd: Crowd) -> None:
    """Measure and report.

    Raises:
        CardServiceError: slapd is not installed, or a part did not start; one sentence.
    """
    plan = Plan(size.people, crowd.agents)
    with running_slapd(folder, plan) as first:
        replica = Replica(folder / "replica", first)
        replica.start()
        try:
            _wait(lambda: "contextCSN" in replica.backup().read_text("utf-8"), "the replica has not copied everybody")
            with running_city(folder, plan, lambda *_: nullcontext(slapd_address(first, replica))) as city:
                with crowd.at(city, cards=size.people, seconds=2 * size.times * _LIMIT_S) as tapping:
                    hung = _hang_in_turn(city, first, replica, size)
                    tapping.stop()
                    loaded = tapping.result()
                taps = decided_taps(city)
        finally:
            replica.stop()
    _tell(report, _replaced_ms(taps, hung.first, replica), _replaced_ms(taps, hung.replica, first), taps)
    crowd.tell(report, "hung", loaded)


def _tell(report: Report, away_ms: Sequence[float], back_ms: Sequence[float], taps: Sequence[DecidedTap]) -> None:
    report.rows += [
        spread("hung: first server stood still to first tap resting on its replica", away_ms, "ms"),
        spread("hung: age on record with each decision", [float(tap.age_ms) for tap in taps], "ms"),
    ]
    if back_ms:
        report.rows.append(spread("hung: replica stood still to first tap resting on the first server", back_ms, "ms"))
    report.ratios += [
        Ratio("hung: server replaced, longest, ms", max(away_ms), REPLACED_GOAL_MS, at_least=False),
        Ratio("hung: times", len(away_ms), TIMES_GOAL, at_least=True),
    ]


def _hang_in_turn(city: BenchCity, first: Slapd, replica: Slapd, size: Size) -> _Hung:
    """Hang whichever server is followed until the first one has hung so many times."""
    hung, dice = _Hung(), random.Random(size.times)  # noqa: S311  # repeatable pauses, not a secret
    while len(hung.first) < size.times:
        _wait(city.followed, "no server is followed")
        if city.followed() == replica.url:
            hung.replica.append(_hang(city, replica, first))
        else:
            hung.first.append(_hang(city, first, replica))
        # Taps rest on the other one meanwhile.
        time.sleep(_LEAST_PAUSE_S + dice.random() * _PAUSE_S)
    return hung


def _hang(city: BenchCity, server: Slapd, other: Slapd) -> int:
    """Let a server stand still until the other one is followed; return when it began to."""
    at_ms = time.time_ns() // 1_000_000
    server.pause()
    try:
        _wait(lambda: city.followed() == other.url, "a hung server was not replaced")
    finally:
        server.resume()
    return at_ms


def _replaced_ms(taps: Sequence[DecidedTap], since_ms: Sequence[int], by: Slapd) -> list[float]:
    """Return for each instant how long it took until a tap was decided by what another server says."""
    rested_ms = [tap.at_ms for tap in taps if tap.server == by.url]
    first_ms = [next((at_ms for at_ms in rested_ms if at_ms >= since), None) for since in since_ms]
    if None in first_ms:
        raise BenchError("nobody tapped after a hung server was replaced")
    return [float(at_ms - since) for at_ms, since in zip(first_ms, since_ms, strict=True) if at_ms is not None]


def _wait(done: Callable[[], object], what: str) -> None:
    if not wait_for(done, _LIMIT_S, pause_s=_LOOK_S):
        raise BenchError(f"{what} within {_LIMIT_S:.0f} s")
