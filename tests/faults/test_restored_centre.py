# SPDX-License-Identifier: EUPL-1.2
"""The centre put back to yesterday's backup under load: what agents keep is made good, what nobody has gets a name."""

import random
import signal
from collections.abc import Iterator, Sequence

import pytest
from faults.conftest import Scale, is_full
from faults.load import DRAIN_LIMIT_S, LoadAgent, LoadedCity, loaded_city, ready
from faults.restore_account import RestoredAccount, lost_by_agents
from faults.restore_centre import Centre, centre_of, events_missing, says
from faults.restore_stores import Backup, Range, alarms_since_start, gaps, names, ranges
from support.fault_proxy import FAIR, FaultProxy, Weather, fault_proxy
from support.service import ServiceProcess
from support.waiting import let_run, wait_until

# How many days' backups an administrator keeps: a restore takes the newest one, or any of these.
BACKUPS_KEPT = 4
NEWEST = 0.6
# One restore of five comes this soon after the one before, when that is still being made good.
EARLY = 0.2
EARLY_S = 1.0
# How often the directory does not know any more what has changed since, and is read anew.
ALL_ANEW = 0.5
# Everything is handed over, and the centre hears and says everything but that.
UNACKNOWLEDGED = Weather(repeated_events=0, dropped_acks=1, delayed_frames=0, most_frames=0)
CAPACITY = 100
RECORD, BOTH = ("record",), ("state", "record")
RESTORED = (RECORD, BOTH) if is_full() else (BOTH,)
# From the moment when the restored service answers, until somebody has tapped at an agent that may just be starting.
REFUSED_AGAIN_LIMIT_S = 10.0 if is_full() else 60.0


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedCity]:
    with loaded_city(tmp_path_factory.mktemp("restored")) as made:
        yield made


@pytest.fixture
def city_with_losses(city: LoadedCity) -> Iterator[LoadedCity]:
    """The city for once: what is lost would stay on its health page, so afterwards its record is as it was."""
    before = Backup(city.files, "before", RECORD)
    yield city
    before.put_back()


def at_rest(agents: Sequence[LoadAgent]) -> None:
    """End the tapping; return once the centre has taken all the agents have."""
    for agent in agents:
        agent.ask_to_rest()
    for agent in agents:
        agent.rest()
        wait_until(lambda here=agent: here.witness.waiting() == 0, DRAIN_LIMIT_S, 0.05)


def lose_a_day_at_rest(centre: Centre, proxy: FaultProxy, backup: Backup) -> None:
    """Restore while nobody taps, and let the agents' answer wait: what is missing is on every page, to the event."""
    centre.kill()
    restore = centre.restore(backup)
    proxy.change(UNACKNOWLEDGED)
    centre.begin()
    missing = {agent.name: len(debt.must_ask) for agent, debt in zip(centre.agents, restore.debts, strict=True)}
    assert min(missing.values()) > 0
    says(
        centre.service,
        [
            f"agent {name}: {number} events are missing here and were asked for again"
            for name, number in missing.items()
        ],
    )
    assert gaps(centre.city.files) == {"asked": ranges(restore.must_ask), "lost": []}
    assert events_missing(centre.service) == {
        (name, state): number if state == "asked" else 0
        for name, number in missing.items()
        for state in ("asked", "lost")
    }
    proxy.change(FAIR)
    centre.make_good()
    assert restore.asked() == restore.must_ask
    says(centre.service, [])
    assert events_missing(centre.service) == {}


def begin_again(agent: LoadAgent, url: str, epochs: int, dice: random.Random) -> None:
    """Let an agent end somehow and begin its next epoch, which the centre hears of, so many times."""
    for _ in range(epochs):
        agent.stop(dice.choice((signal.SIGTERM, signal.SIGKILL)))
        agent.start(url)
        agent.decided()


