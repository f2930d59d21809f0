# SPDX-License-Identifier: EUPL-1.2
"""Brings finished events to the centre, oldest first, and forgets them only when it says they are stored."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import EventAck, EventId, EventRefused, TapEvent
from readers.clock import Clock
from readers.errors import OutboxFault
from readers.metrics import Metrics

_log = structlog.get_logger("readers.uploads")

WINDOW = 64
# The centre answers in milliseconds; an answer this late was lost, or could not be given.
RESEND_S = 5.0


class UploadOutbox(Protocol):
    """What uploading needs of the outbox; every method raises OutboxFault."""

    async def pending(self, limit: int) -> Sequence[TapEvent]:
        """Return up to `limit` finished events the centre has not acknowledged, oldest first."""
        ...

    async def acknowledged(self, events: Sequence[EventId]) -> int:
        """Forget finished events that the centre has stored durably."""
        ...

    async def set_aside(self, event: EventId, code: str) -> bool:
        """Keep a finished event that the centre refused, but send it no more."""
        ...


class Uploads:
    """At most `WINDOW` events are on their way; an answer counts only for one of them.

    `changed` is called when the outbox became shorter.
    """

    def __init__(
        self,
        outbox: UploadOutbox,
        *,
        send: Callable[[BaseModel], bool],
        changed: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._outbox = outbox
        self._changed = changed
        self._send = send
        self._clock = clock
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._connected = False
        self._sent_at_us: dict[EventId, int] = {}
        self._acknowledged: list[EventId] = []
        self._refused: list[EventRefused] = []
        self._unstored = False

    def connected(self) -> None:
        """The centre listens: everything not acknowledged is sent (again)."""
        self._connected = True
        self._wake.set()

    def disconnected(self) -> None:
        """What was on its way may be lost."""
        self._connected = False
        self._sent_at_us.clear()

    def event_finished(self) -> None:
        """The outbox has something new."""
        self._wake.set()

    def answered(self, message: EventAck | EventRefused) -> None:
        """Take the centre's answer; one for an event that is not on its way is ignored and counted."""
        if self._sent_at_us.pop(message.event, None) is None:
            self._metrics.ignored.labels("unknown_event").inc()
            _log.warning("message_ignored", type=message.type, why="unknown_event")
            return
        if isinstance(message, EventAck):
            self._acknowledged.append(message.event)
        else:
            self._refused.append(message)
        self._wake.set()

    async def run(self) -> None:
        """Upload until cancelled."""
        while True:
            # Only what is on its way, or could not be stored, needs a second look.
            again_s = RESEND_S if self._sent_at_us or self._unstored else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(again_s):
                    await self._wake.wait()
            self._wake.clear()
            self._unstored = False
            try:
                await self._store_answers()
                if self._connected:
                    await self._send_pending()
            except OutboxFault as fault:
                self._unstored = True
                self._metrics.faults.labels("outbox").inc()
                _log.error("outbox_fault", reason=str(fault))

    async def _store_answers(self) -> None:
        while self._refused:
            refusal = self._refused[0]
            await self._outbox.set_aside(refusal.event, refusal.code)
            _log.error("event_refused", epoch=refusal.event.epoch, sequence=refusal.event.sequence, code=refusal.code)
            self._refused.pop(0)
            self._changed()
        if self._acknowledged:
            answered = tuple(self._acknowledged)
            await self._outbox.acknowledged(answered)
            del self._acknowledged[: len(answered)]
            self._changed()

    async def _send_pending(self) -> None:
        pending = await self._outbox.pending(WINDOW)
        # Read after the disk was: an answer may have come meanwhile.
        answered = {*self._acknowledged, *(refusal.event for refusal in self._refused)}
        now_us = self._clock.monotonic_us()
        for event in pending:
            sent_at_us = self._sent_at_us.get(event.event)
            on_its_way = sent_at_us is not None and now_us - sent_at_us < RESEND_S * 1_000_000
            if on_its_way or event.event in answered:
                continue
            if not self._send(event):
                return
            self._sent_at_us[event.event] = now_us
