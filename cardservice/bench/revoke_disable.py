# SPDX-License-Identifier: EUPL-1.2
"""From the change in a real directory server to the first refusal at a reader.

Somebody's card is tapped again and again, by ten agents in turn because the centre takes no more than twenty taps a
second from one. At a random moment the account is disabled; the time runs from just before the modify request is sent
until a refusal arrives at an agent. Then it is enabled again, until the first permit. Meanwhile other people tap at
other doors at a given pace.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cardservice.agents.session import Pace
from cardservice.bench.city import BenchCity, Plan, agent_code, point_code, running_city
from cardservice.bench.city_agent import Answer, LoadAgent
from cardservice.bench.city_figures import percentile, spread
from cardservice.bench.city_program import BenchError
from cardservice.bench.report import Ratio, Report
from cardservice.bench.revoke_administrator import signed_in
from cardservice.bench.revoke_crowd import Crowd, decided_taps
from cardservice.bench.revoke_directory import Measured
from cardsim.deck import load_deck

CHANGES_GOAL: Final = 200
# Below what the centre takes from one agent, so that none of these taps is refused as one too many.
_TAPS_PER_S_OF_ONE: Final = 0.95 * Pace().per_s
_LIMIT_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 0.05
_EXPECTED: Final = frozenset({"granted", "person_disabled"})


@dataclass(frozen=True, slots=True)
class Size:
    """How often somebody is disabled (and enabled again), and how large the city is."""

    changes: int = CHANGES_GOAL
    people: int = 1_000
    witnesses: int = 10


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of directory server and what is promised for it; no goal, no promise."""

    name: str
    running: Callable[[Path, Plan], AbstractContextManager[Measured]]
    refused_goal_ms: float
    age_goal_ms: float | None = None


@dataclass(slots=True)
class _Times:
    """Seconds, one for each change."""

    refused: list[float] = field(default_factory=list)
    permitted: list[float] = field(default_factory=list)
    modify: list[float] = field(default_factory=list)
    watched_taps: int = 0
    took_s: float = 0.0


def measure(report: Report, folder: Path, server: Server, size: Size, crowd: Crowd) -> None:
    """Measure one kind of server and report it.

    Raises:
        CardServiceError, RigError: it is not installed, or a part did not start; one sentence.
    """
    plan = Plan(size.people, crowd.agents + size.witnesses)
    with (
        server.running(folder, plan) as directory,
        running_city(folder, plan, lambda *_: nullcontext(directory.address)) as city,
    ):
        # The last person's card belongs to the witnesses alone.
        with crowd.at(city, cards=size.people - 1, seconds=2 * size.changes * _LIMIT_S) as tapping:
            times = asyncio.run(_change_and_watch(city, directory, size, crowd))
            tapping.stop()
            loaded = tapping.result()
        ages_ms = [float(tap.age_ms) for tap in decided_taps(city)]
    _tell(report, server, times)
    _tell_ages(report, server, ages_ms)
    crowd.tell(report, server.name, loaded)


def _tell(report: Report, server: Server, times: _Times) -> None:
    refused_ms, permitted_ms, modify_ms = (
        [took_s * 1_000 for took_s in some] for some in (times.refused, times.permitted, times.modify)
    )
    name = server.name
    report.rows += [
        spread(f"{name}: disabled: modify sent to first refusal", refused_ms, "ms"),
        spread(f"{name}: enabled: modify sent to first permit", permitted_ms, "ms"),
        spread(f"{name}: of that the server itself: modify sent to its answer", modify_ms, "ms"),
        {"case": f"{name}: watched card", "taps_per_s": round(times.watched_taps / times.took_s, 1)},
    ]
    p99_ms = percentile(refused_ms, 0.99)
    report.ratios += [
        Ratio(f"{name}: disabled to first refusal p99, ms", p99_ms, server.refused_goal_ms, at_least=False),
        Ratio(f"{name}: changes", len(refused_ms), CHANGES_GOAL, at_least=True),
    ]


