# SPDX-License-Identifier: EUPL-1.2
"""Terminals and the server of their pages, as an agent runs them: in the test's own event loop, or in a thread."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from support.waiting import LIMIT_S, wait_until
from unit.readers.fakes import NotingDoor

from cardservice.agents.messages import DecisionMessage, EventId, PlaceAnswer, PointSetup, Prompt, Sentence
from cardservice.doors.ports import Shown
from readers.clock import SystemClock
from readers.kiosk.point import ScreenPoint
from readers.kiosk.server import KioskServer
from readers.kiosk.terminals import Terminals

CLOCK = PointSetup(point="clock", reader="A", use="timeclock", name="Zeiterfassung Rathaus, Eingang Nord")
TILL = PointSetup(point="till", reader="B", use="canteen", name="Kantine, Kasse 1")
PRINTER = PointSetup(point="printer", reader="C", use="printer", name="Drucker 2. OG")
DOOR = PointSetup(point="door", reader="D", use="door", name="Serverraum", options={"pin_pad": True})
SETUPS = {setup.point: setup for setup in (CLOCK, TILL, PRINTER, DOOR)}
ASK = Sentence(de="Bitte Karte vorhalten", en="Please present your card")


class Kiosk:
    """A terminal of each use and the server of their pages, in the event loop that runs."""

    def __init__(self) -> None:
        self.terminals = Terminals(SystemClock())
        self.points: dict[str, ScreenPoint] = {}
        for setup in SETUPS.values():
            self.add(setup)
        self.port = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, setup: PointSetup) -> None:
        """Set another terminal up, or one anew; the centre is there."""
        self.points[setup.point] = ScreenPoint(setup, NotingDoor(), kiosk=self.terminals)
        self.points[setup.point].centre(connected=True)

    async def start(self) -> None:
        """Serve the pages; where they were before, if they were."""
        server = KioskServer(self.terminals, "127.0.0.1", self.port, first_pause_s=0.05)
        self._task = asyncio.create_task(server.run())
        url = await asyncio.to_thread(wait_until, lambda: server.url)
        self.port = int(url.rstrip("/").rpartition(":")[2])

    async def stop(self) -> None:
        """Serve them no longer; the terminals stay as they are."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    def answer(self, point: str, led: str, german: str, english: str, **facts: int | bool | str) -> None:
        """Show what came of a tap."""
        decision = DecisionMessage(
            event=EventId(agent="agent-1", epoch=1, sequence=1),
            decision="d1",
            permit=True,
            reason="granted",
            level="card",
            text=Sentence(de="Bitte", en="Please"),
            answer=PlaceAnswer(done=led == "green", code="done", text=Sentence(de=german, en=english), facts=facts),
            receipt="ee",
        )
        self.points[point].show(Shown(led, "ok", (german, english)), decision)

    def ask_to_pay(self, cents: int) -> None:
        """The till names an amount."""
        self.points["till"].prompt(Prompt(point="till", text=ASK, facts={"amount_cents": cents}, for_ms=60_000))

    def ask_pin(self, point: str, for_ms: int = 20_000) -> "asyncio.Future[str | None]":
        """A card came whose PIN is asked for."""
        pad = self.points[point].pad
        assert pad is not None, "no page of this terminal is open"
        self.points[point].card_came()
        return pad.ask(for_ms)


class KioskThread:
    """The same in an event loop of its own: the browser's is in the way of the tests'."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kiosk")
        self._thread.start()
        self._kiosk: Kiosk = self._call(Kiosk)
        self.start()

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://127.0.0.1:{self._kiosk.port}"

    def bring(self, change: Callable[[Kiosk], Any]) -> Any:
        """Have something happen at a terminal; returns what came of it."""
        return self._call(lambda: change(self._kiosk))

    def start(self) -> None:
        """Serve the pages."""
        asyncio.run_coroutine_threadsafe(self._kiosk.start(), self._loop).result(LIMIT_S)

    def stop(self) -> None:
        """Serve them no longer."""
        asyncio.run_coroutine_threadsafe(self._kiosk.stop(), self._loop).result(LIMIT_S)

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def _call(self, what: Callable[[], Any]) -> Any:
        async def within() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(within(), self._loop).result(LIMIT_S)
