# SPDX-License-Identifier: EUPL-1.2
"""`python -m rig` without pcscd, and its refusals."""

import json
from pathlib import Path

import pytest

from rig.errors import RigError, RunDirError
from rig.process import RigProcess
from rig.rundir import RunDir


def test_a_rig_without_pcscd(start_rig, run_dir):
    """The readers are announced, the cards move, and the folder is gone afterwards."""
    rig = start_rig(run_dir, "--no-pcscd", "--doors", "2")
    assert rig.pcsc_socket is None
    assert rig.readers["Door 2 00 01"] == {"spec": "Door 2", "slot": 1, "interface": "contactless"}
    with rig.client() as control:
        control.insert("card 1", "Door 2 00 01")
        assert control.state()["readers"]["Door 2 00 01"]["card"] == "card 1"
    assert rig.stop() == 0
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--doors", "9"], "9 doors asked for, allowed are 1 to 8"),
        (["--readers", "/nowhere.json"], "/nowhere.json cannot be read"),
        (["--no-pcscd", "--loader", "nowhere:load"], "--loader 'nowhere:load' cannot be imported"),
        (["--no-pcscd", "--loader", "echo_cards"], "--loader 'echo_cards' cannot be imported"),
    ],
)
def test_a_wrong_start_is_refused_in_one_sentence(start_rig, run_dir, arguments, complaint):
    """The reason arrives as JSON in place of the ready line, and nothing stays behind."""
    with pytest.raises(RigError, match=complaint):
        start_rig(run_dir, *arguments)
    assert not run_dir.exists()


def test_a_rig_that_says_nothing_is_noticed(run_dir, tmp_path):
    """A loader that fails ends the rig before it is ready."""
    (tmp_path / "failing.py").write_text("def load_deck(path):\n    raise SystemExit(3)\n")
    with pytest.raises(RigError, match="ended with code 3"):
        RigProcess(run_dir, deck=tmp_path, loader="failing:load_deck", arguments=["--no-pcscd"], python_path=[tmp_path])


def test_the_run_directory_must_be_private(tmp_path):
    """A folder open to others, a file, or a name too long for a socket is refused; foreign files survive."""
    tmp_path.chmod(0o755)
    with pytest.raises(RunDirError, match="mode must be 0700"):
        RunDir(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunDirError, match="cannot be used"):
        RunDir(tmp_path / "file")
    with pytest.raises(RunDirError, match="longer than the 107 bytes"):
        RunDir(tmp_path / ("x" * 100))


def test_only_its_own_files_are_removed(run_dir: Path):
    """A folder that was there before stays, with everything a rig did not make."""
    run_dir.mkdir(mode=0o700)
    (run_dir / "notes.json").write_text(json.dumps("mine"))
    with RunDir(run_dir), pytest.raises(RunDirError, match="another rig uses"):
        RunDir(run_dir)
    assert [path.name for path in run_dir.iterdir()] == ["notes.json"]
