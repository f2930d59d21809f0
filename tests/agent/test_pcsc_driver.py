# SPDX-License-Identifier: EUPL-1.2
"""`readers/pcsc.py` against a real pcscd with virtual cards; each driver in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
OUTSIDE, INSIDE = "Door 1 00 00", "Door 1 00 01"
SELECT = "00a4040000"


class DriverClient:
    """The test's end of a driver's process."""

    def __init__(self, rig: RigProcess) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "pcsc_driver_client.py"), rig.pcsc_socket or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __call__(self, op: str, **fields: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def until(self, kind: str, reader: str | None = None) -> list[dict[str, Any]]:
        """Everything that happened up to the first `kind`."""
        answer = self("until", kind=kind, reader=reader)
        assert "timeout" not in answer, f"no {kind}; seen: {answer['seen']}"
        return answer["seen"]

    def last(self, kind: str, reader: str) -> dict[str, Any]:
        """The first `kind` of `reader` from now on."""
        return next(event for event in self.until(kind, reader) if event["kind"] == kind and event["reader"] == reader)


@pytest.fixture
def start() -> Iterator[Callable[..., tuple[RigProcess, DriverClient]]]:
    """Start a rig, and a driver when wanted."""
    with ExitStack() as stack:

        def start_rig(doors: int = 1) -> RigProcess:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-"))
            return stack.enter_context(
                RigProcess(
                    Path(folder) / "run",
                    deck=Path(os.devnull),
                    loader="echo_deck:load_deck",
                    arguments=["--doors", str(doors)],
                    python_path=[HERE],
                )
            )

        def start_driver(rig: RigProcess) -> DriverClient:
            client = DriverClient(rig)
            stack.callback(client.process.communicate)
            return client

        start_rig.driver = start_driver
        yield start_rig


@pytest.fixture
def rig(start) -> RigProcess:
    return start()


@pytest.fixture
def control(rig) -> Iterator[Any]:
    with rig.client() as control:
        yield control


@pytest.fixture
def driver(start, rig) -> DriverClient:
    """A driver that has seen two empty readers."""
    client = start.driver(rig)
    seen = client.until("ReaderAppeared", INSIDE)
    assert [event["kind"] for event in seen] == ["DriverUp", "ReaderAppeared", "ReaderAppeared"]
    assert client("waits", calls=1)["events"] == []
    return client


def test_a_card_arrives_answers_and_leaves(driver, control):
    """Insertion, conversation, reset at the end, removal; the driver's own use of the card is no event."""
    control.insert("card 1", OUTSIDE)
    arrived = driver.last("CardArrived", OUTSIDE)
    assert arrived == {"kind": "CardArrived", "reader": OUTSIDE, "atr": "3b818001808001", "found": False}
    for _ in range(2):
        assert driver("connect", reader=OUTSIDE) == {"atr": "3b818001808001"}
        assert driver("transmit", name=OUTSIDE, apdu=SELECT) == {"answer": SELECT + "019000"}
        assert driver("transmit", name=OUTSIDE, apdu=SELECT) == {"answer": SELECT + "029000"}
        assert driver("disconnect", name=OUTSIDE) == {}
    assert driver("waits", calls=4)["events"] == []
    assert driver("readers")["readers"] == [[OUTSIDE, True, None], [INSIDE, False, None]]
    control.eject(OUTSIDE)
    assert driver.until("CardRemoved", OUTSIDE) == [{"kind": "CardRemoved", "reader": OUTSIDE}]
    assert driver("connect", reader=OUTSIDE)["error"] == "CardGone"


def test_waiting_is_no_busy_loop(driver):
    """With nothing to report a wait lasts its whole time."""
    assert driver("waits", calls=4)["took_s"] > 0.9


def test_a_card_already_there_is_found(start, rig, driver, control):
    """A driver that starts late reports the card, and that it was there before."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    late = start.driver(rig)
    assert late.last("CardArrived", OUTSIDE)["found"] is True


def test_a_swap_during_a_conversation_ends_it(driver, control):
    """Never a command for one card to the other; both changes are reported."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    driver("connect", reader=OUTSIDE)
    assert "answer" in driver("transmit", name=OUTSIDE, apdu=SELECT)
    control.swap("card 2", OUTSIDE)
    seen = driver.until("CardArrived", OUTSIDE)
    assert [event["kind"] for event in seen] == ["CardRemoved", "CardArrived"]
    assert seen[1]["atr"] == "3b818001808002"
    assert driver("transmit", name=OUTSIDE, apdu=SELECT)["error"] == "CardGone"
    driver("disconnect", name=OUTSIDE)
    assert driver("connect", reader=OUTSIDE) == {"atr": "3b818001808002"}


