# SPDX-License-Identifier: EUPL-1.2
"""Many agents in a process of their own that tap at a given pace, whatever the answers do (open loop).

Each agent taps once in every period, at a random moment of it; a tap that is due while the one before is still
unanswered begins late and counts as an error, for a real holder would have waited.
"""

import asyncio
import contextlib
import multiprocessing
import random
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final, Self

from cardservice.bench.city import agent_code, point_code
from cardservice.bench.city_agent import Answer, LoadAgent, NoAnswer
from cardservice.bench.city_program import BenchError, cpu_s
from cardsim.deck import load_deck
from cardsim.interfaces import Card

# What the wire promises an agent for one answer (`PointClassSetup.answer_budget_ms`).
ANSWER_BUDGET_S: Final = 0.3
JOIN_S: Final = 60.0
_END_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """Agents 0 to `agents` - 1 tap `taps_per_s` in all for `seconds`, each with cards of its own."""

    url: str
    folder: Path
    deck: Path
    service_pid: int
    agents: int
    cards: int
    taps_per_s: float
    seconds: float
    seed: int = 1


@dataclass(slots=True)
class Loaded:
    """What came of it: every answer, the errors by kind, and what service and agents worked for it."""

    answers: list[Answer] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    took_s: float = 0.0
    service_cpu_s: float = 0.0
    agents_cpu_s: float = 0.0

    def pace(self) -> float:
        """Return the answers a second, from the first one to the last."""
        if len(self.answers) < 2:
            return 0.0
        times = [answer.at_s for answer in self.answers]
        return (len(times) - 1) / (max(times) - min(times))

    def wrong(self, kind: str, count: int = 1) -> None:
        """Count errors."""
        if count:
            self.errors[kind] = self.errors.get(kind, 0) + count


class LoadProcess:
    """The agents' process; as a context manager it is connected when the context begins, and ended with it."""

    def __init__(self, load: Load) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._begin = context.Event()
        self._mine, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_run, args=(load, self._begin, self._stop, theirs), daemon=True)
        self._seconds = load.seconds
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        try:
            self._expect(JOIN_S)
        except BenchError:
            self.__exit__()
            raise
        self._begin.set()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._begin.set()
        # Whoever has not asked for the result does not want it; the process must not wait to be heard.
        self._mine.close()
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def stop(self) -> None:
        """Let no further tap begin."""
        self._stop.set()

    def result(self) -> Loaded:
        """Wait for the end and return what came of it.

        Raises:
            BenchError: the process did not say.
        """
        loaded = self._expect(self._seconds + _END_S)
        if not isinstance(loaded, Loaded):
            raise BenchError("the agents' process did not say what it measured")
        return loaded

    def _expect(self, limit_s: float) -> object:
        try:
            if self._mine.poll(limit_s):
                return self._mine.recv()
        except EOFError:
            raise BenchError("the agents' process ended without a word") from None
        raise BenchError(f"the agents' process said nothing for {limit_s:.0f} s")


def _run(load: Load, begin: Event, stop: Event, tell: Connection) -> None:
    """Be the process: connect, say so, wait for the beginning, tap, tell."""
    asyncio.run(_Agents(load, stop).run(begin, tell))


class _Agents:
    def __init__(self, load: Load, stop: Event) -> None:
        self._load = load
        self._stop = stop
        self._cards = list(load_deck(load.deck).values())
        self._result = Loaded()

    async def run(self, begin: Event, tell: Connection) -> None:
        load = self._load
        agents = [
            await LoadAgent.join(load.url, agent_code(number), load.folder / f"{agent_code(number)}.key")
            for number in range(load.agents)
        ]
        tell.send("connected")
        await asyncio.to_thread(begin.wait)
        cpu_before_s, own_before_s, began_s = cpu_s(load.service_pid), time.process_time(), time.monotonic()
        await asyncio.gather(*(self._tap_on(agent, number, began_s) for number, agent in enumerate(agents)))
        result = self._result
        result.took_s = time.monotonic() - began_s
        result.service_cpu_s = cpu_s(load.service_pid) - cpu_before_s
        result.agents_cpu_s = time.process_time() - own_before_s
        result.wrong("event not acknowledged", sum([await agent.leave() for agent in agents]))
        with contextlib.suppress(OSError):
            tell.send(result)

    async def _tap_on(self, agent: LoadAgent, number: int, began_s: float) -> None:
        """Tap once in every period until the time is over."""
        load = self._load
        dice = random.Random(load.seed * 1_000 + number)  # noqa: S311  # a repeatable crowd, not a secret
        period_s = load.agents / load.taps_per_s
        cards = self._cards[number : load.cards : load.agents]
        for turn in range(round(load.seconds / period_s)):
            due_s = began_s + (turn + dice.random()) * period_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if self._stop.is_set():
                return
            if time.monotonic() - due_s > period_s:
                self._result.wrong("began late")
            await self._tap(agent, cards[turn % len(cards)], point_code(number))

    async def _tap(self, agent: LoadAgent, card: Card, point: str) -> None:
        try:
            answer = await agent.tap(card, point)
        except NoAnswer:
            self._result.wrong("no answer")
            return
        self._result.answers.append(answer)
        if not answer.permit:
            self._result.wrong(f"refused: {answer.reason}")
        elif answer.took_s > ANSWER_BUDGET_S:
            self._result.wrong("answered late")
