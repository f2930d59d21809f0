# SPDX-License-Identifier: EUPL-1.2
"""One reader: which card is in it, and one tap after the other."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from readers.card import Gone
from readers.clock import Clock
from readers.tap import Arrival, Tap
from readers.worker import Worker

_log = structlog.get_logger("readers.slot")

# A tap whose conversation was broken off is not over for the holder: the card may come straight back.
_UNFINISHED = {"card_gone", "no_answer", None}


@dataclass(frozen=True, slots=True)
class SlotParts:
    """What a slot is made of."""

    worker: Worker
    clock: Clock
    removal_debounce_ms: int


class ReaderSlot:
    """The taps of one reader, never two at a time, in a task of its own so that readers do not delay each other."""

    def __init__(
        self,
        reader: str,
        parts: SlotParts,
        *,
        begin_tap: Callable[["ReaderSlot", Arrival], Tap | None],
        tap_ended: Callable[["ReaderSlot", Tap], None],
        card_left: Callable[[str], None],
    ) -> None:
        self.reader = reader
        self.worker = parts.worker
        self.present = False
        self.usable = True
        self.found_atr: bytes | None = None
        self.last_good_tap_ms: int | None = None
        self._begin_tap = begin_tap
        self._tap_ended = tap_ended
        self._told_left = card_left
        self._clock = parts.clock
        self._debounce_us = parts.removal_debounce_ms * 1_000
        self._tap: Tap | None = None
        self._next: Arrival | None = None
        self._wake = asyncio.Event()
        self._removed_at_us: int | None = None
        self._last_outcome: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no tap runs or waits."""
        return self._tap is None and self._next is None

    def found(self, atr: bytes) -> None:
        """A card was already there; whether it counts is decided elsewhere."""
        self.present = True
        self.found_atr = atr

    def arrived(self, atr: bytes) -> None:
        """A card came; a tap begins as soon as the one before is over."""
        self.present = True
        self.found_atr = None
        now_us = self._clock.monotonic_us()
        if self._is_the_same_card(now_us):
            _log.debug("removal_debounced", reader=self.reader)
            return
        if self._tap is not None:
            self._tap.another_card_came()
        self._next = Arrival(atr=atr, at_ms=self._clock.wall_ms(), at_us=now_us)
        self._wake.set()

    def removed(self) -> None:
        """The card left."""
        self._card_left("pulled")

    def vanished(self) -> None:
        """The reader was unplugged, or its driver is gone."""
        self.usable = False
        self._card_left("reader")

    async def run(self) -> None:
        """Serve this reader until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            arrival, self._next = self._next, None
            if arrival is not None:
                await self._serve(arrival)

    async def _serve(self, arrival: Arrival) -> None:
        self._tap = tap = self._begin_tap(self, arrival)
        if tap is None:
            return
        try:
            await tap.run()
        except Exception:  # noqa: BLE001  # a defect met by one tap must not take its reader out of service
            _log.exception("tap_failed", reader=self.reader, point=tap.point)
        finally:
            self._tap = None
            self._last_outcome = tap.outcome
        if tap.outcome in {"acted", "shown"}:
            self.last_good_tap_ms = self._clock.wall_ms()
        self._tap_ended(self, tap)

    def _card_left(self, why: Gone) -> None:
        was_present, self.present = self.present, False
        self.found_atr = None
        self._removed_at_us = self._clock.monotonic_us()
        if self._tap is not None:
            self._tap.card_lost(why)
            self._next = None
        # An empty reader that is unplugged concerns nobody.
        if was_present:
            self._told_left(self.reader)

    def _is_the_same_card(self, now_us: int) -> bool:
        if self._debounce_us == 0 or self._removed_at_us is None or self._last_outcome in _UNFINISHED:
            return False
        return self.is_idle and now_us - self._removed_at_us < self._debounce_us
