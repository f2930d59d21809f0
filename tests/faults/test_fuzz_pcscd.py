# SPDX-License-Identifier: EUPL-1.2
"""The reader driver under a pcscd that says whatever it likes."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
from faults.fuzz_pcscd import hostile_pcscd
from support.command import python_environment

from readers.ports import ReaderEvent

DRIVER_CLIENT = Path(__file__).resolve().parents[1] / "agent" / "pcsc_driver_client.py"


class DriverProcess:
    """The test's end of a `PcscDriver` in a process of its own."""

    def __init__(self, socket: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER_CLIENT), str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=python_environment(),
            text=True,
        )

    def __call__(self, op: str, **fields: int) -> dict[str, Any]:
        """Run one command of the client; fail with what it wrote if it ended."""
        self.process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the driver ended: {self.process.stderr.read()[-500:]}"
        return json.loads(line)


@pytest.mark.pcscd
@pytest.mark.parametrize("not_utf8", [False, True], ids=["UTF-8", "not UTF-8"])
def test_whatever_pcscd_says_the_driver_goes_on(dice, scale, report, not_utf8):
    """Names, states and answers to reset without sense are events or a fault; `wait` always comes back."""
    with tempfile.TemporaryDirectory(prefix="pcscd-") as folder:
        socket = Path(folder) / "s"
        with hostile_pcscd(socket, dice, not_utf8=not_utf8) as daemon:
            driver = DriverProcess(socket)
            try:
                said = driver("waits", calls=scale.of(15, 200))
                named = driver("readers")["readers"]
            finally:
                driver.process.communicate(timeout=15)
            assert daemon.looks > 10
    assert set(said["events"]) <= {event.__name__ for event in get_args(ReaderEvent)}
    # A name no text can be made of puts all readers out of reach.
    expected = {"DriverDown"} if not_utf8 else {"DriverUp", "ReaderAppeared", "CardArrived"}
    assert expected <= set(said["events"])
    assert all(len(name) <= 127 for name, _, _ in named)
    report("looks at a hostile pcscd", utf8=not not_utf8, looks=daemon.looks, events=len(said["events"]))
