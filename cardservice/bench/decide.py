# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench decide`: one decision in memory, with the whole access model, next to other engines.

S is 10,000 people, 500 points, 200 groups; L is 100,000, 5,000, 2,000; XL is 1,000,000 cards at L's points and groups.
What the points demand is said in `decide_city`. About half of the taps are permitted. With the extra `bench`, Cedar and
Casbin's FastEnforcer are asked the first of the same taps at S and L in the same run, in turn, and the answers are
compared. What depends on the hour is worked out for them beforehand.
"""

import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from cardservice.access.rules import Tap, decide
from cardservice.access.snapshot import Snapshot
from cardservice.bench.decide_city import DAY_MS, NOW_MS, SIZES, City, Size, build, cards_alone
from cardservice.bench.peers import Ask, installed_peers, peers
from cardservice.bench.report import Ratio, Report

ROUNDS: Final = 7
PEER_GOALS: Final = {"S": {"cedar": 30.0, "casbin_fast": 80.0}, "L": {"cedar": 12.0, "casbin_fast": 40.0}}
_AGE_MS: Final = 100


def run(sizes: Sequence[Size] = SIZES) -> Report:
    """Measure three sizes; the empty call is timed in turn with each, medians of seven rounds."""
    report = Report("decide", libraries=installed_peers())
    per_decision_us: dict[str, float] = {}
    for size in sizes:
        city = build(size)
        decided, empty = _in_turn(
            (partial(_decide_all, city), len(city.taps)), (partial(_call_all, city), len(city.taps))
        )
        per_decision_us[size.name] = decided
        report.rows.append(
            {
                "case": size.name,
                "decide_us": decided,
                "empty_call_us": empty,
                "over_a_day_us": _over_a_day_us(city),
                "build_s": city.build_s,
                "publish_one_person_us": _publish_us(city.snapshot, size),
                "permitted_share": _permitted_share(city),
            }
        )
        if size.name in PEER_GOALS:
            report.ratios += _beside_peers(size, city, report)
        del city
        gc.collect()
    small, large, largest = (per_decision_us[size.name] for size in sizes)
    by_case = {row["case"]: row for row in report.rows}
    publish_ms = float(by_case["L"]["publish_one_person_us"]) / 1_000
    report.ratios += [
        Ratio("growth S to L", large / small, 2.5, at_least=False),
        Ratio("growth L to XL", largest / large, 1.5, at_least=False),
        Ratio("one person published at L, ms", publish_ms, 2.0, at_least=False),
        Ratio("built at XL, s", float(by_case["XL"]["build_s"]), 3.0, at_least=False),
        Ratio("bytes a card at XL", _bytes_a_card(sizes[-1]), 400.0, at_least=False),
    ]
    return report


def _beside_peers(size: Size, city: City, report: Report) -> list[Ratio]:
    """Time every installed peer in turn with `decide`; return the promised ratios.

    A peer is slower and asked fewer of the taps: what one decision takes is compared, over as many as each is asked.
    """
    ratios = []
    for peer in peers(city.snapshot, NOW_MS):
        asked = city.taps[: peer.asked]
        wrong = sum(peer.ask(tap) != decide(city.snapshot, tap, NOW_MS, _AGE_MS).permit for tap in asked)
        if wrong:
            raise AssertionError(f"{peer.name} answers {wrong} of {len(asked)} taps otherwise")
        ours, theirs = _in_turn(
            (partial(_decide_all, city), len(city.taps)), (partial(_ask_all, peer.ask, asked), len(asked))
        )
        report.rows.append({"case": f"{size.name} {peer.name}", "peer_us": theirs, "decide_us": ours})
        ratios.append(
            Ratio(f"{peer.name} at {size.name}", theirs / ours, PEER_GOALS[size.name][peer.name], at_least=True)
        )
    return ratios


def _ask_all(ask: Ask, taps: Sequence[Tap]) -> None:
    for tap in taps:
        ask(tap)


def _bytes_a_card(size: Size) -> float:
    """Build the cards in a process of its own; return how much larger that process is for each card, all in all."""
    command = [sys.executable, "-m", __name__, size.name, str(size.people), str(size.points), str(size.groups)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  # ourselves


def _print_bytes_a_card(size: Size) -> None:
    before = _resident_bytes()
    snapshot = cards_alone(size)
    gc.collect()
    sys.stdout.write(f"{(_resident_bytes() - before) / snapshot.card_count}\n")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


Work = tuple[Callable[[], None], int]


def _in_turn(one: Work, other: Work) -> tuple[float, float]:
    """Time both in turn, each with the number of taps it is about; return microseconds per tap, medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for which, (work, count) in enumerate((one, other)):
            started = time.perf_counter()
            work()
            times[which].append((time.perf_counter() - started) / count * 1e6)
    return statistics.median(times[0]), statistics.median(times[1])


def _decide_all(city: City) -> None:
    snapshot = city.snapshot
    for tap in city.taps:
        decide(snapshot, tap, NOW_MS, _AGE_MS)


def _over_a_day_us(city: City) -> float:
    """Time the taps spread evenly over a day: every point passes the edges of its schedules on the way."""
    snapshot, step_ms = city.snapshot, DAY_MS // len(city.taps)
    started = time.perf_counter()
    for number, tap in enumerate(city.taps):
        decide(snapshot, tap, NOW_MS + number * step_ms, _AGE_MS)
    return (time.perf_counter() - started) / len(city.taps) * 1e6


def _empty(state: object, tap: object, at_ms: int, directory_age_ms: int) -> None:
    """Do nothing, with the same arguments: the floor of the interpreter."""


def _call_all(city: City) -> None:
    for tap in city.taps:
        _empty(None, tap, NOW_MS, _AGE_MS)


def _permitted_share(city: City) -> float:
    return sum(decide(city.snapshot, tap, NOW_MS, _AGE_MS).permit for tap in city.taps) / len(city.taps)


def _publish_us(snapshot: Snapshot, size: Size) -> float:
    """Time one changed person: a new snapshot that shares everything else."""
    key, record = next(iter(snapshot.items()))
    times = []
    for revision in range(2, 52):
        started = time.perf_counter()
        snapshot.with_cards(revision, {key: record._replace(subjects=(size.groups,))})
        times.append((time.perf_counter() - started) * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    _print_bytes_a_card(Size(sys.argv[1], *map(int, sys.argv[2:5])))
