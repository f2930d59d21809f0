# SPDX-License-Identifier: EUPL-1.2
"""Random steps of a directory, with restarts, failed transactions and passing time, against a naive recomputation.

The naive side keeps what the directory says in plain sets and looks at everybody anew after each step.
"""

import random
from dataclasses import dataclass, field

import pytest
from service.directory import effective_groups, open_copy
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.database import Databases
from cardservice.errors import DatabaseUnavailable
from cardservice.people.movers.rules import MoverRule
from cardservice.people.movers.service import end_window, list_movers
from cardservice.people.ports import DirectoryChange
from cardservice.people.rules import DirectoryEntry, DirectoryGroup, DirectoryPerson

pytestmark = pytest.mark.parametrize("place", ["sqlite"], indirect=True)

DAYS_MS = 1_000
DEPARTMENTS = "ou=d"
PEOPLE = [f"p{number}" for number in range(5)]
GROUPS = [f"g{number}" for number in range(6)]


@dataclass
class Naive:
    """People by id -> DN, groups by id -> (DN, members), and when who left which group: nothing is worked out ahead."""

    people: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[str, set[str]]] = field(default_factory=dict)
    left_ms: dict[tuple[str, str], int] = field(default_factory=dict)

    def departments(self) -> set[tuple[str, str]]:
        """Everybody who is in a department group, with the group."""
        return {
            (person, group)
            for person, dn in self.people.items()
            for group, (group_dn, members) in self.groups.items()
            if self._is_department(group_dn) and dn in members
        }

    @staticmethod
    def _is_department(dn: str) -> bool:
        parts = dn.split(",")
        return parts[len(parts) - 1 :] == [DEPARTMENTS]

    def step(self, change: DirectoryChange, now_ms: int) -> None:
        before = self.departments()
        new = {entry.stable_id: entry for entry in change.upserts}
        for person in PEOPLE:
            old_dn, entry = self.people.get(person), new.get(person)
            if old_dn is not None and (person in change.removed or (entry is not None and entry.dn != old_dn)):
                del self.people[person]
                for _, members in self.groups.values():
                    members.discard(old_dn)
        for group in change.removed:
            self.groups.pop(group, None)
        for entry in new.values():
            if isinstance(entry, DirectoryGroup):
                self.groups[entry.stable_id] = entry.dn, set(entry.member_dns)
            else:
                self.people[entry.stable_id] = entry.dn
        after = self.departments()
        self.left_ms |= dict.fromkeys(before - after, now_ms)
        self.forget(after)

    def forget(self, members: set[tuple[str, str]]) -> None:
        """Nobody left where they are, and who or what is gone, or no department, has no windows."""
        self.left_ms = {
            (person, group): at_ms
            for (person, group), at_ms in self.left_ms.items()
            if (person, group) not in members
            and person in self.people
            and group in self.groups
            and self._is_department(self.groups[group][0])
        }

    def pass_to(self, now_ms: int) -> None:
        self.left_ms = {pair: at_ms for pair, at_ms in self.left_ms.items() if now_ms < at_ms + DAYS_MS}

    def effective(self, person: str) -> set[str]:
        members = self.departments()
        inside = {group for group, (_, names) in self.groups.items() if self.people[person] in names}
        for one, group in self.left_ms:
            if one == person and any(other != group for who, other in members if who == person):
                inside.add(group)
        while True:
            names = {self.groups[one][0] for one in inside}
            larger = inside | {group for group, (_, inner) in self.groups.items() if inner & names}
            if larger == inside:
                return inside
            inside = larger


