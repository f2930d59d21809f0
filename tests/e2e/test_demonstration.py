# SPDX-License-Identifier: EUPL-1.2
"""The demonstration as a visitor runs it: the script's verdict, and nothing left running afterwards."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.command import python_environment, run_program
from support.traces import MARK, new_mark, processes_of
from support.waiting import wait_until

from rig.program import free_port

LIMIT_S = 150.0
READERS = [pytest.param("--require-pcsc", marks=pytest.mark.pcscd), "--in-process"]


class Place:
    """Where a demonstration runs, and how its processes are recognised."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.temporary = folder / "t"
        self.temporary.mkdir()
        self.mark = new_mark()
        self.environment = {MARK: self.mark, "TMPDIR": str(self.temporary)}

    def running(self) -> dict[int, str]:
        """Everything of it that still runs."""
        return processes_of(self.mark, self.state, self.temporary)

    def is_left_clean(self) -> bool:
        """Neither a process nor a socket folder is left; its state may be looked at afterwards."""
        return not self.running() and list(self.temporary.iterdir()) == []


@pytest.fixture
def place() -> Iterator[Place]:
    # A short name: a socket's path has 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="demo-"))
    made = Place(folder)
    yield made
    for process in made.running():
        os.kill(process, signal.SIGKILL)
    shutil.rmtree(folder)


@pytest.mark.parametrize("readers", READERS)
def test_the_first_tap_goes_as_it_should_and_leaves_nothing_running(place, readers):
    """Opens, refuses without the group, refuses after being disabled; with durations, as one JSON document."""
    done = run_program(
        *("demo", "--script", "first-tap", "--json", readers, "--state", str(place.state)),
        environment=place.environment,
        limit_s=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert place.is_left_clean(), place.running()
    document = json.loads(done.stdout)
    assert (document["ok"], document["pcsc"]) == (True, readers == "--require-pcsc")
    taps = [(step["card"], step["permit"], step["reason"], step["strike"]) for step in document["steps"]]
    assert taps == [
        ("anna", True, "granted", "released"),
        ("sabine", False, "no_grant", "locked"),
        ("anna", False, "person_disabled", "locked"),
    ]
    for step in document["steps"]:
        assert step["locked_again"]
        assert step["level"] == "card"
        assert step["inserted_to_decision_ms"] > 0
        assert {"centre_centre", "centre_decide", "agent_card", "agent_total"} <= step["stages_us"].keys()
        assert set(step["text"]) == {"de", "en"}
    assert document["revocation"]["published_ms"] > 0


@pytest.mark.cups
@pytest.mark.logind
@pytest.mark.parametrize("readers", READERS)
def test_one_day_goes_through_all_five_places_and_ends_with_the_card_lost(place, readers):
    """Door, clock, PC, printer, canteen, desk, on the real parts; then the lost card is refused in all five."""
    done = run_program(
        *("demo", "--script", "one-day", "--json", readers, "--state", str(place.state)),
        environment=place.environment,
        limit_s=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert place.is_left_clean(), place.running()
    document = json.loads(done.stdout)
    assert all(step["played"] and step["took_ms"] > 0 for step in document["steps"])
    refused = [step for step in document["steps"] if step["step"] == "the lost card is refused"]
    assert [step["seen"]["reason"] for step in refused] == ["card_revoked"] * 5
    lunch = next(step for step in document["steps"] if step["step"] == "lunch is paid")
    assert (lunch["seen"]["till"]["status"], lunch["seen"]["screen"]["balance_cents"]) == ("paid", 1_020)
    # What the till was told names nobody and no balance.
    assert "balance_cents" not in lunch["seen"]["till"]


@contextmanager
def open_city(place: Place, port: int, readers: str) -> Iterator[subprocess.Popen[str]]:
    """The demonstration with its page, once it says that it is open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cardservice", "demo", readers, "--port", str(port), "--state", str(place.state)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=python_environment(**place.environment),
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        while "The city is open" not in said:
            line = process.stdout.readline()
            assert line, f"it ended: {process.stderr.read() if process.stderr else ''}"
            said += line
        yield process
    finally:
        process.kill()
        process.communicate()


def is_free(port: int) -> bool:
    """Whether somebody else could listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def get(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize(
    ("readers", "number"),
    [
        pytest.param("--require-pcsc", signal.SIGINT, marks=pytest.mark.pcscd),
        ("--in-process", signal.SIGINT),
        ("--in-process", signal.SIGTERM),
    ],
)
def test_ctrl_c_closes_the_whole_city(place, readers, number):
    """With a page open that watches: exit code 0, nothing runs on, the port is free."""
    port = free_port()
    with open_city(place, port, readers) as process:
        assert "<html" in get(port)
        assert json.loads(get(port, "/status"))["status"] == "ready"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=10) as watching:
            assert watching.readline() == b": watching\n"
            process.send_signal(number)
            assert process.wait(LIMIT_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert place.is_left_clean(), place.running()
    assert is_free(port)


@pytest.mark.parametrize("readers", READERS)
def test_a_killed_demonstration_takes_its_children_with_it(place, readers):
    """SIGKILL leaves no time to tidy up; the kernel does it."""
    with open_city(place, free_port(), readers) as process:
        assert len(place.running()) >= 3
        process.kill()
        process.wait(LIMIT_S)
        wait_until(lambda: not place.running())


def test_a_port_in_use_is_one_sentence_and_leaves_nothing_running(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_program(
            *("demo", "--in-process", "--port", str(port), "--state", str(place.state)),
            environment=place.environment,
            limit_s=LIMIT_S,
        )
    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    assert f"port {port}" in done.stderr
    assert place.is_left_clean(), place.running()
