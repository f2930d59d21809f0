# SPDX-License-Identifier: EUPL-1.2
"""`bench tap` and `bench revoke` really run, at tiny sizes, and report as documented; no time is judged."""

import json
from pathlib import Path

import pytest

from cardservice.bench import command, revoke, revoke_directory, tap
from cardservice.bench.city_figures import percentile
from cardservice.bench.report import Report

TINY_TAP = tap.Size(warm_up=1, taps=2, rounds=1, people=20, agents=4, taps_per_s=20.0, seconds=1.0)
TINY_REVOKE = revoke.Size(changes=2, people=20, agents=2, taps_per_s=10.0, witnesses=2)


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


@pytest.mark.slapd
def test_revoke_waits_for_each_refusal_and_each_permit() -> None:
    """Every change is followed to its first refusal and back to its first permit, while others tap."""
    report = revoke.run(TINY_REVOKE)
    samples = _samples(report)
    assert samples["disabled: modify sent to first refusal"] == samples["enabled: modify sent to first permit"] == 2
    assert samples["of that slapd itself: modify sent to its answer"] == 4
    assert samples["meanwhile: card.present to decision"] > 0
    named = {ratio.name: ratio for ratio in report.ratios}
    assert named["changes"].value == 2
    assert not named["changes"].holds
    assert named["meanwhile: errors"].value >= 0
    assert named["disabled to first refusal p99, ms"].value > 0
    assert json.loads(json.dumps(report.as_json()))["bench"] == "revoke"


def test_a_missing_part_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without slapd `bench revoke` says so and ends with 1; nothing is measured that could be mistaken for a figure."""
    monkeypatch.setattr(revoke_directory, "SLAPD", tmp_path / "slapd")
    assert command.main(["revoke", "--json"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("cardservice bench revoke: OpenLDAP's server is not installed")
    assert len(told.err.splitlines()) == 1
