# SPDX-License-Identifier: EUPL-1.2
"""A running agent: its parts wired to each other, from the opened outbox until everything is closed."""

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from cardservice.agents.encoder_messages import EncoderApdus, EncoderRelease
from cardservice.agents.messages import (
    EventAck,
    EventRefused,
    EventsAgain,
    Health,
    Hello,
    PointCommand,
    PointSetup,
    Prompt,
    SessionsEnd,
    Welcome,
)
from cardservice.doors.ports import DoorOutput, Shown
from readers import __version__, texts
from readers.bank import BankHooks, BankParts, ReaderBank
from readers.card import CardSide
from readers.channel import Channel, ChannelTimes, ChannelTools, FromCentreInSession
from readers.clock import Clock, SystemClock
from readers.door import DoorPoint
from readers.encoder import Encoders, EncoderTools
from readers.errors import OutboxFault, SettingsFault
from readers.identity import Identity
from readers.kiosk.assembly import open_kiosk
from readers.metrics import Metrics
from readers.no_sessions import KeptNotes, NoSessions
from readers.outbox_thread import OutboxThread
from readers.outputs import Outputs, PointFactory
from readers.points import PointMap
from readers.ports import Connector, OutputFactory, PointOutput, ReaderDriver, SessionsFactory
from readers.router import Router
from readers.settings import AgentSettings
from readers.slot import ReaderSlot
from readers.tap import Arrival, Tap, TapTools
from readers.unlocked import UnlockedNotes
from readers.uploads import Uploads
from readers.worker import Worker, WorkerFactory
from readers.workstation import Workstations

_log = structlog.get_logger("readers.session")

# Insertions come in bursts; the centre needs the state, not each change.
HEALTH_PAUSE_S = 0.2
CLOCK_OFFSET_WARNING_MS = 2_000
REMEMBERED_POINTS = "points"


@dataclass(frozen=True, slots=True)
class AgentTimes:
    """How patient the agent is when it stops, with a decision that is late, and with its channel."""

    stop_grace_s: float = 4.0
    late_grace_ms: int = 2_000
    health_every_s: float = 10.0
    channel: ChannelTimes = field(default_factory=ChannelTimes)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The network, threads, the machine's clock and the PC's sessions; a simulation puts its own in their place."""

    connect: Connector
    worker: WorkerFactory = Worker
    clock: Clock = field(default_factory=SystemClock)
    sessions: SessionsFactory = field(default=lambda: NoSessions("this agent was started without sessions"))


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What an agent is made of."""

    settings: AgentSettings
    driver: ReaderDriver
    outputs: OutputFactory
    metrics: Metrics
    times: AgentTimes
    surroundings: Surroundings


