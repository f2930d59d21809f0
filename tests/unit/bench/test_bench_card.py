# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench card`, in small: both places of the masters are measured, the environment is left as it was."""

import os

import pytest

from cardservice.bench import card


@pytest.mark.softhsm
def test_both_places_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own goal; the token of the benchmark is gone afterwards."""
    monkeypatch.setattr(card, "ROUNDS", 1)
    before = os.environ.get("SOFTHSM2_CONF")
    report = card.run(taps=2)
    assert [row["case"] for row in report.rows] == ["keys sealed", "keys pkcs11"]
    assert [(ratio.goal, ratio.at_least) for ratio in report.ratios] == [(1_000.0, True), (300.0, True)]
    assert all(ratio.value > 0 for ratio in report.ratios)
    assert os.environ.get("SOFTHSM2_CONF") == before


def test_without_a_token_the_file_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is missing is named."""
    monkeypatch.setattr(card, "ROUNDS", 1)
    monkeypatch.setattr(card, "_MODULES", ())
    report = card.run(taps=2)
    assert len(report.ratios) == 1
    assert report.rows[-1] == {"case": "keys pkcs11", "missing": "softhsm2"}
