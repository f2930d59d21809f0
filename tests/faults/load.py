# SPDX-License-Identifier: EUPL-1.2
"""A city under load: the service as a process on a port it keeps, and agents as processes whose readers never rest."""

import json
import os
import random
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from faults.load_witness import Witness
from support.command import python_environment
from support.service import CityFiles, DirectoryThread, ServiceProcess, directory_in_thread
from support.waiting import LIMIT_S, let_run, wait_until

from cardservice import changes
from cardservice.access.store import point as points
from cardservice.access.store import point_class
from cardservice.database import write
from city import building
from readers.identity import Identity

PROGRAM = Path(__file__).with_name("load_agent.py")
DRAIN_LIMIT_S = 60.0
# So often a kill of the service comes while it waits for its disk.
SLOW_DISK = 0.5
# Ports the system does not give to whoever connects somewhere: the service must find its own free after every kill.
KEPT_PORTS = range(20_000, 30_000)


@dataclass(frozen=True, slots=True)
class Hand:
    """Who taps at a door in turn; slow cards are nearly always in the middle of a tap."""

    door: str
    cards: Sequence[str]
    slow: bool = False


# No card in two hands. Good cards and bad ones of every kind, so that there are permits and refusals.
HANDS = (
    Hand("serverraum", ("mehmet",)),
    Hand("bauamt", ("anna", "kopie")),
    Hand("besuchereingang", ("ute", "ute-alt", "jonas")),
    Hand("haupteingang", ("kurz", "karl", "uid", "stoerer", "tomasz")),
    Hand("buergerbuero", ("sabine", "petra"), slow=True),
    Hand("kantine", ("unbekannt",), slow=True),
)
# Classes of points whose permits are journalled too; at all others the refusals alone.
FULL_CLASSES = ("office", "high")
FULLY_JOURNALLED = [
    building.point_code(door, side)
    for door in building.DOORS
    if door.kind in FULL_CLASSES
    for side in range(len(building.SIDES))
]


