# SPDX-License-Identifier: EUPL-1.2
"""A workstation whose PC's sessions cannot be used: its taps are refused, and nothing else is tried."""

import asyncio
import time
from pathlib import Path

import pytest
import structlog
from unit.readers.fakes import NotingDoor
from unit.readers.test_workstation import QUICK, decision, eventually

from cardservice.agents.messages import PointSetup
from cardservice.doors.ports import OutputFault, Shown
from integrations.simulated_io.sessions import SimulatedSessions
from readers.clock import SystemClock
from readers.metrics import Metrics
from readers.no_sessions import KeptNotes, NoSessions
from readers.unlocked import UnlockedNotes
from readers.workstation import Workstations

SETUP = PointSetup(point="pc-1", reader="*", use="workstation", options={"grace_ms": 0})


async def serve(file: Path, metrics: Metrics) -> None:
    """One life of an agent that cannot unlock: cards come, are refused and are taken away, and the agent ends."""
    shared = Workstations(NoSessions("no bus"), KeptNotes(file), clock=SystemClock(), metrics=metrics, times=QUICK)
    point = shared.point(SETUP, NotingDoor())
    for _ in range(3):
        point.card_came()
        with pytest.raises(OutputFault, match="no bus"):
            await point.act(decision())
        point.show(Shown("amber", "refused"))
        point.card_left()
        await asyncio.sleep(QUICK.retry_s)
    await eventually(lambda: not shared._locking)
    point.card_left()
    point.close()
    began_s = time.monotonic()
    await shared.close()
    assert time.monotonic() - began_s < QUICK.stop_s / 2


async def test_a_card_that_is_taken_away_starts_no_locking_without_end(tmp_path):
    """Nothing was unlocked, so nothing is to be locked: no fault is counted, and the agent stops at once."""
    metrics = Metrics()
    await serve(tmp_path / "unlocked.json", metrics)
    not_locked = metrics.registry.get_sample_value("cardservice_agent_faults_total", {"what": "session_not_locked"})
    assert not not_locked
    assert list(tmp_path.iterdir()) == []


async def test_what_an_agent_before_it_left_open_is_said_once_and_kept_for_one_that_can_lock(tmp_path):
    """Locked as soon as an agent can: cards that came and went in between change nothing about the note."""
    file, sessions = tmp_path / "unlocked.json", SimulatedSessions(["berger"])
    await sessions.unlock("berger")
    UnlockedNotes(file).note("pc-1", "berger")
    left = file.read_bytes()
    with structlog.testing.capture_logs() as lines:
        await serve(file, Metrics())
    assert [line["event"] for line in lines if line["log_level"] == "critical"] == ["session_stays_open"]
    assert file.read_bytes() == left
    able = Workstations(sessions, UnlockedNotes(file), clock=SystemClock(), metrics=Metrics(), times=QUICK)
    able.point(SETUP, NotingDoor())
    await eventually(lambda: not file.exists())
    assert await sessions.locked("berger") is True
    await able.close()
