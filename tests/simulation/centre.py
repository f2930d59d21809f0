# SPDX-License-Identifier: EUPL-1.2
"""The centre of a world: the product's own parts, put together as `cardservice/app.py` does, without its threads."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from simulation.chance import forget_stocks
from simulation.connection import Connection
from simulation.directory import Directory, Follower, Told
from simulation.loop import Process
from simulation.machine import Machine
from simulation.network import Network
from simulation.town import DIRECTORY, ORGANISATION, Town

from cardservice.access.service import City
from cardservice.agents.channel import Channel
from cardservice.agents.events import EventDesk
from cardservice.agents.hub import AgentHub
from cardservice.agents.live import LiveFeed
from cardservice.agents.service import Agents
from cardservice.agents.session import Desks
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.changes import ChangeKind
from cardservice.chip.piv_certificate import CardAuthTrust
from cardservice.claim import claim
from cardservice.journal.service import Journal
from cardservice.metrics import Metrics
from cardservice.people.census import Followed
from cardservice.people.service import DirectoryCopy
from cardservice.recorder import Recorder

LOOK_S = 0.1
LOOK_MS = 100


class FollowedCopy(DirectoryCopy):
    """The copy; whoever asks for its age gets it as if its source had proved it five times a second until now."""

    follower: Follower | None = None

    def age_ms(self) -> int:
        if self.follower is not None:
            self.follower.prove()
        return super().age_ms()

    def age_ms_of(self, _person: int) -> int:
        return self.age_ms()


class FollowedCity(City):
    """The city; its age is as if the change log had been looked at ten times a second (see `Running.log_changed`)."""

    def age_ms(self) -> int:
        return min(super().age_ms(), LOOK_MS)


class VirtualRecorder(Recorder):
    """The recorder without its thread: what waits is written a moment after the first of it came."""

    def __init__(self, machine: Machine, *parts: Any) -> None:
        super().__init__(*parts)
        self._machine = machine
        self._due = False

    def submit(self, unit: Any) -> "Future[Any]":
        future: Future[Any] = super().submit(unit)
        self._write_soon()
        return future

    def submit_here(self, unit: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = super().submit_here(unit)
        self._write_soon()
        return future

    def _write_soon(self) -> None:
        if not self._due:
            self._due = True
            machine = self._machine
            stall_s = max(0, machine.disk_stalls_until_us - machine.loop.now_us) / 1_000_000
            machine.loop.call_later(stall_s + machine.dice.uniform(0.0005, 0.008), self._write_now)

    def _write_now(self) -> None:
        self._due = False
        self.write_waiting()


class Centre:
    """The centre as a thing that is started, dies, and is started again on the same stores."""

    def __init__(self, machine: Machine, town: Town, network: Network, directory: Directory) -> None:
        self._machine = machine
        self._town = town
        self._network = network
        self._directory = directory
        self._running: Running | None = None
        self._witness: sqlite3.Connection | None = None
        self.told: list[Told] = []
        # When each copy of the record store was made; between which instants what was written is gone.
        self._backups: dict[int, int] = {}
        self.lost: list[tuple[int, int]] = []
        self.starts = 0

    @property
    def running(self) -> "Running | None":
        """The running program, None while there is none."""
        return self._running

    def start(self, at_fuse: Callable[[], None]) -> None:
        """Start it, unless it runs; `at_fuse` is called when its steps are counted down."""
        if self._running is None:
            self.starts += 1
            self._network.trace.note("centre", f"start {self.starts}")
            forget_stocks()
            process = Process("centre")
            process.at_fuse = at_fuse
            self._running = process.run(Running, process, self)
            self._network.host = self._running

    def kill(self, *, silently: bool) -> None:
        """End it between two of its steps; `silently` when its machine goes too, so that nobody hears of it."""
        running, self._running, self._network.host = self._running, None, None
        if running is None:
            return
        self._network.trace.note("centre", "killed" + (" silently" if silently else ""))
        self._hang_up(silently=silently)
        running.kill()

    def stop(self) -> None:
        """Stop it in order: say goodbye, write what waits."""
        running = self._running
        if running is None:
            return
        self._network.trace.note("centre", "stopped")
        self._network.host = self._running = None
        self._hang_up(silently=False)
        self._machine.loop.call_later(0.01, running.end)

    def back_up(self, number: int) -> None:
        """Copy the record store as a nightly job does, while it is in use."""
        self._network.trace.note("centre", f"backup {number}")
        with (
            contextlib.closing(sqlite3.connect(self._town.world / "record.db")) as store,
            contextlib.closing(sqlite3.connect(self._town.world / f"backup-{number}.db")) as copy,
        ):
            store.backup(copy)
        self._backups[number] = self._machine.loop.now_us

    def restore(self, number: int) -> None:
        """Put the copy of the record store in its place; the centre does not run."""
        self._network.trace.note("centre", f"restored {number}")
        self.close_witness()
        self._town.other_stores.close()
        for ending in ("", "-wal", "-shm"):
            (self._town.world / f"record.db{ending}").unlink(missing_ok=True)
        shutil.copy(self._town.world / f"backup-{number}.db", self._town.world / "record.db")
        self.lost.append((self._backups[number], self._machine.loop.now_us))

    def _hang_up(self, *, silently: bool) -> None:
        for link in self._network.links.values():
            for connection in tuple(link.connections):
                connection.centre_gone(silently=silently)

    def has_stored(self, agent: str, epoch: int, sequence: int) -> bool:
        """Tell whether an event is on the centre's disk, as another program would see it."""
        if self._witness is None:
            self._witness = sqlite3.connect(
                f"file:{self._town.world / 'record.db'}?mode=ro", uri=True, isolation_level=None
            )
        query = "SELECT 1 FROM agent_event WHERE agent = ? AND epoch = ? AND sequence = ? AND refused IS NULL"
        return self._witness.execute(query, (agent, epoch, sequence)).fetchone() is not None

    def close_witness(self) -> None:
        """Stop looking at the record store."""
        if self._witness is not None:
            self._witness.close()
            self._witness = None


