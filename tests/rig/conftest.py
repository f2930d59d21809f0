# SPDX-License-Identifier: EUPL-1.2
"""Rigs with trivial cards, PC/SC clients of their own process, and the loud skip without pcscd."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rig.pcscd import Capability, probe
from rig.process import RigProcess

HERE = Path(__file__).parent
LOADER = "echo_cards:load_deck"


@pytest.fixture(scope="session")
def cards() -> ModuleType:
    """The module of trivial cards."""
    spec = importlib.util.spec_from_file_location("echo_cards", HERE / "echo_cards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def capability() -> Capability:
    """What this machine can do; without pcscd or pyscard the test is skipped, in CI it fails."""
    found = probe()
    missing = found.why_not
    if importlib.util.find_spec("smartcard") is None:
        missing = "pyscard is not installed"
    if missing and (os.environ.get("CI") or os.environ.get("CARDSERVICE_REQUIRE_ALL")):
        pytest.fail(f"needs the real pcscd: {missing}")
    if missing:
        pytest.skip(f"needs the real pcscd: {missing}")
    return found


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A folder with a short name: a socket's path has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        yield Path(folder) / "run"


@pytest.fixture
def start_rig(run_dir: Path) -> Iterator[Callable[..., RigProcess]]:
    """Start rigs that are stopped at the end of the test, before their folder (`run_dir`) goes."""
    with ExitStack() as stack:

        def start(run_dir: Path, *arguments: str) -> RigProcess:
            process = RigProcess(run_dir, deck=Path(os.devnull), loader=LOADER, arguments=arguments, python_path=[HERE])
            return stack.enter_context(process)

        yield start


@pytest.fixture
def rig(capability: Capability, start_rig: Callable[..., RigProcess], run_dir: Path) -> RigProcess:
    """A rig with one door (two readers) on a real pcscd."""
    return start_rig(run_dir, "--doors", "1")


class PcscClient:
    """The test's end of a PC/SC client process."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "pcsc_client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __call__(self, op: str, **fields: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@pytest.fixture
def pcsc() -> Iterator[Callable[[RigProcess], PcscClient]]:
    """Start PC/SC clients of a rig, their context established."""
    clients: list[PcscClient] = []

    def start(rig: RigProcess) -> PcscClient:
        client = PcscClient(rig.environment)
        clients.append(client)
        assert client("establish") == {"code": 0}
        return client

    yield start
    for client in clients:
        client.process.communicate()