def live_without_centre(agent: LoadAgent, url: str, epochs: int) -> None:
    """Let an agent end, and tap for some epochs that no centre hears of; then it waits for one."""
    for _ in range(epochs):
        agent.stop(signal.SIGKILL)
        enough = agent.witness.opened() + 5
        agent.start(url, hurried=True)
        wait_until(lambda enough=enough: agent.witness.opened() >= enough, every_s=0.05)
    if epochs:
        agent.stop(signal.SIGKILL)
        agent.start(url)


def lose_a_day_under_load(centre: Centre, url: str, scale: Scale, dice: random.Random) -> None:
    """Restore at a random moment; since the backup somebody was disabled, and agents began again, even without it."""
    restless, away = dice.choice(centre.agents), dice.choice(centre.agents)
    centre.hand_over(dice.randint(1, scale.of(5, 40)))
    centre.back_up()
    centre.disabled.disable(disabled=True)
    centre.hand_over(dice.randint(5, scale.of(10, 100)))
    begin_again(restless, url, scale.of(0, dice.randint(0, 2)), dice)
    let_run(dice, scale.of(0.2, 2.0))
    newest = dice.random() < NEWEST
    if dice.random() < ALL_ANEW:
        centre.city.directory.switches.forget_session_log()
    centre.kill()
    centre.restore(centre.backups[-1] if newest else dice.choice(centre.backups[-BACKUPS_KEPT:]))
    centre.enabled_by_restores += centre.disabled.is_enabled_here()
    live_without_centre(away, url, scale.of(1, dice.randint(0, 2)))
    centre.begin()


@pytest.mark.parametrize("stores", RESTORED, ids=" and ".join)
def test_a_centre_restored_under_load_is_made_good(city, stores, scale, dice, report):
    """What agents had handed over since the backup is named, asked for, there again once, and no trouble any more.

    With the state restored too, agents are let in and the directory is followed: who was disabled is refused again.
    """
    cycles, refused_again_s, let_in = scale.of(1, 15), [], []
    with (
        city.agents({f"{stores[0]}-1": 0, f"{stores[0]}-2": 1}, dice) as agents,
        centre_of(city, agents, stores) as centre,
        fault_proxy(centre.service.address, FAIR, dice) as proxy,
    ):
        for agent in agents:
            agent.start(proxy.url)
        for cycle in range(cycles):
            lose_a_day_under_load(centre, proxy.url, scale, dice)
            if cycle < cycles - 1 and dice.random() < EARLY:
                let_run(dice, EARLY_S)
                continue
            centre.make_good()
            refused_again_s.append(centre.disabled.refused_again_ms() / 1_000 - centre.began_s)
            ready(centre.service, *agents)
            let_in.append(centre.disabled.let_in())
            centre.disabled.disable(disabled=False)
        at_rest(agents)
        lose_a_day_at_rest(centre, proxy, centre.backups[-BACKUPS_KEPT:][0])
        for agent in agents:
            agent.end()
        assert centre.service.stop() == 0
        account = RestoredAccount(city.files, agents, centre.restores)
    report(
        f"{' and '.join(stores)} restored under load",
        enabled_by_restores=centre.enabled_by_restores,
        slowest_refused_again_s=round(max(refused_again_s), 2),
        let_in_until_refused=sum(before for before, _ in let_in),
        let_in_after=sum(after for _, after in let_in),
        permits_gone_with_a_journal=len(account.permits_gone()),
        **centre.figures(),
        **account.figures(),
    )
    assert account.wrong() == {}
    assert account.gaps() == []
    assert gaps(city.files) == {"asked": [], "lost": []}
    assert (centre.enabled_by_restores > 0) == (stores == BOTH)
    assert sum(after for _, after in let_in) == 0
    assert max(refused_again_s) <= REFUSED_AGAIN_LIMIT_S


