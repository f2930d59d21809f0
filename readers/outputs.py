# SPDX-License-Identifier: EUPL-1.2
"""The outputs of the agent's points, and the news of them for the centre."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import OutputState, Sentence
from cardservice.doors.ports import DoorOutput, OutputFault, Shown, StrikeState
from readers.clock import Clock
from readers.metrics import Metrics
from readers.ports import OutputFactory

_log = structlog.get_logger("readers.outputs")


class Outputs:
    """One output per point, made when the point is first known and kept until the agent ends."""

    def __init__(
        self, factory: OutputFactory, *, send: Callable[[BaseModel], bool], clock: Clock, metrics: Metrics
    ) -> None:
        self._factory = factory
        self._send = send
        self._clock = clock
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._outputs: dict[str, DoorOutput] = {}
        self._last: dict[str, OutputState] = {}

    def of(self, point: str) -> DoorOutput:
        """Return the output of `point`."""
        output = self._outputs.get(point)
        if output is None:
            output = self._outputs[point] = self._factory(point, self._changed)
        return output

    def show(self, point: str, shown: Shown) -> None:
        """Show something at `point` outside a tap; a fault is logged and counted."""
        try:
            self.of(point).show(shown)
        except OutputFault as fault:
            self._metrics.faults.labels("indicator").inc()
            _log.error("indicator_failed", point=point, reason=str(fault))

    def tell_all(self) -> None:
        """Tell a centre that has just connected what each output does now."""
        for state in self._last.values():
            self._send(state)

    def _changed(self, point: str, strike: StrikeState, shown: Shown) -> None:
        text = None if shown.text is None else Sentence(de=shown.text[0], en=shown.text[1])
        state = OutputState(
            point=point, state=strike, led=shown.led, buzzer=shown.buzzer, text=text, at_ms=self._clock.wall_ms()
        )
        # The loop is closed when a strike locks again after the agent ended: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, state)

    def _tell(self, state: OutputState) -> None:
        self._last[state.point] = state
        self._send(state)
