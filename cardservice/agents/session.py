# SPDX-License-Identifier: EUPL-1.2
"""One connected agent: who it is, which points it serves, and the conversations that run over it.

Knows no WebSocket: frames come in through `receive`, leave through `send`. Everything is bounded: one conversation per
point, a deadline on each, and a queue of uploads.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from pydantic import BaseModel

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.encoder_messages import EncoderResponses, EncoderState
from cardservice.agents.encoding import EncoderRelay
from cardservice.agents.events import EventDesk, Sender
from cardservice.agents.limits import RecentSequences, TokenBucket
from cardservice.agents.live import LiveFeed
from cardservice.agents.messages import (
    CardApdus,
    CardOpen,
    CardPresent,
    CardRead,
    CardResponses,
    DecisionMessage,
    DoorState,
    EventsAccount,
    EventsAgain,
    Health,
    Hello,
    OutputState,
    PinEntered,
    PointCommand,
    PointDone,
    PointSetup,
    TapEvent,
    Welcome,
)
from cardservice.agents.pins import DECIDED_WITHIN_MS, TYPING_MS, PinQuestions
from cardservice.agents.proof import CONVERSATIONS, Broken, Missing, Silent
from cardservice.agents.taps import TapDesk
from cardservice.agents.told import AgentsTold
from cardservice.clock import Clock
from cardservice.errors import AgentAway, AgentSilent, CardServiceError, Overloaded
from cardservice.metrics import Metrics

# What the answers are called by why some of them are missing.
_ANSWERS: Final = {None: tuple, "pulled": Missing, "timeout": Silent, "reader": Broken}
MAX_POINTS: Final = 64
# Twice the window of an agent.
MAX_UPLOADS: Final = 128
# Twice the points of an agent.
MAX_COMMANDS: Final = 128
Send = Callable[[BaseModel], None]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Pace:
    """How many cards one agent may report: sixteen readers in a crowd; more is a fault or an attack."""

    per_s: int = 20
    burst: int = 100


# (agent, what its door says now); called in the event loop.
DoorListener = Callable[[str, DoorState], None]


@dataclass(slots=True)
class PointStates:
    """What the points said of themselves last, while their agent is connected. Changed in the event loop only."""

    doors: dict[str, DoorState] = field(default_factory=dict)
    outputs: dict[str, OutputState] = field(default_factory=dict)
    listeners: list[DoorListener] = field(default_factory=list)

    def door(self, agent: str, state: DoorState) -> None:
        """Keep what a door says, and tell who wants to know."""
        self.doors[state.point] = state
        for listener in self.listeners:
            listener(agent, state)

    def forget(self, points: Iterable[str]) -> None:
        """Nobody is left who says how these are."""
        for point in points:
            self.doors.pop(point, None)
            self.outputs.pop(point, None)


@dataclass(frozen=True, slots=True)
class Desks:
    """Where a session takes what its agent sends."""

    taps: TapDesk
    events: EventDesk
    live: LiveFeed
    metrics: Metrics
    clock: Clock
    pace: Pace = Pace()
    states: PointStates = field(default_factory=PointStates)
    told: AgentsTold = field(default_factory=AgentsTold)
    encoders: EncoderRelay = field(default_factory=EncoderRelay)


class _Conversation:
    """One card at one point; its exchanges are numbered, answers to others are ignored."""

    def __init__(self, present: CardPresent, methods: Sequence[str], send: Send) -> None:
        self.present = present
        self.id = secrets.token_hex(16)
        self._methods = methods
        self._send = send
        self._n = -1
        self._waiting: asyncio.Future[tuple[bytes, ...]] | None = None

    async def exchange(self, commands: Sequence[bytes]) -> tuple[bytes, ...]:
        """Send commands to the card, return its answers; fewer than asked for if it went away."""
        if self._n < 0:
            self._send(CardOpen(event=self.present.event, conversation=self.id, applications=tuple(self._methods)))
        self._n += 1
        self._waiting = asyncio.get_running_loop().create_future()
        apdus = tuple(command.hex() for command in commands)
        self._send(CardApdus(conversation=self.id, n=self._n, apdus=apdus))
        return await self._waiting

    def answered(self, message: CardResponses) -> bool:
        """Take the answers to the exchange under way; tell whether they were expected."""
        if message.n != self._n or self._waiting is None or self._waiting.done():
            return False
        answers = _ANSWERS[message.gone]
        self._waiting.set_result(answers(bytes.fromhex(response) for response in message.responses))
        return True


class AgentSession:
    """A connected agent whose hello was accepted."""

    def __init__(self, sender: Sender, desks: Desks, send: Send) -> None:
        self.agent = sender.agent
        self._sender = sender
        self._closed = False
        self._presented = RecentSequences()
        self._bucket = TokenBucket(desks.pace.per_s, desks.pace.burst, desks.clock)
        self._door_bucket = TokenBucket(desks.pace.per_s, desks.pace.burst, desks.clock)
        self._desks = desks
        self._send = send
        self._points: dict[str, PointRecord] = {}
        self._conversations: dict[str, _Conversation] = {}
        self._questions = PinQuestions(send)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._uploads: set[asyncio.Task[None]] = set()
        self._commands: dict[str, tuple[str, asyncio.Future[PointDone]]] = {}
        self._comparison: asyncio.Task[None] | None = None
        self._strange_messages = 0
        self.strange_frames = 0
        # Nothing but the welcome may come first.
        self.welcomed = False

    @property
    def points(self) -> frozenset[str]:
        """The points the agent was told it serves."""
        return frozenset(self._points)

    def welcome(self, points: Sequence[PointRecord]) -> None:
        """Tell the agent which points it serves; again whenever that changed."""
        before, self._points = self._points, {point.code: point for point in points[:MAX_POINTS]}
        self._desks.states.forget(before.keys() - self._points.keys())
        setups = tuple(
            PointSetup(
                point=point.code,
                reader=point.reader or "*",
                use=point.use.value,
                answer_budget_ms=point.answer_budget_ms,
                tap_budget_ms=point.tap_budget_ms,
                name=point.name[:200],
                options=dict(point.options),
                locked_down=point.locked_down,
            )
            for point in self._points.values()
        )
        self._send(Welcome(points=setups, centre_time_ms=self._desks.clock.now_ms()))
        self.welcomed = True

    def receive(self, message: BaseModel) -> None:
        """Handle one message of the agent; never waits for a card."""
        if self._closed:
            return
        match message:
            case CardPresent():
                self._begin(message)
            case CardRead():
                self._answer_read(message)
            case CardResponses() | PinEntered() | PointDone():
                self._continue(message)
            case TapEvent():
                self._upload(message)
            case EventsAccount():
                self._account(message)
            case Health():
                self._desks.metrics.agent_outbox.labels(self.agent).set(message.outbox_depth)
                self._desks.told.said(self.agent, message, self._desks.clock.now_ms())
                self._publish("agent", message)
            case OutputState() | DoorState() if message.point in self._points:
                self._state(message)
            case EncoderState() | EncoderResponses():
                self._encoder(message)
            case Hello() | OutputState() | DoorState() | _:
                self._strange("unexpected")

    def command(self, command: PointCommand) -> "asyncio.Future[PointDone]":
        """Send a command; the future gets the agent's answer, or `AgentSilent` when the connection ends before it.

        Raises:
            AgentAway: it has not been let in yet, or not any more; nothing was sent.
            Overloaded: it has too many commands under way, or this very one; nothing was sent.
        """
        if self._closed or not self.welcomed:
            raise AgentAway(f"agent {self.agent} is not connected")
        if len(self._commands) >= MAX_COMMANDS or command.id in self._commands:
            raise Overloaded(f"agent {self.agent} has {len(self._commands)} commands under way")
        answer: asyncio.Future[PointDone] = asyncio.get_running_loop().create_future()
        self._commands[command.id] = command.point, answer
        answer.add_done_callback(lambda _: self._commands.pop(command.id, None))
        self._send(command)
        return answer

    def _done(self, message: PointDone) -> None:
        point, answer = self._commands.get(message.id, ("", None))
        # An answer that nobody waits for any more is late, not strange.
        if answer is None or answer.done():
            return
        if point == message.point:
            answer.set_result(message)
        else:
            self._strange("answer of another point")

    def _encoder(self, message: EncoderState | EncoderResponses) -> None:
        encoders = self._desks.encoders
        if isinstance(message, EncoderResponses):
            # Answers that nobody waits for any more are late, not strange.
            encoders.answered(self.agent, message)
        elif not self._bucket.take() or not encoders.said(self, self.agent, message, self._send):
            self._strange("too many encoders, or cards on them")

    def _state(self, message: OutputState | DoorState) -> None:
        if isinstance(message, OutputState):
            self._desks.states.outputs[message.point] = message
            # The words at a terminal are between it and its holder.
            private = self._points[message.point].use not in {Use.DOOR, Use.WORKSTATION}
            self._publish("output", message.model_copy(update={"text": None}) if private else message)
        elif self._door_bucket.take():
            self._desks.states.door(self.agent, message)
            self._publish("door", message)
        else:
            self._strange("a door that changes too often")

    def _strange(self, what: str) -> None:
        self._desks.metrics.refused_messages.labels(self.agent).inc()
        self._strange_messages += 1
        # Powers of two: an agent gone wild does not fill the log.
        if self._strange_messages & (self._strange_messages - 1) == 0:
            _log.warning("agent.strange_message", agent=self.agent, what=what, count=self._strange_messages)

    def _publish(self, kind: str, message: BaseModel) -> None:
        self._desks.live.publish(
            lambda: {"kind": kind, "agent": self.agent} | message.model_dump(mode="json", exclude={"type", "v"})
        )

    def _point_of(self, tap: CardPresent | CardRead) -> PointRecord | None:
        """Return the point of a tap that is this agent's to report, None if it is none or one too many."""
        event = tap.event
        if (event.agent, event.epoch) != (self._sender.agent, self._sender.epoch):
            self._strange("event of another agent or epoch")
            return None
        # As the city is now, not as the last welcome said.
        point = self._desks.taps.point(tap.point)
        if point is None or point.agent != self.agent:
            self._strange("foreign point")
            return None
        if not self._presented.is_new(event.sequence) or not self._bucket.take():
            self._strange("the same tap again, or too many")
            return None
        return point

    def _answer_read(self, read: CardRead) -> None:
        if self._point_of(read) is not None:
            self._desks.taps.answer_read(read, partial(self._decided, read))

    def _decided(self, tap: CardPresent | CardRead, decision: DecisionMessage) -> None:
        self._send(decision)
        self._desks.live.publish(partial(self._shown, tap.point, decision, self._desks.clock.now_ms()))

    def _begin(self, present: CardPresent) -> None:
        point = self._point_of(present)
        if point is None:
            return
        older = self._running.pop(present.point, None)
        if older is not None:
            older.cancel()
        task = asyncio.create_task(self._tap(present, point))
        self._running[present.point] = task
        task.add_done_callback(lambda done: self._ended(present.point, done))

    def _ended(self, point: str, task: asyncio.Task[None]) -> None:
        if self._running.get(point) is task:
            del self._running[point]
        if not task.cancelled() and task.exception() is not None:
            _log.error("tap.failed", agent=self.agent, point=point, error=repr(task.exception()))

    async def _tap(self, present: CardPresent, point: PointRecord) -> None:
        conversation = _Conversation(present, [one for one in point.methods if one in CONVERSATIONS], self._send)
        self._conversations[conversation.id] = conversation
        try:
            # A card that uses the tap's whole budget is reported at its end, and then waited with for the reason.
            async with asyncio.timeout((point.tap_budget_ms + point.answer_budget_ms) / 1000) as limit:
                ask_pin = partial(self._ask_pin, present, limit) if present.pin_pad else None
                decision = await self._desks.taps.answer(present, conversation.exchange, ask_pin)
        except TimeoutError:
            # The agent gave up long before; what became of the tap arrives as an event.
            _log.warning("tap.abandoned", agent=self.agent, point=present.point)
            return
        finally:
            del self._conversations[conversation.id]
        self._decided(present, decision)

    async def _ask_pin(self, present: CardPresent, limit: asyncio.Timeout) -> str | None:
        """Have a PIN typed for a tap, whose budget begins anew with it: fingers are slower than cards."""
        limit.reschedule(asyncio.get_running_loop().time() + (TYPING_MS + DECIDED_WITHIN_MS) / 1000)
        return await self._questions.ask(present.event)

    def _shown(self, point: str, decision: DecisionMessage, at_ms: int) -> dict[str, Any]:
        return {
            "kind": "tap",
            "agent": self.agent,
            "point": point,
            "event": decision.event.model_dump(),
            "decision": decision.decision,
            "permit": decision.permit,
            "reason": decision.reason,
            "level": decision.level,
            "text": decision.text.model_dump(),
            # What the holder reads there (hours, money) is theirs: whoever watches learns only what it came to.
            "answer": decision.answer and {"done": decision.answer.done, "code": decision.answer.code},
            "stages_us": decision.stages_us,
            "at_ms": at_ms,
        }

    def _continue(self, message: CardResponses | PinEntered | PointDone) -> None:
        """Hand an answer to whoever waits for it; one that comes after a tap has ended is late, not strange."""
        if isinstance(message, PointDone):
            self._done(message)
            return
        if isinstance(message, PinEntered):
            if not self._questions.entered(message):
                self._strange("answer to another question")
            return
        conversation = self._conversations.get(message.conversation)
        if conversation is not None and not conversation.answered(message):
            self._strange("answer to another exchange")

    def _upload(self, uploaded: TapEvent) -> None:
        if len(self._uploads) >= MAX_UPLOADS:
            # More at once than an agent has under way; what is not acknowledged it sends again.
            self._strange("too many uploads at once")
            return
        task = asyncio.create_task(self._take_upload(uploaded))
        self._uploads.add(task)
        task.add_done_callback(self._uploaded)

    def _uploaded(self, task: asyncio.Task[None]) -> None:
        self._uploads.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("agent.upload_failed", agent=self.agent, error=repr(task.exception()))

    def _account(self, account: EventsAccount) -> None:
        if self._comparison is not None and not self._comparison.done():
            self._strange("account before the last one was answered")
            return
        self._comparison = asyncio.create_task(self._compare(account))

    async def _compare(self, account: EventsAccount) -> None:
        try:
            ranges = await self._desks.events.compare(self._sender, account)
        except CardServiceError as error:
            _log.error("agent.account_not_compared", agent=self.agent, error=str(error))
            return
        if ranges:
            self._send(EventsAgain(ranges=tuple(ranges)))

    async def _take_upload(self, uploaded: TapEvent) -> None:
        try:
            answer = await self._desks.events.take(self._sender, uploaded)
        except CardServiceError as error:
            _log.error("agent.event_not_stored", agent=self.agent, error=str(error))
            return
        self._send(answer)
        self._desks.live.publish(
            lambda: {
                "kind": "event",
                "agent": self.agent,
                "point": uploaded.point,
                "event": uploaded.event.model_dump(),
                "outcome": uploaded.outcome,
                "stages_us": uploaded.stages_us,
            }
        )

    def close(self) -> None:
        """End everything that runs for this agent; what it still sends is not heard."""
        self._closed = True
        self._desks.encoders.went(self)
        for task in (*self._running.values(), *self._uploads, self._comparison):
            if task is not None:
                task.cancel()
        for _, answer in tuple(self._commands.values()):
            if not answer.done():
                answer.set_exception(AgentSilent(f"agent {self.agent} went away before it answered"))
