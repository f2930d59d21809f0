# SPDX-License-Identifier: EUPL-1.2
"""All readers of the agent's driver: their events, their slots, and what the centre is told about their health."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog

from cardservice.agents.messages import ReaderHealth
from readers.clock import Clock
from readers.errors import ReaderError
from readers.metrics import Metrics
from readers.ports import (
    CardArrived,
    CardRemoved,
    DriverDown,
    DriverUp,
    ReaderAppeared,
    ReaderDriver,
    ReaderEvent,
    ReaderFaulted,
    ReaderVanished,
)
from readers.slot import ReaderSlot, SlotParts
from readers.tap import Arrival, Tap
from readers.worker import WorkerFactory

_log = structlog.get_logger("readers.bank")

# As many as the wire's health message holds.
MAX_READERS = 64
WAIT_S = 1.0
# A driver answers a little after WAIT_S at the latest; one that hangs sees no card any more.
HANGS_S = 3.0
DRIVER_RETRY_S = 1.0
MAX_READER_NAME = 127


@dataclass(frozen=True, slots=True)
class BankHooks:
    """What the bank asks of the agent.

    `begin_tap` returns None when the reader serves no point. `takes_found` says whether a card counts that was already
    there when its reader was first looked at (None: ask when the centre is connected); for one that does not,
    `ask_again` tells the holder.
    """

    begin_tap: Callable[[ReaderSlot, Arrival], Tap | None]
    tap_ended: Callable[[ReaderSlot, Tap], None]
    takes_found: Callable[[str], bool | None]
    ask_again: Callable[[str], None]
    card_left: Callable[[str], None]
    changed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class BankParts:
    """What the bank is made of; `worker` makes its threads."""

    driver: ReaderDriver
    worker: WorkerFactory
    clock: Clock
    metrics: Metrics


class ReaderBank:
    """Every reader has its own slot, task and thread."""

    def __init__(self, parts: BankParts, hooks: BankHooks, *, removal_debounce_ms: int) -> None:
        self._driver = driver = parts.driver
        self._hooks = hooks
        self._clock = parts.clock
        self._metrics = metrics = parts.metrics
        self._removal_debounce_ms = removal_debounce_ms
        self._worker = parts.worker
        self._watcher = parts.worker("reader events")
        self._slots: dict[str, ReaderSlot] = {}
        # Names of readers that must not be used, for the metrics; the oldest go.
        self._faulty: dict[str, None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._up = driver.kind == "in_process"
        self._hangs = False
        self._accepting = True
        self._tap_over = asyncio.Event()
        metrics.pcsc_up.set(self._up)

    @property
    def pcsc(self) -> Literal["up", "down", "in_process"]:
        """The driver's state as the health message calls it."""
        if self._hangs or not self._up:
            return "down"
        return "in_process" if self._driver.kind == "in_process" else "up"

    def health(self) -> tuple[ReaderHealth, ...]:
        """Return every usable reader as the centre is told about it."""
        return tuple(
            ReaderHealth(reader=slot.reader, present=slot.present, last_good_tap_ms=slot.last_good_tap_ms)
            for slot in self._slots.values()
            if slot.usable
        )

    async def run(self) -> None:
        """Follow the driver's events until cancelled."""
        while True:
            try:
                events = await self._next_events()
            except ReaderError as error:
                self._handle(DriverDown(str(error)))
                await asyncio.sleep(DRIVER_RETRY_S)
                continue
            for event in events:
                self._handle(event)
            if events:
                self._hooks.changed()

    def centre_connected(self) -> None:
        """Decide about the cards found before the centre could say what their points are for."""
        for slot in self._slots.values():
            self._decide_found(slot)

    async def wait_until_idle(self) -> None:
        """Return when no reader has a tap."""
        while not all(slot.is_idle for slot in self._slots.values()):
            self._tap_over.clear()
            await self._tap_over.wait()

    def stop_accepting(self) -> None:
        """Begin no tap any more; those that run go on."""
        self._accepting = False

    async def close(self) -> None:
        """End every reader's task and thread, and the driver."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        workers = [slot.worker for slot in self._slots.values()]
        # The threads still reset their cards; one that hangs is left behind.
        await asyncio.to_thread(lambda: [worker.stop(timeout_s=0.5) for worker in workers])
        await asyncio.to_thread(self._driver.close)
        await asyncio.to_thread(lambda: self._watcher.stop(timeout_s=2 * WAIT_S))

    async def _next_events(self) -> Sequence[ReaderEvent]:
        waiting = asyncio.ensure_future(self._watcher.call(lambda: self._driver.wait(WAIT_S)))
        try:
            done, _ = await asyncio.wait({waiting}, timeout=HANGS_S)
            if not done:
                self._driver_hangs(hangs=True)
            return await waiting
        finally:
            if self._hangs and waiting.done():
                self._driver_hangs(hangs=False)
            waiting.cancel()

    def _driver_hangs(self, *, hangs: bool) -> None:
        """Tell everybody; the readers stay as they are, taps under way end by their own limits."""
        self._hangs = hangs
        self._metrics.pcsc_up.set(self.pcsc != "down")
        if hangs:
            _log.error("driver_hangs", limit_s=HANGS_S)
        else:
            _log.info("driver_answers")
        self._hooks.changed()

    def _handle(self, event: ReaderEvent) -> None:
        match event:
            case CardArrived():
                self._card_arrived(event)
            case CardRemoved():
                if event.reader in self._slots:
                    self._slots[event.reader].removed()
            case ReaderAppeared():
                self._reader_usable(event.reader)
            case ReaderVanished():
                self._reader_lost(event.reader, "vanished")
            case ReaderFaulted():
                self._reader_faulty(event.reader[:MAX_READER_NAME], event.reason)
                self._reader_lost(event.reader, event.reason)
            case DriverUp():
                self._driver_changed(up=True, reason="")
            case DriverDown():
                self._driver_changed(up=False, reason=event.reason)
                for slot in self._slots.values():
                    self._reader_lost(slot.reader, "driver down")

    def _ended(self, slot: ReaderSlot, tap: Tap) -> None:
        self._hooks.tap_ended(slot, tap)
        self._tap_over.set()

    def _driver_changed(self, *, up: bool, reason: str) -> None:
        self._up = up
        self._metrics.pcsc_up.set(up)
        if up:
            _log.info("driver_up")
        else:
            _log.error("driver_down", reason=reason)

    def _card_arrived(self, event: CardArrived) -> None:
        slot = self._reader_usable(event.reader)
        if slot is None or not self._accepting:
            return
        if event.found:
            slot.found(event.atr)
            self._decide_found(slot)
        else:
            slot.arrived(event.atr)

    def _decide_found(self, slot: ReaderSlot) -> None:
        takes = self._hooks.takes_found(slot.reader)
        if slot.found_atr is None or takes is None:
            return
        atr, slot.found_atr = slot.found_atr, None
        if takes:
            slot.arrived(atr)
        else:
            self._hooks.ask_again(slot.reader)

    def _reader_usable(self, reader: str) -> ReaderSlot | None:
        known = self._slots.get(reader)
        if known is not None and known.usable:
            return known
        slot = known or self._new_slot(reader)
        if slot is not None:
            slot.usable = True
            self._metrics.reader_usable.labels(reader).set(1)
            _log.info("reader_appeared", reader=reader)
        return slot

    def _reader_faulty(self, reader: str, reason: str) -> None:
        """Named also when it never was usable: nobody would know why it serves no point."""
        self._metrics.faults.labels("reader").inc()
        self._metrics.reader_usable.labels(reader).set(0)
        _log.error("reader_faulty", reader=reader, reason=reason)
        self._faulty[reader] = None
        if len(self._faulty) > MAX_READERS:
            oldest = next(iter(self._faulty))
            del self._faulty[oldest]
            if oldest not in self._slots:
                self._metrics.forget_reader(oldest)

    def _reader_lost(self, reader: str, reason: str) -> None:
        slot = self._slots.get(reader)
        if slot is None or not slot.usable:
            return
        slot.vanished()
        self._metrics.reader_usable.labels(reader).set(0)
        _log.warning("reader_lost", reader=reader, reason=reason)

    def _new_slot(self, reader: str) -> ReaderSlot | None:
        if len(reader) > MAX_READER_NAME or (len(self._slots) >= MAX_READERS and not self._forget_a_lost_reader()):
            self._metrics.faults.labels("reader").inc()
            _log.error("reader_not_served", reader=reader[:MAX_READER_NAME], limit=MAX_READERS)
            return None
        parts = SlotParts(self._worker(f"reader {reader}"), self._clock, self._removal_debounce_ms)
        slot = ReaderSlot(
            reader,
            parts,
            begin_tap=self._hooks.begin_tap,
            tap_ended=self._ended,
            card_left=self._hooks.card_left,
        )
        self._slots[reader] = slot
        self._tasks[reader] = asyncio.create_task(slot.run(), name=f"reader {reader}")
        return slot

    def _forget_a_lost_reader(self) -> bool:
        for reader, slot in self._slots.items():
            if not slot.usable and slot.is_idle:
                self._tasks.pop(reader).cancel()
                slot.worker.stop(timeout_s=0)
                del self._slots[reader]
                self._metrics.forget_reader(reader)
                return True
        return False
