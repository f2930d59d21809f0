# SPDX-License-Identifier: EUPL-1.2
"""The network of a world: one link for each agent, and whoever listens at the centre."""

import asyncio
from collections.abc import Callable
from types import TracebackType

from simulation.chance import Dice
from simulation.connection import Connection, Host, Link, Watcher
from simulation.loop import VirtualLoop, current_process
from simulation.trace import Trace

from readers.errors import ChannelFault

# As in readers/centre_socket.py.
OPEN_TIMEOUT_S = 5.0


class Network:
    """All links, and who listens at the centre."""

    def __init__(self, loop: VirtualLoop, dice: Dice, trace: Trace, watcher: Watcher) -> None:
        self.loop = loop
        self.dice = dice
        self.trace = trace
        self.watcher = watcher
        self._number = 0
        self.links: dict[str, Link] = {}
        self.host: Host | None = None

    def link(self, agent: str) -> Link:
        """Return the link of `agent`."""
        if agent not in self.links:
            self.links[agent] = Link(agent, self.loop, self.dice, self.trace, self.watcher)
        return self.links[agent]

    def connector(self, agent: str) -> Callable[[], "Opening"]:
        """Return what opens connections for `agent` (`readers.ports.Connector`)."""
        return lambda: Opening(self, self.link(agent))

    async def open(self, link: Link) -> Connection:
        """Open one connection; raises ChannelFault."""
        try:
            await link.until_whole(OPEN_TIMEOUT_S)
        except TimeoutError:
            raise ChannelFault("no answer") from None
        await asyncio.sleep(3 * link.delay_s())
        if self.host is None or link.cut:
            raise ChannelFault("nobody listens")
        self._number += 1
        return Connection(link, self.host, current_process(), self._number)


class Opening:
    """The context in which an agent uses one connection."""

    def __init__(self, network: Network, link: Link) -> None:
        self._network = network
        self._link = link
        self._connection: Connection | None = None

    async def __aenter__(self) -> Connection:
        self._connection = await self._network.open(self._link)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.agent_gone(silently=False)
