# SPDX-License-Identifier: EUPL-1.2
"""Killed in the middle: what was acknowledged is there, and every chain verifies."""

import random
import signal
from pathlib import Path

import sqlalchemy as sa
from service.conftest import Place
from support.lives import Life, Lives

from cardservice.database import Databases
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

ROUNDS = 12


def acknowledged_before_death(life: Life, kill_after: int) -> set[tuple[int, int]]:
    """Kill a child once it has acknowledged `kill_after` entries, return all it had acknowledged."""
    places: set[tuple[int, int]] = set()
    for said in life:
        epoch, sequence = said.split()
        places.add((int(epoch), int(sequence)))
        if len(places) == kill_after:
            life.kill()
    assert life.exit_code == -signal.SIGKILL
    return places


def test_nothing_acknowledged_is_lost(place: Place, databases: Databases) -> None:
    """Twelve deaths by SIGKILL at a random moment of a stream of group commits."""
    rng = random.Random(20_260_316)
    told: set[tuple[int, int]] = set()
    with Lives(Path(__file__).with_name("recorder_writer.py"), place.url) as writer:
        for _ in range(ROUNDS):
            told |= acknowledged_before_death(writer.begin("go"), rng.randrange(1, 250))
    with databases.record.connect() as connection:
        kept = {tuple(row) for row in connection.execute(sa.select(journal_entry.c.epoch, journal_entry.c.sequence))}
    assert told
    assert told <= kept
    reports = verify(databases.record)
    assert {report.epoch for report in reports} == {epoch for epoch, _ in kept}
    assert sum(report.entries for report in reports) == len(kept)
    assert len({epoch for epoch, _ in told}) == ROUNDS
