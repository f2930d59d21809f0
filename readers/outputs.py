# SPDX-License-Identifier: EUPL-1.2
"""The outputs of the agent's points, one kind for each use, and the news of them for the centre."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import (
    DecisionMessage,
    OutputState,
    PointCommand,
    PointDone,
    PointSetup,
    Prompt,
    Sentence,
    SessionsEnd,
    login_digest,
)
from cardservice.doors.ports import DoorOutput, OutputFault, Shown, StrikeState
from readers.clock import Clock
from readers.metrics import Metrics
from readers.ports import OutputFactory, PinPad, PointOutput

# Makes what happens at a point of one use, around the indicators its adapter gives it.
PointFactory = Callable[[PointSetup, DoorOutput], PointOutput]

_log = structlog.get_logger("readers.outputs")


class PlainPoint:
    """A point that does what the decision says and nothing else: the strike's pulse, the reader's lights."""

    def __init__(self, setup: PointSetup, output: DoorOutput) -> None:
        self.setup = setup
        self.output = output

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the point."""
        self.setup = setup

    @property
    def pad(self) -> PinPad | None:
        """Nothing: digits cannot be typed at lights."""
        return None

    def card_came(self) -> str | None:
        """Return nothing: there is nothing to choose from."""
        return None

    async def act(self, decision: DecisionMessage) -> None:
        """Release the strike, if the point has one.

        Raises:
            OutputFault: the strike could not be released.
        """
        if decision.open_ms:
            self.output.pulse(decision.open_ms)

    def show(self, shown: Shown, decision: DecisionMessage | None = None) -> None:
        """Show `shown` for a few seconds.

        Raises:
            OutputFault: the indicators do not answer.
        """
        self.output.show(shown)

    def card_left(self) -> None:
        """Nothing happens when a card leaves."""

    def command(self, command: PointCommand) -> None:
        """Do what the centre asks for without a card.

        Raises:
            OutputFault: it did not happen.
        """
        self.output.pulse(command.open_ms)

    def people_ended(self, is_one: Callable[[str], bool]) -> None:
        """Nothing: nobody has anything open here."""

    def prompt(self, prompt: Prompt) -> None:
        """Nothing: lights cannot ask."""

    def centre(self, *, connected: bool) -> None:
        """Nothing: whoever comes is answered from then on."""

    def close(self) -> None:
        """Nothing is held."""


class Outputs:
    """One output per point, made when the point is first known and kept until the agent ends."""

    def __init__(
        self, factory: OutputFactory, *, send: Callable[[BaseModel], bool], clock: Clock, metrics: Metrics
    ) -> None:
        self._factory = factory
        self._send = send
        self._clock = clock
        self._metrics = metrics
        self._kinds: dict[str, PointFactory] = {}
        self._loop = asyncio.get_running_loop()
        self._outputs: dict[str, PointOutput] = {}
        self._uses: dict[str, str] = {}
        self._last: dict[str, OutputState] = {}
        self._connected = False
        # How far this machine's clock is ahead of the centre's, as the welcome said.
        self._ahead_ms = 0

    def use(self, kinds: Mapping[str, PointFactory]) -> None:
        """Make the points of these uses with `kinds`; all others are plain."""
        self._kinds.update(kinds)

    def of(self, setup: PointSetup) -> PointOutput:
        """Return the output of a point."""
        output = self._outputs.get(setup.point)
        if output is None:
            kind = self._kinds.get(setup.use, PlainPoint)
            output = self._outputs[setup.point] = kind(setup, self._factory(setup.point, self._changed))
            self._uses[setup.point] = setup.use
            if self._connected:
                output.centre(connected=True)
        return output

    def set_up(self, setups: tuple[PointSetup, ...]) -> None:
        """Tell every output what the centre says of its point now; outputs of other points, or of another use, go."""
        wanted = {setup.point: setup.use for setup in setups}
        for point in [point for point, use in self._uses.items() if wanted.get(point) != use]:
            output = self._outputs.pop(point)
            # Whatever a card holds open there has to end: nobody will hear of its removal any more.
            output.card_left()
            output.close()
            del self._uses[point]
            self._last.pop(point, None)
        for setup in setups:
            known = self._outputs.get(setup.point)
            if known is None:
                self.of(setup)
            else:
                known.set_up(setup)

    def show(self, setup: PointSetup, shown: Shown) -> None:
        """Show something at a point outside a tap; a fault is logged and counted."""
        try:
            self.of(setup).show(shown)
        except OutputFault as fault:
            self._metrics.faults.labels("indicator").inc()
            _log.error("indicator_failed", point=setup.point, reason=str(fault))

    def command(self, setup: PointSetup | None, command: PointCommand) -> None:
        """Carry out what the centre asks for without a card, and tell it what became of it."""
        message = "no such point here"
        if self._clock.wall_ms() - self._ahead_ms > command.by_ms:
            # Whoever asked was told long ago that nobody knows, and nobody waits at the door any more.
            message = "too late"
            _log.warning("command_too_late", point=command.point)
        elif setup is not None:
            try:
                self.of(setup).command(command)
                message = ""
            except OutputFault as fault:
                self._metrics.faults.labels("output").inc()
                _log.error("command_failed", point=command.point, reason=str(fault))
                message = str(fault)[:200]
        self._send(PointDone(id=command.id, point=command.point, done=not message, message=message))

    def people_ended(self, message: SessionsEnd) -> None:
        """Tell every output whose cards no longer count."""
        ended = frozenset(message.people)
        for output in self._outputs.values():
            output.people_ended(lambda login: login_digest(message.salt, login) in ended)

    def connected(self, *, ahead_ms: int) -> None:
        """Tell a centre that has just connected what each output does now; its clock is `ahead_ms` behind ours."""
        self._connected = True
        self._ahead_ms = ahead_ms
        for state in self._last.values():
            self._send(state)
        for output in self._outputs.values():
            output.centre(connected=True)

    def disconnected(self) -> None:
        """Tell every point that the centre is away."""
        self._connected = False
        for output in self._outputs.values():
            output.centre(connected=False)

    def close(self) -> None:
        """Give everything back."""
        for output in self._outputs.values():
            output.close()

    def _changed(self, point: str, strike: StrikeState, shown: Shown) -> None:
        text = None if shown.text is None else Sentence(de=shown.text[0], en=shown.text[1])
        state = OutputState(
            point=point, state=strike, led=shown.led, buzzer=shown.buzzer, text=text, at_ms=self._clock.wall_ms()
        )
        # The loop is closed when a strike locks again after the agent ended: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, state)

    def _tell(self, state: OutputState) -> None:
        # Where the point is not ours any more the adapter goes on, unheard.
        if state.point not in self._outputs:
            return
        self._last[state.point] = state
        self._send(state)
