# SPDX-License-Identifier: EUPL-1.2
"""The benchmark of payments runs and reports as documented; its figures are not judged here."""

from pathlib import Path

import pytest

import rig.postgres
import rig.program
from cardservice.bench import command, pay
from cardservice.bench.pay import Size
from cardservice.bench.report import Report

MISSING = "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"


@pytest.mark.postgres
def test_pay_measures_both_databases_and_their_peers() -> None:
    """A row for each number of tills and each peer, one ratio for each promise, and every ledger adds up at the end."""
    report = pay.run(Size(rounds=1, seconds=0.1, tills=(1, 3), wallets=20, clients=3))
    assert [row["case"] for row in report.rows] == [
        "SQLite, one row a commit",
        "SQLite, payments, 1 tills",
        "SQLite, payments, 3 tills",
        "PostgreSQL, one row a commit",
        "PostgreSQL, row by row FOR UPDATE, 3 clients",
        "PostgreSQL, payments, 1 tills",
        "PostgreSQL, payments, 3 tills",
    ]
    assert all(float(row["per_s"]) > 0 for row in report.rows)
    assert [(ratio.goal, ratio.at_least) for ratio in report.ratios] == [
        (0.4, True),
        (2.0, True),
        (2.0, True),
        (15.0, True),
    ]


def test_pay_can_be_asked_for() -> None:
    assert command.BENCHES["pay"] is pay.run


def test_pay_without_postgresql_loses_nothing_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`all` says in one sentence what is missing, and still prints the other reports."""
    monkeypatch.setattr(rig.postgres, "PROGRAMS", tmp_path)
    monkeypatch.setattr(rig.program, "FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(command, "BENCHES", {"decide": lambda: Report("decide"), "pay": pay.run})
    assert command.main(["all"]) == 1
    told = capsys.readouterr()
    assert told.err == "cardservice bench pay: " + MISSING + "\n"
    assert "decide" in told.out
