# SPDX-License-Identifier: EUPL-1.2
"""`bench revoke` really runs, at a tiny size, on both real servers, and reports as documented; no time is judged."""

import json
from pathlib import Path

import pytest
from support.samba import template_of_the_run

from cardservice.bench import command, revoke, revoke_directory, revoke_disable, revoke_refresh, revoke_spare
from cardservice.bench.report import Report
from cardservice.bench.revoke_crowd import Crowd
from rig import samba

TINY = revoke.Size(
    disable=revoke_disable.Size(changes=2, people=20, witnesses=2),
    # So many that somebody taps while they are read.
    refresh=revoke_refresh.Size(people=1_000, rounds=1, quiet_s=0.5),
    spare=revoke_spare.Size(times=1, people=20),
    crowd=Crowd(agents=4, taps_per_s=50.0),
)
REFUSED = "disabled: modify sent to first refusal"
PERMITTED = "enabled: modify sent to first permit"
SERVER = "of that the server itself: modify sent to its answer"
AGE = "age on record with each decision"
PARTS = ("OpenLDAP", "Samba", "refresh", "hung")


def samples(report: Report) -> dict[str, int]:
    """How many values each row with a spread is of, by its case."""
    return {str(row["case"]): int(row["samples"]) for row in report.rows if "samples" in row}


@pytest.mark.slapd
@pytest.mark.samba
def test_revoke_measures_all_its_parts(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every change is followed to its refusal and its permit, everybody is read twice, a hung server is replaced."""
    domain = template_of_the_run(tmp_path_factory.getbasetemp())
    monkeypatch.setattr(samba, "provision", lambda _folder: domain)
    report = revoke.run(TINY)
    counts, ratios = samples(report), {ratio.name: ratio for ratio in report.ratios}
    for server in ("OpenLDAP", "Samba"):
        assert counts[f"{server}: {REFUSED}"] == counts[f"{server}: {PERMITTED}"] == 2
        assert counts[f"{server}: {SERVER}"] == 4
        assert counts[f"{server}: {AGE}"] > 4
        assert ratios[f"{server}: changes"].value == 2
        assert not ratios[f"{server}: changes"].holds
    goals = {server: ratios[f"{server}: disabled to first refusal p99, ms"].goal for server in ("OpenLDAP", "Samba")}
    assert goals == {"OpenLDAP": 100.0, "Samba": 500.0}
    assert ratios["OpenLDAP: age under load p99, ms"].value >= 0
    for kind in ("comparison asked for", "position refused"):
        assert counts[f"refresh: {kind}: everybody read"] >= 1
        assert counts[f"refresh: {kind}: card.present to decision"] >= 1
        assert ratios[f"refresh: {kind}: tap p99 against quiet"].goal == 2.0
    # It takes at least the patience that the service has with a server that can be replaced.
    assert ratios["hung: server replaced, longest, ms"].value > 500
    assert all(ratios[f"{part}: meanwhile: errors"].value >= 0 for part in PARTS)
    assert json.loads(json.dumps(report.as_json()))["bench"] == "revoke"


@pytest.mark.parametrize(
    ("lacks", "sentence"),
    [
        ("SLAPD", "OpenLDAP's server is not installed"),
        ("find_program", "Samba's domain controller is not installed"),
    ],
)
@pytest.mark.slapd
def test_a_missing_part_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lacks: str, sentence: str
) -> None:
    """Without a server `bench revoke` says so and ends with 1, before anything was measured."""
    nothing = {"SLAPD": tmp_path / "slapd", "find_program": lambda _name: None}
    monkeypatch.setattr(revoke_directory, lacks, nothing[lacks])
    assert command.main(["revoke", "--json"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"cardservice bench revoke: {sentence}")
    assert len(told.err.splitlines()) == 1
