# SPDX-License-Identifier: EUPL-1.2
"""kill -9 of the service while taps book: every booking a terminal was told about is there, none is there twice."""

import asyncio
import itertools
import json
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from faults.load import LoadedCity, loaded_city, ready
from support.scripted_agent import CardInHand, ScriptedAgent
from support.waiting import wait_until
from websockets.exceptions import WebSocketException

from cardservice.access.rules import Use
from cardservice.access.setup import AccessSetup, PointClassSetup, PointSetup, RuleSetup, apply
from cardservice.agents.messages import CardPresent, PlaceAnswer
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from cardservice.timeclock.store import timeclock_booking, timeclock_unbooked
from cardsim.interfaces import Card

# A day in six taps: two of them book nothing, and that must stay so too.
CHOICES = ("in", "in", "break_start", "break_end", "lunch", "out")
CARDS = ("anna", "mehmet", "sabine")
# No faster than an agent may report cards.
PAUSE_S = (0.04, 0.12)
RETRY_S = 0.05
END_LIMIT_S = 60.0


@dataclass
class Terminal:
    """One clock and one person who taps at it; a tap without an answer is presented again until it has one."""

    agent: ScriptedAgent
    card: Card
    dice: random.Random
    told: dict[str, PlaceAnswer] = field(default_factory=dict)
    repeated: int = 0

    @property
    def point(self) -> str:
        return f"{self.agent.name}.uhr"

    async def tap_until(self, stopping: threading.Event) -> None:
        for choice in itertools.cycle(CHOICES):
            if stopping.is_set():
                break
            present = self.agent.present(self.point, choice=choice)
            event = present.event
            self.told[f"{event.agent}/{event.epoch}/{event.sequence}"] = await self._answered(present)
            await asyncio.sleep(self.dice.uniform(*PAUSE_S))
        await self.agent.socket.close()

    async def _answered(self, present: CardPresent) -> PlaceAnswer:
        """Present the card until the centre says what became of it."""
        while True:
            try:
                await self.agent.send(present)
                decision = await self.agent.converse(CardInHand(self.card))
                if decision.answer is not None:
                    return decision.answer
                await self.agent.socket.close()
            except (OSError, WebSocketException):
                # Also when nothing was said in time.
                await asyncio.sleep(RETRY_S)
            self.repeated += 1
            await self.connected()

    async def connected(self) -> None:
        """Return once the centre has let the agent in."""
        while True:
            try:
                await self.agent.join()
            except (OSError, WebSocketException):
                await asyncio.sleep(RETRY_S)
            else:
                return


class Terminals:
    """All terminals, in a thread with a loop of its own."""

    def __init__(self, terminals: list[Terminal]) -> None:
        self.terminals = terminals
        self._stopping = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="terminals", daemon=True)

    async def _run(self) -> None:
        every = asyncio.gather(*(self._serve(terminal) for terminal in self.terminals))
        while not every.done() and not self._given_up.is_set():
            await asyncio.wait({every}, timeout=RETRY_S)
        if not every.done():
            every.cancel()
        with suppress(asyncio.CancelledError):
            await every

    async def _serve(self, terminal: Terminal) -> None:
        await terminal.connected()
        await terminal.tap_until(self._stopping)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Tap no more; return when every tap has its answer."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(END_LIMIT_S)

    def give_up(self) -> None:
        """End whatever is still without an answer: the service will not come back."""
        self._given_up.set()
        self.stop()

    @property
    def at_rest(self) -> bool:
        return not self._thread.is_alive()

    def all_go_on(self) -> None:
        """Return once every terminal got an answer from now on."""
        before = [len(terminal.told) for terminal in self.terminals]
        wait_until(lambda: all(len(t.told) > b for t, b in zip(self.terminals, before, strict=True)))


@pytest.fixture
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedCity]:
    with loaded_city(tmp_path_factory.mktemp("clocks")) as made:
        yield made


@pytest.fixture
def terminals(city: LoadedCity, dice: random.Random) -> list[Terminal]:
    """A clock for each card, at an agent of its own, and the right to use it."""
    deck = city.files.cards()
    made = [
        Terminal(ScriptedAgent("", card, city.files.enrol(card)), deck[card], random.Random(dice.random()))
        for card in CARDS
    ]
    setup = AccessSetup(
        point_classes=[
            PointClassSetup("uhr", "Uhr", journal_mode="full", answer_budget_ms=5_000, tap_budget_ms=20_000)
        ],
        points=[PointSetup(one.point, "Uhr", "rathaus", "uhr", one.agent.name, "Clock", Use.TIMECLOCK) for one in made],
        rules=[RuleSetup(group="Rathaus", use=Use.TIMECLOCK)],
    )
    with city.files.stores() as databases:
        apply(databases.state, 1, setup)
    return made


def test_a_killed_service_loses_no_booking_and_doubles_none(city, terminals, scale, dice, report):
    """What a terminal was told is what is stored, tap by tap: booked once, or not booked and never booked later."""
    cycles, longest_s = scale.of(3, 100), scale.of(0.8, 2.0)
    load = Terminals(terminals)
    service = city.serve()
    try:
        ready(service)
        for terminal in terminals:
            terminal.agent.url = service.agents_url
        load.start()
        for _ in range(cycles):
            load.all_go_on()
            city.kill(service, dice, longest_s)
            service = city.serve()
        load.all_go_on()
        load.stop()
        assert load.at_rest
        assert service.stop() == 0
    finally:
        service.stop(signal.SIGKILL)
        load.give_up()
    told = {event: answer for terminal in terminals for event, answer in terminal.told.items()}
    booked = {row.event: row for row in city.files.rows(timeclock_booking)}
    refused = {row.event: row.code for row in city.files.rows(timeclock_unbooked)}
    report(
        "kill -9 of the service while taps book",
        cycles=cycles,
        told=len(told),
        booked=len(booked),
        presented_again=sum(terminal.repeated for terminal in terminals),
        lost=len(told.keys() - booked.keys() - refused.keys()),
        double=len(booked.keys() & refused.keys()),
    )
    assert {event for event, answer in told.items() if answer.done} == booked.keys()
    assert {event: answer.code for event, answer in told.items() if not answer.done} == refused
    assert all(told[event].facts["at_ms"] == row.at_ms for event, row in booked.items())
    assert sum(terminal.repeated for terminal in terminals) > 0
    for terminal in terminals:
        mine = sorted((row for row in booked.values() if row.point == terminal.point), key=lambda row: row.number)
        expected = itertools.cycle(("in", "break_start", "break_end", "out"))
        assert [row.kind for row in mine] == [kind for kind, _ in zip(expected, mine, strict=False)]
    assert written_with_its_line(city) >= booked.keys()


def written_with_its_line(city: LoadedCity) -> set[str]:
    """The events whose answer stands in the journal, whose chains verify."""
    with city.files.stores() as databases:
        assert verify(databases.record)
    payloads = [json.loads(row.payload) for row in city.files.rows(journal_entry) if row.stream == "timeclock"]
    return {payload["event"] for payload in payloads if "answer" in payload}