class Session:
    """One run of an agent."""

    def __init__(self, parts: AgentParts, identity: Identity, outbox: OutboxThread, points: PointMap) -> None:
        self._parts = parts
        self._outbox = outbox
        self._points = points
        self._unremembered: PointMap | None = None
        self._clock = parts.surroundings.clock
        self._settling: set[asyncio.Task[None]] = set()
        self._health_due = asyncio.Event()
        clock, metrics, times = self._clock, parts.metrics, parts.times
        hello = partial(_hello, identity, parts.settings.agent, outbox.epoch)
        self._channel = Channel(parts.surroundings.connect, hello, self, ChannelTools(clock, metrics, times.channel))
        self._encoders = Encoders(
            parts.settings.encoder_readers, EncoderTools(parts.driver, clock, metrics, self._channel.send)
        )
        self._outputs = Outputs(parts.outputs, send=self._channel.send, clock=clock, metrics=metrics)
        self._workstations: Workstations | None = None
        # What the card in a reader was told to, which its removal is for too.
        self._at_reader: dict[str, PointOutput] = {}
        self._kiosk = open_kiosk(parts.settings, clock)
        door: PointFactory = partial(DoorPoint, tell=self._channel.send, clock=clock)
        if self._kiosk is not None:
            door = self._kiosk.with_pages(door)
            self._outputs.use(self._kiosk.kinds)
        self._outputs.use({"door": door, "workstation": self._workstation})
        self._router = Router(metrics)
        self._uploads = Uploads(
            outbox, send=self._channel.send, changed=self._health_due.set, clock=clock, metrics=metrics
        )
        self._tools = TapTools(
            clock=clock,
            metrics=metrics,
            outbox=outbox,
            registry=self._router,
            send=self._channel.send,
            late_grace_ms=times.late_grace_ms,
            may_send_pins=parts.settings.is_unreadable_on_the_way,
        )
        hooks = BankHooks(
            begin_tap=self._begin_tap,
            tap_ended=self._tap_ended,
            card_left=self._card_left,
            takes_found=self._takes_found,
            ask_again=self._ask_again,
            changed=self._health_due.set,
        )
        self._bank = ReaderBank(
            BankParts(parts.driver, parts.surroundings.worker, clock, metrics),
            hooks,
            removal_debounce_ms=parts.settings.removal_debounce_ms,
        )

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set; what fails for good is raised."""
        self._outputs.set_up(self._points.setups)
        names = {"readers": self._bank.run(), "channel": self._channel.run()}
        names |= {"uploads": self._uploads.run(), "health": self._report_health()}
        if self._kiosk is not None:
            names["kiosk"] = self._kiosk.server.run()
        tasks = {name: asyncio.create_task(work, name=name) for name, work in names.items()}
        until = asyncio.create_task(stopping.wait(), name="stopping")
        try:
            done, _ = await asyncio.wait([until, *tasks.values()], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            until.cancel()
            await self._shut_down(tasks)

    def connected(self, welcome: Welcome) -> None:
        """The centre accepted the agent."""
        offset_ms = self._clock.wall_ms() - welcome.centre_time_ms
        self._parts.metrics.clock_offset.set(offset_ms / 1_000)
        if abs(offset_ms) > CLOCK_OFFSET_WARNING_MS:
            _log.warning("clock_differs", offset_ms=offset_ms)
        self.points_changed(welcome)
        self._uploads.connected()
        self._outputs.connected(ahead_ms=offset_ms)
        self._health_due.set()
        self._encoders.connected()
        self._bank.centre_connected()

    def points_changed(self, welcome: Welcome) -> None:
        """Serve these points from the next tap on; a tap under way ends at the point where it began."""
        if welcome.points != self._points.setups:
            gone = {setup.point for setup in self._points.setups} - {setup.point for setup in welcome.points}
            for point in gone:
                self._parts.metrics.forget_point(point)
            self._points = PointMap(welcome.points)
            self._outputs.set_up(welcome.points)
            _log.info("points_changed", points=len(welcome.points))
            is_remembering = self._unremembered is not None
            self._unremembered = self._points
            if not is_remembering:
                self._spawn(self._remember_points(), "remember points")
        for reader in self._points.ambiguous:
            _log.error("points_ambiguous", reader=reader)

    def disconnected(self) -> None:
        """The connection is gone; nothing sent on it can be answered any more."""
        self._uploads.disconnected()
        self._router.disconnected()
        self._outputs.disconnected()
        self._encoders.disconnected()

    def received(self, message: FromCentreInSession, at_us: int) -> None:
        """Hand a message of the centre, received at `at_us`, to whom it is for."""
        if isinstance(message, EventAck | EventRefused):
            self._uploads.answered(message)
        elif isinstance(message, EventsAgain):
            self._uploads.wanted_again(message)
        elif isinstance(message, PointCommand):
            self._outputs.command(self._points.of(message.point), message)
        elif isinstance(message, SessionsEnd):
            self._outputs.people_ended(message)
        elif isinstance(message, Prompt):
            self._prompt(message)
        elif isinstance(message, EncoderApdus | EncoderRelease):
            self._encoders.received(message)
        else:
            self._router.deliver(message, at_us)

    def _workstation(self, setup: PointSetup, output: DoorOutput) -> PointOutput:
        """Make a workstation's point; the PC's sessions are looked for with the first of them."""
        if self._workstations is None:
            parts = self._parts
            file = parts.settings.outbox_file.with_suffix(".unlocked")
            try:
                sessions = parts.surroundings.sessions()
            except SettingsFault as fault:
                _log.error("sessions_unusable", reason=str(fault))
                sessions = NoSessions(str(fault))
            notes = KeptNotes(file) if isinstance(sessions, NoSessions) else UnlockedNotes(file)
            self._workstations = Workstations(sessions, notes, clock=self._clock, metrics=parts.metrics)
        return self._workstations.point(setup, output)

    def _begin_tap(self, slot: ReaderSlot, arrival: Arrival) -> Tap | None:
        if slot.reader in self._encoders:
            # It may have left before its turn came.
            if slot.present:
                self._encoders.arrived(slot.reader, slot.worker)
            return None
        setup = self._points.for_reader(slot.reader)
        if setup is None:
            self._parts.metrics.faults.labels("no_point").inc()
            _log.warning("reader_without_point", reader=slot.reader)
            return None
        # A PC's reader is shared with the logon software on it; everywhere else nobody may come between.
        exclusive = setup.use != "workstation"
        card = CardSide(self._parts.driver, slot.worker, self._clock, slot.reader, exclusive=exclusive)
        output = self._outputs.of(setup)
        if slot.present:
            self._at_reader[slot.reader] = output
        return Tap(self._tools, setup, arrival, card=card, output=output)

    def _card_left(self, reader: str) -> None:
        if reader in self._encoders:
            self._encoders.left(reader)
            return
        # Since the card came the centre may have given the reader to another point, or to none.
        output = self._at_reader.pop(reader, None)
        setup = self._points.for_reader(reader)
        if output is not None:
            output.card_left()
        elif setup is not None:
            self._outputs.of(setup).card_left()

    def _prompt(self, prompt: Prompt) -> None:
        setup = self._points.of(prompt.point)
        if setup is None:
            self._parts.metrics.ignore(prompt.type, "foreign_point")
        else:
            self._outputs.of(setup).prompt(prompt)

    def _tap_ended(self, slot: ReaderSlot, tap: Tap) -> None:
        if slot.last_good_tap_ms is not None:
            self._parts.metrics.last_good_tap.labels(slot.reader).set(slot.last_good_tap_ms / 1_000)
        self._spawn(self._settle(tap), f"settle {tap.point}")

    async def _settle(self, tap: Tap) -> None:
        await tap.settle()
        self._uploads.event_finished()
        self._health_due.set()

    def _takes_found(self, reader: str) -> bool | None:
        if not self._channel.is_connected:
            return None
        if reader in self._encoders:
            return True
        setup = self._points.for_reader(reader)
        if setup is None:
            return False
        return setup.use == "workstation" or self._parts.settings.found_card == "tap"

    def _ask_again(self, reader: str) -> None:
        setup = self._points.for_reader(reader)
        if setup is not None:
            self._outputs.show(setup, Shown("amber", "silent", texts.PRESENT_AGAIN))

    async def _remember_points(self) -> None:
        """Keep the newest points for a start without the centre; those that came and went meanwhile are left out."""
        while (points := self._unremembered) is not None:
            try:
                await self._outbox.remember(REMEMBERED_POINTS, points.to_json())
            except OutboxFault as fault:
                self._parts.metrics.faults.labels("outbox").inc()
                _log.error("points_not_remembered", reason=str(fault))
            if points is self._unremembered:
                self._unremembered = None

    async def _report_health(self) -> None:
        while True:
            self._health_due.clear()
            self._encoders.looked([one.reader for one in self._bank.health()])
            depth = self._outbox.depth
            self._parts.metrics.outbox_depth.set(depth.waiting)
            self._parts.metrics.outbox_aside.set(depth.aside)
            self._parts.metrics.outbox_lost.set(depth.lost)
            health = Health(
                pcsc=self._bank.pcsc,
                readers=self._bank.health(),
                outbox_depth=depth.waiting,
                at_ms=self._clock.wall_ms(),
            )
            self._channel.send(health)
            await asyncio.sleep(HEALTH_PAUSE_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._parts.times.health_every_s):
                    await self._health_due.wait()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._settling.add(task)
        task.add_done_callback(self._settled)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._settling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("background_failed", task=task.get_name(), exc_info=task.exception())

    async def _shut_down(self, tasks: Mapping[str, asyncio.Task[None]]) -> None:
        """Let running taps end, then the record of them, then everything else."""
        self._bank.stop_accepting()
        self._encoders.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._parts.times.stop_grace_s):
                await self._bank.wait_until_idle()
        # The channel goes first: taps that still wait for a late decision learn that none will come.
        for name in ("channel", "uploads", "health", "kiosk", "readers"):
            if name in tasks:
                tasks[name].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        if self._settling:
            await asyncio.wait(self._settling, timeout=self._parts.times.stop_grace_s)
        for task in self._settling:
            task.cancel()
        await self._bank.close()
        self._outputs.close()
        if self._workstations is not None:
            await self._workstations.close()


def _hello(identity: Identity, agent: str, epoch: int, nonce: str) -> Hello:
    signature = identity.sign_hello(nonce, agent, epoch)
    return Hello(agent=agent, epoch=epoch, signature=signature, software=f"cardservice-agent/{__version__}")
