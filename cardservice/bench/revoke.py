# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench revoke`: from the change in a real OpenLDAP to the first refusal at a reader.

Somebody's card is tapped again and again, by ten agents in turn because the centre takes no more than twenty taps a
second from one. At a random moment the account is disabled; the time runs from just before the modify request is sent
until a refusal arrives at an agent. Then it is enabled again, until the first permit. Meanwhile other people tap at
other doors at a given pace.
"""

import asyncio
import itertools
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cardservice.agents.session import Pace
from cardservice.bench.city import (
    BenchCity,
    DirectoryAddress,
    Plan,
    agent_code,
    person_dn,
    point_code,
    running_city,
)
from cardservice.bench.city_agent import Answer, LoadAgent
from cardservice.bench.city_figures import load_row, percentile, spread
from cardservice.bench.city_load import Load, Loaded, LoadProcess
from cardservice.bench.city_program import BenchError
from cardservice.bench.report import Ratio, Report
from cardservice.bench.revoke_directory import Administrator, running_slapd
from cardsim.deck import load_deck
from rig.slapd import Entry

LIBRARIES: Final = ("ldap3", "picows", "sqlalchemy", "uvloop", "websockets")
P99_GOAL_MS: Final = 100.0
CHANGES_GOAL: Final = 200
PACE_SHARE_GOAL: Final = 0.99
# Below what the centre takes from one agent, so that none of these taps is refused as one too many.
_TAPS_PER_S_OF_ONE: Final = 0.95 * Pace().per_s
_LIMIT_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 0.05
_EXPECTED: Final = frozenset({"granted", "person_disabled"})


@dataclass(frozen=True, slots=True)
class Size:
    """How often somebody is disabled (and enabled again), how large the city is, and what goes on meanwhile."""

    changes: int = CHANGES_GOAL
    people: int = 1_000
    agents: int = 25
    taps_per_s: float = 100.0
    witnesses: int = 10


@dataclass(slots=True)
class _Times:
    """Seconds, one for each change."""

    refused: list[float] = field(default_factory=list)
    permitted: list[float] = field(default_factory=list)
    modify: list[float] = field(default_factory=list)
    watched_taps: int = 0
    took_s: float = 0.0


def run(size: Size = Size()) -> Report:  # frozen
    """Measure.

    Raises:
        CardServiceError: slapd is not installed, or a part did not start; one sentence.
    """
    report = Report("revoke", libraries=LIBRARIES, rows=[load_row()])
    plan = Plan(size.people, size.agents + size.witnesses)
    ports: list[int] = []

    @contextmanager
    def directory(folder: Path, content: Sequence[Entry]) -> Iterator[DirectoryAddress]:
        with running_slapd(folder, content) as (slapd, address):
            ports.append(urlsplit(slapd.plain_url).port or 0)
            yield address

    with tempfile.TemporaryDirectory(prefix="revoke-") as folder, running_city(Path(folder), plan, directory) as city:
        # The last person's card belongs to the witnesses alone.
        load = Load(
            url=city.agents_url,
            folder=city.folder,
            deck=city.deck_file,
            service_pid=city.service.pid,
            agents=size.agents,
            cards=size.people - 1,
            taps_per_s=size.taps_per_s,
            seconds=2 * size.changes * _LIMIT_S,
        )
        with LoadProcess(load) as crowd:
            times = asyncio.run(_change_and_watch(city, ports[0], size))
            crowd.stop()
            loaded = crowd.result()
    _tell(report, times, loaded, size)
    return report


def _tell(report: Report, times: _Times, loaded: Loaded, size: Size) -> None:
    refused_ms = [took_s * 1_000 for took_s in times.refused]
    report.rows += [
        spread("disabled: modify sent to first refusal", refused_ms, "ms"),
        spread("enabled: modify sent to first permit", [took_s * 1_000 for took_s in times.permitted], "ms"),
        spread("of that slapd itself: modify sent to its answer", [took_s * 1_000 for took_s in times.modify], "ms"),
        spread("meanwhile: card.present to decision", [answer.took_s * 1_000 for answer in loaded.answers], "ms"),
        {
            "case": "meanwhile",
            "taps_per_s": round(loaded.pace(), 1),
            "watched_taps_per_s": round(times.watched_taps / times.took_s, 1),
            "service_cores": round(loaded.service_cpu_s / loaded.took_s, 3),
            "agents": size.agents,
        },
        {"case": "meanwhile: errors", **loaded.errors},
    ]
    report.ratios += [
        Ratio("disabled to first refusal p99, ms", percentile(refused_ms, 0.99), P99_GOAL_MS, at_least=False),
        Ratio("changes", len(refused_ms), CHANGES_GOAL, at_least=True),
        Ratio(
            "meanwhile: taps a second, of those asked for",
            loaded.pace() / size.taps_per_s,
            PACE_SHARE_GOAL,
            at_least=True,
        ),
        Ratio("meanwhile: errors", sum(loaded.errors.values()), 0, at_least=False),
    ]


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


async def _change_and_watch(city: BenchCity, ldap_port: int, size: Size) -> _Times:
    numbers = range(size.agents, size.agents + size.witnesses)
    agents = [await LoadAgent.join(city.agents_url, agent_code(one), city.key_file(one)) for one in numbers]
    witness = _Witness(agents, [point_code(one) for one in numbers], city)
    administrator = await Administrator.sign_in(ldap_port)
    began_s, tapping = time.monotonic(), asyncio.create_task(witness.tap_on())
    try:
        changing = asyncio.create_task(_change(administrator, witness, person_dn(size.people - 1), size.changes))
        # What ends the tapping ends the measurement, and says why.
        await asyncio.wait([changing, tapping], return_when=asyncio.FIRST_COMPLETED)
        if tapping.done():
            changing.cancel()
            tapping.result()
        times = await changing
    finally:
        tapping.cancel()
        await asyncio.gather(tapping, return_exceptions=True)
        administrator.close()
        for agent in agents:
            await agent.leave()
    times.watched_taps, times.took_s = witness.taps, time.monotonic() - began_s
    return times


async def _change(administrator: Administrator, witness: _Witness, dn: str, changes: int) -> _Times:
    """Disable and enable somebody again and again, each time at a moment that no tap knows of."""
    times, dice = _Times(), random.Random(changes)  # noqa: S311  # repeatable pauses, not a secret
    await _within(witness.first(permit=True), "the first permit")
    for _ in range(changes):
        for disabled, took in ((True, times.refused), (False, times.permitted)):
            await asyncio.sleep(dice.random() * _LONGEST_PAUSE_S)
            answer = witness.first(permit=not disabled)
            sent_s = administrator.set_disabled(dn, disabled=disabled)
            answered_s = await administrator.answered()
            times.modify.append(answered_s - sent_s)
            took.append((await _within(answer, "a refusal" if disabled else "a permit")).at_s - sent_s)
    return times


async def _within(answer: "asyncio.Future[Answer]", what: str) -> Answer:
    try:
        async with asyncio.timeout(_LIMIT_S):
            return await answer
    except TimeoutError:
        raise BenchError(f"{what} did not come within {_LIMIT_S:.0f} s") from None
