# SPDX-License-Identifier: EUPL-1.2
"""`bench tap` really runs, at a tiny size, and reports as documented; no time is judged."""

import json

import pytest

from cardservice.bench import tap
from cardservice.bench.city_figures import percentile
from cardservice.bench.report import Report

TINY_TAP = tap.Size(warm_up=1, taps=2, rounds=1, people=20, agents=4, taps_per_s=20.0, seconds=1.0)


def _samples(report: Report) -> dict[str, int]:
    return {str(row["case"]): int(row["samples"]) for row in report.rows if "samples" in row}


def test_a_percentile_is_one_of_the_values() -> None:
    """The smallest that so many of them do not exceed: of a hundred values the 99th, of one value that value."""
    hundred = [float(value) for value in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([1.0, 2.0, 3.0], 0.99) == 3.0


@pytest.mark.pcscd
def test_tap_measures_every_stage_and_floor_and_a_crowd() -> None:
    """Each stage the issue names and each floor has its row for every tap; each promised figure is one ratio."""
    report = tap.run(TINY_TAP)
    samples = _samples(report)
    assert samples.pop("crowd: card.present to decision") == samples.pop("crowd: of that at the centre") == 20
    assert set(samples.values()) == {2}
    assert {"PC/SC event to strike", "card and PC/SC", "of that PC/SC", "crypto", "decision", "journal"} <= set(samples)
    assert {"whole conversation", "network, four relayed exchanges"} <= set(samples)
    assert len([case for case in samples if case.startswith("floor: ")]) == 5
    assert all(float(row["p50_us"]) > 0 for row in report.rows if str(row["case"]).startswith("floor: "))
    whole = next(row for row in report.rows if "floor_us" in row)
    assert float(whole["whole_us"]) > float(whole["floor_us"]) > 0
    assert [ratio.name for ratio in report.ratios] == [
        "whole conversation against its floors",
        "crowd: share of the taps answered in time",
        "crowd: errors",
        "crowd: answer p99, ms",
    ]
    assert json.loads(json.dumps(report.as_json())).keys() == {"bench", "machine", "versions", "rows", "ratios"}
