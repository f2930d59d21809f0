# SPDX-License-Identifier: EUPL-1.2
"""TCP connections between an agent and the centre, over a link that is slow, cut, or breaks them.

Inside one direction of a connection frames arrive in order or not at all; what is lost is always the end of a
direction. Each side notices a dead connection in its own time, by the keep-alive of the product's WebSockets.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Final, Literal, Protocol

from simulation.chance import Dice
from simulation.loop import Process, VirtualLoop
from simulation.trace import Trace

from readers.errors import ChannelFault

# As readers/centre_socket.py and cardservice/agents/wire.py: when a side counts the other one as gone.
AGENT_KEEPALIVE_S = (5.0, 10.0)
CENTRE_KEEPALIVE_S = (10.0, 20.0)
# To the centre, and back.
Way = Literal["up", "down"]
WHOLE: Final[frozenset[Way]] = frozenset()
# As much as sockets' buffers hold of ordinary frames.
MAX_IN_FLIGHT = 100


class Watcher(Protocol):
    """Is shown every frame."""

    def agent_sent(self, connection: "Connection", frame: str) -> None: ...
    def agent_got(self, connection: "Connection", frame: str) -> None: ...
    def centre_sent(self, connection: "Connection", frame: str) -> None: ...


class Listener(Protocol):
    """The centre's end of a new connection."""

    def received(self, frame: str) -> None: ...
    def lost(self) -> None: ...


class Host(Protocol):
    """Who listens at the centre; None while nobody does."""

    process: Process

    def accept(self, connection: "Connection") -> Listener: ...


class Link:
    """The way between one agent and the centre, both directions alike."""

    def __init__(self, agent: str, loop: VirtualLoop, dice: Dice, trace: Trace, watcher: "Watcher") -> None:
        self.agent = agent
        self.loop = loop
        self.dice = dice
        self.trace = trace
        self.watcher = watcher
        # Which directions let nothing through.
        self.cut: frozenset[Way] = WHOLE
        self.slow_until_us = 0
        self.whole_since_us = 0
        self.connections: list[Connection] = []
        self._healed: list[asyncio.Future[None]] = []

    def delay_s(self) -> float:
        """How long a frame takes now."""
        if self.loop.now_us < self.slow_until_us:
            return self.dice.uniform(0.02, 0.5)
        return self.dice.uniform(0.001, 0.012)

    def set_cut(self, cut: frozenset[Way]) -> None:
        """Let nothing through one way or both, or everything again; what waited comes late, if it still can."""
        if cut == self.cut:
            return
        self.cut = cut
        self.whole_since_us = self.loop.now_us
        self.trace.note(self.agent, f"link cut {' '.join(sorted(cut))}" if cut else "link whole")
        for connection in tuple(self.connections):
            if cut:
                connection.begin_to_doubt()
            else:
                connection.go_on()
        if not cut:
            waiting, self._healed = self._healed, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def until_whole(self, timeout_s: float) -> None:
        """Return when frames get through; raises TimeoutError."""
        if self.cut:
            future = self.loop.create_future()
            self._healed.append(future)
            async with asyncio.timeout(timeout_s):
                await future
            await asyncio.sleep(self.dice.uniform(0.05, 0.9))

    def forget(self, connection: "Connection") -> None:
        """A connection that both sides have given up."""
        if connection in self.connections:
            self.connections.remove(connection)


class Direction:
    """One direction of a connection: what was sent arrives in order, until it breaks."""

    def __init__(self, link: Link, way: Way, name: str, arrive: Callable[[str], None]) -> None:
        self._link = link
        self._way = way
        self.name = name
        self._arrive = arrive
        self._flying: deque[str] = deque()
        self._full: list[asyncio.Future[None]] = []
        self._last_s = 0.0
        # The end of what was sent: told to the receiver after the last frame that gets through.
        self._then: Callable[[], None] | None = None
        self.closed = False
        self.receiver: contextvars.Context | None = None

    @property
    def in_flight(self) -> int:
        """How many frames are on their way."""
        return len(self._flying)

    async def room(self) -> None:
        """Return when not too much is on its way."""
        while not self.closed and len(self._flying) >= MAX_IN_FLIGHT:
            future = self._link.loop.create_future()
            self._full.append(future)
            await future

    def _make_room(self) -> None:
        waiting, self._full = self._full, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def send(self, frame: str) -> None:
        """Put one frame on its way."""
        if not self.closed:
            self._flying.append(frame)
            self._schedule()

    def close(self, then: Callable[[], None], *, lose: int = 0) -> None:
        """Nothing follows any more; the last `lose` frames do not arrive; `then` is called after the last that does."""
        if self.closed:
            return
        self.closed = True
        self._make_room()
        for _ in range(min(lose, len(self._flying))):
            self._flying.pop()
        self._then = then
        self._schedule()

    def go_on(self) -> None:
        """Bring what waited while the link was cut."""
        for _ in range(len(self._flying)):
            self._schedule(0.2)
        if self._then is not None:
            self._schedule(0.2)

    def _schedule(self, more_s: float = 0) -> None:
        loop = self._link.loop
        self._last_s = max(self._last_s, loop.time() + self._link.delay_s() + more_s)
        loop.call_at(self._last_s, self._next, context=self.receiver)

    def _next(self) -> None:
        if self._way in self._link.cut:
            return
        if self._flying:
            frame = self._flying.popleft()
            self._make_room()
            self._link.trace.note(self.name, frame)
            self._arrive(frame)
        if not self._flying and self._then is not None:
            then, self._then = self._then, None
            then()


