# SPDX-License-Identifier: EUPL-1.2
"""The one WebSocket to the centre: connects, says hello, sends and receives, and comes back when it breaks."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import BaseModel

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease
from cardservice.agents.messages import (
    MAX_MESSAGE_BYTES,
    CardApdus,
    CardOpen,
    Challenge,
    DecisionMessage,
    EventAck,
    EventRefused,
    EventsAgain,
    Hello,
    MessageRefused,
    PinAsk,
    PointCommand,
    Prompt,
    Refused,
    SessionsEnd,
    Welcome,
    decode_from_centre,
    encode,
)
from readers.clock import Clock
from readers.errors import CentreRefused, ChannelFault
from readers.logs import is_worth_a_line
from readers.metrics import Metrics
from readers.ports import CentreSocket, Connector

FromCentreInSession = (
    CardOpen
    | CardApdus
    | PinAsk
    | DecisionMessage
    | EventAck
    | EventRefused
    | EventsAgain
    | PointCommand
    | SessionsEnd
    | Prompt
    | EncoderApdus
    | EncoderRelease
)

OUTGOING_FRAMES = 256
INCOMING_FRAMES = 16
MAX_BAD_FRAMES = 20

_log = structlog.get_logger("readers.channel")


class ChannelListener(Protocol):
    """Who is told what the channel hears; all methods are called in the event loop and return at once."""

    def connected(self, welcome: Welcome) -> None:
        """The centre accepted the agent."""
        ...

    def points_changed(self, welcome: Welcome) -> None:
        """The centre gave the agent other points on the same connection."""
        ...

    def disconnected(self) -> None:
        """The connection that was accepted is gone; nothing sent on it can be answered any more."""
        ...

    def received(self, message: FromCentreInSession, at_us: int) -> None:
        """A message arrived at the monotonic time `at_us`."""
        ...


def _uniform(shortest_s: float, longest_s: float) -> float:
    return secrets.SystemRandom().uniform(shortest_s, longest_s)


@dataclass(frozen=True, slots=True)
class ChannelTimes:
    """How patient the channel is; seconds."""

    retry_min_s: float = 0.1
    retry_max_s: float = 5.0
    refused_retry_s: float = 30.0
    open_timeout_s: float = 5.0
    # A connection that held this long was a good one: the next retry is quick again.
    settled_s: float = 5.0
    jitter: Callable[[float, float], float] = _uniform


@dataclass(frozen=True, slots=True)
class ChannelTools:
    """What the channel measures with and counts in."""

    clock: Clock
    metrics: Metrics
    times: ChannelTimes


class Channel:
    """The agent's side of the wire; `hello` answers a challenge's nonce."""

    def __init__(
        self, connect: Connector, hello: Callable[[str], Hello], listener: ChannelListener, tools: ChannelTools
    ) -> None:
        self._connect = connect
        self._hello = hello
        self._listener = listener
        self._clock = tools.clock
        self._metrics = tools.metrics
        self._times = tools.times
        self._outgoing: asyncio.Queue[str] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the centre has accepted this agent on a connection that still stands."""
        return self._outgoing is not None

    def send(self, message: BaseModel) -> bool:
        """Queue `message` for the centre; False when there is no connection, it is too slow, or the frame too long."""
        if self._outgoing is None:
            return False
        frame = encode(message)
        if len(frame.encode()) > MAX_MESSAGE_BYTES:
            self._metrics.faults.labels("frame_too_long").inc()
            return False
        try:
            self._outgoing.put_nowait(frame)
        except asyncio.QueueFull:
            self._metrics.faults.labels("channel_full").inc()
            return False
        return True

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            began_us = self._clock.monotonic_us()
            longest_s = min(self._times.retry_max_s, self._times.retry_min_s * 2 ** min(failures, 16))
            try:
                await self._session()
            except CentreRefused as refused:
                longest_s = self._times.refused_retry_s
                _log.error("centre_refused", code=refused.code, reason=str(refused))
            except ChannelFault as fault:
                # An outage of hours does not fill the log.
                if is_worth_a_line(failures):
                    _log.warning("centre_unreachable", failures=failures + 1, reason=str(fault))
            settled = self._clock.monotonic_us() - began_us > self._times.settled_s * 1_000_000
            failures = 0 if settled else failures + 1
            await asyncio.sleep(self._times.jitter(self._times.retry_min_s, max(longest_s, self._times.retry_min_s)))

    async def _session(self) -> None:
        """One connection from beginning to end."""
        try:
            async with self._connect() as socket:
                welcome = await self._say_hello(socket)
                await self._converse(socket, welcome)
        except TimeoutError as error:
            raise ChannelFault("the centre did not answer in time") from error

    async def _say_hello(self, socket: CentreSocket) -> Welcome:
        async with asyncio.timeout(self._times.open_timeout_s):
            challenge = await self._expect(socket)
            if not isinstance(challenge, Challenge):
                raise ChannelFault(f"the centre began with {challenge.type!r} instead of a challenge")
            await socket.send(encode(self._hello(challenge.nonce)))
            welcome = await self._expect(socket)
            if not isinstance(welcome, Welcome):
                raise ChannelFault(f"the centre answered the hello with {welcome.type!r}")
            return welcome

    async def _expect(self, socket: CentreSocket) -> Challenge | Welcome | FromCentreInSession:
        try:
            message = decode_from_centre(await socket.recv())
        except MessageRefused as error:
            raise ChannelFault(f"the centre does not speak this protocol: {error}") from error
        if isinstance(message, Refused):
            raise CentreRefused(message.code, message.message)
        return message

    async def _converse(self, socket: CentreSocket, welcome: Welcome) -> None:
        outgoing: asyncio.Queue[str] = asyncio.Queue(OUTGOING_FRAMES)
        self._outgoing = outgoing
        self._metrics.connected.set(1)
        _log.info("centre_connected", points=len(welcome.points))
        both = [asyncio.create_task(self._receive(socket)), asyncio.create_task(_send_all(socket, outgoing))]
        try:
            self._listener.connected(welcome)
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._outgoing = None
            self._metrics.connected.set(0)
            self._listener.disconnected()
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _receive(self, socket: CentreSocket) -> None:
        bad_frames = 0
        while True:
            frame = await socket.recv()
            at_us = self._clock.monotonic_us()
            try:
                message = decode_from_centre(frame)
            except MessageRefused as error:
                bad_frames += 1
                self._metrics.ignored.labels("garbage").inc()
                _log.warning("message_refused", reason=str(error))
                if bad_frames >= MAX_BAD_FRAMES:
                    raise ChannelFault(f"{bad_frames} frames were no messages of this protocol") from error
                continue
            if isinstance(message, Refused):
                raise CentreRefused(message.code, message.message)
            if isinstance(message, Welcome):
                self._listener.points_changed(message)
                continue
            if isinstance(message, Challenge):
                self._metrics.ignore(message.type, "out_of_turn")
                continue
            self._listener.received(message, at_us)


async def _send_all(socket: CentreSocket, outgoing: asyncio.Queue[str]) -> None:
    while True:
        await socket.send(await outgoing.get())
