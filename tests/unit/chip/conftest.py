# SPDX-License-Identifier: EUPL-1.2
"""The published vectors, read once."""

import json
from pathlib import Path

import pytest

_VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "desfire.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def vectors() -> dict[str, list[dict[str, object]]]:
    return _VECTORS
