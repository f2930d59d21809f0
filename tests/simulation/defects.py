# SPDX-License-Identifier: EUPL-1.2
"""Planted defects: each breaks one promise of the product on purpose, to see that the worlds notice."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from cardservice.access import city as compiler
from cardservice.access.service import City
from cardservice.agents.events import EventDesk, Sender
from cardservice.agents.hub import AgentHub
from cardservice.agents.messages import EventAck, EventId, EventRefused, TapEvent
from cardservice.agents.taps import TapDesk
from cardservice.clock import UNKNOWN_AGE_MS
from cardservice.people.service import DirectoryCopy
from readers import tap
from readers.channel import Channel
from readers.outbox import Outbox
from readers.tap import Tap
from readers.uploads import Uploads

Defect = Callable[[], Any]
DEFECTS: Final[dict[str, tuple[Defect, str]]] = {}


def defect(name: str, noticed_by: str) -> Callable[[Callable[[], Iterator[None]]], Defect]:
    """Name a defect, and what the worlds say of it (a regular expression)."""

    def keep(plant: Callable[[], Iterator[None]]) -> Defect:
        DEFECTS[name] = contextmanager(plant), noticed_by
        return DEFECTS[name][0]

    return keep


@contextmanager
def changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Put `value` in the place of an attribute while the context lasts."""
    before = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@defect("the centre acknowledges before it has stored", "not on the centre's disk|never came to the centre")
def _acknowledges_early() -> Iterator[None]:
    take = EventDesk.take
    under_way: set[asyncio.Task[Any]] = set()

    async def hasty(self: EventDesk, sender: Sender, uploaded: TapEvent) -> EventAck | EventRefused:
        under_way.add(asyncio.create_task(take(self, sender, uploaded)))
        return EventAck(event=uploaded.event)

    with changed(EventDesk, "take", hasty):
        yield


@defect("an agent forgets what it has sent before the acknowledgement", "not on the centre's disk")
def _forgets_early() -> Iterator[None]:
    send = Uploads._send_pending

    async def forgetful(self: Uploads) -> None:
        await send(self)
        await self._outbox.acknowledged(tuple(self._sent_at_us))

    with changed(Uploads, "_send_pending", forgetful):
        yield


@defect("an agent does not store a tap before it reports it", "never came to the centre")
def _stores_nothing() -> Iterator[None]:
    def careless(self: Outbox, point: str, at_ms: int) -> EventId:
        self._sequence += 1
        return EventId(agent=self._agent, epoch=self.epoch, sequence=self._sequence)

    with changed(Outbox, "open_tap", careless):
        yield


@defect("the centre believes that its copy of the directory is always fresh", "the directory was last heard")
def _never_stale() -> Iterator[None]:
    with changed(DirectoryCopy, "age_ms", lambda self: 0):
        yield


@defect("the centre believes that its copy of the directory is always too old", "was not let in|does not open")
def _always_stale() -> Iterator[None]:
    with changed(DirectoryCopy, "age_ms", lambda self: UNKNOWN_AGE_MS):
        yield


@defect("the centre does not look at whether the holder is disabled", "the holder had no right")
def _forgives() -> Iterator[None]:
    refusal = compiler._refusal

    class Enabled:
        def __init__(self, row: Any) -> None:
            self._row = row
            self.enabled = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._row, name)

    with changed(compiler, "_refusal", lambda row: refusal(Enabled(row))):
        yield


@defect(
    "the centre reads the change log and compiles nothing of it",
    "the card was locked|the holder had no right|was not let in",
)
def _follows_nothing() -> Iterator[None]:
    applied = City._applied

    def blind(self: City, connection: Any, waiting: Sequence[Any], kinds: frozenset[Any]) -> Any:
        # A new day is not a change: without it schedules would be worked out for ever.
        seen = kinds if not waiting else frozenset({"agent"})
        return applied(self, connection, [replace(change, kind="agent") for change in waiting], seen)

    with changed(City, "_applied", blind):
        yield


@defect("an agent acts on a decision that came too late", "ms too late")
def _acts_late() -> Iterator[None]:
    async def patient(self: Tap) -> Any:
        self._answer_by_us = 2**62
        try:
            async with asyncio.timeout(5):
                item = await self._inbox.get()
        except TimeoutError:
            raise tap._CentreSilent from None
        if item is None:
            raise tap._CentreLost
        return item[0]

    with changed(Tap, "_next_message", patient):
        yield


@defect("the centre tells a decision without writing it down", "has no line|were counted")
def _keeps_nothing() -> Iterator[None]:
    def chatty(self: TapDesk, tapped: Any, waiting: Any) -> None:
        self._deliver(tapped, tapped.decision, waiting)

    with changed(TapDesk, "_finish", chatty):
        yield


@defect("an agent connects once and never again", "is not connected after the calm|never came")
def _gives_up() -> Iterator[None]:
    async def once(self: Channel) -> None:
        try:
            await self._session()
        finally:
            await asyncio.Future()

    with changed(Channel, "run", once):
        yield


@defect("an agent does not listen when a restored centre asks for events again", "never came to the centre")
def _sends_nothing_again() -> Iterator[None]:
    with changed(Uploads, "wanted_again", lambda self, message: None):
        yield


@defect("an agent says nothing of taps that its end cut off", "never came to the centre|is not empty after the calm")
def _forgets_the_unfinished() -> Iterator[None]:
    with changed(Outbox, "_abandon_open_taps", lambda self: None):
        yield


@defect("the centre lets a locked agent stay connected", "its agent was locked")
def _keeps_the_locked() -> Iterator[None]:
    async def nothing(self: AgentHub, only: str | None = None) -> None:
        """Look away."""

    with changed(AgentHub, "cut_off_locked", nothing):
        yield
