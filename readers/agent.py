# SPDX-License-Identifier: EUPL-1.2
"""The reader agent: one program beside one driver (one pcscd), or beside the centre with readers in the process."""

import asyncio
from collections.abc import Callable

import structlog

from readers.centre_socket import websocket_connector
from readers.identity import Identity
from readers.metrics import Metrics
from readers.outbox import Outbox
from readers.outbox_thread import MAX_WRITES_WAITING, OutboxThread
from readers.points import PointMap
from readers.ports import OutputFactory, ReaderDriver
from readers.session import REMEMBERED_POINTS, AgentParts, AgentTimes, Session, Surroundings
from readers.settings import AgentSettings

__all__ = ["Agent", "AgentTimes", "Surroundings"]

_log = structlog.get_logger("readers.agent")


class Agent:
    """One reader agent; `run` it once, in an event loop.

    `settings.agent`, its key file and its outbox belong to this agent alone. `driver` gives the readers and is closed
    at the end; `outputs` makes the output of each point; `surroundings` are network, threads, clock and the PC's
    sessions.
    """

    def __init__(
        self,
        settings: AgentSettings,
        driver: ReaderDriver,
        outputs: OutputFactory,
        *,
        times: AgentTimes = AgentTimes(),  # noqa: B008  # frozen
        surroundings: Surroundings | None = None,
    ) -> None:
        self.metrics = Metrics()
        self._parts = AgentParts(
            settings,
            driver,
            outputs,
            self.metrics,
            times,
            surroundings or Surroundings(websocket_connector(settings)),
        )
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self, *, when_open: Callable[[], None] = lambda: None) -> None:
        """Serve until `stop` or `request_stop`; `when_open` is called once key and outbox are at hand.

        Raises:
            IdentityFault: the key cannot be used.
            OutboxFault: the outbox cannot be used.
            SettingsFault: a file the settings name cannot be used.
        """
        try:
            await self._run(when_open)
        finally:
            self._stopped.set()

    def request_stop(self) -> None:
        """Ask a running `run` to end; for signal handlers of the loop."""
        self._stopping.set()

    async def stop(self) -> None:
        """Ask a running `run` to end, and wait until everything is closed."""
        self.request_stop()
        await self._stopped.wait()

    async def _run(self, when_open: Callable[[], None]) -> None:
        parts, settings = self._parts, self._parts.settings
        surroundings = parts.surroundings
        identity = Identity.load(settings.key_file)
        outbox = await OutboxThread.open(
            surroundings.worker("outbox", max_waiting=MAX_WRITES_WAITING),
            lambda: Outbox.open(
                settings.outbox_file,
                settings.agent,
                at_ms=surroundings.clock.wall_ms(),
                capacity=settings.outbox_capacity,
                keep_days=settings.outbox_keep_days,
            ),
        )
        try:
            points = PointMap.from_json(await outbox.recall(REMEMBERED_POINTS))
            session = Session(parts, identity, outbox, points)
            _log.info("agent_started", agent=settings.agent, epoch=outbox.epoch, abandoned=outbox.abandoned)
            when_open()
            await session.serve(self._stopping)
        finally:
            await outbox.close()
            _log.info("agent_stopped", agent=settings.agent)
