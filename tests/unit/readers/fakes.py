# SPDX-License-Identifier: EUPL-1.2
"""Doubles for the agent's ports: a clock moved by hand, readers in memory, a door that notes what it is told."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence

from cardservice.doors.ports import OutputFault, Shown, StrikeState
from readers.ports import CardArrived, CardGone, CardRemoved, ReaderAppeared, ReaderEvent, ReaderFault, ReaderState


class FakeClock:
    """Both clocks, moved only by `advance_ms`."""

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.base_ms = 1_760_000_000_000

    def advance_ms(self, ms: int) -> None:
        self.now_us += ms * 1_000

    def monotonic_us(self) -> int:
        return self.now_us

    def wall_ms(self) -> int:
        return self.base_ms + self.now_us // 1_000


class FakeCard:
    """Answers each APDU with `answer`; remembers what it was sent and how it was let go."""

    def __init__(self, answer: Callable[[bytes], bytes] = lambda apdu: apdu + b"\x90\x00") -> None:
        self.answer = answer
        self.apdus: list[bytes] = []
        self.resets = 0
        self.connects = 0
        self.exclusive: bool | None = None


class FakeConnection:
    atr = bytes.fromhex("3b8180018080")

    def __init__(self, driver: "FakeDriver", reader: str, card: FakeCard) -> None:
        self._driver, self._reader, self._card = driver, reader, card

    def transmit(self, apdu: bytes) -> bytes:
        card = self._driver.cards.get(self._reader)
        if card is None or (card is not self._card and not self._driver.mixes_up_cards):
            raise CardGone("taken")
        card.apdus.append(apdu)
        return card.answer(apdu)

    def disconnect(self, *, reset: bool) -> None:
        self._card.resets += reset


class FakeDriver:
    """Readers in memory; cards come and go by `insert` and `remove`."""

    kind = "in_process"

    def __init__(self, *readers: str) -> None:
        self.cards: dict[str, FakeCard] = {}
        self.closed = False
        # A driver that lets an old connection talk to whatever card is in the reader now.
        self.mixes_up_cards = False
        self._events: queue.Queue[ReaderEvent | None] = queue.Queue()
        for reader in readers:
            self.tell(ReaderAppeared(reader))

    def tell(self, event: ReaderEvent) -> None:
        self._events.put(event)

    def insert(self, reader: str, card: FakeCard, *, found: bool = False) -> FakeCard:
        self.cards[reader] = card
        self.tell(CardArrived(reader, FakeConnection.atr, found=found))
        return card

    def remove(self, reader: str) -> None:
        del self.cards[reader]
        self.tell(CardRemoved(reader))

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return ()
        return () if event is None else (event,)

    def readers(self) -> Sequence[ReaderState]:
        return ()

    def connect(self, reader: str, *, exclusive: bool) -> FakeConnection:
        card = self.cards.get(reader)
        if card is None:
            raise CardGone("no card")
        card.connects += 1
        card.exclusive = exclusive
        return FakeConnection(self, reader, card)

    def close(self) -> None:
        self.closed = True
        self._events.put(None)


class BrokenDriver(FakeDriver):
    """Connecting always fails for a reason that is not the holder's."""

    def connect(self, reader: str, *, exclusive: bool) -> FakeConnection:
        raise ReaderFault(f"{reader} is in use")


class NotingDoor:
    """A `DoorOutput` that notes pulses and what it showed, and fails on demand."""

    def __init__(self) -> None:
        self.pulses: list[int] = []
        self.shows: list[Shown] = []
        self.broken: set[str] = set()
        self._shown = threading.Semaphore(0)

    def pulse(self, open_ms: int) -> None:
        if "strike" in self.broken:
            raise OutputFault("strike wire cut")
        self.pulses.append(open_ms)

    def show(self, shown: Shown) -> None:
        if "display" in self.broken:
            raise OutputFault("display dark")
        self.shows.append(shown)
        self._shown.release()

    async def next_show(self) -> Shown:
        """Wait until something more is shown, and return the latest."""
        await asyncio.to_thread(self._shown.acquire)
        return self.shows[-1]

    def state(self) -> StrikeState:
        return "locked"

    @property
    def leds(self) -> list[str]:
        return [shown.led for shown in self.shows]
