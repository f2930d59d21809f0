# SPDX-License-Identifier: EUPL-1.2
"""Starting, crashing, restarting and stopping pcscd; nothing may be left behind."""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from rig.errors import RigError
from rig.process import RigProcess

pytestmark = pytest.mark.pcscd

OUTSIDE, INSIDE = "Door 1 00 00", "Door 1 00 01"


def pcscd_pidfd(rig: RigProcess) -> int:
    """A file descriptor that becomes readable when the rig's pcscd ends."""
    with rig.client() as control:
        return os.pidfd_open(control.state()["pcscd"]["pid"])


def assert_ends(pidfd: int) -> None:
    """Wait until the process of the descriptor has ended."""
    try:
        readable, _, _ = select.select([pidfd], [], [], 10)
        assert readable, "pcscd still runs"
    finally:
        os.close(pidfd)


def test_cards_come_back_after_a_crash_of_pcscd(rig, pcsc):
    """After a crash a client finds no service; after the restart the same cards are in the same readers."""
    with rig.client() as control:
        control.insert("card 1", OUTSIDE)
        client = pcsc(rig)
        assert client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)["code"] == 0
        crashed = pcscd_pidfd(rig)
        control.kill_pcscd()
        assert_ends(crashed)
        assert control.state()["pcscd"]["running"] is False
        assert client("readers")["code"] != 0
        control.insert("card 2", INSIDE)
        control.restart_pcscd()
    again = pcsc(rig)
    seen = again("await_state", readers=[OUTSIDE, INSIDE], state="present", timeout_s=5)
    assert [seen["atrs"][name] for name in (OUTSIDE, INSIDE)] == ["3b818001808001", "3b818001808002"]
    assert again("connect", reader=INSIDE) == {"code": 0}
    assert again("transmit", reader=INSIDE, apdu="60")["answer"] == "609000"


@pytest.mark.parametrize("end", ["stdin", "SIGTERM", "SIGINT", "quit"])
def test_a_stopped_rig_leaves_nothing(rig, run_dir, end):
    """However the rig is told to stop: exit code 0, pcscd gone, the run directory gone."""
    pcscd = pcscd_pidfd(rig)
    if end == "quit":
        with rig.client() as control:
            control.quit()
    elif end != "stdin":
        os.kill(rig.pid, signal.Signals[end])
    assert rig.stop() == 0
    assert_ends(pcscd)
    assert not run_dir.exists()


def test_pcscd_dies_with_a_killed_rig(rig, run_dir, start_rig, pcsc):
    """SIGKILL of the rig ends pcscd too, and the next rig starts in the folder left behind."""
    pcscd = pcscd_pidfd(rig)
    rig.kill()
    assert_ends(pcscd)
    next_rig = start_rig(run_dir, "--doors", "1")
    assert sorted(pcsc(next_rig)("readers")["readers"]) == [OUTSIDE, INSIDE]


def test_pcscd_outlives_the_command_that_restarted_it(rig, pcsc):
    """Pcscd is tied to the rig and not to the connection over which it was restarted."""
    with rig.client() as control:
        control.restart_pcscd()
    with rig.client() as control:
        assert control.state()["pcscd"]["running"] is True
    assert sorted(pcsc(rig)("readers")["readers"]) == [OUTSIDE, INSIDE]


def test_two_rigs_side_by_side(capability, start_rig: Callable[..., RigProcess], run_dir: Path, tmp_path: Path, pcsc):
    """Two rigs have the same reader names and do not see each other's cards."""
    if capability.mode != "namespace":
        pytest.skip("this machine allows no private namespaces")
    first = start_rig(run_dir, "--doors", "1")
    second = start_rig(run_dir.with_name("second"), "--doors", "1")
    clients = [pcsc(first), pcsc(second)]
    with first.client() as one, second.client() as two:
        one.insert("card 1", OUTSIDE)
        two.insert("card 2", OUTSIDE)
        two.insert("card 1", INSIDE)
    atrs = [
        client("await_state", readers=[OUTSIDE], state="present", timeout_s=5)["atrs"][OUTSIDE] for client in clients
    ]
    assert atrs == ["3b818001808001", "3b818001808002"]
    assert clients[0]("await_state", readers=[INSIDE], state="empty", timeout_s=2)["code"] == 0


def test_a_run_directory_serves_one_rig(rig, run_dir, start_rig):
    """A second rig in the same folder is refused in one sentence, and the first one goes on."""
    with pytest.raises(RigError, match="another rig uses"):
        start_rig(run_dir)
    with rig.client() as control:
        assert control.state()["pcscd"]["running"] is True


def test_files_and_folders_are_private(rig, run_dir):
    """Only the owner gets at the sockets, the configuration and the copies of the driver."""
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert (run_dir / "control").stat().st_mode & 0o777 == 0o600
    folders = [path for path in run_dir.iterdir() if path.is_dir()]
    assert sorted(path.name for path in folders) == ["conf", "ifd", "pcsc"]
    assert {path.stat().st_mode & 0o777 for path in folders} <= {0o700, 0o755}


def test_the_host_sees_nothing_of_it(capability, start_rig, run_dir):
    """In a namespace the host's own socket folder stays as it was."""
    if capability.mode != "namespace":
        pytest.skip("this machine allows no private namespaces")
    folder = Path("/run/pcscd")
    before = [(path.name, path.stat().st_ino) for path in folder.iterdir()] if folder.is_dir() else None
    start_rig(run_dir)
    after = [(path.name, path.stat().st_ino) for path in folder.iterdir()] if folder.is_dir() else None
    assert after == before