class LoadAgent:
    """One agent, and the hands that tap at one side of the doors; `witness` saw everything it ever stored."""

    def __init__(self, files: CityFiles, name: str, side: int, dice: random.Random) -> None:
        self.name = name
        self.log = files.folder / f"{name}.log"
        self._order = files.folder / f"{name}.json"
        self._deck = files.deck_file
        self._dice = dice
        self._key = files.folder / f"{name}.key"
        self._outbox = files.folder / f"{name}.outbox"
        self._hands = [_hand_at(hand, side) for hand in HANDS]
        self._process: subprocess.Popen[bytes] | None = None
        # Settings that differ from the ordinary ones, from the next start on.
        self.changes: dict[str, int] = {}
        files.enrol_key(name, Identity.create(self._key).public_key_hex())
        self.witness = Witness(self._outbox, name)

    @property
    def points(self) -> list[str]:
        """The codes of its points."""
        return [hand["point"] for hand in self._hands]

    def start(self, centre_url: str, *, hurried: bool = False) -> None:
        """Begin to tap, differently from every start before; `hurried` as fast as it can, with or without a centre."""
        settings = {
            "agent": self.name,
            "centre_url": centre_url,
            "key_file": str(self._key),
            "outbox_file": str(self._outbox),
            **self.changes,
        }
        order = {
            "settings": settings,
            "deck": str(self._deck),
            "hands": self._hands,
            "seed": self._dice.random(),
            "hurried": hurried,
        }
        self._order.write_text(json.dumps(order))
        with self.log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(self._order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=python_environment(),
            )

    def decided(self) -> None:
        """Return once the first tap since the start was answered by the centre."""
        self._hear(b"decided\n")

    def tapped(self) -> int:
        """How many taps it has stored so far; it must still run."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
        return self.witness.opened()

    def rest(self) -> None:
        """Tap no more; return once no card is at any reader."""
        self.ask_to_rest()
        self._hear(b"resting\n")

    def ask_to_rest(self) -> None:
        """Begin no tap any more."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"rest\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Ask it to stop, and see that it does so in order."""
        assert self.stop() == 0, self.log.read_text()[-2000:]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code; nothing happens where nothing runs."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _hear(self, word: bytes) -> None:
        """Read what the agent says up to `word`."""
        assert self._process is not None
        assert self._process.stdout is not None
        said, deadline = b"", time.monotonic() + LIMIT_S
        while not said.endswith(word):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            more = os.read(self._process.stdout.fileno(), 100) if ready else b""
            assert more, f"{self.name} did not say {word!r}: {self.log.read_text()[-2000:]}"
            said += more


class LoadedCity:
    """The files of a seeded city, and what runs on them."""

    def __init__(self, files: CityFiles, directory: DirectoryThread) -> None:
        self.files = files
        self.directory = directory
        self._log = service_log(files)

    def serve(self) -> ServiceProcess:
        """Start the service."""
        return ServiceProcess(self.files, self._log)

    @contextmanager
    def slow_disk(self) -> Iterator[None]:
        """Let nothing be written to the record store, as on a disk that takes its time; a promise made now is early."""
        record = self.files.folder / "db" / "record.db"
        with closing(sqlite3.connect(record, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def kill(self, service: ServiceProcess, dice: random.Random, longest_s: float) -> None:
        """Kill the service at a moment of chance, every second time while nothing can be written."""
        let_run(dice, longest_s)
        if dice.random() >= SLOW_DISK:
            service.stop(signal.SIGKILL)
            return
        with self.slow_disk():
            let_run(dice, longest_s)
            service.stop(signal.SIGKILL)

    @contextmanager
    def agents(self, names: Mapping[str, int], dice: random.Random) -> Iterator[list[LoadAgent]]:
        """Enrol agents, each at its side of the doors (0 outside, 1 inside); in the end none of them runs."""
        made = [LoadAgent(self.files, name, side, dice) for name, side in names.items()]
        with self.files.stores() as databases, write(databases.state) as connection:
            for agent in made:
                connection.execute(sa.update(points).where(points.c.code.in_(agent.points)).values(agent=agent.name))
            changes.append(connection, "access", [0])
        try:
            yield made
        finally:
            for agent in made:
                agent.stop(signal.SIGKILL)


def service_log(files: CityFiles) -> Path:
    """Where the service writes its log."""
    return files.folder / "service.log"


def ready(service: ServiceProcess, *agents: LoadAgent) -> dict[str, Any]:
    """Wait until the service is ready and these agents are connected."""
    names = {agent.name for agent in agents}
    return service.wait_health(lambda state: state.get("status") == "ready" and names <= set(state["agents_online"]))


def drain(agents: Sequence[LoadAgent]) -> None:
    """End the tapping, and the agents as soon as the centre has taken all they have."""
    for agent in agents:
        agent.rest()
    for agent in agents:
        wait_until(lambda here=agent: here.witness.waiting() == 0, DRAIN_LIMIT_S, 0.05)
        agent.end()


@contextmanager
def loaded_city(folder: Path) -> Iterator[LoadedCity]:
    """Make and seed a city whose service keeps its port."""
    with directory_in_thread() as directory:
        files = CityFiles(folder, directory.address, changes={"service": {"port": _kept_port()}})
        files.upgrade()
        with ServiceProcess(files, service_log(files)) as service:
            ready(service)
            files.seed()
        with files.stores() as databases, write(databases.state) as connection:
            full = sa.update(point_class).where(point_class.c.code.in_(FULL_CLASSES)).values(journal_mode="full")
            connection.execute(full)
            changes.append(connection, "access", [0])
        yield LoadedCity(files, directory)


def _kept_port() -> int:
    # Not the chance of the seed: two runs at once must not meet.
    dice = random.SystemRandom()
    for _ in range(100):
        port = dice.choice(KEPT_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no free port found")


def _hand_at(hand: Hand, side: int) -> dict[str, Any]:
    number, door = next((number, door) for number, door in enumerate(building.DOORS, 1) if door.code == hand.door)
    return {
        "point": building.point_code(door, side),
        "reader": building.reader_name(number, side),
        "cards": list(hand.cards),
        "slow": hand.slow,
    }
