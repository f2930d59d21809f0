# SPDX-License-Identifier: EUPL-1.2
"""The record store on a `Disk`: the real recorder and journal, taps and uploaded events, over several starts."""

import asyncio
import random
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from faults.disk_driver import engine_on
from faults.disk_story import Story
from service.chains import entry, secret
from sqlalchemy.engine import Connection, Engine
from unit.agents.desk import DOOR, ENTITLED, NOW_MS, STORE, TRUST, City, Exchange, StandingClock, desfire_card

from cardservice.agents.events import EventDesk, Sender
from cardservice.agents.messages import CardPresent, DecisionMessage, EventAck, EventId, EventRefused, TapEvent
from cardservice.agents.store import agent_event
from cardservice.agents.tap_services import TapServices
from cardservice.agents.taps import TapDesk
from cardservice.database import open_databases, require_store_writable
from cardservice.journal.rules import Place
from cardservice.journal.service import Journal, verify
from cardservice.journal.store import journal_entry
from cardservice.recorder import Recorder

FILE = "record.db"
AGENT = "rathaus"
STREAMS = ("door", "timeclock", "canteen")


class RecordSide:
    """One start of what writes the record store: recorder, journal, and the desks of taps and events."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # As the service does before it serves.
        require_store_writable(engine)
        self.journal = Journal(secret)
        self.epoch = self.journal.begin_epoch(engine, NOW_MS)
        self.recorder = Recorder(engine, (self.journal,))
        self.recorder.start()
        city = City()
        services = TapServices(
            city, city.directory, STORE, TRUST, self.recorder, self.journal, city.metrics, StandingClock()
        )
        self._taps = TapDesk(services)
        self._events = EventDesk(services)
        self._sequence = 0

    def append(self, number: int, stream: str = "door") -> "Future[Place]":
        """Submit one entry; every third one is about a person."""
        person = number % 7 if number % 3 == 0 else None
        one = entry(number, stream=stream, person=person, personal=None if person is None else {"person": person})
        return self.recorder.submit(lambda connection: self.journal.append(connection, one))

    def count(self) -> "Future[None]":
        """Submit one tap that is only counted."""

        def unit(connection: Connection) -> None:
            self.journal.count(connection, "canteen", NOW_MS, "granted")

        return self.recorder.submit(unit)

    def event_id(self) -> EventId:
        """Return the id an agent would give its next tap."""
        self._sequence += 1
        return EventId(agent=AGENT, epoch=self.epoch, sequence=self._sequence)

    async def tap(self) -> DecisionMessage:
        """Hold the entitled card to the door, whose taps are all kept."""
        present = CardPresent(event=self.event_id(), point=DOOR.code, atr="3b80", at_ms=NOW_MS)
        return await self._taps.answer(present, Exchange(desfire_card(ENTITLED)))

    def event(self, decision: DecisionMessage | None = None) -> TapEvent:
        """Return what the agent reports of a tap, or of one the centre never answered."""
        if decision is None:
            return TapEvent(event=self.event_id(), point=DOOR.code, at_ms=NOW_MS, outcome="no_answer")
        return TapEvent(
            event=decision.event,
            point=DOOR.code,
            at_ms=NOW_MS,
            outcome="acted" if decision.permit else "shown",
            decision=decision.decision,
            permit=decision.permit,
            receipt=decision.receipt,
        )

    async def upload(self, event: TapEvent) -> EventAck | EventRefused:
        """Hand an event over."""
        return await self._events.take(Sender(AGENT, 2**40), event)

    def stop(self) -> None:
        self.recorder.stop()
        self.engine.dispose()


def plain_engine(folder: Path) -> Engine:
    """The product's engine of the record store in `folder`, on the ordinary driver."""
    return open_databases(f"sqlite:///{folder}").record


