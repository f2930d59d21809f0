# SPDX-License-Identifier: EUPL-1.2
"""Exactly once over a bad network: repeated, dropped, delayed, cut, reset, silent; nothing is lost, nothing doubled."""

import random
from collections.abc import Iterator

import pytest
from faults.load import LoadedCity, drain, loaded_city, ready
from faults.load_account import Account
from support.fault_proxy import ENDS, FAIR, Weather, fault_proxy
from support.service import ServiceProcess
from support.waiting import wait_until

RUN_LIMIT_S = 3_600.0


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedCity]:
    with loaded_city(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture(scope="module")
def service(city: LoadedCity) -> Iterator[ServiceProcess]:
    with city.serve() as running:
        ready(running)
        yield running


def test_every_event_arrives_exactly_once_over_a_bad_network(city, service, scale, dice, report):
    """However often it was sent and whatever became of the answer: one row, the agent's content, an empty outbox."""
    events = scale.of(240, 6_000)
    with (
        fault_proxy(service.address, Weather(), random.Random(dice.random())) as proxy,
        city.agents({"network-1": 0, "network-2": 1}, dice) as agents,
    ):
        for agent in agents:
            agent.start(proxy.url)
        wait_until(lambda: sum(agent.tapped() for agent in agents) >= events, RUN_LIMIT_S, 0.2)
        proxy.change(FAIR)
        ready(service, *agents)
        drain(agents)
        account = Account(city.files, agents)
        counts = proxy.counts
    report(
        "exactly once over a bad network",
        duplicates_sent=counts["repeated"],
        replies_dropped=counts["dropped"],
        delayed=counts["delayed"],
        cuts=counts["cut_to_centre"] + counts["cut_to_agent"],
        resets=counts["reset"],
        closed=counts["close"],
        silences=counts["silence"],
        connections=counts["connections"],
        **account.figures(),
    )
    assert account.wrong() == {}
    assert account.gaps() == []
    assert len(account.opened) >= events
    assert min(counts["repeated"], counts["dropped"], sum(counts[end] for end in ENDS)) > 0
    assert not scale.full or all(counts[end] for end in ENDS), counts


def test_an_event_rewritten_in_the_outbox_is_refused_alarmed_and_set_aside(city, service, dice, report):
    """The centre keeps what it had, the journal gets one line, the agent keeps the other for an administrator."""
    with (
        fault_proxy(service.address, Weather(dropped_acks=1, repeated_events=0, most_frames=0), dice) as proxy,
        city.agents({"rewritten": 0}, dice) as (agent,),
    ):
        agent.start(proxy.url)
        agent.decided()
        wait_until(lambda: proxy.counts["dropped"])
        agent.rest()
        agent.end()
        # Stored at the centre and not acknowledged: the agent will send it again.
        before = Account(city.files, [agent])
        name = next(name for name in before.stored if before.reports[name].decision)
        changed = before.reports[name].model_copy(update={"outcome": "late"})
        agent.witness.rewrite(name, changed.model_dump_json(exclude_none=True))
        proxy.change(FAIR)
        agent.start(proxy.url)
        agent.rest()
        wait_until(lambda: agent.witness.set_aside() == agent.witness.waiting() == 1)
        agent.end()
        account = Account(city.files, [agent])
    report(
        "an event rewritten in the outbox",
        refused=agent.witness.set_aside(),
        alarms=len(account.alarms("event_changed")),
    )
    assert account.alarms("event_changed") == [name]
    assert account.stored[name].digest == before.stored[name].digest
    assert agent.witness.set_aside() == 1
    assert account.lost == account.double == []
