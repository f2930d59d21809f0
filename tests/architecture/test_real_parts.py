# SPDX-License-Identifier: EUPL-1.2
"""A missing real part fails in CI: only the markers of `tests/conftest.py` may turn it into a skip."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Put together here, so that this file does not find itself.
SILENT_SKIP = re.compile(r"\b(?:skip" + r"if|import" + r"orskip)\(")


def silent_skips(text: str) -> list[str]:
    return SILENT_SKIP.findall(text)


def test_no_test_skips_itself_where_something_is_missing() -> None:
    """Such a skip comes before the markers are asked, and would stay a skip in CI."""
    found = [file.name for file in TESTS.rglob("*.py") if silent_skips(file.read_text("utf-8"))]
    assert found == []


def test_the_check_bites() -> None:
    assert silent_skips("@pytest.mark.skip" + "if(not there(), reason='x')")
    assert silent_skips("pytest.import" + "orskip('smartcard')")
