# SPDX-License-Identifier: EUPL-1.2
"""An agent whose readers are never left alone: a program that holds virtual cards to them until it is told to rest.

    python load_agent.py ORDER

ORDER is a JSON file (see `faults.load`). Says `decided` once its first tap was answered by the centre. `rest` on
standard input ends the tapping (`resting` is the answer), the end of standard input or SIGTERM ends the agent.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cardservice.demo.virtual_readers import VirtualReaders
from cardservice.doors.ports import DoorOutput, Shown, StrikeState
from cardsim.deck import load_deck
from cardsim.faults import SlowCard
from integrations.simulated_io import build
from readers import logs
from readers.agent import Agent, AgentTimes
from readers.channel import ChannelTimes
from readers.ports import OutputObserver, ReaderEvent
from readers.settings import AgentSettings
from rig.bank import Bank, ReaderSpec
from rig.errors import SlotEmptyError

# An outage is over sooner for it than in earnest, or nine tenths of a run would be waiting.
IMPATIENT = AgentTimes(channel=ChannelTimes(retry_min_s=0.05, retry_max_s=0.3, open_timeout_s=2.0))
SLOW_S = 0.1
ANSWER_S = 6.0
PULLED_EARLY = 0.15
PAUSE_S = (0.05, 0.4)
HURRIED_PAUSE_S = (0.0, 0.02)


class WatchedDoor:
    """A simulated door that tells when it showed something."""

    def __init__(self, door: DoorOutput, told: Callable[[Shown], None]) -> None:
        self._door = door
        self._told = told

    def pulse(self, open_ms: int) -> None:
        self._door.pulse(open_ms)

    def show(self, shown: Shown) -> None:
        self._door.show(shown)
        self._told(shown)

    def state(self) -> StrikeState:
        return self._door.state()


class AnnouncedReaders(VirtualReaders):
    """Tells once the agent knows of its readers: a card that was there before is one it found."""

    def __init__(self, bank: Bank) -> None:
        super().__init__(bank)
        self.announced = threading.Event()

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        events = super().wait(timeout_s)
        self.announced.set()
        return events


class Hand:
    """Holds one card after the other to one reader."""

    def __init__(
        self, bank: Bank, reader: str, cards: list[str], dice: random.Random, pause_s: tuple[float, float]
    ) -> None:
        self._bank = bank
        self._reader = reader
        self._cards = cards
        self._dice = dice
        self._pause_s = pause_s
        self.answered = asyncio.Event()

    async def tap(self) -> None:
        """Hold a card until the reader shows something, or, now and then, not that long."""
        self.answered.clear()
        self._bank.insert(self._dice.choice(self._cards), self._reader)
        early = self._dice.random() < PULLED_EARLY
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._dice.uniform(0, 0.1) if early else ANSWER_S):
                await self.answered.wait()
        # One kind of card leaves by itself.
        with contextlib.suppress(SlotEmptyError):
            self._bank.eject(self._reader)
        await asyncio.sleep(self._dice.uniform(*self._pause_s))


class Load:
    """One agent and the hands at its readers."""

    def __init__(self, order: dict[str, Any]) -> None:
        hands, dice = order["hands"], random.Random(order["seed"])
        deck = load_deck(Path(order["deck"]))
        cards = {
            name: SlowCard(deck[name], SLOW_S) if hand["slow"] else deck[name]
            for hand in hands
            for name in hand["cards"]
        }
        bank = Bank([ReaderSpec(hand["reader"]) for hand in hands], cards)
        self._hurried = order["hurried"]
        pause_s = HURRIED_PAUSE_S if self._hurried else PAUSE_S
        self._hands = {
            hand["point"]: Hand(bank, hand["reader"], hand["cards"], random.Random(dice.random()), pause_s)
            for hand in hands
        }
        self._readers = AnnouncedReaders(bank)
        self._agent = Agent(AgentSettings(**order["settings"]), self._readers, self._door, times=IMPATIENT)
        self._resting = False
        self._decided = False

    async def run(self) -> None:
        """Serve and tap until the end."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._agent.request_stop)
        loop.add_reader(0, self._told)
        tapping = asyncio.create_task(self._tap())
        tapping.add_done_callback(self._tapped)
        await self._agent.run()
        loop.remove_reader(0)
        tapping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tapping

    async def _tap(self) -> None:
        # A card held to a reader before the agent knows its points would only be asked for again. A gauge calls nobody.
        while not self._may_begin():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.gather(*(self._keep_tapping(hand) for hand in self._hands.values()))
        say("resting")

    def _may_begin(self) -> bool:
        # Hurried hands wait for nobody, not even for a centre; the points are known from an earlier start.
        if self._hurried:
            return self._readers.announced.is_set()
        return bool(self._agent.metrics.registry.get_sample_value("cardservice_agent_connected"))

    def _tapped(self, tapping: asyncio.Task[None]) -> None:
        if not tapping.cancelled() and tapping.exception() is not None:
            self._agent.request_stop()

    async def _keep_tapping(self, hand: Hand) -> None:
        while not self._resting:
            await hand.tap()

    def _told(self) -> None:
        if os.read(0, 100):
            self._resting = True
        else:
            self._agent.request_stop()

    def _door(self, point: str, observer: OutputObserver) -> WatchedDoor:
        return WatchedDoor(build(point, observer), lambda shown: self._shown(point, shown))

    def _shown(self, point: str, shown: Shown) -> None:
        self._hands[point].answered.set()
        if shown.led in {"green", "red"} and not self._decided:
            self._decided = True
            say("decided")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    logs.configure("json", "info")
    order = json.loads(Path(sys.argv[1]).read_text())

    async def run() -> None:
        await Load(order).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
