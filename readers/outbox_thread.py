# SPDX-License-Identifier: EUPL-1.2
"""The outbox in a thread of its own, so that the event loop never waits on a disk."""

from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from cardservice.agents.messages import EpochAccount, EventId, EventRange, TapEvent
from readers.errors import OutboxFault, WorkerBusy
from readers.outbox import Depth, Outbox
from readers.worker import Worker

T = TypeVar("T")
# A disk this far behind is broken for practical purposes: taps are refused instead of queued.
MAX_WRITES_WAITING = 1_024


class OutboxThread:
    """An open outbox and its thread; every method raises OutboxFault like the outbox's own."""

    def __init__(self, worker: Worker, outbox: Outbox) -> None:
        self._worker = worker
        self._outbox = outbox
        self.epoch = outbox.epoch
        self.abandoned = outbox.abandoned

    @classmethod
    async def open(cls, worker: Worker, open_outbox: Callable[[], Outbox]) -> Self:
        """Open an outbox in `worker`, which belongs to it from now on.

        Raises:
            OutboxFault: as `Outbox.open`.
        """
        try:
            outbox = await worker.call(open_outbox)
        except BaseException:
            worker.stop(timeout_s=0)
            raise
        return cls(worker, outbox)

    @property
    def depth(self) -> Depth:
        """How many entries there are of each kind."""
        return self._outbox.depth

    async def open_tap(self, point: str, at_ms: int) -> EventId:
        """Give a tap its id and store it as open."""
        return await self._call(lambda: self._outbox.open_tap(point, at_ms))

    async def finish(self, event: TapEvent) -> bool:
        """Store what came of a tap; return whether it was kept."""
        return await self._call(lambda: self._outbox.finish(event))

    async def pending(self, limit: int) -> Sequence[TapEvent]:
        """Return up to `limit` finished events the centre has not acknowledged, oldest first."""
        return await self._call(lambda: self._outbox.pending(limit))

    async def acknowledged(self, events: Sequence[EventId]) -> int:
        """Note that the centre has stored these finished events durably; return how many were known and are new."""
        return await self._call(lambda: self._outbox.acknowledged(events))

    async def account(self) -> Sequence[EpochAccount]:
        """Return up to where the centre must have every event, for the newest epochs."""
        return await self._call(self._outbox.account)

    async def again(self, wanted: EventRange, at_ms: int) -> int:
        """Let kept events wait for the centre again; return how many those are."""
        return await self._call(lambda: self._outbox.again(wanted, at_ms))

    async def set_aside(self, event: EventId, code: str) -> bool:
        """Keep a finished event that the centre refused, but send it no more."""
        return await self._call(lambda: self._outbox.set_aside(event, code))

    async def remember(self, key: str, value: str) -> None:
        """Keep a small setting of the centre for the next start."""
        await self._call(lambda: self._outbox.remember(key, value))

    async def recall(self, key: str) -> str | None:
        """Return what was remembered under `key`."""
        return await self._call(lambda: self._outbox.recall(key))

    async def close(self) -> None:
        """Let waiting writes finish and close the file."""
        await self._call(self._outbox.close)
        self._worker.stop(timeout_s=1)

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            return await self._worker.call(call)
        except WorkerBusy as busy:
            raise OutboxFault(f"outbox: {busy}") from busy
