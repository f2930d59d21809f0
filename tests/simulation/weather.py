# SPDX-License-Identifier: EUPL-1.2
"""What goes wrong: programs die between two steps, links are cut, the directory is silent, disks stand still."""

from functools import partial

from simulation.chance import Dice
from simulation.connection import WHOLE, Way
from simulation.parts import Parts


class Weather:
    """Brings faults and ends them."""

    def __init__(self, parts: Parts, dice: Dice) -> None:
        self._parts = parts
        self._dice = dice
        self._cut_until: dict[str, float] = {}
        self._silent_until = 0.0
        self.crashes = 0
        self.cuts = 0

    # Programs.

    def start_agent(self, agent: str) -> None:
        """Start an agent's program; its machine's wall clock may be anything."""
        program, dice = self._parts.agents[agent], self._dice
        if program.process is None:
            reach_ms = dice.choice((0, 0, 3_000, 600_000))
            program.machine.wall_offset_ms = dice.randint(-reach_ms, reach_ms)
            self._parts.witness.restarted(agent)
            program.start(lambda: self.kill_agent(agent, 1.0, silently=False))

    def start_centre(self) -> None:
        """Start the centre's program."""
        self._parts.centre.start(lambda: self.kill_centre(1.0, silently=False))

    def set_clock(self, agent: str, offset_ms: int) -> None:
        """Let an agent's wall clock jump; every duration goes by the other clock."""
        self._parts.trace.note(agent, f"clock off by {offset_ms}")
        self._parts.machines[agent].wall_offset_ms = offset_ms

    def fuse_agent(self, agent: str, steps: int, down_s: float, silently: bool) -> None:
        """Let an agent die after so many of its steps."""
        process = self._parts.agents[agent].process
        if process is not None:
            process.steps_to_live = steps
            process.at_fuse = lambda: self.kill_agent(agent, down_s, silently=silently)

    def fuse_centre(self, steps: int, down_s: float, silently: bool) -> None:
        """Let the centre die after so many of its steps."""
        if self._parts.centre.running is not None:
            process = self._parts.centre.running.process
            process.steps_to_live = steps
            process.at_fuse = lambda: self.kill_centre(down_s, silently=silently)

    def kill_agent(self, agent: str, down_s: float, silently: bool) -> None:
        """Let an agent die now."""
        self.crashes += self._parts.agents[agent].process is not None
        self._parts.agents[agent].kill(silently=silently)
        self._parts.loop.call_later(down_s, self.start_agent, agent)

    def stop_agent(self, agent: str, down_s: float, silently: bool) -> None:
        """Ask an agent to end; it comes back later."""
        self._parts.agents[agent].stop()
        self._parts.loop.call_later(down_s + 15, self.start_agent, agent)

    def kill_centre(self, down_s: float, silently: bool) -> None:
        """Let the centre die now."""
        self.crashes += self._parts.centre.running is not None
        self._parts.centre.kill(silently=silently)
        self._parts.loop.call_later(down_s, self.start_centre)

    def stop_centre(self, down_s: float, silently: bool) -> None:
        """Stop the centre in order."""
        self._parts.centre.stop()
        self._parts.loop.call_later(down_s + 1, self.start_centre)

    def back_up(self, number: int) -> None:
        """Copy the record store."""
        self._parts.centre.back_up(number)

    def restore(self, number: int, down_s: float) -> None:
        """Let the centre's record disk die, and begin again from an older copy of it."""
        self.kill_centre(down_s, silently=False)
        self._parts.centre.restore(number)

    # What lies between and below them.

    def cut(self, agent: str, for_s: float, ways: tuple[Way, ...]) -> None:
        """Let nothing through between an agent and the centre, one way or both."""
        self.cuts += 1
        until_s = self._parts.loop.time() + for_s
        self._cut_until[agent] = max(until_s, self._cut_until.get(agent, 0))
        self._parts.network.link(agent).set_cut(frozenset(ways))
        self._parts.loop.call_at(until_s, self._heal, agent)

    def reset(self, agent: str, silently: bool) -> None:
        """Break the connections of an agent; `silently` so that nobody is told."""
        for connection in tuple(self._parts.network.link(agent).connections):
            if silently:
                connection.vanish()
            else:
                connection.break_down()

    def slow(self, agent: str, for_s: float) -> None:
        """Let every frame of an agent take long."""
        self._parts.trace.note(agent, f"link slow for {for_s:.3f}")
        self._parts.network.link(agent).slow_until_us = self._parts.loop.now_us + int(for_s * 1_000_000)

    def silent(self, for_s: float) -> None:
        """Let the directory answer nobody."""
        until_s = self._parts.loop.time() + for_s
        self._silent_until = max(self._silent_until, until_s)
        self._parts.directory.set_reachable(reachable=False)
        self._parts.loop.call_at(until_s, self._answer)

    def stall(self, machine: str, for_s: float) -> None:
        """Let a disk stand still."""
        self._parts.trace.note(machine, f"disk stalls for {for_s:.3f}")
        self._parts.machines[machine].disk_stalls_until_us = self._parts.loop.now_us + int(for_s * 1_000_000)

    def unplug(self, agent: str, reader: str, for_s: float) -> None:
        """Take a reader away for a while."""
        self._parts.trace.note(agent, f"{reader} unplugged for {for_s:.3f}")
        self._parts.agents[agent].readers.unplug(reader)
        self._parts.loop.call_later(for_s, self._parts.agents[agent].readers.plug_in, reader)

    def jam(self, agent: str, point: str, for_s: float) -> None:
        """Let the strike of a door not move for a while."""
        self._parts.trace.note(agent, f"{point} jams for {for_s:.3f}")
        readers = self._parts.agents[agent].readers
        readers.jam(point, stuck=True)
        self._parts.loop.call_later(for_s, partial(readers.jam, point, stuck=False))

    def end(self) -> None:
        """End every fault and start every program."""
        self._cut_until.clear()
        for agent, program in self._parts.agents.items():
            self._parts.network.link(agent).set_cut(WHOLE)
            if program.process is not None:
                program.process.steps_to_live = -1
            for point in program.points:
                program.readers.plug_in(point.reader)
                program.readers.jam(point.code, stuck=False)
            self.start_agent(agent)
        if self._parts.centre.running is not None:
            self._parts.centre.running.process.steps_to_live = -1
        self.start_centre()
        self._silent_until = 0
        self._answer()

    def _heal(self, agent: str) -> None:
        if self._cut_until.get(agent, 0) <= self._parts.loop.time():
            self._parts.network.link(agent).set_cut(WHOLE)

    def _answer(self) -> None:
        if self._silent_until <= self._parts.loop.time():
            self._parts.directory.set_reachable(reachable=True)