def test_what_nobody_has_any_more_is_named_as_lost_and_stays_named(city_with_losses, dice, report):
    """Tidied away, or never kept by a full outbox: just these ranges, in table, journal, health and metric."""
    city = city_with_losses
    with city.agents({"forgets": 0, "runs-full": 1}, dice) as agents, centre_of(city, agents, RECORD) as centre:
        forgets, runs_full = agents
        forgets.changes, runs_full.changes = {"outbox_keep_days": 0}, {"outbox_capacity": CAPACITY}
        url = centre.service.agents_url
        for agent in agents:
            agent.start(url)
        centre.hand_over(3)
        backup = centre.back_up()
        centre.hand_over(12)
        at_rest(agents)
        for agent in agents:
            agent.end()
        lose_some(runs_full, dice)
        forgets.start(url)
        forgets.decided()
        centre.hand_over(5, forgets)
        centre.kill()
        restore = centre.restore(backup)
        not_kept = fill_up(runs_full, url)
        centre.begin()
        centre.make_good()
        lost = sorted([*ranges(restore.must_lose), not_kept])
        wait_until(lambda: gaps(city.files) == {"asked": [], "lost": lost})
        assert alarms_since_start(city.files, "events_lost") == lost
        is_said_of(centre.service, lost)
        assert centre.service.stop() == 0
        centre.begin()
        is_said_of(centre.service, lost)
        centre.service.wait_health(lambda state: {agent.name for agent in agents} <= {*state["agents_online"]})
        centre.hand_over(3, forgets)
        is_said_of(centre.service, lost)
        forgets.rest()
        for agent in agents:
            wait_until(lambda here=agent: here.witness.waiting() == 0)
            agent.end()
        assert centre.service.stop() == 0
        account = RestoredAccount(city.files, agents, centre.restores, lost)
    report(
        "events that nobody has any more",
        named_as_lost=sum(one.size for one in lost),
        ranges_named=len(lost),
        **centre.figures(),
        **account.figures(),
    )
    assert account.wrong() == {}
    assert lost_by_agents(city.files, agents) == gaps(city.files)["lost"] == lost
    assert alarms_since_start(city.files, "events_lost") == []
    for missing in (restore.must_lose, restore.must_ask):
        assert {one.agent for one in ranges(missing)} == {"forgets", "runs-full"}
    assert account.stored.keys() == names(given(agents)) - names(lost)


def lose_some(agent: LoadAgent, dice: random.Random) -> None:
    """Let a resting agent no longer keep some of the events that it handed over last, and of those before."""
    kept = sorted(agent.witness.kept_acknowledged(), key=lambda name: int(name.rpartition("/")[2]))
    agent.witness.forget([*dice.sample(kept[-8:], 4), *dice.sample(kept[:-8], 2)])


def fill_up(agent: LoadAgent, url: str) -> Range:
    """Let an agent tap without a centre until its outbox keeps no more; return what it did not keep."""
    agent.start(url, hurried=True)
    wait_until(lambda: agent.witness.last_numbers().get(agent.witness.epoch(), 0) >= CAPACITY + 10, DRAIN_LIMIT_S, 0.05)
    agent.rest()
    epoch = agent.witness.epoch()
    return Range(agent.name, epoch, CAPACITY + 1, agent.witness.last_numbers()[epoch])


def given(agents: Sequence[LoadAgent]) -> list[Range]:
    """Every number that was ever given to a tap."""
    return [
        Range(agent.name, epoch, 1, last) for agent in agents for epoch, last in agent.witness.last_numbers().items()
    ]


def is_said_of(service: ServiceProcess, lost: Sequence[Range]) -> None:
    """See that health page and metric say of each agent how much is lost, and nothing else."""
    sizes: dict[str, int] = {}
    for one in lost:
        sizes[one.agent] = sizes.get(one.agent, 0) + one.size
    says(service, [f"agent {name}: {size} events are lost; the journal names them" for name, size in sizes.items()])
    assert events_missing(service) == {
        (name, state): size if state == "lost" else 0 for name, size in sizes.items() for state in ("asked", "lost")
    }
