# SPDX-License-Identifier: EUPL-1.2
"""One world: agents, centre, directory, network and people from one seed, played for some days, then audited."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from simulation import audit
from simulation.agent import AgentProgram, patient_with_drivers, watched_outboxes
from simulation.centre import Centre
from simulation.chance import Dice, secrets_from
from simulation.directory import Directory
from simulation.logs import watched_logs
from simulation.loop import NothingHappens, VirtualLoop, bury
from simulation.machine import Machine
from simulation.network import Network
from simulation.office import Office
from simulation.oracle import Oracle
from simulation.parts import Parts
from simulation.plan import Planned, Planner
from simulation.town import Town
from simulation.trace import Trace
from simulation.visitors import Visitors
from simulation.weather import Weather
from simulation.witness import Witness

from readers.outbox import Outbox

# Everybody is connected and has handed everything over by then: longer than any retry of the agents.
CALM_S = 150.0
# Knows the doors from the beginning, and opens all of them.
TESTER = "p0"


@dataclass(frozen=True, slots=True)
class Found:
    """What one world was like: the hash of its trace, and how much happened."""

    seed: int
    trace: str
    numbers: dict[str, int]


@dataclass(frozen=True, slots=True)
class Options:
    """Keep the whole trace; let there be more faults than in most worlds."""

    keep_trace: bool = False
    eventful: bool = False


class World:
    """Built from a seed; `play` it once."""

    def __init__(self, seed: int, days: float, town: Town, options: Options = Options()) -> None:  # frozen
        self.seed = seed
        self.trace = Trace(seed, days, lambda: self._loop.now_us, keep_all=options.keep_trace)
        self._days = days
        town.reset()
        self._loop = loop = VirtualLoop()
        loop.failure = lambda: self.trace.violation
        loop.set_exception_handler(self._unexpected)
        planner = Planner(seed, days, eventful=options.eventful)
        self._plan = planner.draw()
        witness = Witness(self.trace, lambda: loop.now_us)
        network = Network(loop, Dice(seed, "network"), self.trace, witness)
        directory = Directory(loop, Dice(seed, "directory"), self.trace)
        machines = {name: Machine(loop, Dice(seed, name)) for name in ("centre", *planner.agents)}
        centre = Centre(machines["centre"], town, network, directory)
        agents = {
            name: AgentProgram(name, machines[name], town.world, network, planner.capacity) for name in planner.agents
        }
        oracle = Oracle(directory, centre.told)
        self.parts = parts = Parts(loop, self.trace, network, directory, machines, centre, agents, oracle, witness)
        # Of the command line and of the audit.
        self._stores = town.other_stores
        self._visitors = Visitors(parts, town.cards())
        self._weather = Weather(parts, Dice(seed, "weather"))
        self._office = Office(parts, self._stores, town.references)
        self._introduce()

    def _introduce(self) -> None:
        parts, witness = self.parts, self.parts.witness
        witness.oracle = parts.oracle
        witness.is_stored = lambda key: parts.centre.has_stored(*key)
        witness.card_at = self._visitors.answered_at
        disk = parts.machines["centre"]
        witness.is_stalled = lambda: disk.disk_stalls_until_us > parts.loop.now_us - 3_000_000
        for program in parts.agents.values():
            program.pulsed = witness.pulsed
            program.failed = self.trace.violated

    def play(self) -> Found:
        """Play it to its end.

        Raises:
            Violation: a promise was broken.
        """
        with ExitStack() as stack:
            stack.enter_context(secrets_from(str(self.seed)))
            stack.enter_context(patient_with_drivers())
            stack.enter_context(watched_outboxes(self.parts.witness, self.parts.machines, self._outbox_opened))
            self.logs = stack.enter_context(watched_logs(self.trace.violated)).lines
            stack.callback(self._close)
            course = self._loop.create_task(self._course())
            stack.callback(bury, course, lambda close: close())
            try:
                self._loop.run_until_complete(course)
            except NothingHappens as error:
                self.trace.violated(str(error))
            if self.trace.violation is not None:
                raise self.trace.violation
            return Found(self.seed, self.trace.hash, self._numbers())

    async def _course(self) -> None:
        self._weather.start_centre()
        for name in self.parts.agents:
            self._weather.start_agent(name)
        for planned in self._plan:
            await asyncio.sleep(planned.at_s - self._loop.time())
            self._do(planned)
        await asyncio.sleep(self._days * 86_400 - self._loop.time())
        await self._calm_down()
        await self._everything_works()
        self._stop_all()
        audit.check(self.parts, self._stores.record)

    def _do(self, planned: Planned) -> None:
        name = planned.what.replace(" ", "_")
        (action,) = [getattr(who, name) for who in (self._visitors, self._weather, self._office) if hasattr(who, name)]
        action(**planned.values)

    async def _calm_down(self) -> None:
        """End every fault, and wait until everybody has found everybody."""
        self.trace.note("world", "calm")
        self._visitors.all_go()
        self._weather.end()
        self._office.add(TESTER)
        self._office.unlock_card(TESTER)
        for agent in self.parts.agents:
            self._office.unlock_agent(agent)
        await asyncio.sleep(CALM_S)
        # Programs that were on their way down have come back.
        self._weather.end()
        await asyncio.sleep(CALM_S)

    async def _everything_works(self) -> None:
        """Every agent is connected, every door opens, every outbox is empty."""
        parts = self.parts
        for name in parts.agents:
            if not parts.is_connected(name):
                self.trace.violated(f"{name} is not connected after the calm")
        for program in parts.agents.values():
            for point in program.points:
                began_us = self._loop.now_us
                self._visitors.tap(point.code, TESTER, 3.5)
                await asyncio.sleep(6)
                if parts.witness.pulses.get(point.code, -1) < began_us:
                    self.trace.violated(f"{point.code} does not open after the calm")
        await asyncio.sleep(20)
        running = [program.process for program in parts.agents.values()]
        running.append(parts.centre.running.process if parts.centre.running else None)
        for process in running:
            for failure in process.failures() if process is not None else ["it does not run"]:
                self.trace.violated(f"a task failed and nobody noticed: {failure}")
        for name, program in parts.agents.items():
            if program.outbox is None or program.outbox.depth.waiting or program.outbox.depth.aside:
                self.trace.violated(f"the outbox of {name} is not empty after the calm")

    def _outbox_opened(self, agent: str, outbox: Outbox) -> None:
        self.parts.agents[agent].outbox = outbox

    def _unexpected(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # When a future or task is thrown away is up to the interpreter; `Process.failures` knows of tasks.
        if "never retrieved" in context["message"]:
            return
        self.trace.violated(f"nobody expected {context.get('message')}: {context.get('exception')!r}")

    def _numbers(self) -> dict[str, int]:
        counts = self.parts.witness.counts
        return {
            "taps": counts.taps,
            "openings": counts.pulses,
            "refusals": counts.refusals,
            "let in as expected": self._visitors.checked,
            "crashes": self._weather.crashes,
            "cuts": self._weather.cuts,
            "trace": self.trace.events,
            "steps": self._loop.steps,
        }

    def _stop_all(self) -> None:
        for program in self.parts.agents.values():
            program.kill(silently=False)
        self.parts.centre.kill(silently=False)

    def _close(self) -> None:
        self._stop_all()
        self.parts.centre.close_witness()
        self._stores.close()
        self._loop.close()
