# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench decide`: one decision in memory, next to an empty Python call of the same shape.

S is 10,000 people, 500 points, 200 groups; L is 100,000, 5,000, 2,000; XL is 1,000,000 cards at L's points and groups.
A person is in 5 groups, a point is granted to 6, every card has a validity. About half of the taps are permitted.
With the extra `bench`, Cedar and Casbin's FastEnforcer are asked the same taps at S and L in the same run, and the
answers are compared.
"""

import gc
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from cardservice.access.rules import (
    REFUSED,
    CardRecord,
    CompiledPeriod,
    Decision,
    Level,
    PointRecord,
    Reason,
    Tap,
    Use,
    Window,
    decide,
)
from cardservice.access.snapshot import ShardedMap, Snapshot, same_number
from cardservice.bench.peers import Ask, installed_peers, peers
from cardservice.bench.report import Ratio, Report

ROUNDS: Final = 7
PEER_GOALS: Final = {"S": {"cedar": 20.0, "casbin_fast": 40.0}, "L": {"cedar": 8.0, "casbin_fast": 20.0}}
TAPS: Final = 20_000
NOW_MS: Final = 1_795_000_000_000
_GROUPS_OF_A_PERSON: Final = 5
_GROUPS_OF_A_POINT: Final = 6
_YEAR_MS: Final = 365 * 86_400_000
_VALIDITY: Final = Window(
    NOW_MS - _YEAR_MS, NOW_MS + _YEAR_MS, REFUSED[Reason.CARD_NOT_YET_VALID], REFUSED[Reason.CARD_EXPIRED]
)


@dataclass(frozen=True, slots=True)
class Size:
    """How large the city is."""

    name: str
    people: int
    points: int
    groups: int


SIZES: Final = (Size("S", 10_000, 500, 200), Size("L", 100_000, 5_000, 2_000), Size("XL", 1_000_000, 5_000, 2_000))


def run(sizes: Sequence[Size] = SIZES) -> Report:
    """Measure three sizes; the empty call is timed in turn with each, medians of seven rounds."""
    report = Report("decide", libraries=installed_peers())
    per_decision_us: dict[str, float] = {}
    for size in sizes:
        snapshot, taps, build_s = _city(size)
        decided, empty = _in_turn(partial(_decide_all, snapshot, taps), partial(_call_all, taps))
        per_decision_us[size.name] = decided
        report.rows.append(
            {
                "case": size.name,
                "decide_us": decided,
                "empty_call_us": empty,
                "build_s": build_s,
                "publish_one_person_us": _publish_us(snapshot, size),
                "permitted_share": _permitted_share(snapshot, taps),
            }
        )
        if size.name in PEER_GOALS:
            report.ratios += _beside_peers(size, snapshot, taps, report)
        del snapshot, taps
        gc.collect()
    small, large, largest = (per_decision_us[size.name] for size in sizes)
    by_case = {row["case"]: row for row in report.rows}
    publish_ms = float(by_case["L"]["publish_one_person_us"]) / 1_000
    report.ratios += [
        Ratio("growth S to L", large / small, 3.5, at_least=False),
        Ratio("growth L to XL", largest / large, 1.5, at_least=False),
        Ratio("one person published at L, ms", publish_ms, 5.0, at_least=False),
        Ratio("built at XL, s", float(by_case["XL"]["build_s"]), 3.0, at_least=False),
        Ratio("bytes a card at XL", _bytes_a_card(sizes[-1]), 500.0, at_least=False),
    ]
    return report


def _beside_peers(size: Size, snapshot: Snapshot, taps: Sequence[Tap], report: Report) -> list[Ratio]:
    """Time every installed peer in turn with `decide` on the same taps; return the promised ratios."""
    ratios = []
    for peer in peers(snapshot, NOW_MS):
        asked = taps[: peer.asked]
        wrong = sum(peer.ask(tap) != decide(snapshot, tap, NOW_MS, 100).permit for tap in asked)
        if wrong:
            raise AssertionError(f"{peer.name} answers {wrong} of {len(asked)} taps otherwise")
        ours, theirs = _in_turn(partial(_decide_all, snapshot, asked), partial(_ask_all, peer.ask, asked), len(asked))
        report.rows.append({"case": f"{size.name} {peer.name}", "peer_us": theirs, "decide_us": ours})
        ratios.append(
            Ratio(f"{peer.name} at {size.name}", theirs / ours, PEER_GOALS[size.name][peer.name], at_least=True)
        )
    return ratios


def _ask_all(ask: Ask, taps: Sequence[Tap]) -> None:
    for tap in taps:
        ask(tap)


def _city(size: Size) -> tuple[Snapshot, list[Tap], float]:
    rng = random.Random(size.people)  # noqa: S311  # a repeatable city, not a secret
    groups = [same_number(group) for group in range(1, size.groups + 1)]
    memberships = [tuple(rng.sample(groups, _GROUPS_OF_A_PERSON)) for _ in range(size.people)]
    keys = [b"\x01" + number.to_bytes(12, "big") for number in rng.sample(range(2**60), size.people)]
    granted = Decision(permit=True, reason=Reason.GRANTED, open_ms=5_000)
    points = {f"door-{number}": _point(f"door-{number}", rng, size, granted) for number in range(size.points)}
    rows = [(keys[i], CardRecord(None, _VALIDITY, memberships[i], i + 1, i + 1)) for i in range(size.people)]
    started = time.perf_counter()
    snapshot = Snapshot(1, ShardedMap.of(rows), points, CompiledPeriod(0, NOW_MS * 2))
    build_s = time.perf_counter() - started
    return snapshot, _taps(snapshot, keys, rng), build_s


def _bytes_a_card(size: Size) -> float:
    """Build the city in a process of its own; return how much larger that process is for each card, all in all."""
    command = [sys.executable, "-m", __name__, size.name, str(size.people), str(size.points), str(size.groups)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603  # ourselves


def _print_bytes_a_card(size: Size) -> None:
    before = _resident_bytes()
    snapshot, taps, _ = _city(size)
    del taps
    gc.collect()
    sys.stdout.write(f"{(_resident_bytes() - before) / snapshot.card_count}\n")


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _point(code: str, rng: random.Random, size: Size, granted: Decision) -> PointRecord:
    return PointRecord(
        code=code,
        use=Use.DOOR,
        always=frozenset(same_number(group) for group in rng.sample(range(1, size.groups + 1), _GROUPS_OF_A_POINT)),
        timed=(),
        blocks=(),
        level=Level.CARD,
        timed_levels=(),
        freshness_ms=43_200_000,
        stale_permits=False,
        granted=granted,
    )


def _taps(snapshot: Snapshot, keys: Sequence[bytes], rng: random.Random) -> list[Tap]:
    """Return taps of random cards, half of them at a point that admits them; keys are fresh objects, as when parsed."""
    points = list(snapshot.points.values())
    by_group: dict[int, list[str]] = {}
    for point in points:
        for group in point.always:
            by_group.setdefault(group, []).append(point.code)
    taps = []
    for number in range(TAPS):
        key = rng.choice(keys)
        record = snapshot.card(key)
        if record is None:
            raise AssertionError("the key was just put in")
        admitted = [code for group in record.subjects for code in by_group.get(group, ())]
        code = rng.choice(admitted) if number % 2 and admitted else rng.choice(points).code
        taps.append(Tap(code, bytes(bytearray(key)), Level.CARD))
    return taps


def _in_turn(one: Callable[[], None], other: Callable[[], None], count: int = TAPS) -> tuple[float, float]:
    """Time both in turn; return microseconds per tap, medians."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for which, work in enumerate((one, other)):
            started = time.perf_counter()
            work()
            times[which].append((time.perf_counter() - started) / count * 1e6)
    return statistics.median(times[0]), statistics.median(times[1])


def _decide_all(snapshot: Snapshot, taps: Sequence[Tap]) -> None:
    for tap in taps:
        decide(snapshot, tap, NOW_MS, 100)


def _empty(state: object, tap: object, at_ms: int, directory_age_ms: int) -> None:
    """Do nothing, with the same arguments: the floor of the interpreter."""


def _call_all(taps: Sequence[Tap]) -> None:
    for tap in taps:
        _empty(None, tap, NOW_MS, 100)


def _permitted_share(snapshot: Snapshot, taps: Sequence[Tap]) -> float:
    return sum(decide(snapshot, tap, NOW_MS, 100).permit for tap in taps) / len(taps)


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
