# SPDX-License-Identifier: EUPL-1.2
"""Files that are generated say what the code says now."""

from pathlib import Path

from cardservice.settings import example

DOCS = Path(__file__).parents[2] / "docs"


def test_the_example_settings_are_the_models() -> None:
    """`docs/cardservice.example.toml` is what `cardservice settings example` prints."""
    assert (DOCS / "cardservice.example.toml").read_text("utf-8") == example()
