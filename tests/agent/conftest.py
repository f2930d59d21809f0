# SPDX-License-Identifier: EUPL-1.2
"""A whole agent on loopback: fake readers and doors, a scripted centre, everything else real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from agent.scripted_centre import ScriptedCentre, running
from unit.readers.fakes import FakeDriver, NotingDoor

from readers.agent import Agent, AgentTimes
from readers.channel import ChannelTimes
from readers.identity import Identity
from readers.settings import AgentSettings

QUICK = AgentTimes(
    stop_grace_s=0.5,
    late_grace_ms=300,
    channel=ChannelTimes(retry_min_s=0.01, retry_max_s=0.05, refused_retry_s=0.1, settled_s=0.5),
)


class Rig:
    """The parts a test plays with."""

    def __init__(self, folder: Path, centre: ScriptedCentre, driver: FakeDriver) -> None:
        self.folder = folder
        self.centre = centre
        self.driver = driver
        self.doors: dict[str, NotingDoor] = {}
        self.agent: Agent | None = None
        self._task: asyncio.Task[None] | None = None

    def settings(self, **changes: Any) -> AgentSettings:
        values = {
            "agent": "agent-1",
            "centre_url": self.centre.url,
            "key_file": self.folder / "agent.key",
            "outbox_file": self.folder / "outbox.sqlite",
        }
        return AgentSettings(**(values | changes))

    def start(self, times: AgentTimes = QUICK, **changes: Any) -> Agent:
        self.agent = Agent(self.settings(**changes), self.driver, self._door, times=times)
        self._task = asyncio.create_task(self.agent.run())
        return self.agent

    async def stop(self) -> None:
        if self.agent is not None and self._task is not None:
            self.agent.request_stop()
            await self._task
            self.agent = self._task = None

    def door(self, point: str = "door-1") -> NotingDoor:
        return self.doors.setdefault(point, NotingDoor())

    def count(self, name: str, **labels: str) -> float:
        assert self.agent is not None
        return self.agent.metrics.registry.get_sample_value(f"cardservice_agent_{name}", labels) or 0.0

    def _door(self, point: str, _observer: Any) -> NotingDoor:
        return self.door(point)


@pytest.fixture
async def make_rig(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Rig]]]:
    async with AsyncExitStack() as stack:

        async def make(*readers: str, **centre_options: Any) -> Rig:
            key = tmp_path / "agent.key"
            identity = Identity.load(key) if key.exists() else Identity.create(key)
            centre = await stack.enter_async_context(
                running(ScriptedCentre(identity.public_key_hex(), **centre_options))
            )
            rig = Rig(tmp_path, centre, FakeDriver(*(readers or ("Reader A",))))
            stack.push_async_callback(rig.stop)
            return rig

        yield make
