# SPDX-License-Identifier: EUPL-1.2
"""Killed in the middle: what was acknowledged is there, and every chain verifies."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from service.conftest import Place

from cardservice.database import Databases
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

ROOT = Path(__file__).parents[2]
ROUNDS = 12


def acknowledged_before_death(writer: "subprocess.Popen[str]", kill_after: int) -> set[tuple[int, int]]:
    """Let one child write, kill it once it has acknowledged `kill_after` entries, return all it had acknowledged."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    word, pid = writer.stdout.readline().split()
    assert word == "pid"
    places: set[tuple[int, int]] = set()
    for line in writer.stdout:
        if line == "ended\n":
            return places
        epoch, sequence = line.split()
        places.add((int(epoch), int(sequence)))
        if len(places) == kill_after:
            os.kill(int(pid), signal.SIGKILL)
    raise AssertionError("the writer ended by itself")


def test_nothing_acknowledged_is_lost(place: Place, databases: Databases) -> None:
    """Twelve deaths by SIGKILL at a random moment of a stream of group commits."""
    rng = random.Random(20_260_316)
    told: set[tuple[int, int]] = set()
    command = [sys.executable, str(Path(__file__).with_name("recorder_writer.py")), place.url]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as writer:
        for _ in range(ROUNDS):
            told |= acknowledged_before_death(writer, rng.randrange(1, 250))
        writer.stdin.close()
    assert writer.returncode == 0
    with databases.record.connect() as connection:
        kept = {tuple(row) for row in connection.execute(sa.select(journal_entry.c.epoch, journal_entry.c.sequence))}
    assert told
    assert told <= kept
    reports = verify(databases.record)
    assert {report.epoch for report in reports} == {epoch for epoch, _ in kept}
    assert sum(report.entries for report in reports) == len(kept)
    assert len({epoch for epoch, _ in told}) == ROUNDS
