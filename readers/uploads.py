# SPDX-License-Identifier: EUPL-1.2
"""Brings finished events to the centre, oldest first, and forgets them only when it says they are stored."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog
from pydantic import BaseModel

from cardservice.agents.messages import (
    MAX_RANGES,
    EpochAccount,
    EventAck,
    EventId,
    EventRange,
    EventRefused,
    EventsAccount,
    EventsAgain,
    TapEvent,
)
from readers.clock import Clock
from readers.errors import OutboxFault
from readers.metrics import Metrics
from readers.outbox import Depth

_log = structlog.get_logger("readers.uploads")

WINDOW = 64
# The centre answers in milliseconds; an answer this late was lost, or could not be given.
RESEND_S = 5.0


class UploadOutbox(Protocol):
    """What uploading needs of the outbox; every method raises OutboxFault."""

    @property
    def depth(self) -> Depth:
        """How many entries there are of each kind."""
        ...

    async def pending(self, limit: int) -> Sequence[TapEvent]:
        """Return up to `limit` finished events the centre has not acknowledged, oldest first."""
        ...

    async def acknowledged(self, events: Sequence[EventId]) -> int:
        """Note that the centre has stored these finished events durably."""
        ...

    async def account(self) -> Sequence[EpochAccount]:
        """Return up to where the centre must have every event, for the newest epochs."""
        ...

    async def again(self, wanted: EventRange, at_ms: int) -> int:
        """Let kept events wait for the centre again; return how many those are."""
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
        self._wanted: deque[EventRange] = deque(maxlen=MAX_RANGES)
        self._account_due = False
        self._lost_told = 0

    def connected(self) -> None:
        """The centre listens: everything not acknowledged is sent (again)."""
        self._connected = True
        self._account_due = True
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
            self._metrics.ignore(message.type, "unknown_event")
            return
        if isinstance(message, EventAck):
            self._acknowledged.append(message.event)
        else:
            self._refused.append(message)
        self._wake.set()

    def wanted_again(self, message: EventsAgain) -> None:
        """Take the centre's request for events that it has not got."""
        self._wanted.extend(message.ranges)
        self._account_due = True
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
                await self._bring_back()
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

    async def _bring_back(self) -> None:
        while self._wanted:
            wanted = self._wanted[0]
            back = await self._outbox.again(wanted, self._clock.wall_ms())
            _log.warning("events_wanted_again", epoch=wanted.epoch, first=wanted.first, last=wanted.last, kept=back)
            self._wanted.popleft()
            self._changed()

    async def _send_account(self) -> None:
        """Say what the centre must have by now, once everything is handed over."""
        lost = self._outbox.depth.lost
        epochs = await self._outbox.account()
        if not epochs or self._send(EventsAccount(epochs=tuple(epochs))):
            self._account_due, self._lost_told = False, lost

    async def _send_pending(self) -> None:
        pending = await self._outbox.pending(WINDOW)
        if not pending and (self._account_due or self._outbox.depth.lost != self._lost_told):
            await self._send_account()
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
