# SPDX-License-Identifier: EUPL-1.2
"""A program of the rig: whoever waits for one that has ended waits no longer; paused, resumed, ended while paused."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.waiting import wait_until

import rig.program
from rig.ds389 import Ds389
from rig.errors import Ds389FailedError, RigError, SlapdFailedError
from rig.program import Program, Server, accepts, find_program
from rig.slapd import Slapd


def program(tmp_path: Path, *command: str) -> Program:
    path = find_program(command[0])
    assert path is not None
    return Program(command[0], [path, *command[1:]], tmp_path / "log", stop_limit_s=5.0)


def test_a_program_that_ends_at_once_is_not_waited_for(tmp_path):
    """The error comes when it ends, not when the time is over, and carries what it said."""
    ended = program(tmp_path, "ls", "/nowhere-at-all")
    ended.start()
    began_s = time.monotonic()
    with pytest.raises(RigError, match=r"ls did not start: .*nowhere-at-all"):
        ended.wait_ready(lambda: False, 60.0)
    assert time.monotonic() - began_s < 30


def test_one_that_runs_on_is_waited_for_until_the_limit(tmp_path):
    running = program(tmp_path, "sleep", "60")
    running.start()
    try:
        with pytest.raises(RigError, match="sleep did not start"):
            running.wait_ready(lambda: False, 0.05)
        running.wait_ready(lambda: True, 0.05)
        assert running.pid is not None
    finally:
        running.end()
    assert running.pid is None


class Sleeper(Server):
    """A server that serves nothing."""

    def __init__(self, tmp_path: Path) -> None:
        self._program = program(tmp_path, "sleep", "60")

    def start(self) -> None:
        self._program.start()
        self._program.wait_ready(lambda: True, 5.0)

    def state(self) -> str:
        """The kernel's letter for what it does."""
        return Path(f"/proc/{self._program.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_server_is_paused_resumed_and_ended_while_paused(tmp_path):
    """It stands still when `pause` returns; an orderly end reaches it all the same, long before the limit."""
    server = Sleeper(tmp_path)
    for end in (server.stop, server.kill):
        server.start()
        server.pause()
        assert server.state() == "T"
        server.resume()
        wait_until(lambda: server.state() != "T")
        server.pause()
        began_s = time.monotonic()
        end()
        end()
        assert time.monotonic() - began_s < server._program.stop_limit_s
        assert not server.runs


def test_what_does_not_run_is_neither_paused_nor_resumed(tmp_path):
    """Never started, or ended by itself: it is said."""
    server = Sleeper(tmp_path)
    ended = program(tmp_path, "true")
    ended.start()
    with pytest.raises(RigError):
        ended.wait_ready(lambda: False, 60.0)
    for change in (server.pause, server.resume, ended.pause, ended.resume):
        with pytest.raises(RigError, match="is not running"):
            change()


def test_a_port_accepts_while_somebody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert accepts(port)
        assert not accepts(port, "127.0.0.9")
    assert not accepts(port)


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [(Slapd, SlapdFailedError, "slapd"), (lambda _: Ds389(), Ds389FailedError, "ns-slapd")],
    ids=["slapd", "389"],
)
def test_without_the_package_it_is_one_sentence(
    tmp_path: Path, monkeypatch, make: Callable[[Path], Server], error: type[RigError], name: str
) -> None:
    """Also in what it leaves behind: nothing."""
    monkeypatch.setattr(rig.program, "FOLDERS", (str(tmp_path),))
    with pytest.raises(error, match=rf"^{name} is not installed \(Debian: "):
        make(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()
