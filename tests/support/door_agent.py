# SPDX-License-Identifier: EUPL-1.2
"""The doors' agent in a thread with a loop of its own: tells how doors are, opens them, holds cards to them."""

import asyncio
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from service_http.conftest import City
from support.scripted_agent import ScriptedAgent
from support.waiting import LIMIT_S

from cardservice.agents.messages import PointCommand, PointDone


class DoorAgent(threading.Thread):
    """Does what it is told; `answers` False: it carries out commands and keeps silent about it."""

    def __init__(self, city: City, *, answers: bool = True) -> None:
        super().__init__(name="door agent")
        self._city, self._answers = city, answers
        self._there, self._over = threading.Event(), threading.Event()
        self._orders: queue.Queue[tuple[Any, Future[Any]]] = queue.Queue()
        self.opened: list[str] = []

    def run(self) -> None:
        """Serve until it is stopped."""
        asyncio.run(self._work())

    def start(self) -> None:
        """Start it; returns once it was let in."""
        super().start()
        assert self._there.wait(LIMIT_S)

    def stop(self) -> None:
        """Have it go away."""
        self._over.set()
        self.join(LIMIT_S)

    def say(self, *messages: Any) -> None:
        """Have it tell this."""
        self._ordered(lambda agent: agent.send(*messages))

    def tap(self, card: str, point: str) -> bool:
        """Have it hold a card of the deck to a point; return whether that was permitted."""
        return bool(self._ordered(lambda agent: agent.tap(self._city.card(card), point)).permit)

    def _ordered(self, order: Any) -> Any:
        done: Future[Any] = Future()
        self._orders.put((order, done))
        return done.result(LIMIT_S)

    async def _work(self) -> None:
        async with self._city.agent() as agent:
            self._there.set()
            while not self._over.is_set():
                await self._carry_out_orders(agent)
                await self._take_command(agent)

    async def _carry_out_orders(self, agent: ScriptedAgent) -> None:
        while not self._orders.empty():
            order, done = self._orders.get()
            try:
                done.set_result(await order(agent))
            except Exception as error:  # noqa: BLE001  # whoever waits for it gets it
                done.set_exception(error)

    async def _take_command(self, agent: ScriptedAgent) -> None:
        try:
            message = await agent.receive(0.05)
        except TimeoutError:
            return
        if isinstance(message, PointCommand):
            self.opened.append(message.point)
            if self._answers:
                await agent.send(PointDone(id=message.id, point=message.point, done=True))


@contextmanager
def at_the_doors(city: City, *, answers: bool = True) -> Iterator[DoorAgent]:
    """Run it while the context lasts."""
    agent = DoorAgent(city, answers=answers)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()