class World:
    """A directory that changes by chance; what is told of it is what its copy is asked to store."""

    def __init__(self, databases: Databases, clock: FakeClock, seed: int) -> None:
        self.state, self.clock, self.dice = databases.state, clock, random.Random(seed)
        self.naive = Naive()
        self.rule: MoverRule | None = MoverRule(DEPARTMENTS, DAYS_MS)
        self.copy = open_copy(self.state, clock, movers=self.rule)
        self.names = {person: f"uid={person}" for person in PEOPLE}
        self.windows = self.longest = 0
        # Nobody ever takes this one away: a directory that loses everybody is not believed.
        stays = DirectoryPerson("stays", "uid=stays", "stays", enabled=True, login="stays")
        self.copy.apply(DirectoryChange(upserts=(stays,)))

    def _person(self, stable_id: str) -> DirectoryPerson:
        if self.dice.random() < 0.3:
            # A name that nobody else has, or will have left by then.
            free = {f"uid={one}" for one in (*PEOPLE, "x", "y")} - set(self.names.values())
            self.names[stable_id] = self.dice.choice(sorted(free))
        return DirectoryPerson(stable_id, self.names[stable_id], stable_id, enabled=True, login=stable_id)

    def _group(self, stable_id: str) -> DirectoryGroup:
        place = self.dice.choices([f",{DEPARTMENTS}", f",cn=in,{DEPARTMENTS}", f"x,x{DEPARTMENTS}"], [7, 2, 2])[0]
        names = [f"cn={one}{tail}" for one in GROUPS for tail in (f",{DEPARTMENTS}",)]
        members = self.dice.sample([*self.names.values()], self.dice.choice((0, 1, 1, 2, 3)))
        nested = self.dice.sample(names, self.dice.choice((0, 0, 0, 1, 2)))
        return DirectoryGroup(stable_id, f"cn={stable_id}{place}", stable_id, frozenset((*members, *nested)))

    def change(self) -> DirectoryChange:
        """Between one and five entries named, and now and then some that are gone."""
        some = self.dice.sample([*PEOPLE, *GROUPS, *GROUPS], self.dice.randint(1, 5))
        gone = frozenset(self.dice.sample([*PEOPLE, *GROUPS], self.dice.choice((0, 0, 0, 0, 1, 2))))
        entries = [
            self._person(one) if one in PEOPLE else self._group(one) for one in dict.fromkeys(some) if one not in gone
        ]
        return DirectoryChange(tuple(entries), gone, complete=self.dice.random() < 0.2)

    def tell(self, failures: float = 0.15) -> None:
        """One step, stored at once, or only after its transaction failed and perhaps the power with it."""
        change = self.change()
        if self.dice.random() < failures:
            with pytest.MonkeyPatch.context() as broken:
                broken.setattr(changes, "append", _fail)
                with pytest.raises(DatabaseUnavailable):
                    self.copy.apply(change)
            self.check()
            if self.dice.random() < 0.5:
                self.restart()
        self.naive.pass_to(self.clock.now_ms())
        self.copy.apply(change)
        self.naive.step(change, self.clock.now_ms())

    def again(self) -> None:
        """Everything is read anew and is as it was."""
        entries: list[DirectoryEntry] = [
            DirectoryGroup(group, dn, group, frozenset(members)) for group, (dn, members) in self.naive.groups.items()
        ]
        people = self.naive.people.items()
        entries += [DirectoryPerson(one, dn, one, enabled=True, login=one) for one, dn in people]
        self.dice.shuffle(entries)
        before = list_movers(self.state)
        self.copy.apply(DirectoryChange(tuple(entries), complete=True))
        self.naive.pass_to(self.clock.now_ms())
        assert [one for one in before if one.window.until_ms > self.clock.now_ms()] == list_movers(self.state)

    def restart(self) -> None:
        self.copy = open_copy(self.state, self.clock, movers=self.rule)
        self.naive.pass_to(self.clock.now_ms())

    def wait(self) -> None:
        self.clock.pass_ms(self.dice.choice((1, 100, 300, 999)))
        self.look()

    def look(self) -> None:
        self.copy.look()
        self.naive.pass_to(self.clock.now_ms())

    def end_one(self) -> None:
        """An administrator ends a window, and the service looks, hears more, or was not there."""
        found = list_movers(self.state)
        if found:
            one = self.dice.choice(found)
            end_window(self.state, one.window.number, "somebody")
            del self.naive.left_ms[one.login or "", one.group]
            self.dice.choice((self.look, self.restart, lambda: self.tell(failures=0)))()

    def check(self) -> None:
        """What is stored, in memory and as it would be read anew, is what the naive side says."""
        found = effective_groups(self.state)
        found.pop("stays")
        assert found == {person: self.naive.effective(person) for person in self.naive.people}
        windows = list_movers(self.state)
        assert {(one.login, one.group): one.window.left_ms for one in windows} == self.naive.left_ms
        counting = {(one.login, one.group) for one in windows if one.window.counts}
        members = self.naive.departments()
        assert counting == {pair for pair in self.naive.left_ms if pair[0] in {person for person, _ in members}}
        assert self.copy.status().movers == len(counting)
        self.windows += len(counting)
        self.longest = max(self.longest, len(windows))


def _fail(*_: object) -> None:
    raise DatabaseUnavailable("away")


@pytest.mark.parametrize("seed", range(4))
def test_everybody_counts_where_a_naive_recomputation_says(databases: Databases, clock: FakeClock, seed: int) -> None:
    """After each of 150 steps: groups with what they are in, windows with their beginning, and which of them count."""
    world = World(databases, clock, seed)
    acts = [world.tell] * 12 + [world.again] * 2 + [world.restart, world.wait, world.wait, world.wait, world.end_one]
    for _ in range(150):
        world.dice.choice(acts)()
        world.check()
    # The dice have made windows to look at.
    assert world.windows > 50
    assert world.longest >= 4
