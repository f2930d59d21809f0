# SPDX-License-Identifier: EUPL-1.2
"""One set of fault tests, two sizes: small in `./test`, full in `make acceptance`.

`FAULTS_FULL=1` asks for the full size. What a test found goes into the file that
`FAULTS_REPORT` names, one JSON object a line; `scripts/acceptance.py` makes `docs/acceptance.md` of it.
"""

import json
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

Number = TypeVar("Number", int, float)
FULL_TIMEOUT_S = 3 * 3_600
DEFAULT_SEED = 20_261_122


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a test is run: `scale.of(small, full)`."""

    full: bool

    def of(self, small: Number, full: Number) -> Number:
        return full if self.full else small


def is_full() -> bool:
    return os.environ.get("FAULTS_FULL") == "1"


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Let the full size take its time."""
    if is_full():
        for item in items:
            if item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S))


@pytest.fixture(scope="session")
def scale() -> Scale:
    return Scale(is_full())


@pytest.fixture(scope="session")
def seed() -> int:
    """What all chance of a run comes from; a failure repeats with FAULTS_SEED set to the number it names."""
    return int(os.environ.get("FAULTS_SEED", DEFAULT_SEED))


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Chance of this test's own: the order of the tests does not change it."""
    return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture
def report(request: pytest.FixtureRequest, seed: int, scale: Scale) -> Callable[..., None]:
    """Say what was found: `report("kill -9 of the service", cycles=100, acknowledged_lost=0)`."""

    def write(what: str, **found: float | str) -> None:
        line = {"test": request.node.name, "what": what, "seed": seed, "full": scale.full, "found": found}
        if path := os.environ.get("FAULTS_REPORT"):
            with Path(path).open("a") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    return write
