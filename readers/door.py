# SPDX-License-Identifier: EUPL-1.2
"""What happens at a door of this agent: strike, contact, request to exit, alarms; told to the centre.

The rules are `cardservice.doors.rules.Door`. The device times every pulse; this program ends one early only when the
door is locked down. What the centre could not be told is kept, within bounds, until it is back; what was told just
before the connection broke is told again, because nobody knows whether it arrived.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import DecisionMessage, DoorState, PointCommand, PointSetup
from cardservice.doors.ports import DoorInputs, DoorOutput, DoorSensors, OutputFault
from cardservice.doors.rules import EXIT_MS, Door, DoorOptions, LockedDown, check_options
from readers.clock import Clock
from readers.outputs import PlainPoint

# What happened at the door while the centre was away; more is an outage whose beginning nobody needs to the second.
MAX_UNTOLD = 64
# A connection that broke is noticed by then; until it is, what is told may go nowhere.
DOUBTFUL_MS = 60_000
_NOTHING_KNOWN = ("unknown", "none")
_log = structlog.get_logger("readers.door")


class DoorPoint(PlainPoint):
    """A point of the use "door". `tell` sends to the centre and says whether it could.

    Used in the event loop; the adapter's inputs may come from any thread.
    """

    def __init__(
        self, setup: PointSetup, output: DoorOutput, *, tell: Callable[[BaseModel], bool], clock: Clock
    ) -> None:
        super().__init__(setup, output)
        self._tell = tell
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._door = Door()
        self._due: asyncio.TimerHandle | None = None
        # Until when the device itself keeps the strike released.
        self._device_until_ms = 0
        self._state: DoorState | None = None
        self._untold: deque[DoorState] = deque(maxlen=MAX_UNTOLD)
        # With when they were told.
        self._told: deque[tuple[int, DoorState]] = deque(maxlen=MAX_UNTOLD)
        self._closed = False
        self.set_up(setup)
        if isinstance(output, DoorSensors):
            output.watch(self._sensed)

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the door; a lockdown ends a running pulse at once."""
        super().set_up(setup)
        try:
            check_options(setup.options)
        except ValueError as error:
            # A newer centre's option costs a door that option, and nothing else.
            _log.error("door_options_unusable", point=setup.point, reason=str(error))
        options = DoorOptions.parse(setup.options)
        self._become(self._door.arranged(options, self._now_ms(), locked_down=setup.locked_down))

    async def act(self, decision: DecisionMessage) -> None:
        """Release the strike for a permit.

        Raises:
            OutputFault: the strike could not be released, or the door was locked down meanwhile.
        """
        if decision.open_ms:
            self._open(decision.open_ms, in_lockdown=bool(decision.in_lockdown))

    def command(self, command: PointCommand) -> None:
        """Open once, asked for at the desk.

        Raises:
            OutputFault: the strike could not be released, or the door is locked down.
        """
        self._open(command.open_ms)

    def centre(self, *, connected: bool) -> None:
        """Tell a centre that has just come what happened without it, and how the door is now."""
        if not connected:
            self._doubt()
            return
        if not self._untold and self._state is not None:
            self._untold.append(self._state)
        self._tell_untold()

    def close(self) -> None:
        """Stop watching; a strike that is released locks by itself."""
        self._closed = True
        if self._due is not None:
            self._due.cancel()

    def _open(self, open_ms: int, *, in_lockdown: bool = False) -> None:
        now_ms = self._now_ms()
        try:
            door = self._door.granted(open_ms, now_ms, in_lockdown=in_lockdown)
        except LockedDown:
            raise OutputFault("the door is locked down") from None
        self._pulse(open_ms, now_ms)
        self._become(door)

    def _pulse(self, open_ms: int, now_ms: int) -> None:
        self.output.pulse(open_ms)
        self._device_until_ms = max(self._device_until_ms, now_ms + open_ms)

    def _sensed(self, inputs: DoorInputs) -> None:
        """Take the inputs over from the adapter's thread."""
        # The loop is closed when a contact moves after the agent ended: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take, inputs)

    def _take(self, inputs: DoorInputs) -> None:
        if self._closed:
            return
        now_ms = self._now_ms()
        door = self._door.sensed(inputs, now_ms)
        if door.exit_until_ms != self._door.exit_until_ms:
            try:
                self._pulse(EXIT_MS, now_ms)
            except OutputFault as fault:
                # Whoever wants out goes out by the hardware; here it is only noted.
                _log.error("exit_not_released", point=self.setup.point, reason=str(fault))
        self._become(door)

    def _become(self, door: Door) -> None:
        """Move to the next state: end what may no longer be released, tell what changed, wait for what is due."""
        self._door = door
        now_ms = self._now_ms()
        if self._device_until_ms > now_ms >= door.released_until_ms:
            self._lock()
        self._report(now_ms)
        self._wait(now_ms)

    def _lock(self) -> None:
        self._device_until_ms = 0
        try:
            self.output.lock()
        except OutputFault as fault:
            _log.error("not_locked", point=self.setup.point, reason=str(fault))

    def _report(self, now_ms: int) -> None:
        contact, alarm = self._door.contact, self._door.alarm(now_ms)
        last = self._state
        # A door without a contact has nothing to say, and the centre takes that for granted.
        known = _NOTHING_KNOWN if last is None else (last.contact, last.alarm)
        if known == (contact, alarm):
            return
        self._state = DoorState(point=self.setup.point, contact=contact, alarm=alarm, at_ms=self._clock.wall_ms())
        self._untold.append(self._state)
        self._tell_untold()
        if last is not None and last.alarm != alarm:
            _log.warning("door_alarm", point=self.setup.point, alarm=alarm)

    def _tell_untold(self) -> None:
        while self._untold and self._tell(self._untold[0]):
            self._told.append((self._now_ms(), self._untold.popleft()))

    def _doubt(self) -> None:
        """Keep what was told last to tell it again, before what could not be told since."""
        from_ms = self._now_ms() - DOUBTFUL_MS
        doubtful = [state for told_ms, state in self._told if told_ms >= from_ms]
        self._told.clear()
        self._untold = deque([*doubtful, *self._untold], maxlen=MAX_UNTOLD)

    def _wait(self, now_ms: int) -> None:
        """Come back when the door has been open too long, or when a pulse longer than allowed has to end."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        door = self._door
        moments = [door.held_open_at_ms or 0]
        if self._device_until_ms > door.released_until_ms:
            moments.append(door.released_until_ms)
        ahead = [moment for moment in moments if moment > now_ms]
        if ahead and not self._closed:
            self._due = self._loop.call_later((min(ahead) - now_ms) / 1_000, self._passed)

    def _passed(self) -> None:
        self._become(self._door)

    def _now_ms(self) -> int:
        return self._clock.monotonic_us() // 1_000
