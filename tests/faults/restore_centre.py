# SPDX-License-Identifier: EUPL-1.2
"""The service that is killed and put back to a backup, time and again: what it says of itself, and what a door does."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from faults.load import DRAIN_LIMIT_S, LoadAgent, LoadedCity
from faults.restore_account import Restore
from faults.restore_stores import Backup, answers_since_start
from support.metrics import values
from support.service import ServiceProcess
from support.waiting import wait_until

from cardservice.database import read
from cardservice.people.store import person


class Centre:
    """One service process after the other, the backups of its stores, and what each restore has to make good."""

    def __init__(self, city: LoadedCity, agents: Sequence[LoadAgent], stores: Sequence[str]) -> None:
        self.city = city
        self.agents = agents
        self.restores: list[Restore] = []
        self.backups: list[Backup] = []
        self.made_good_s: list[float] = []
        self.disabled = DisabledSince(city)
        self.enabled_by_restores = 0
        self._stores = stores
        self.service: ServiceProcess

    def begin(self) -> None:
        self.service = self.city.serve()
        self.began_s = time.time()

    def hand_over(self, number: int, *agents: LoadAgent) -> None:
        """Wait until each of these agents, or all, was told that so many more events of this start are safe."""
        before = {agent: agent.witness.handed_over() for agent in agents or self.agents}
        for agent, already in before.items():
            wanted = already + number
            wait_until(lambda here=agent, enough=wanted: here.witness.handed_over() >= enough, DRAIN_LIMIT_S, 0.05)

    def back_up(self) -> Backup:
        backup = Backup(self.city.files, str(len(self.backups)), self._stores)
        self.backups.append(backup)
        return backup

    def kill(self) -> None:
        self.service.stop(signal.SIGKILL)

    def restore(self, backup: Backup) -> Restore:
        """Put `backup` in the place of what the dead service left."""
        restore = Restore(self.city.files, backup, self.agents)
        self.restores.append(restore)
        return restore

    def make_good(self) -> None:
        """Wait until nothing is missing that an agent keeps, and see that exactly what was missing was named."""
        newest = self.restores[-1]
        wait_until(newest.made_good, DRAIN_LIMIT_S, 0.1)
        self.made_good_s.append(time.time() - self.began_s)
        found = {
            "asked for, and not missing": newest.wrongly_asked(),
            "missing or named, and not both": newest.unnamed(),
            "named twice": newest.named_twice(),
        }
        assert not any(found.values()), found

    def figures(self) -> dict[str, float]:
        sent_again = [name for agent in self.agents for name in agent.witness.seen().wanted_again]
        return {
            "restores": len(self.restores),
            "removed_by_restores": sum(len(one.removed) for one in self.restores),
            "sent_again": len(sent_again),
            "of_boot_epochs": len({name.rpartition("/")[0] for name in sent_again}),
            "slowest_made_good_s": round(max(self.made_good_s), 2),
        }


@contextmanager
def centre_of(city: LoadedCity, agents: Sequence[LoadAgent], stores: Sequence[str]) -> Iterator[Centre]:
    """Run the service of `city`; in the end it does not run."""
    centre = Centre(city, agents, stores)
    centre.begin()
    try:
        yield centre
    finally:
        centre.kill()


class DisabledSince:
    """Somebody whose account was disabled since the backup, at a fully journalled door that was theirs."""

    LOGIN, DOOR = "yilmaz", "serverraum.aussen"

    def __init__(self, city: LoadedCity) -> None:
        self._city = city

    def disable(self, *, disabled: bool) -> None:
        """Tell the directory, and wait until the door has heard of it."""
        already = len(self.answers())
        wanted = "person_disabled" if disabled else "granted"
        self._city.directory.set_disabled(self.LOGIN, disabled=disabled)
        wait_until(lambda: wanted in [reason for _, reason in self.answers()[already:]], every_s=0.1)

    def is_enabled_here(self) -> bool:
        """What the copy of the directory says."""
        with self._city.files.stores() as databases, read(databases.state) as connection:
            return connection.execute(sa.select(person.c.enabled).where(person.c.login == self.LOGIN)).scalar_one()

    def answers(self) -> list[tuple[int, str]]:
        return answers_since_start(self._city.files, self.DOOR)

    def refused_again_ms(self) -> int:
        """Wait until the door refuses them; return when that was."""
        wait_until(lambda: "person_disabled" in [reason for _, reason in self.answers()], every_s=0.1)
        return next(at_ms for at_ms, reason in self.answers() if reason == "person_disabled")

    def let_in(self) -> tuple[int, int]:
        """How often the door opened for them before it refused them, and after that."""
        reasons = [reason for _, reason in self.answers()]
        first = reasons.index("person_disabled")
        return reasons[:first].count("granted"), reasons[first:].count("granted")


def events_missing(service: ServiceProcess) -> dict[tuple[str, ...], float]:
    """The gauge, by agent and state."""
    return values(service.get("/metrics")[1], "cardservice_agent_events_missing", "agent", "state")


def says(service: ServiceProcess, sentences: Sequence[str]) -> None:
    """Wait until the health page says these sentences and no others."""
    status = "degraded" if sentences else "ready"
    service.wait_health(lambda state: (state.get("status"), state.get("degraded")) == (status, list(sentences)))
