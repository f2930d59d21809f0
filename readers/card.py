# SPDX-License-Identifier: EUPL-1.2
"""The card's side of a tap: everything that blocks, in the reader's own thread, bounded by a timeout."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cardservice.chip.apdu import transmit_whole
from readers.clock import Clock
from readers.errors import CardGone, ReaderError, ReaderFault, WorkerBusy
from readers.ports import CardConnection, ReaderDriver
from readers.worker import Worker

Gone = Literal["pulled", "reader", "timeout"]

# ISO/IEC 7816-4: a command has at least CLA INS P1 P2. One byte alone would be a control frame to some drivers.
MIN_APDU_BYTES = 4
MIN_RESPONSE_BYTES = 2
# 65,536 bytes of data and the status word.
MAX_RESPONSE_BYTES = 65_538
# All answers of one batch together: their hexadecimal text has to fit into one frame of the wire.
MAX_BATCH_RESPONSE_BYTES = 120_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What the card answered to one batch; `gone` says why answers are missing."""

    responses: tuple[bytes, ...]
    took_us: int
    gone: Gone | None


@dataclass(slots=True)
class _Exchange:
    responses: list[bytes] = field(default_factory=list)
    took_us: int = 0


class CardSide:
    """One card for the length of one tap."""

    def __init__(self, driver: ReaderDriver, worker: Worker, clock: Clock, reader: str, *, exclusive: bool) -> None:
        self._driver = driver
        self._worker = worker
        self._clock = clock
        self._reader = reader
        self._exclusive = exclusive
        self._connection: CardConnection | None = None
        self._failed: ReaderError | None = None
        self._released = False
        self._gone: Gone | None = None
        self.connect_us = 0

    @property
    def gone(self) -> Gone | None:
        """Why the card cannot be used any more, as far as is known."""
        return self._gone

    def connect(self) -> None:
        """Begin to power up the card; what fails shows in the first `transmit`."""
        try:
            self._worker.submit(self._connect)
        except WorkerBusy:
            self._gone = "reader"

    def lost(self, why: Gone) -> None:
        """The reader reported that the card left: nothing more is sent to whatever is in the reader now."""
        self._gone = self._gone or why

    async def transmit(self, apdus: Sequence[bytes], *, timeout_s: float) -> Batch:
        """Transmit `apdus` in order and return the answers, fewer if the card goes or `timeout_s` seconds are over."""
        exchange = _Exchange()
        if self._gone is None:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._worker.call(lambda: self._transmit(apdus, exchange))
            except CardGone:
                self.lost("pulled")
            except (ReaderFault, WorkerBusy):
                self.lost("reader")
            except TimeoutError:
                self.lost("timeout")
        # A copy: after a timeout the thread may still be about to append.
        return Batch(tuple(exchange.responses[: len(apdus)]), exchange.took_us, self._gone)

    def release(self) -> None:
        """Disconnect and reset the card as soon as its thread is free; returns at once."""
        self._released = True
        # If too much waits, what runs now disconnects at its end.
        with contextlib.suppress(WorkerBusy):
            self._worker.submit(self._disconnect)

    def _connect(self) -> None:
        if self._released:
            return
        began_us = self._clock.monotonic_us()
        try:
            self._connection = self._driver.connect(self._reader, exclusive=self._exclusive)
        except ReaderError as error:
            self._failed = error
        self.connect_us = self._clock.monotonic_us() - began_us
        self._disconnect_if_released()

    def _transmit(self, apdus: Sequence[bytes], exchange: _Exchange) -> None:
        if self._failed is not None:
            raise self._failed
        began_us = self._clock.monotonic_us()
        total = 0
        try:
            for apdu in apdus:
                response = transmit_whole(apdu, self._one)
                total += len(response)
                if len(response) > MAX_RESPONSE_BYTES or total > MAX_BATCH_RESPONSE_BYTES:
                    raise ReaderFault(f"the card answered {len(response)} bytes at once, {total} to one batch")
                exchange.responses.append(response)
        finally:
            exchange.took_us = self._clock.monotonic_us() - began_us
            self._disconnect_if_released()

    def _one(self, apdu: bytes) -> bytes:
        """Transmit one command; the tap may have ended since the one before."""
        if self._connection is None:
            raise CardGone("the card was never connected")
        if self._released or self._gone is not None:
            raise CardGone("the tap is over")
        response = self._connection.transmit(apdu)
        if len(response) < MIN_RESPONSE_BYTES:
            raise CardGone("the answer has no status word")
        return response

    def _disconnect_if_released(self) -> None:
        if self._released:
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect(reset=True)
