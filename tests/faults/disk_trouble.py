# SPDX-License-Identifier: EUPL-1.2
"""Work on a `Disk` that is full or broken for one operation or for long: who is told what, and what is there after."""

import asyncio
import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

from faults.disk_driver import engine_on
from faults.disk_outbox import on_disk, open_outbox, report
from faults.disk_record import RecordSide, plain_engine
from faults.disk_story import Story
from support.waiting import wait_until

from cardservice.agents.messages import DecisionMessage, EventAck, EventId, TapEvent
from cardservice.errors import DatabaseUnavailable
from readers.errors import OutboxFault
from readers.outbox import Outbox

CROWDS = 5


class TroubledRecord:
    """The record store's side, crowd after crowd, on a disk that fails; counts what was refused."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.refused = 0
        self._number = 0
        self._unsent: list[TapEvent] = []
        engine = plain_engine(story.disk.folder)
        engine_on(engine, story.driver)
        self.side = RecordSide(engine)

    async def crowds(self) -> None:
        """Some entries, a tap and its event, all at once, several times."""
        for _ in range(CROWDS):
            await self.crowd()

    async def crowd(self) -> None:
        """Submit some work; whatever fails must say so as the product's own error."""
        await asyncio.gather(*(self._append() for _ in range(3)), self._tap())
        unsent, self._unsent = self._unsent, []
        await asyncio.gather(*map(self._upload, unsent))

    def recovers(self) -> None:
        """Wait for the recorder to find out by itself that it can write again."""
        wait_until(lambda: self.side.recorder.trouble is None)

    async def _append(self) -> None:
        self._number += 1
        future = self.side.append(self._number)
        future.add_done_callback(self._place)
        try:
            await asyncio.wrap_future(future)
        except DatabaseUnavailable:
            self.refused += 1

    def _place(self, done: Any) -> None:
        if done.exception() is None:
            place = done.result()
            self.story.tell("place", place.stream, place.epoch, place.sequence)

    async def _tap(self) -> None:
        decision = await self.side.tap()
        self._decided(decision)
        self._unsent.append(self.side.event(decision))

    def _decided(self, decision: DecisionMessage) -> None:
        if decision.permit:
            self.story.tell("decision", decision.decision)
            return
        assert decision.reason == "overloaded"
        assert decision.open_ms == 0
        self.refused += 1

    async def _upload(self, event: TapEvent) -> None:
        try:
            assert isinstance(await self.side.upload(event), EventAck)
        except DatabaseUnavailable:
            self.refused += 1
            self._unsent.append(event)
        else:
            self.story.tell("event", event.event.agent, event.event.epoch, event.event.sequence)


class TroubledOutbox:
    """An agent that goes on with its outbox whatever the disk does; keeps what is expected to be in it."""

    def __init__(self, story: Story, dice: random.Random) -> None:
        self.story = story
        self.refused = 0
        self._dice = dice
        self._open: list[EventId] = []
        self._waiting: list[EventId] = []
        self._given: list[EventId] = []
        self._outbox: Outbox | None = None

    def goes_on(self, deeds: int) -> None:
        """Start if it does not run, then tap, finish and forget."""
        if self._outbox is None and not self._tried(self._start):
            return
        for _ in range(deeds):
            self._tried(self._tap)
            self._tried(self._finish)
            if self._dice.random() < 0.5:
                self._tried(self._forget)

    def catches_up(self) -> None:
        """The disk works again: whatever could not be done is done at the first try, without a restart."""
        before = self.refused
        self.goes_on(2)
        while self._open:
            self._finish()
        self._forget()
        assert self.refused == before

    def ends(self) -> None:
        """Stop, and compare what the next start finds with what was said."""
        if self._outbox is not None:
            self._outbox.close()
        numbers: dict[int, list[int]] = {}
        for event in self._given:
            numbers.setdefault(event.epoch, []).append(event.sequence)
        # Neither twice nor left out: a tap that was not stored has not used its number.
        assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in numbers.values())
        with closing(open_outbox(self.story.disk.folder)) as after:
            found = {event.event: event.outcome for event in after.pending(10_000)}
            assert found == dict.fromkeys(self._waiting, "shown")
            assert after.abandoned == 0
            assert after.open_tap("door-1", 0) not in self._given

    def _tried(self, deed: Callable[[], None]) -> bool:
        try:
            deed()
        except OutboxFault:
            self.refused += 1
            return False
        return True

    def _start(self) -> None:
        with on_disk(self.story.driver):
            self._outbox = open_outbox(self.story.disk.folder)
        self.story.tell("epoch", self._outbox.epoch)

    def _tap(self) -> None:
        assert self._outbox is not None
        event = self._outbox.open_tap("door-1", 0)
        self._given.append(event)
        self.story.tell("opened", event, True)
        self._open.append(event)

    def _finish(self) -> None:
        assert self._outbox is not None
        if self._open:
            assert self._outbox.finish(report(self._open[0]))
            self.story.tell("finished", self._open[0])
            self._waiting.append(self._open.pop(0))

    def _forget(self) -> None:
        assert self._outbox is not None
        some = self._waiting[:2]
        self.story.tell("answering", *some)
        assert self._outbox.acknowledged(some) == len(some)
        self.story.tell("answered", *some)
        del self._waiting[:2]
