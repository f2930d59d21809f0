# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench tap`: from the card in the reader to the strike, stage by stage, and 200 taps a second.

The first part is one reader of a real pcscd, a real agent and the real service, one tap after the other; after each
tap every floor is measured once. The second part is fifty agents that tap at a given pace for a minute, every tap a
whole conversation, journalled before it is answered.
"""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cardservice.bench.city import BenchCity, Plan, embedded_directory, running_city
from cardservice.bench.city_figures import load_row, percentile, spread
from cardservice.bench.city_load import Load, LoadProcess
from cardservice.bench.city_program import BenchError
from cardservice.bench.report import Ratio, Report
from cardservice.bench.tap_echo import APDUS, STEPS
from cardservice.bench.tap_reader import READER, MeasuredTap, measured_taps

LIBRARIES: Final = ("cryptography", "picows", "pydantic", "pyscard", "sqlalchemy", "uvloop", "websockets")
WHOLE_GOAL: Final = 1.5
ANSWER_P99_GOAL_MS: Final = 50.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: taps at the one reader and in how many rounds; pace and length of the crowd.

    The first taps, `warm_up` of them, load what all later ones find loaded, and do not count.
    """

    warm_up: int = 3
    taps: int = 240
    rounds: int = 6
    people: int = 1_000
    agents: int = 50
    taps_per_s: float = 200.0
    seconds: float = 60.0


def run(size: Size = Size()) -> Report:  # frozen
    """Measure both parts.

    Raises:
        CardServiceError, RigError: a part of it does not run here; one sentence.
    """
    report = Report("tap", libraries=LIBRARIES, rows=[load_row()])
    plan = Plan(size.people, size.agents, READER)
    with tempfile.TemporaryDirectory(prefix="tap-") as name, running_city(Path(name), plan, embedded_directory) as city:
        _one_reader(Path(name), city, size, report)
        _crowd(city, size, report)
    return report


def _one_reader(folder: Path, city: BenchCity, size: Size, report: Report) -> None:
    all_taps = measured_taps(folder, city, size.taps, warm_up=size.warm_up)
    taps = [tap for tap in all_taps if tap is not None]
    if len(taps) < size.rounds:
        raise BenchError(f"{len(all_taps) - len(taps)} of {len(all_taps)} taps were answered too late to open")
    report.rows.append({"case": "taps at one reader", "opened": len(taps), "too_late": len(all_taps) - len(taps)})
    for stage in taps[0].stages_us:
        report.rows.append(spread(stage, [tap.stages_us[stage] for tap in taps], "us"))
    for floor in taps[0].floors_us:
        report.rows.append(spread(f"floor: {floor}", [tap.floors_us[floor] for tap in taps], "us"))
    length = len(taps) // size.rounds
    rounds = [taps[at : at + length] for at in range(0, length * size.rounds, length)]
    ratios = [_whole_us(taps) / _floor_us(taps) for taps in rounds]
    report.rows.append(
        {
            "case": "whole conversation and its floors",
            "apdus": len(APDUS),
            "round_trips": len(STEPS),
            "whole_us": round(_whole_us(taps)),
            "floor_us": round(_floor_us(taps)),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
        }
    )
    report.ratios.append(
        Ratio("whole conversation against its floors", statistics.median(ratios), WHOLE_GOAL, at_least=False)
    )


def _whole_us(taps: Sequence[MeasuredTap]) -> float:
    return statistics.median(tap.stages_us["whole conversation"] for tap in taps)


def _floor_us(taps: Sequence[MeasuredTap]) -> float:
    """Return what a conversation costs at least: APDUs, round trips, cryptography on both sides, one fdatasync."""
    each = {name: statistics.median(tap.floors_us[name] for tap in taps) for name in taps[0].floors_us}
    transport_us = len(APDUS) * each["one APDU echo"] + len(STEPS) * each["one WebSocket echo"]
    return transport_us + each["cryptography, ours"] + each["cryptography, card"] + each["one fdatasync"]


def _crowd(city: BenchCity, size: Size, report: Report) -> None:
    load = Load(
        url=city.agents_url,
        folder=city.folder,
        deck=city.deck_file,
        service_pid=city.service.pid,
        agents=size.agents,
        cards=size.people,
        taps_per_s=size.taps_per_s,
        seconds=size.seconds,
    )
    with LoadProcess(load) as crowd:
        loaded = crowd.result()
    if not loaded.answers:
        raise BenchError("not one tap of the crowd was answered")
    answer_ms = [answer.took_s * 1_000 for answer in loaded.answers]
    report.rows += [
        spread("crowd: card.present to decision", answer_ms, "ms"),
        spread("crowd: of that at the centre", [answer.centre_us / 1_000 for answer in loaded.answers], "ms"),
        {
            "case": "crowd",
            "agents": size.agents,
            "taps_per_s": round(loaded.pace(), 1),
            "service_cpu_ms_per_tap": round(loaded.service_cpu_s / len(answer_ms) * 1_000, 3),
            "service_cores": round(loaded.service_cpu_s / loaded.took_s, 3),
            "agents_cores": round(loaded.agents_cpu_s / loaded.took_s, 3),
        },
        {"case": "crowd: errors", **loaded.errors},
    ]
    asked = round(size.taps_per_s * size.seconds)
    report.ratios += [
        Ratio("crowd: share of the taps answered in time", len(answer_ms) / asked, 1.0, at_least=True),
        Ratio("crowd: errors", sum(loaded.errors.values()), 0, at_least=False),
        Ratio("crowd: answer p99, ms", percentile(answer_ms, 0.99), ANSWER_P99_GOAL_MS, at_least=False),
    ]
