# SPDX-License-Identifier: EUPL-1.2
"""The agents of a world: the product's `Agent` with the world's readers, doors, network, threads and clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from simulation.hardware import Door, Readers
from simulation.loop import Process, current_process
from simulation.machine import Machine, VirtualWorker, WatchingWorker
from simulation.network import Network
from simulation.town import POINTS

import readers.agent
import readers.bank
from cardservice.agents.messages import EventId, TapEvent
from readers.agent import Agent, AgentTimes, Surroundings
from readers.channel import ChannelTimes
from readers.outbox import Outbox
from readers.settings import AgentSettings
from readers.worker import MAX_WAITING


class OutboxWitness(Protocol):
    """Is told what an agent's outbox has done, when it is on the disk, and what it is about to forget."""

    def opened(self, event: EventId, point: str, *, kept: bool) -> None: ...
    def finished(self, event: TapEvent) -> None: ...
    def found(self, event: TapEvent) -> None: ...
    def forgets(self, event: EventId) -> None: ...
    def set_aside(self, event: EventId, code: str) -> None: ...


class WatchedOutbox(Outbox):
    """The agents' outbox; it takes its machine's time and tells a witness what it does."""

    witness: ClassVar[OutboxWitness]
    machines: ClassVar[Mapping[str, Machine]]
    at_open: ClassVar[list[Callable[[str, Outbox], None]]]
    machine: Machine

    @classmethod
    def open(cls, path: Path, agent: str, **values: Any) -> Self:
        outbox = super().open(path, agent, **values)
        outbox.machine = cls.machines[agent]
        process = current_process()
        if process is not None:
            process.at_death(outbox.close)
        for tell in cls.at_open:
            tell(agent, outbox)
        return outbox

    def open_tap(self, point: str, at_ms: int) -> EventId:
        lost = self.depth.lost
        event = super().open_tap(point, at_ms)
        self.machine.disk_write()
        self.witness.opened(event, point, kept=self.depth.lost == lost)
        return event

    def finish(self, event: TapEvent) -> bool:
        kept = super().finish(event)
        self.machine.disk_write()
        if kept:
            self.witness.finished(event)
        return kept

    def pending(self, limit: int) -> Sequence[TapEvent]:
        events = super().pending(limit)
        for event in events:
            self.witness.found(event)
        return events

    def acknowledged(self, events: Sequence[EventId]) -> int:
        for event in events:
            self.witness.forgets(event)
        known = super().acknowledged(events)
        self.machine.disk_write()
        return known

    def set_aside(self, event: EventId, code: str) -> bool:
        self.witness.set_aside(event, code)
        return super().set_aside(event, code)


@contextmanager
def watched_outboxes(
    witness: OutboxWitness, machines: Mapping[str, Machine], opened: Callable[[str, Outbox], None]
) -> Iterator[None]:
    """Let every agent use a watched outbox while the context lasts; `opened` is told of each."""
    WatchedOutbox.witness, WatchedOutbox.machines, WatchedOutbox.at_open = witness, machines, [opened]
    readers.agent.Outbox = WatchedOutbox  # type: ignore[misc]
    try:
        yield
    finally:
        readers.agent.Outbox = Outbox  # type: ignore[misc]


@contextmanager
def patient_with_drivers() -> Iterator[None]:
    """Let a driver be silent as long as nothing happens at its readers: no thread wakes up every second here."""
    before = readers.bank.HANGS_S
    readers.bank.HANGS_S = 1e9  # type: ignore[misc]
    try:
        yield
    finally:
        readers.bank.HANGS_S = before  # type: ignore[misc]


class AgentProgram:
    """One agent as a thing that is started, dies, and is started again on the same machine."""

    def __init__(self, name: str, machine: Machine, folder: Path, network: Network, capacity: int) -> None:
        self.name = name
        self.machine = machine
        # How many events its outbox holds, and as many more that were acknowledged.
        self.capacity = capacity
        self.points = [point for point in POINTS.values() if point.agent == name]
        self.readers = Readers(machine, [point.reader for point in self.points])
        self.pulsed: Callable[[str], None] = lambda point: None
        self.failed: Callable[[str], None] = lambda reason: None
        self._network = network
        self._process: Process | None = None
        self._agent: Agent | None = None
        # The outbox of the running program, for a look at its depth.
        self.outbox: Outbox | None = None
        self.starts = 0
        self.started_us = 0
        self.is_stopping = False
        self._settings = AgentSettings(
            agent=name,
            centre_url="ws://127.0.0.1:1/agents/v1",
            key_file=folder / f"{name}.key",
            outbox_file=folder / f"{name}.outbox",
            outbox_capacity=capacity,
        )

    @property
    def process(self) -> Process | None:
        """The running program, None while there is none."""
        return self._process

    def start(self, at_fuse: Callable[[], None]) -> None:
        """Start it, unless it runs."""
        if self._process is None:
            self.starts += 1
            self.started_us = self.machine.loop.now_us
            self.is_stopping = False
            self._network.trace.note(self.name, f"start {self.starts}")
            self._process = process = Process(self.name)
            process.at_fuse = at_fuse
            self._agent = process.run(self._make)
            process.spawn(self._run(process, self._agent), self.name)

    def kill(self, *, silently: bool) -> None:
        """End it between two of its steps."""
        process, self._process, self._agent = self._process, None, None
        if process is None:
            return
        self._network.trace.note(self.name, "killed" + (" silently" if silently else ""))
        for connection in tuple(self._network.link(self.name).connections):
            connection.agent_gone(silently=silently)
        self._end(process)

    def stop(self) -> None:
        """Ask it to end in order."""
        if self._agent is not None:
            self._network.trace.note(self.name, "asked to stop")
            self.is_stopping = True
            self._agent.request_stop()

    def _make(self) -> Agent:
        link = self._network.link(self.name)
        channel = ChannelTimes(retry_max_s=60.0, jitter=link.dice.uniform)
        return Agent(
            self._settings,
            self.readers.open_driver(),
            lambda point, observer: Door(self.readers, point, observer, self.pulsed),
            times=AgentTimes(health_every_s=6 * 3_600, channel=channel),
            surroundings=Surroundings(self._network.connector(self.name), self._worker, self.machine),
        )

    async def _run(self, process: Process, agent: Agent) -> None:
        try:
            await agent.run()
        except Exception as error:  # noqa: BLE001  # whatever ends it is wrong
            if not process.alive:
                return
            self.failed(f"agent {self.name} ended: {error!r}")
        if self._process is process:
            self._process = self._agent = None
            self._network.trace.note(self.name, "ended")
            self._network.loop.call_soon(self._end, process)

    def _end(self, process: Process) -> None:
        process.kill()
        if self._process is None:
            self.readers.driver = None

    def _worker(self, name: str, *, max_waiting: int = MAX_WAITING) -> VirtualWorker:
        driver = self.readers.driver
        if name == "reader events" and driver is not None:
            return WatchingWorker(self.machine, name, driver.when_news)
        return VirtualWorker(self.machine, name, max_waiting=max_waiting)
