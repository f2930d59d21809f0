# SPDX-License-Identifier: EUPL-1.2
"""All connected agents: lets them in, tells them when their points change, cuts locked ones off."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from pydantic import BaseModel

from cardservice.access.rules import PointRecord
from cardservice.access.snapshot import Snapshot
from cardservice.agents.events import Sender
from cardservice.agents.messages import (
    Challenge,
    Hello,
    MessageRefused,
    Refused,
    UnknownVersion,
    decode_from_agent,
    encode,
)
from cardservice.agents.service import Agents, HelloRefused
from cardservice.agents.session import AgentSession, Desks
from cardservice.errors import CardServiceError

HELLO_TIMEOUT_S: Final = 5.0
SEND_TIMEOUT_S: Final = 5.0
MAX_AGENTS: Final = 2_000
MAX_STRANGE: Final = 20
LOCK_RETRY_S: Final = 1.0
_log = structlog.get_logger()


class ChannelClosed(Exception):
    """The other side closed the channel."""


class Channel:
    """One WebSocket, reduced to what the hub needs."""

    def __init__(
        self,
        receive: Callable[[], Awaitable[str]],
        send: Callable[[str], Awaitable[None]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.receive = receive
        self._send = send
        self.close = close
        self._lock = asyncio.Lock()

    async def send(self, message: BaseModel) -> None:
        """Send one message; an agent that does not read is cut off.

        Raises:
            ChannelClosed: the channel is closed, or the agent did not read for 5 s.
        """
        try:
            async with self._lock, asyncio.timeout(SEND_TIMEOUT_S):
                await self._send(encode(message))
        except TimeoutError:
            await self.close()
            raise ChannelClosed("the agent does not read") from None


class AgentHub:
    """Used from the event loop only."""

    def __init__(self, agents: Agents, desks: Desks) -> None:
        self._agents = agents
        self._desks = desks
        self._sessions: dict[str, tuple[AgentSession, Channel]] = {}
        self._points: dict[str, list[PointRecord]] = {}

    @property
    def online(self) -> frozenset[str]:
        """The agents whose channel is open."""
        return frozenset(self._sessions)

    async def serve(self, channel: Channel) -> None:
        """Serve one connection from challenge to end.

        Raises:
            ChannelClosed: the other side closed it.
        """
        session = await self._let_in(channel)
        if session is None:
            await channel.close()
            return
        gauge = self._desks.metrics.agent_online.labels(session.agent)
        gauge.set(1)
        _log.info("agent.connected", agent=session.agent)
        try:
            # Locked between its hello and now: nobody else would tell.
            await self.cut_off_locked(session.agent)
            await session.welcome(self._points.get(session.agent, []))
            await self._read(session, channel)
        finally:
            session.close()
            if self._sessions.get(session.agent, (None, None))[0] is session:
                del self._sessions[session.agent]
                gauge.set(0)
            _log.info("agent.disconnected", agent=session.agent)

    async def _let_in(self, channel: Channel) -> AgentSession | None:
        try:
            hello = await self._hello(channel)
        except HelloRefused as error:
            _log.warning("agent.refused", code=error.code, why=str(error))
            await channel.send(Refused(code=error.code, message=str(error)[:200]))
            return None
        return await self._register(Sender(hello.agent, hello.epoch), channel)

    async def _hello(self, channel: Channel) -> Hello:
        """Challenge the other side and check its answer.

        Raises:
            HelloRefused: it is not an enrolled agent, or does not speak this protocol.
        """
        nonce = secrets.token_hex(32)
        await channel.send(Challenge(nonce=nonce, centre_time_ms=self._desks.clock.now_ms()))
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

    async def _register(self, sender: Sender, channel: Channel) -> AgentSession | None:
        agent = sender.agent
        older = self._sessions.get(agent)
        if older is None and len(self._sessions) >= MAX_AGENTS:
            await channel.send(Refused(code="overloaded", message=f"{MAX_AGENTS} agents are connected already"))
            return None
        session = AgentSession(sender, self._desks, channel.send)
        self._sessions[agent] = (session, channel)
        if older is not None:
            await self._cut_off(older, "replaced", "the same agent connected again")
        return session

    async def _cut_off(self, entry: tuple[AgentSession, Channel], code: str, message: str) -> None:
        session, channel = entry
        session.close()
        try:
            await channel.send(Refused(code=code, message=message))
            await channel.close()
        except ChannelClosed:
            _log.info("agent.gone_already", agent=session.agent)

    async def _read(self, session: AgentSession, channel: Channel) -> None:
        strange = 0
        while strange < MAX_STRANGE:
            frame = await channel.receive()
            try:
                message = decode_from_agent(frame)
            except MessageRefused as error:
                strange += 1
                self._desks.metrics.refused_messages.labels(session.agent).inc()
                _log.warning("agent.message_refused", agent=session.agent, why=str(error))
                continue
            await session.receive(message)
        await channel.send(Refused(code="protocol", message=f"{MAX_STRANGE} messages made no sense"))

    async def points_changed(self, snapshot: Snapshot) -> None:
        """Tell every connected agent whose points are no longer the same."""
        points: dict[str, list[PointRecord]] = {}
        for point in sorted(snapshot.points.values(), key=lambda point: point.code):
            if point.agent is not None:
                points.setdefault(point.agent, []).append(point)
        before, self._points = self._points, points
        for agent, (session, _) in tuple(self._sessions.items()):
            if points.get(agent) != before.get(agent):
                # Not `points`: while we waited for a slow agent a newer change may have been sent already.
                await self._send_welcome(session, self._points.get(agent, []))

    async def _send_welcome(self, session: AgentSession, points: Sequence[PointRecord]) -> None:
        try:
            await session.welcome(points)
        except ChannelClosed:
            _log.info("agent.gone_already", agent=session.agent)

    async def cut_off_locked(self, only: str | None = None) -> None:
        """End the channels of agents that were locked, or of this one if it was."""
        for agent in await self._locked(only):
            entry = self._sessions.get(agent)
            if entry is not None:
                await self._cut_off(entry, "locked", f"agent {agent!r} is locked")

    async def _locked(self, only: str | None) -> frozenset[str]:
        """Return the locked agents; goes on trying while it cannot be known who they are."""
        while True:
            try:
                return await asyncio.to_thread(self._agents.locked, only)
            except CardServiceError as error:
                _log.error("agent.locks_unknown", error=str(error))
                await asyncio.sleep(LOCK_RETRY_S)
