# SPDX-License-Identifier: EUPL-1.2
"""kill -9 under load, at random moments: of the centre while agents tap, and of an agent in the middle of its taps."""

import random
import signal
import time
from collections.abc import Iterator, Sequence

import pytest
from faults.load import LoadAgent, LoadedCity, drain, loaded_city, ready
from faults.load_account import Account
from support.service import ServiceProcess
from support.waiting import let_run, wait_until

# Within the suite, beside other tests, only what hangs is found; alone on the machine, the promise.
READY_LIMIT_S = (60.0, 5.0)
# One kill of four comes this soon, when the killed part may still be starting.
EARLY = 0.25
EARLY_S = 0.3


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedCity]:
    with loaded_city(tmp_path_factory.mktemp("killed")) as made:
        yield made


class CentreLives:
    """One service process after the other; `ready_s` is how long each took that was let become ready."""

    def __init__(self, city: LoadedCity) -> None:
        self.city = city
        self.ready_s: list[float] = []
        self.service: ServiceProcess

    def begin(self) -> None:
        self._began_s = time.monotonic()
        self.service = self.city.serve()

    def become_ready(self, agents: Sequence[LoadAgent]) -> None:
        """Return once every agent has opened a door again."""
        ready(self.service)
        self.ready_s.append(time.monotonic() - self._began_s)
        before = {agent: agent.witness.doors_opened() for agent in agents}
        for agent in agents:
            wait_until(lambda here=agent: here.witness.doors_opened() > before[here])


def kill(lives: CentreLives, agents: Sequence[LoadAgent], dice: random.Random, longest_s: float) -> None:
    """Kill the service while it starts, while it serves, or while what it serves waits for the disk."""
    if dice.random() < EARLY:
        let_run(dice, EARLY_S)
        lives.service.stop(signal.SIGKILL)
        return
    lives.become_ready(agents)
    lives.city.kill(lives.service, dice, longest_s)


def test_a_killed_centre_loses_nothing_it_acknowledged_and_doubles_nothing(city, scale, dice, report):
    """Ready again within 5 s; every event there once; what a door did is in the journal; all chains verify."""
    cycles, longest_s, lives = scale.of(4, 100), scale.of(1.0, 2.0), CentreLives(city)
    with city.agents({"killed-centre-1": 0, "killed-centre-2": 1}, dice) as agents:
        lives.begin()
        try:
            for agent in agents:
                agent.start(lives.service.agents_url)
            for _ in range(cycles):
                kill(lives, agents, dice, longest_s)
                lives.begin()
            lives.become_ready(agents)
            drain(agents)
            assert lives.service.stop() == 0
        finally:
            lives.service.stop(signal.SIGKILL)
        account = Account(city.files, agents)
    report(
        "kill -9 of the centre under load",
        cycles=cycles,
        slowest_ready_s=round(max(lives.ready_s), 2),
        opened_by_a_permit=len(account.opened_for()),
        **account.figures(),
    )
    assert account.wrong() == {}
    assert account.gaps() == []
    assert account.opened_for()
    assert max(lives.ready_s) <= scale.of(*READY_LIMIT_S)


def test_a_killed_agent_ends_its_taps_as_abandoned_and_loses_nothing(city, scale, dice, report):
    """Deciding again within 5 s; epochs grow; what was stored arrives once; no sequence is missing at the centre."""
    cycles, longest_s = scale.of(4, 100), scale.of(1.0, 2.0)
    ready_s, left_open, epochs = [], set(), []
    with city.agents({"killed-agent": 0}, dice) as (agent,), city.serve() as service:
        ready(service)

        def live() -> None:
            began_s = time.monotonic()
            agent.start(service.agents_url)
            agent.decided()
            ready_s.append(time.monotonic() - began_s)

        for _ in range(cycles):
            early = dice.random() < EARLY
            if early:
                agent.start(service.agents_url)
            else:
                live()
            let_run(dice, EARLY_S if early else longest_s)
            agent.stop(signal.SIGKILL)
            epochs.append(agent.witness.epoch())
            left_open |= agent.witness.under_way()
        live()
        epochs.append(agent.witness.epoch())
        drain([agent])
        assert service.stop() == 0
        account = Account(city.files, [agent])
    abandoned = {name for name, event in account.reports.items() if event.outcome == "abandoned"}
    report(
        "kill -9 of an agent under load",
        cycles=cycles,
        slowest_ready_s=round(max(ready_s), 2),
        abandoned=len(abandoned),
        **account.figures(),
    )
    assert account.wrong() == {}
    assert account.gaps() == []
    assert abandoned == left_open
    assert abandoned
    # A start that was killed before it had opened its outbox has no epoch of its own.
    assert epochs == sorted(epochs)
    assert len(set(epochs)) >= len(ready_s)
    assert max(ready_s) <= scale.of(*READY_LIMIT_S)
