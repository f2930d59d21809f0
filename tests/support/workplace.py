# SPDX-License-Identifier: EUPL-1.2
"""A PC at work: real pcscd with a PIV card, the service, a desk with real lockers, and the PC's agent as a process."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa
from support.command import ROOT, python_environment
from support.service import CityFiles, ServiceThread, directory_in_thread
from support.sessions import UTE, desk, wait_locked, wait_open
from support.waiting import LIMIT_S, wait_until

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from cardservice.database import read
from cardservice.people.store import organisation
from integrations.logind import LogindSessions
from readers.identity import Identity
from rig.control import RigClient
from rig.process import RigProcess
from rig.sessions import Desk, DeskSession

AGENT = "pc-1"
POINT = "pc.1"
READER = "Door 1 00 00"
CARD = "ute"
OTHER = "schmidt"
PROGRAM = ROOT / "tests" / "faults" / "workstation_agent.py"
START_LIMIT_S = 60.0
_CLASS = PointClassSetup("pcs", "Arbeitsplätze", methods=("piv",), answer_budget_ms=15_000, tap_budget_ms=60_000)


class Workplace:
    """One PC; its agent is started and killed by the test."""

    def __init__(self, files: CityFiles, service: ServiceThread, rig: RigProcess, at: Desk) -> None:
        self.files = files
        self.service = service
        self.rig = rig
        self.desk = at
        self.control: RigClient = rig.client()
        self.log = files.folder / "agent.log"
        self.note = files.folder / "pc.unlocked"
        self._process: subprocess.Popen[bytes] | None = None

    def start_agent(self, *, die_at: int = 0) -> None:
        """Start the agent; with `die_at` it kills itself at that step (see the program)."""
        order = {
            "settings": {
                "agent": AGENT,
                "centre_url": self.service.agents_url,
                "key_file": str(self.files.folder / "pc.key"),
                "outbox_file": str(self.files.folder / "pc.outbox"),
                "pcsc_socket": self.rig.pcsc_socket,
                "log_level": "debug",
            },
            "die_at": die_at,
        }
        file = self.files.folder / "order.json"
        file.write_text(json.dumps(order))
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(file)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                env=python_environment(**self.desk.environment),
            )

    @property
    def agent_lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_connected(self) -> None:
        """Return once the centre has the agent."""

        def connected() -> bool:
            assert self.agent_lives, self.log.read_text()[-2_000:]
            return AGENT in self.service.health().get("agents_online", ())

        wait_until(connected, START_LIMIT_S)

    def end_agent(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the agent; return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(LIMIT_S)

    def insert(self) -> None:
        self.control.insert(CARD, READER)

    def eject(self) -> None:
        self.control.eject(READER)

    def is_locked(self, session: DeskSession = UTE) -> bool:
        return self.desk.is_locked(session.number)

    def lock_by_hand(self) -> None:
        """Lock every session, as their users do when they leave; return when they are.

        Asked again while one is not: xss-lock misses what comes before it listens, or while its locker still ends.
        """

        def locked() -> bool:
            asyncio.run(_lock(self.desk))
            return all(map(self.is_locked, self.desk.sessions))

        wait_until(locked, every_s=0.5)

    def wait_locked(self, session: DeskSession = UTE, limit_s: float = LIMIT_S) -> None:
        wait_locked(self.desk, session, limit_s)

    def wait_open(self, session: DeskSession = UTE) -> None:
        wait_open(self.desk, session)

    def wait_settled(self) -> None:
        """Return once the agent has nothing open any more."""
        wait_until(lambda: not self.note.exists())

    def close(self) -> None:
        if self.agent_lives:
            self.end_agent(signal.SIGKILL)
        self.control.close()


async def _lock(at: Desk) -> None:
    sessions = LogindSessions(address=at.bus_address)
    await sessions.lock(None)
    await sessions.close()


def _add_the_pc(files: CityFiles) -> None:
    with files.stores() as databases:
        with read(databases.state) as connection:
            number = connection.execute(sa.select(organisation.c.id)).scalar_one()
        setup = AccessSetup(
            point_classes=[_CLASS],
            points=[PointSetup(POINT, "Zimmer 12", "rathaus", _CLASS.code, AGENT, READER, Use.WORKSTATION)],
            rules=[RuleSetup(group="Rathaus", point=POINT)],
        )
        apply(databases.state, number, setup)
    files.enrol_key(AGENT, Identity.create(files.folder / "pc.key").public_key_hex())


@contextmanager
def workplace(*sessions: DeskSession) -> Iterator[Workplace]:
    """Run everything but the agent while the context lasts; all sessions are locked."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pc-")))
        directory = stack.enter_context(directory_in_thread())
        files = CityFiles(folder / "city", directory.address)
        files.upgrade()
        service = ServiceThread(files)
        service.start()
        stack.callback(service.stop)
        service.wait_health(lambda health: health.get("status") == "ready")
        points = files.seed()
        _add_the_pc(files)
        service.wait_health(lambda health: health.get("points") == points + 1)
        rig = RigProcess(
            folder / "rig", deck=files.deck_file, loader="cardsim.deck:load_deck", arguments=["--doors", "1"]
        )
        stack.callback(rig.stop)
        at = stack.enter_context(desk(*sessions))
        made = Workplace(files, service, rig, at)
        stack.callback(made.close)
        made.lock_by_hand()
        yield made