class Connection:
    """One TCP connection; each side is open until it has noticed the end."""

    def __init__(self, link: Link, host: Host, agent: Process | None, number: int) -> None:
        self._link = link
        self._agent_open = self._centre_open = True
        self._doubts = 0
        self.agent = link.agent
        self.number = number
        self.up = Direction(link, "up", f"{link.agent}>{number}", self._at_centre)
        self.down = Direction(link, "down", f"{link.agent}<{number}", self._at_agent)
        self.up.receiver = host.process.context()
        self.down.receiver = agent.context() if agent else contextvars.copy_context()
        self._host_process = host.process
        self._frames: deque[str] = deque()
        self._news: asyncio.Future[None] | None = None
        self._listener: Listener = host.process.run(host.accept, self)
        link.connections.append(self)

    @property
    def stands(self) -> bool:
        """Whether frames get through, and both sides believe that they do."""
        return self._agent_open and self._centre_open and not self.up.closed and not self.down.closed

    # What happens to it.

    def begin_to_doubt(self) -> None:
        """The link was cut: both sides give up after a while, unless it heals before."""
        self._doubts += 1
        dice, doubts = self._link.dice, self._doubts
        self._link.loop.call_later(dice.uniform(*AGENT_KEEPALIVE_S), self._give_up, doubts, self.lost_at_agent)
        self._link.loop.call_later(dice.uniform(*CENTRE_KEEPALIVE_S), self._give_up, doubts, self.lost_at_centre)

    def go_on(self) -> None:
        """The link is whole again."""
        self._doubts += 1
        self.up.go_on()
        self.down.go_on()

    def break_down(self) -> None:
        """Somebody on the way drops the connection: of what is on its way only a beginning arrives."""
        dice = self._link.dice
        self._link.trace.note(self.up.name, "reset")
        self.up.close(self.lost_at_centre, lose=dice.randint(0, self.up.in_flight))
        self.down.close(self.lost_at_agent, lose=dice.randint(0, self.down.in_flight))

    def vanish(self) -> None:
        """Somebody on the way forgets the connection and tells nobody: both sides notice by their keep-alive alone."""
        dice, loop = self._link.dice, self._link.loop
        self._link.trace.note(self.up.name, "vanished")
        for direction in (self.up, self.down):
            direction.close(lambda: None, lose=dice.randint(0, direction.in_flight))
        loop.call_later(dice.uniform(*AGENT_KEEPALIVE_S), self.lost_at_agent)
        loop.call_later(dice.uniform(*CENTRE_KEEPALIVE_S), self.lost_at_centre)

    def agent_gone(self, *, silently: bool) -> None:
        """The agent's program ended; `silently` when its machine did, so that nobody says goodbye."""
        if not self._agent_open:
            return
        self._agent_open = False
        dice = self._link.dice
        if silently:
            late_s = dice.uniform(*CENTRE_KEEPALIVE_S)
            self.up.close(lambda: None, lose=dice.randint(0, self.up.in_flight))
            self._link.loop.call_later(late_s, self.lost_at_centre)
        else:
            self.up.close(self.lost_at_centre)
        self._forget_if_over()

    def centre_gone(self, *, silently: bool) -> None:
        """The centre's program ended, or closed this connection."""
        if not self._centre_open:
            return
        self._centre_open = False
        self._tell_listener()
        dice = self._link.dice
        if silently:
            self.down.close(lambda: None, lose=dice.randint(0, self.down.in_flight))
            self._link.loop.call_later(dice.uniform(*AGENT_KEEPALIVE_S), self.lost_at_agent)
        else:
            self.down.close(self.lost_at_agent)
        self._forget_if_over()

    def lost_at_agent(self) -> None:
        """The agent notices that it is over."""
        if self._agent_open:
            self._agent_open = False
            self._link.trace.note(self.down.name, "lost at the agent")
            # What it sent may yet arrive, or the end of it may not.
            self.up.close(self.lost_at_centre, lose=self._link.dice.randint(0, self.up.in_flight))
            self._wake()
            self._forget_if_over()

    def lost_at_centre(self) -> None:
        """The centre notices that it is over."""
        if self._centre_open:
            self._centre_open = False
            self._link.trace.note(self.up.name, "lost at the centre")
            self.down.close(self.lost_at_agent, lose=self._link.dice.randint(0, self.down.in_flight))
            self._tell_listener()
            self._forget_if_over()

    def _tell_listener(self) -> None:
        self._link.loop.call_soon(self._listener.lost, context=self._host_process.context())

    def _give_up(self, doubts: int, lost: Callable[[], None]) -> None:
        if doubts == self._doubts and self._link.cut:
            lost()

    def _forget_if_over(self) -> None:
        if not self._agent_open and not self._centre_open:
            self._link.forget(self)

    # The centre's side.

    def send_down(self, frame: str) -> None:
        """Send one frame to the agent."""
        if self._centre_open:
            self._link.watcher.centre_sent(self, frame)
            self.down.send(frame)

    def _at_centre(self, frame: str) -> None:
        if self._centre_open:
            self._listener.received(frame)

    # The agent's side: a `CentreSocket`.

    async def send(self, frame: str) -> None:
        """Send one frame to the centre; waits while too much is on its way."""
        await self.up.room()
        if not self._agent_open:
            raise ChannelFault("the connection is gone")
        self._link.watcher.agent_sent(self, frame)
        self.up.send(frame)

    async def recv(self) -> str:
        """Return the next frame of the centre."""
        while not self._frames:
            if not self._agent_open:
                raise ChannelFault("the connection is gone")
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        return self._frames.popleft()

    def _at_agent(self, frame: str) -> None:
        if self._agent_open:
            self._link.watcher.agent_got(self, frame)
            self._frames.append(frame)
            self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
