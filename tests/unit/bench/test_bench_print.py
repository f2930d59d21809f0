# SPDX-License-Identifier: EUPL-1.2
"""The printing benchmark runs and reports as documented; its figures are not judged here."""

import pytest

from cardservice.bench import printing


@pytest.mark.cups
def test_print_measures_both_sides() -> None:
    """Each document of both sides is printed and timed; the promised figure is one ratio."""
    report = printing.run(printing.Size(rounds=1, documents=2, printers=2))
    cases = {row["case"]: row for row in report.rows}
    for case in ("release called to document complete", "the same requests, encoded before, to document complete"):
        assert cases[case]["samples"] == 2
        assert 0 < float(cases[case]["p50_ms"]) < 20_000
    assert [(ratio.goal, ratio.at_least) for ratio in report.ratios] == [(1.3, False)]
