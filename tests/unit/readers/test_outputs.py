# SPDX-License-Identifier: EUPL-1.2
"""The outputs of an agent's points: set up once each, heard while they are ours, commanded in time."""

import asyncio
from typing import Any

from pydantic import BaseModel
from unit.readers.fakes import FakeClock, NotingDoor

from cardservice.agents.messages import OutputState, PointCommand, PointDone, PointSetup
from cardservice.doors.ports import DoorOutput, Shown
from readers.metrics import Metrics
from readers.outputs import Outputs, PlainPoint

DARK = Shown("off", "silent")


def door(point: str = "door") -> PointSetup:
    return PointSetup(point=point, reader="*", use="door")


class Desk:
    """The outputs of an agent, what they sent, and what their adapters may say."""

    def __init__(self) -> None:
        self.sent: list[BaseModel] = []
        self.clock = FakeClock()
        self.device = NotingDoor()
        self.observe: Any = None
        self.outputs = Outputs(self._make, send=self._send, clock=self.clock, metrics=Metrics())

    def _make(self, _: str, observer: Any) -> NotingDoor:
        self.observe = observer
        return self.device

    def _send(self, message: BaseModel) -> bool:
        self.sent.append(message)
        return True

    async def changed(self, point: str) -> None:
        """Let the adapter say that its strike was released, and the agent hear it."""
        self.observe(point, "released", DARK)
        heard = asyncio.Event()
        asyncio.get_running_loop().call_soon_threadsafe(heard.set)
        await heard.wait()

    def states(self) -> list[str]:
        """Return the points of which the centre was told something, and forget them."""
        said = [message.point for message in self.sent if isinstance(message, OutputState)]
        self.sent.clear()
        return said


async def test_a_point_that_is_not_ours_any_more_is_not_heard():
    """Neither when its adapter goes on moving, nor when the centre comes back."""
    desk = Desk()
    desk.outputs.set_up((door("door"),))
    await desk.changed("door")
    assert desk.states() == ["door"]
    desk.outputs.set_up(())
    await desk.changed("door")
    desk.outputs.connected(ahead_ms=0)
    assert desk.states() == []


async def test_a_new_point_is_set_up_once_and_a_known_one_again():
    """Whatever a set-up complains of is in the log once."""
    desk, said = Desk(), []

    class Noting(PlainPoint):
        def __init__(self, setup: PointSetup, output: DoorOutput) -> None:
            super().__init__(setup, output)
            self.set_up(setup)

        def set_up(self, setup: PointSetup) -> None:
            said.append(setup.name)

    desk.outputs.use({"door": Noting})
    desk.outputs.set_up((door(),))
    assert said == [""]
    desk.outputs.set_up((door().model_copy(update={"name": "Rathaus"}),))
    assert said == ["", "Rathaus"]


async def test_a_command_that_comes_too_late_opens_nothing():
    """By the centre's clock, whatever this machine's says; an agent that slept finds its commands too old."""
    desk, centre_ms = Desk(), 5_000_000
    desk.outputs.set_up((door(),))
    desk.outputs.connected(ahead_ms=desk.clock.wall_ms() - centre_ms)
    command = PointCommand(id="aa", point="door", action="open_once", open_ms=1_000, by_ms=centre_ms + 3_000)
    desk.clock.advance_ms(3_000)
    desk.outputs.command(door(), command)
    desk.clock.advance_ms(1)
    desk.outputs.command(door(), command)
    answers = [message for message in desk.sent if isinstance(message, PointDone)]
    assert [(answer.done, answer.message) for answer in answers] == [(True, ""), (False, "too late")]
    assert desk.device.pulses == [1_000]