class RecordStory:
    """Fills the record store and writes down what it acknowledged."""

    def __init__(self, story: Story, dice: random.Random) -> None:
        self.story = story
        self._dice = dice
        self._numbers = 0
        self.sent: list[tuple[int, TapEvent]] = []

    async def live(self, rounds: int) -> None:
        """One start of the service, `rounds` crowds of work, and its end."""
        engine = plain_engine(self.story.disk.folder)
        engine_on(engine, self.story.driver)
        side = RecordSide(engine)
        self.story.tell("epoch", side.epoch)
        for _ in range(rounds):
            await self._crowd(side)
        side.stop()

    async def _crowd(self, side: RecordSide) -> None:
        """Everything at once, so that the recorder commits in groups."""
        dice = self._dice
        futures: list[Future[Any]] = [self._append(side) for _ in range(dice.choice((1, 2, 5, 20)))]
        futures += [side.count() for _ in range(dice.randrange(3))]
        taps = [self._tap_and_report(side) for _ in range(dice.randrange(3))]
        uploads = [self._upload(side, side.event()) for _ in range(dice.randrange(4))]
        again = [self._upload(side, event) for _, event in dice.sample(self.sent, min(2, len(self.sent)))]
        await asyncio.gather(*map(asyncio.wrap_future, futures), *taps, *uploads, *again)

    def _append(self, side: RecordSide) -> "Future[Place]":
        self._numbers += 1
        future = side.append(self._numbers, self._dice.choice(STREAMS))
        # In the recorder's thread, before its next transaction begins.
        future.add_done_callback(lambda done: self.story.tell("place", *_key(done.result())))
        return future

    async def _tap_and_report(self, side: RecordSide) -> None:
        decision = await side.tap()
        assert decision.permit, decision.reason
        self.story.tell("decision", decision.decision)
        await self._upload(side, side.event(decision))

    async def _upload(self, side: RecordSide, event: TapEvent) -> None:
        self.sent.append((len(self.story.disk.steps), event))
        assert isinstance(await side.upload(event), EventAck)
        self.story.tell("event", *_name(event.event))

    def sent_by(self, cut: int) -> dict[tuple[str, int, int], TapEvent]:
        """The events that agents had sent by the step `cut`."""
        return {_name(event.event): event for at, event in self.sent if at <= cut}


def _key(place: Place) -> tuple[str, int, int]:
    return (place.stream, place.epoch, place.sequence)


def _name(event: EventId) -> tuple[str, int, int]:
    return (event.agent, event.epoch, event.sequence)


def missing(engine: Engine, places: Iterable[Any], decisions: Iterable[Any], events: Iterable[Any]) -> list[Any]:
    """Return what should be in the record store and is not."""
    table = journal_entry
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table.c.stream, table.c.epoch, table.c.sequence, table.c.payload)).all()
        known = {tuple(row) for row in connection.execute(sa.select(*agent_event.primary_key))}
    kept = {tuple(row[:3]) for row in rows}
    payloads = "\n".join(row.payload for row in rows)
    lost = [place for place in places if place not in kept]
    lost += [decision for (decision,) in decisions if f'"{decision}"' not in payloads]
    return lost + [event for event in events if event not in known]


def examine_record(folder: Path, story: Story, cut: int) -> None:
    """Everything acknowledged is there, every chain verifies, and a new writer begins an epoch nobody was told."""
    engine = plain_engine(folder)
    assert missing(engine, *(story.by(cut, word) for word in ("place", "decision", "event"))) == []
    reports = verify(engine)
    told = {epoch for (epoch,) in story.by(cut, "epoch")}
    assert Journal(secret).begin_epoch(engine, NOW_MS) > max(told | {report.epoch for report in reports}, default=0)
    engine.dispose()


async def go_on_after(folder: Path, events: dict[tuple[str, int, int], TapEvent]) -> None:
    """Start the service on what a power cut left: agents send all they have again, and each event is there once."""
    side = RecordSide(plain_engine(folder))
    places = [await asyncio.wrap_future(side.append(number)) for number in range(3)]
    assert [(place.epoch, place.sequence) for place in places] == [(side.epoch, number) for number in (1, 2, 3)]
    for answer in await asyncio.gather(*map(side.upload, events.values())):
        assert isinstance(answer, EventAck)
    with side.engine.connect() as connection:
        assert {tuple(row) for row in connection.execute(sa.select(*agent_event.primary_key))} == set(events)
    verify(side.engine)
    side.stop()