def _tell_ages(report: Report, server: Server, ages_ms: Sequence[float]) -> None:
    report.rows.append(spread(f"{server.name}: age on record with each decision", ages_ms, "ms"))
    if server.age_goal_ms is not None:
        name, p99_ms = f"{server.name}: age under load p99, ms", percentile(ages_ms, 0.99)
        report.ratios.append(Ratio(name, p99_ms, server.age_goal_ms, at_least=False))


class _Witness:
    """One card, tapped without end at one door after the other."""

    def __init__(self, agents: Sequence[LoadAgent], points: Sequence[str], city: BenchCity) -> None:
        self._doors = itertools.cycle(zip(agents, points, strict=True))
        self._period_s = 1 / (_TAPS_PER_S_OF_ONE * len(agents))
        self._card = list(load_deck(city.deck_file).values())[-1]
        self._awaited: asyncio.Future[Answer] | None = None
        self._wanted = True
        self.taps = 0

    async def tap_on(self) -> None:
        """Tap until cancelled.

        Raises:
            BenchError: the card was refused, but not because its holder is disabled.
            NoAnswer: a tap was not answered.
        """
        for agent, point in self._doors:
            began_s = time.monotonic()
            answer = await agent.tap(self._card, point)
            if answer.reason not in _EXPECTED:
                raise BenchError(f"the watched card was refused for another reason: {answer.reason}")
            self.taps += 1
            if self._awaited is not None and not self._awaited.done() and answer.permit == self._wanted:
                self._awaited.set_result(answer)
            await asyncio.sleep(max(0.0, self._period_s - (time.monotonic() - began_s)))

    def first(self, *, permit: bool) -> "asyncio.Future[Answer]":
        """Return what will be the first answer like this to arrive from now on."""
        self._wanted = permit
        self._awaited = asyncio.get_running_loop().create_future()
        return self._awaited


async def _change_and_watch(city: BenchCity, directory: Measured, size: Size, crowd: Crowd) -> _Times:
    numbers = range(crowd.agents, crowd.agents + size.witnesses)
    agents = [await LoadAgent.join(city.agents_url, agent_code(one), city.key_file(one)) for one in numbers]
    witness = _Witness(agents, [point_code(one) for one in numbers], city)
    began_s, tapping = time.monotonic(), asyncio.create_task(witness.tap_on())
    try:
        changing = asyncio.create_task(_change(directory, witness, size))
        # What ends the tapping ends the measurement, and says why.
        await asyncio.wait([changing, tapping], return_when=asyncio.FIRST_COMPLETED)
        if tapping.done():
            changing.cancel()
            tapping.result()
        times = await changing
    finally:
        tapping.cancel()
        await asyncio.gather(tapping, return_exceptions=True)
        for agent in agents:
            await agent.leave()
    times.watched_taps, times.took_s = witness.taps, time.monotonic() - began_s
    return times


async def _change(directory: Measured, witness: _Witness, size: Size) -> _Times:
    """Disable and enable somebody again and again, each time at a moment that no tap knows of."""
    times, dice = _Times(), random.Random(size.changes)  # noqa: S311  # repeatable pauses, not a secret
    dn, switch = directory.dn_of(size.people - 1), directory.switch
    ways = ((switch.disabled, False, times.refused), (switch.enabled, True, times.permitted))
    await _within(witness.first(permit=True), "the first permit")
    async with signed_in(directory.administrator) as administrator:
        for values, permit, took in size.changes * ways:
            await asyncio.sleep(dice.random() * _LONGEST_PAUSE_S)
            answer = witness.first(permit=permit)
            sent_s = administrator.replace(dn, switch.attribute, values)
            times.modify.append(await administrator.answered() - sent_s)
            took.append((await _within(answer, "a permit" if permit else "a refusal")).at_s - sent_s)
    return times


async def _within(answer: "asyncio.Future[Answer]", what: str) -> Answer:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await answer
    except TimeoutError:
        raise BenchError(f"{what} did not come within {_LIMIT_S:.0f} s") from None
