# SPDX-License-Identifier: EUPL-1.2
"""A program of the rig: whoever waits for one that has ended waits no longer."""

import time
from pathlib import Path

import pytest

from rig.errors import RigError
from rig.program import Program, find_program


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
        ended.wait_ready(lambda: False, 60.0, RigError)
    assert time.monotonic() - began_s < 30


def test_one_that_runs_on_is_waited_for_until_the_limit(tmp_path):
    running = program(tmp_path, "sleep", "60")
    running.start()
    try:
        with pytest.raises(RigError, match="sleep did not start"):
            running.wait_ready(lambda: False, 0.05, RigError)
        running.wait_ready(lambda: True, 0.05, RigError)
        assert running.pid is not None
    finally:
        running.end()
    assert running.pid is None