class Running:
    """One run of the centre's program."""

    def __init__(self, process: Process, centre: Centre) -> None:
        self.process = process
        machine, town = centre._machine, centre._town
        self._loop = machine.loop
        # A new program, but the statements compiled by the ones before: compiling them anew would be most of the work.
        self.databases = town.stores
        self._give_back = claim(self.databases)
        self.city = FollowedCity(self.databases.state, machine, self._on_change)
        self.city.build()
        self.directory = FollowedCopy(
            self.databases.state,
            Followed(DIRECTORY),
            organisation=ORGANISATION,
            clock=machine,
            publish=self.city.catch_up,
        )
        journal = Journal(lambda stream, purpose: town.keys.secret(f"journal {stream} {purpose}"))
        journal.begin_epoch(self.databases.record, machine.now_ms())
        self.recorder = VirtualRecorder(machine, self.databases.record, (journal,))
        self.metrics = Metrics()
        services = TapServices(
            city=self.city,
            directory=self.directory,
            keys=town.keys,
            trust=CardAuthTrust(()),
            recorder=self.recorder,
            journal=journal,
            metrics=self.metrics,
            clock=machine,
        )
        desks = Desks(TapDesk(services), EventDesk(services), LiveFeed(), self.metrics, machine)
        self.hub = AgentHub(Agents(self.databases.state, machine), desks)
        self.hub.points_changed(self.city.snapshot)
        self.follower = Follower(centre._directory, process, centre.told)
        self.directory.follower = self.follower
        self.follower.start(self.directory)

    def accept(self, connection: Connection) -> Channel:
        """Serve a new connection, as cardservice/agents/wire.py does."""
        channel = Channel(connection.send_down, lambda: connection.centre_gone(silently=False))
        self.process.spawn(self._serve(channel), f"connection {connection.number}")
        return channel

    async def _serve(self, channel: Channel) -> None:
        try:
            await self.hub.serve(channel)
        finally:
            channel.close()

    def log_changed(self) -> None:
        """Another program changed the stores: whoever follows the change log finds it within a tenth of a second."""
        rest_s = LOOK_S - self._loop.time() % LOOK_S
        self._loop.call_later(rest_s, self.city.catch_up, context=self.process.context())

    def end(self) -> None:
        """Write what waits and end."""
        if self.process.alive:
            self.process.run(self.recorder.write_waiting)
            self.kill()

    def kill(self) -> None:
        """End at once."""
        self.follower.end()
        self.process.kill()
        self.databases.close()
        self._give_back()

    def _on_change(self, kinds: frozenset[ChangeKind]) -> None:
        if kinds.isdisjoint({"access", "agent"}):
            return
        self._loop.call_soon(self.hub.points_changed, self.city.snapshot)
        if "agent" in kinds:
            self.process.spawn(self.hub.cut_off_locked(), "cut off locked")
