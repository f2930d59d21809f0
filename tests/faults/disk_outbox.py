# SPDX-License-Identifier: EUPL-1.2
"""The outbox on a `Disk`: taps begun, finished, acknowledged, refused, asked for again, lost, over several starts."""

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

from faults.disk_driver import Driver, module_on
from faults.disk_story import Story

from cardservice.agents.messages import EventId, EventRange, TapEvent
from readers import outbox_file
from readers.outbox import Outbox, read_aside

FILE = "outbox.sqlite"
AGENT = "agent-1"
# The clock never moves: only what is stored keeps an epoch from coming again.
AT_MS = 1_760_000_000_000
CAPACITY = 30


def on_disk(driver: Driver) -> AbstractContextManager[object]:
    """Let outboxes that are opened in this context be on the driver's disk."""
    return mock.patch.object(outbox_file, "sqlite3", module_on(driver))


def open_outbox(folder: Path) -> Outbox:
    """Open the outbox in `folder` as the agent does at its start."""
    return Outbox.open(folder / FILE, AGENT, at_ms=AT_MS, capacity=CAPACITY)


def report(event: EventId) -> TapEvent:
    """Return what came of a tap."""
    return TapEvent(event=event, point="door-1", at_ms=AT_MS, outcome="shown")


class OutboxStory:
    """Plays an agent and writes down what its outbox said."""

    def __init__(self, story: Story, dice: random.Random) -> None:
        self._story = story
        self._dice = dice
        self._open: list[EventId] = []
        self._waiting: list[EventId] = []

    def live(self, deeds: int) -> None:
        """One start of the agent, `deeds` things done, and its end."""
        with on_disk(self._story.driver):
            outbox = open_outbox(self._story.disk.folder)
        self._story.tell("epoch", outbox.epoch)
        self._waiting += self._open
        self._open.clear()
        for _ in range(deeds):
            deed = self._dice.choice([self._tap] * 6 + [self._finish] * 4 + [self._answer] * 2 + [self._ask_again])
            deed(outbox)
        outbox.close()

    def _tap(self, outbox: Outbox) -> None:
        lost = outbox.depth.lost
        event = outbox.open_tap("door-1", AT_MS)
        kept = outbox.depth.lost == lost
        self._story.tell("opened", event, kept)
        if kept:
            self._open.append(event)

    def _finish(self, outbox: Outbox) -> None:
        if not self._open:
            return
        event = self._open.pop(self._dice.randrange(len(self._open)))
        assert outbox.finish(report(event))
        self._story.tell("finished", event)
        self._waiting.append(event)

    def _answer(self, outbox: Outbox) -> None:
        """The centre answers some events; seldom does it refuse one."""
        some, self._waiting = self._waiting[:4], self._waiting[4:]
        if some and self._dice.random() < 0.2:
            self._story.tell("answering", *some[:1])
            assert outbox.set_aside(some[0], "unseen_tap")
            self._story.tell("aside", some.pop(0))
        self._story.tell("answering", *some)
        assert outbox.acknowledged(some) == len(some)
        self._story.tell("answered", *some)
        outbox.remember("points", str(self._dice.randrange(10**9)))

    def _ask_again(self, outbox: Outbox) -> None:
        """The centre was restored from an older copy and lacks a few events that it had acknowledged."""
        first = self._dice.randrange(1, 30)
        wanted = EventRange(epoch=outbox.epoch, first=first, last=first + self._dice.randrange(4))
        self._story.tell("asking_again", wanted)
        outbox.again(wanted, AT_MS)
        self._story.tell("asked_again", wanted)
        self._waiting = [event.event for event in outbox.pending(10_000)]


def examine_outbox(folder: Path, story: Story, cut: int) -> None:
    """The agent starts with a new epoch, has every tap it was told of, and gives no id a second time."""
    outbox = open_outbox(folder)
    pending = {event.event: event.outcome for event in outbox.pending(10_000)}
    asides, lost = read_aside(folder / FILE)
    refused = {one.event.event for one in asides}
    given = story.by(cut, "opened")
    again = {event for event, _ in given if _is_among(event, story.by(cut, "asking_again"))}
    answering = _events(story.by(cut, "answering"))
    assert outbox.epoch > max((epoch for (epoch,) in story.by(cut, "epoch")), default=0)
    assert {event for event, was_kept in given if was_kept} - answering <= pending.keys()
    assert not (_events(story.by(cut, "answered")) - again) & (pending.keys() | refused)
    assert _events(story.by(cut, "aside")) <= refused
    assert all(pending.get(event, "shown") == "shown" for (event,) in story.by(cut, "finished"))
    for event, was_kept in given:
        is_lost = any(gap.epoch == event.epoch and gap.first <= event.sequence <= gap.last for gap in lost)
        assert is_lost is not was_kept or event in again
    assert outbox.open_tap("door-1", AT_MS) not in {event for event, _ in given}
    outbox.close()


def _events(told: Iterable[tuple[EventId, ...]]) -> set[EventId]:
    return {event for events in told for event in events}


def _is_among(event: EventId, told: Iterable[tuple[EventRange, ...]]) -> bool:
    return any(one.epoch == event.epoch and one.first <= event.sequence <= one.last for (one,) in told)
