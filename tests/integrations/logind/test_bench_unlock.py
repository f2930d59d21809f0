# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench unlock` runs and reports as documented; its figures are not judged here."""

import pytest

from cardservice.bench.unlock import Size, run

pytestmark = [pytest.mark.pcscd, pytest.mark.logind]


def test_both_ways_are_measured():
    """Every tap has its two delays, none negative, and each promised figure is one ratio."""
    report = run(Size(warm_up=0, taps=2))
    unlock, lock = report.rows[1:]
    assert (unlock["samples"], lock["samples"]) == (2, 2)
    assert float(lock["p50_ms"]) > 0
    assert float(unlock["p50_ms"]) > 0
    assert [ratio.name for ratio in report.ratios] == ["unlock p99, ms", "lock p99, ms"]
