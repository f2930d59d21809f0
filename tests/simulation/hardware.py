# SPDX-License-Identifier: EUPL-1.2
"""What hangs at an agent's machine: readers with cards that people hold to them, and doors that note each pulse."""

import contextvars
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from simulation.loop import current_process
from simulation.machine import Machine

from cardservice.doors.ports import OutputFault, Shown, StrikeState
from cardsim.interfaces import Card
from integrations.simulated_io import SimulatedDoor
from readers.errors import CardGone, ReaderFault
from readers.ports import CardArrived, CardRemoved, DriverUp, ReaderAppeared, ReaderEvent, ReaderState, ReaderVanished

FAR_AWAY_US = 2**60
ATR = bytes.fromhex("3b8180018080")


@dataclass(eq=False)
class Held:
    """One card at one reader, from when it came until when it is taken away."""

    card: Card
    until_us: int = FAR_AWAY_US


class Readers:
    """The readers of one machine: they stay when the agent's program dies, a new program finds what is in them."""

    def __init__(self, machine: Machine, names: Sequence[str]) -> None:
        self.machine = machine
        self.names = tuple(names)
        self.held: dict[str, Held] = {}
        # Which card answered last, by reader.
        self.answered: dict[str, str] = {}
        # Readers that are unplugged, doors whose strike does not move, and when that last changed.
        self.unplugged: set[str] = set()
        self.stuck: set[str] = set()
        self.touched_us = -FAR_AWAY_US
        self.driver: Driver | None = None

    def insert(self, reader: str, held: Held) -> None:
        """Somebody holds a card to `reader`."""
        self.held[reader] = held
        self._tell(reader, CardArrived(reader, ATR))

    def remove(self, reader: str) -> None:
        """The card is taken away."""
        del self.held[reader]
        self._tell(reader, CardRemoved(reader))

    def unplug(self, reader: str) -> None:
        """Somebody pulls the reader's cable."""
        self.touched_us = self.machine.loop.now_us
        if reader not in self.unplugged:
            self._tell(reader, ReaderVanished(reader))
            self.unplugged.add(reader)

    def plug_in(self, reader: str) -> None:
        """The reader is back, perhaps with a card in it."""
        self.touched_us = self.machine.loop.now_us
        if reader in self.unplugged:
            self.unplugged.remove(reader)
            self._tell(reader, ReaderAppeared(reader))
            if reader in self.held:
                self._tell(reader, CardArrived(reader, ATR, found=True))

    def jam(self, point: str, *, stuck: bool) -> None:
        """The strike of a door does not move any more, or is mended."""
        self.touched_us = self.machine.loop.now_us
        (self.stuck.add if stuck else self.stuck.discard)(point)

    def _tell(self, reader: str, event: ReaderEvent) -> None:
        if self.driver is not None and reader not in self.unplugged:
            self.driver.tell(event)

    def open_driver(self) -> "Driver":
        """Return the driver of a program that has just started."""
        self.driver = Driver(self)
        return self.driver


class Driver:
    """A `ReaderDriver`; `wait` never waits, since its thread is only let go when there is news."""

    kind: Literal["pcsc", "in_process"] = "pcsc"

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._process = current_process()
        self._events: list[ReaderEvent] = [DriverUp()]
        for name in readers.names:
            if name in readers.unplugged:
                continue
            self._events.append(ReaderAppeared(name))
            if name in readers.held:
                self._events.append(CardArrived(name, ATR, found=True))
        self._waiter: tuple[Callable[[], None], contextvars.Context] | None = None

    def when_news(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` as soon as `wait` has something to return."""
        if self._events:
            go_on()
        else:
            self._waiter = go_on, contextvars.copy_context()

    def tell(self, event: ReaderEvent) -> None:
        """Something happened at a reader."""
        self._events.append(event)
        if self._waiter is not None:
            (go_on, context), self._waiter = self._waiter, None
            # pcscd looks at its readers every now and then.
            self._readers.machine.loop.call_later(
                self._readers.machine.dice.uniform(0.002, 0.04), go_on, context=context
            )

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        events, self._events = self._events, []
        return events

    def readers(self) -> Sequence[ReaderState]:
        return [ReaderState(name, name in self._readers.held) for name in self._readers.names]

    def connect(self, reader: str, *, exclusive: bool) -> "Connection":
        self._readers.machine.spend(int(self._readers.machine.dice.uniform(8_000, 30_000)))
        if reader in self._readers.unplugged:
            raise ReaderFault("no such reader")
        held = self._readers.held.get(reader)
        if held is None or held.until_us <= self._readers.machine.monotonic_us():
            raise CardGone("there is no card")
        return Connection(self, self._readers, reader, held)

    def close(self) -> None:
        if self._readers.driver is self:
            self._readers.driver = None

    @property
    def is_dead(self) -> bool:
        """Whether the program that opened it has died."""
        return self._process is not None and not self._process.alive


class Connection:
    """One powered card."""

    def __init__(self, driver: Driver, readers: Readers, reader: str, held: Held) -> None:
        self._driver = driver
        self._readers = readers
        self._reader = reader
        self._held = held
        self.atr = held.card.power_on("contactless")

    def transmit(self, apdu: bytes) -> bytes:
        machine = self._readers.machine
        machine.spend(int(machine.dice.uniform(3_000, 14_000)))
        if self._driver.is_dead or self._reader in self._readers.unplugged:
            raise ReaderFault("the reader does not answer")
        here = self._readers.held.get(self._reader) is self._held
        if not here or self._held.until_us <= machine.monotonic_us():
            raise CardGone("the card was taken away")
        self._readers.answered[self._reader] = self._held.card.card_id
        return self._held.card.transmit(apdu)

    def disconnect(self, *, reset: bool) -> None:
        if self._readers.held.get(self._reader) is self._held and not self._driver.is_dead:
            self._held.card.power_off()


class Door(SimulatedDoor):
    """A door whose pulses are told to the world; its own timer is the world's time."""

    def __init__(
        self,
        readers: Readers,
        point: str,
        observer: Callable[[str, StrikeState, Shown], None],
        pulsed: Callable[[str], None],
    ) -> None:
        super().__init__(point, observer, clock_us=readers.machine.monotonic_us, own_timer=False)
        self._readers = readers
        self._process = current_process()
        self._name = point
        self._pulsed = pulsed

    def pulse(self, open_ms: int) -> None:
        if self._process is not None and not self._process.alive:
            return
        if self._name in self._readers.stuck:
            raise OutputFault("the strike does not move")
        super().pulse(open_ms)
        self._pulsed(self._name)
        self._readers.machine.loop.call_later(open_ms / 1_000 + 0.001, self.advance)
