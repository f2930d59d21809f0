# SPDX-License-Identifier: EUPL-1.2
"""The benchmarks run and report as documented; their figures are not judged here."""

import json

import pytest

from cardservice.bench import channel, command, rest
from cardservice.bench.decide import run
from cardservice.bench.decide_city import Size
from cardservice.bench.report import Ratio, Report

TINY = (Size("S", 200, 20, 200), Size("L", 400, 20, 200), Size("XL", 800, 20, 200))


def test_decide_measures_every_size() -> None:
    """Each size and each peer has its row, the peers give the same answers, each promised figure is one ratio."""
    report = run(TINY)
    own = [row for row in report.rows if "permitted_share" in row]
    assert [row["case"] for row in own] == ["S", "L", "XL"]
    assert all(0.3 < float(row["permitted_share"]) < 0.9 for row in own)
    peers = {row["case"] for row in report.rows if "peer_us" in row}
    assert peers == {"S cedar", "S casbin_fast", "L cedar", "L casbin_fast"}
    assert len(report.ratios) == 9


def test_channel_measures_both_sides() -> None:
    """Agents get decisions, the no-op its answers, both libraries echo; nothing is refused or lost."""
    report = channel.run(rounds=1, seconds=0.2, connections=(2,))
    assert [row["case"] for row in report.rows] == [
        "FastAPI no-op, 2 connections",
        "durable decision, 2 connections",
        "bare echo, picows, 2 connections",
        "bare echo, websockets over ASGI, 2 connections",
    ]
    assert all(float(row["answers_per_s"]) > 0 for row in report.rows)
    assert [ratio.name for ratio in report.ratios] == ["durable decisions, 2 connections"]


def test_rest_measures_both_sides() -> None:
    """Taps with an account's token and the no-op get their answers; nothing is refused or lost."""
    report = rest.run(rounds=1, seconds=0.2, connections=(2,))
    assert [row["case"] for row in report.rows] == ["FastAPI no-op, 2 connections", "tap over REST, 2 connections"]
    assert all(float(row["answers_per_s"]) > 0 for row in report.rows)
    assert [ratio.name for ratio in report.ratios] == ["taps over REST, 2 connections"]


def test_json_form(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints the documented document, and a promise that does not hold is no failure of the run."""
    missed = Report("decide", rows=[{"case": "S", "x_us": 1.0}], ratios=[Ratio("r", 1.0, 2.0, at_least=True)])
    monkeypatch.setitem(command.BENCHES, "decide", lambda: missed)
    assert command.main(["decide", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.keys() == {"bench", "machine", "versions", "rows", "ratios"}
    assert document["ratios"] == [{"name": "r", "value": 1.0, "goal": 2.0, "at_least": True, "holds": False}]


def test_table_says_what_does_not_hold(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A missed goal is said in the table."""
    missed = Report("decide", ratios=[Ratio("r", 3.0, 2.0, at_least=False)])
    monkeypatch.setattr(command, "BENCHES", {"decide": lambda: missed})
    assert command.main(["all"]) == 0
    assert "DOES NOT HOLD" in capsys.readouterr().out
