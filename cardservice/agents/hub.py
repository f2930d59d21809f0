# SPDX-License-Identifier: EUPL-1.2
"""All connected agents: lets them in, tells them when their points change, cuts locked ones off."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog
from pydantic import BaseModel

from cardservice.access.rules import PointRecord, Use
from cardservice.access.snapshot import Snapshot
from cardservice.agents.channel import Channel, ChannelClosed, Frame
from cardservice.agents.encoding import EncoderRelay
from cardservice.agents.events import Sender
from cardservice.agents.messages import (
    Challenge,
    Hello,
    MessageRefused,
    PointCommand,
    PointDone,
    RefusalCode,
    Refused,
    SessionsEnd,
    UnknownVersion,
    decode_from_agent,
    login_digest,
)
from cardservice.agents.service import Agents, HelloRefused
from cardservice.agents.session import AgentSession, Desks, PointStates
from cardservice.agents.told import AgentsTold
from cardservice.errors import AgentAway, AgentSilent, CardServiceError

HELLO_TIMEOUT_S: Final = 5.0
MAX_AGENTS: Final = 2_000
MAX_STRANGE: Final = 20
LOCK_RETRY_S: Final = 1.0
COMMAND_TIMEOUT_S: Final = 3.0
MAX_ENDED: Final = 200
_log = structlog.get_logger()


class AgentHub:
    """Used from the event loop only."""

    def __init__(
        self, agents: Agents, desks: Desks, greeting: Callable[[frozenset[str]], Sequence[BaseModel]] = lambda _: ()
    ) -> None:
        self._agents = agents
        self._desks = desks
        # What an agent that has just connected and serves these points is told after its welcome.
        self._greeting = greeting
        self._sessions: dict[str, tuple[AgentSession, Channel]] = {}
        self._points: dict[str, list[PointRecord]] = {}

    @property
    def online(self) -> frozenset[str]:
        """The agents whose channel is open."""
        return frozenset(self._sessions)

    @property
    def states(self) -> PointStates:
        """What the points of the connected agents said of themselves last."""
        return self._desks.states

    @property
    def encoders(self) -> EncoderRelay:
        """The encoders of the connected agents."""
        return self._desks.encoders

    @property
    def told(self) -> AgentsTold:
        """What the agents said of themselves last, also those that are away now."""
        return self._desks.told

    async def command(self, agent: str, command: PointCommand, *, timeout_s: float = COMMAND_TIMEOUT_S) -> PointDone:
        """Have `agent` carry out a command at one of its points; return what became of it.

        Raises:
            AgentAway: it is not connected; nothing was sent.
            AgentSilent: it did not answer within `timeout_s`, or its connection ended; it may have done it.
            Overloaded: it has too many commands under way; nothing was sent.
        """
        entry = self._sessions.get(agent)
        if entry is None:
            raise AgentAway(f"agent {agent} is not connected")
        answer = entry[0].command(command)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise AgentSilent(f"agent {agent} did not answer within {timeout_s:g} s") from None

    def tell(self, agent: str, message: BaseModel) -> bool:
        """Send `message` to an agent, without an answer; False if it is not connected."""
        entry = self._sessions.get(agent)
        if entry is None or not entry[0].welcomed:
            return False
        entry[1].send(message)
        return True

    def end_sessions(self, logins: Sequence[str]) -> int:
        """Have every connected PC lock what these people's cards unlocked there; return how many agents were told."""
        agents = [agent for agent, points in self._points.items() if any(one.use is Use.WORKSTATION for one in points)]
        messages = []
        for start in range(0, len(logins), MAX_ENDED):
            salt = secrets.token_hex(16)
            some = tuple(login_digest(salt, login) for login in logins[start : start + MAX_ENDED])
            messages.append(SessionsEnd(salt=salt, people=some))
        return sum(all(self.tell(agent, message) for message in messages) for agent in agents)

    async def serve(self, channel: Channel) -> None:
        """Serve one connection from challenge to end."""
        try:
            session = await self._let_in(channel)
        except ChannelClosed:
            return
        if session is None:
            channel.close()
            return
        gauge = self._desks.metrics.agent_online.labels(session.agent)
        gauge.set(1)
        _log.info("agent.connected", agent=session.agent)
        try:
            # Locked between its hello and now: nobody else would tell.
            await self.cut_off_locked(session.agent)
            session.welcome(self._points.get(session.agent, []))
            for message in self._greeting(session.points):
                channel.send(message)
            channel.listen(partial(self._take, session, channel))
            await channel.until_lost()
        finally:
            session.close()
            if self._sessions.get(session.agent, (None, None))[0] is session:
                del self._sessions[session.agent]
                gauge.set(0)
                self._desks.told.went(session.agent, self._desks.clock.now_ms())
                self.states.forget(session.points)
            _log.info("agent.disconnected", agent=session.agent)

    async def _let_in(self, channel: Channel) -> AgentSession | None:
        try:
            hello = await self._hello(channel)
        except HelloRefused as error:
            _log.warning("agent.refused", code=error.code, why=str(error))
            channel.send(Refused(code=error.code, message=str(error)[:200]))
            return None
        session = self._register(Sender(hello.agent, hello.epoch), channel)
        if session is not None:
            self._desks.told.came(hello.agent, hello.software, self._desks.clock.now_ms())
        return session

    async def _hello(self, channel: Channel) -> Hello:
        """Challenge the other side and check its answer.

        Raises:
            HelloRefused: it is not an enrolled agent, or does not speak this protocol.
        """
        nonce = secrets.token_hex(32)
        channel.send(Challenge(nonce=nonce, centre_time_ms=self._desks.clock.now_ms()))
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = decode_from_agent(await channel.receive())
        except TimeoutError:
            raise HelloRefused("protocol", f"no hello within {HELLO_TIMEOUT_S:.0f} s") from None
        except UnknownVersion as error:
            raise HelloRefused("version", str(error)) from error
        except MessageRefused as error:
            raise HelloRefused("protocol", str(error)) from error
        if not isinstance(hello, Hello):
            raise HelloRefused("protocol", "the first message must be hello")
        try:
            await asyncio.to_thread(self._agents.verify, hello, nonce)
        except CardServiceError as error:
            raise HelloRefused("overloaded", "the agent cannot be checked at the moment") from error
        return hello

    def _register(self, sender: Sender, channel: Channel) -> AgentSession | None:
        agent = sender.agent
        older = self._sessions.get(agent)
        if older is None and len(self._sessions) >= MAX_AGENTS:
            channel.send(Refused(code="overloaded", message=f"{MAX_AGENTS} agents are connected already"))
            return None
        session = AgentSession(sender, self._desks, channel.send)
        self._sessions[agent] = (session, channel)
        if older is not None:
            self._cut_off(older, "replaced", "the same agent connected again")
        return session

    def _cut_off(self, entry: tuple[AgentSession, Channel], code: RefusalCode, message: str) -> None:
        session, channel = entry
        session.close()
        channel.send(Refused(code=code, message=message))
        channel.close()

    def _take(self, session: AgentSession, channel: Channel, frame: Frame) -> None:
        """Hand one frame to its session; who sends too many that make no sense is cut off."""
        try:
            message = decode_from_agent(frame)
        except MessageRefused as error:
            self._desks.metrics.refused_messages.labels(session.agent).inc()
            session.strange_frames += 1
            if session.strange_frames <= MAX_STRANGE:
                _log.warning("agent.message_refused", agent=session.agent, why=str(error))
            if session.strange_frames == MAX_STRANGE:
                self._cut_off((session, channel), "protocol", f"{MAX_STRANGE} messages made no sense")
            return
        session.receive(message)

    def points_changed(self, snapshot: Snapshot) -> None:
        """Tell every connected agent whose points are no longer the same."""
        points: dict[str, list[PointRecord]] = {}
        for point in sorted(snapshot.points.values(), key=lambda point: point.code):
            if point.agent is not None:
                points.setdefault(point.agent, []).append(point)
        before, self._points = self._points, points
        for agent, (session, _) in tuple(self._sessions.items()):
            if points.get(agent) != before.get(agent):
                session.welcome(points.get(agent, []))

    async def cut_off_locked(self, only: str | None = None) -> None:
        """End the channels of agents that were locked, or of this one if it was."""
        for agent in await self._locked(only):
            entry = self._sessions.get(agent)
            if entry is not None:
                self._cut_off(entry, "locked", f"agent {agent!r} is locked")

    async def _locked(self, only: str | None) -> frozenset[str]:
        """Return the locked agents; goes on trying while it cannot be known who they are."""
        while True:
            try:
                return await asyncio.to_thread(self._agents.locked, only)
            except CardServiceError as error:
                _log.error("agent.locks_unknown", error=str(error))
                await asyncio.sleep(LOCK_RETRY_S)
