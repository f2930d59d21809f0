# SPDX-License-Identifier: EUPL-1.2
"""What a world consists of."""

from dataclasses import dataclass

from simulation.agent import AgentProgram
from simulation.centre import Centre
from simulation.directory import Directory
from simulation.loop import VirtualLoop
from simulation.machine import Machine
from simulation.network import Network
from simulation.oracle import Oracle
from simulation.trace import Trace
from simulation.witness import Witness


@dataclass(frozen=True, slots=True)
class Parts:
    """The things of one world, and those who watch them."""

    loop: VirtualLoop
    trace: Trace
    network: Network
    directory: Directory
    machines: dict[str, Machine]
    centre: Centre
    agents: dict[str, AgentProgram]
    oracle: Oracle
    witness: Witness

    def is_connected(self, agent: str) -> bool:
        """Tell whether an agent was let in on a connection that stands."""
        number, _ = self.witness.welcomed.get(agent, (None, 0))
        connections = self.network.link(agent).connections
        return any(connection.number == number and connection.stands for connection in connections)