@pytest.mark.parametrize("executed", [True, False])
def test_a_card_pulled_in_mid_command_is_gone(driver, control, executed):
    """The empty success of pcscd is a removal; the next card, however soon it comes, is seen and answers."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    driver("connect", reader=OUTSIDE)
    control.pull_after(OUTSIDE, 2, executed=executed)
    assert "answer" in driver("transmit", name=OUTSIDE, apdu=SELECT)
    assert driver("transmit", name=OUTSIDE, apdu=SELECT)["error"] == "CardGone"
    assert driver("transmit", name=OUTSIDE, apdu=SELECT)["error"] == "CardGone"
    driver("disconnect", name=OUTSIDE)
    driver.last("CardRemoved", OUTSIDE)
    control.insert("card 2", OUTSIDE)
    assert driver.last("CardArrived", OUTSIDE)["atr"] == "3b818001808002"
    assert driver("connect", reader=OUTSIDE) == {"atr": "3b818001808002"}
    assert "answer" in driver("transmit", name=OUTSIDE, apdu=SELECT)


def test_exclusive_means_nobody_else(driver, control):
    """While a door talks to a card another connection is refused, as the reader's fault and not the holder's."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    driver("connect", reader=OUTSIDE)
    assert driver("connect", reader=OUTSIDE, name="other")["error"] == "ReaderFault"
    driver("disconnect", name=OUTSIDE)
    assert "atr" in driver("connect", reader=OUTSIDE, name="other")


def test_a_shared_card_is_reset_at_the_end(driver, control):
    """On PCs the card is shared, but what was shown to it is forgotten when the tap ends."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    for _ in range(2):
        driver("connect", reader=OUTSIDE, exclusive=False)
        assert driver("transmit", name=OUTSIDE, apdu=SELECT) == {"answer": SELECT + "019000"}
        driver("disconnect", name=OUTSIDE)


def test_a_slow_card_does_not_hold_up_another(driver, control):
    """Connections have contexts of their own: the card inside answers while the one outside still thinks."""
    for card, reader in (("slow", OUTSIDE), ("card 1", INSIDE)):
        control.insert(card, reader)
        driver.last("CardArrived", reader)
        driver("connect", reader=reader)
    answers = driver("both", slow=OUTSIDE, quick=INSIDE, apdu=SELECT)
    assert answers["slow_was_busy"] is True
    assert answers["slow"][0]["answer"].endswith("9000")


def test_a_restart_of_pcscd_heals(driver, control):
    """Down is said once; up again, the readers come back and a card that lay there all along is `found`."""
    control.insert("card 1", OUTSIDE)
    driver.last("CardArrived", OUTSIDE)
    driver("connect", reader=OUTSIDE)
    control.kill_pcscd()
    assert [event["kind"] for event in driver.until("DriverDown")] == ["DriverDown"]
    assert driver("waits", calls=3)["events"] == []
    assert "error" in driver("transmit", name=OUTSIDE, apdu=SELECT)
    assert driver("disconnect", name=OUTSIDE) == {}
    assert driver("connect", reader=OUTSIDE)["error"] == "ReaderFault"
    control.restart_pcscd()
    seen = driver.until("CardArrived", OUTSIDE)
    assert [event["kind"] for event in seen] == ["DriverUp", "ReaderAppeared", "ReaderAppeared", "CardArrived"]
    assert seen[-1]["found"] is True
    driver("connect", reader=OUTSIDE)
    assert driver("transmit", name=OUTSIDE, apdu=SELECT) == {"answer": SELECT + "019000"}
    control.eject(OUTSIDE)
    driver.last("CardRemoved", OUTSIDE)
    control.insert("card 2", OUTSIDE)
    assert driver.last("CardArrived", OUTSIDE)["found"] is False


def test_readers_unplugged_and_back(driver, control):
    """Without any reader the driver is up and idle; a reader plugged in later is served."""
    control.remove_reader(OUTSIDE)
    assert [event["kind"] for event in driver.until("DriverUp")] == ["DriverDown", "DriverUp"]
    assert driver("readers")["readers"] == []
    assert driver("waits", calls=2)["events"] == []
    control.restore_reader(OUTSIDE)
    driver.until("ReaderAppeared", INSIDE)
    control.insert("card 1", INSIDE)
    assert driver.last("CardArrived", INSIDE)["atr"] == "3b818001808001"


def test_as_many_readers_as_pcscd_takes(start):
    """With 16 readers there is no room for pcscd's own notification; cards are seen all the same."""
    rig = start(doors=8)
    driver = start.driver(rig)
    driver.until("ReaderAppeared", "Door 8 00 01")
    assert len(driver("readers")["readers"]) == 16
    with rig.client() as control:
        control.insert("card 1", "Door 8 00 01")
        assert driver.last("CardArrived", "Door 8 00 01")["atr"] == "3b818001808001"


def test_closing_ends_a_wait(driver):
    """`close` from another thread lets a wait return, and waiting afterwards returns at once with nothing."""
    assert driver("close_while_waiting") == {"ended": True, "again": 0}
