# SPDX-License-Identifier: EUPL-1.2
"""Random stories of joiners, movers and leavers: after each step the copy holds what a naive model says."""

import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from service.directory import effective_groups, open_copy, proof, someone, tell
from service.fake_clock import FakeClock
from service.mover_models import WRONG_MODELS, Model, Seen
from sqlalchemy.engine import Engine

from cardservice.database import Databases, open_databases
from cardservice.people.movers.rules import MoverRule
from cardservice.people.movers.service import Mover, end_window, list_movers
from cardservice.people.rules import DirectoryGroup, DirectoryPerson

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STORIES = 4
STEPS = 120
MOST_STORIES = 12
DEPARTMENTS = "ou=departments,ou=groups"
# Where a group may lie: at the place itself, below it, far below it, and at what only looks like it.
AT = DEPARTMENTS
BELOW = (f"cn={{}},{DEPARTMENTS}", f"cn={{}},{DEPARTMENTS}", f"cn={{}},ou=north,{DEPARTMENTS}")
OUTSIDE = (
    "cn={},ou=teams,ou=groups",
    "cn={},ou=groups",
    f"cn={{}},x{DEPARTMENTS}",
    r"cn={}\2cou\3ddepartments,ou=groups",
)


@dataclass
class Entry:
    """A person or a group as the directory holds it; a group's members are ids."""

    dn: str
    able: bool = True
    members: set[str] = field(default_factory=set)


class Story:
    """One seed's directory: people join, leave and move, and whatever else happens to a directory meanwhile."""

    def __init__(self, engine: Engine, seed: int, models: list[Model]) -> None:
        self.random = random.Random(seed)
        self.clock = FakeClock()
        self.models = models
        self.deeds: Counter[str] = Counter()
        self.counted = 0
        self._engine = engine
        self._people: dict[str, Entry] = {}
        self._groups: dict[str, Entry] = {}
        self._gone: list[str] = []
        self._number = 0
        self._overlap_ms: int | None = None
        self._start(self.random.choice((1, 2, 14)) * DAY_MS)
        self._settle()

    def _settle(self) -> None:
        for _ in range(6):
            self._new_person()
        self._groups["at"] = Entry(AT)
        for _ in range(3):
            self._new_group(BELOW)
        for _ in range(3):
            self._new_group(OUTSIDE)
        for name, entry in self._groups.items():
            entry.members |= set(self.random.sample([*self._people], 2))
            entry.members |= {self.random.choice([*self._groups])} - {name}
        self._tell(*self._people, *self._groups)

    def _new_person(self) -> str:
        self._number += 1
        name = f"p{self._number}"
        self._people[name] = Entry(f"uid={name}")
        return name

    def _new_group(self, places: tuple[str, ...]) -> str:
        self._number += 1
        name = f"g{self._number}"
        self._groups[name] = Entry(self.random.choice(places).format(name))
        return name

    def _start(self, overlap_ms: int | None) -> None:
        rule = None if overlap_ms is None else MoverRule(DEPARTMENTS, overlap_ms)
        self._copy = open_copy(self._engine, self.clock, movers=rule)
        self._overlap_ms = overlap_ms
        for model in self.models:
            model.set_overlap(overlap_ms)

    def _tell(self, *names: str, removed: tuple[str, ...] = (), complete: bool = False) -> None:
        """Say what is so now of these, in one change; the models see it at the same moment."""
        tell(self._copy, *map(self._entry, names), removed=removed, complete=complete)
        self._copy.proved(proof(self.clock))
        self._show()

    def _show(self) -> None:
        departments = {name for name, one in self._groups.items() if _is_below(one.dn)}
        members = {name: frozenset(one.members) for name, one in self._groups.items()}
        able = {name for name, one in self._people.items() if one.able}
        seen = Seen(frozenset(self._people), frozenset(able), frozenset(departments), members)
        for model in self.models:
            model.see(seen, self.clock.now_ms())

    def _entry(self, name: str) -> DirectoryPerson | DirectoryGroup:
        if name in self._people:
            return someone(name, dn=self._people[name].dn, enabled=self._people[name].able)
        everything = self._people | self._groups
        members = frozenset(everything[one].dn for one in self._groups[name].members)
        return DirectoryGroup(name, self._groups[name].dn, name, members)

    def _department(self) -> str | None:
        below = [name for name, one in self._groups.items() if _is_below(one.dn)]
        return self.random.choice(below) if below else None

    def step(self) -> str:
        """Do one random thing; return what."""
        often: list[Callable[[], None]] = [self.move, self.move_in_two, self.leave, self.join, self.wait]
        seldom = [self.nest, self.disable, self.enable, self.remove_person, self.bring_back, self.hire]
        seldom += [self.rename_person, self.rename_group, self.place_group, self.remove_group, self.found_group]
        seldom += [self.restart, self.restart_otherwise, self.read_everything, self.replace_person, self.end_a_window]
        deed = self.random.choice([*often * 4, *seldom])
        deed()
        self.deeds[deed.__name__] += 1
        return deed.__name__

    def join(self) -> None:
        if group := self._department():
            self._groups[group].members.add(self.random.choice([*self._people]))
            self._tell(group)

    def leave(self) -> None:
        """Somebody is taken out of one or all of their department groups, or of what is none."""
        person = self.random.choice([*self._people])
        groups = [name for name, one in self._groups.items() if person in one.members]
        leaving = self.random.sample(groups, self.random.choice((min(1, len(groups)), len(groups))))
        for group in leaving:
            self._groups[group].members.discard(person)
        self._tell(*leaving)

    def move(self) -> None:
        """Out of all departments but one, and into that, in one change."""
        person, to = self.random.choice([*self._people]), self._department()
        if to is None:
            return
        groups = [name for name, one in self._groups.items() if _is_below(one.dn)]
        for group in groups:
            self._groups[group].members.discard(person)
        self._groups[to].members.add(person)
        self._tell(*groups)

    def move_in_two(self) -> None:
        """The same in two changes, in either order, now and then with hours in between."""
        person, to = self.random.choice([*self._people]), self._department()
        if to is None:
            return
        old = [name for name, one in self._groups.items() if _is_below(one.dn) and person in one.members - {to}]
        for joins in self.random.sample((True, False), 2):
            for group in old if not joins else ():
                self._groups[group].members.discard(person)
            if joins:
                self._groups[to].members.add(person)
            self._tell(*([to] if joins else old))
            if self.random.random() < 0.5:
                self._pass(self.random.randrange(30 * HOUR_MS))

    def nest(self) -> None:
        """A group is put into another, or taken out; circles happen."""
        outer, inner = self.random.choice([*self._groups]), self.random.choice([*self._groups])
        if outer != inner:
            self._groups[outer].members ^= {inner}
            self._tell(outer)

    def wait(self) -> None:
        """To a window's end, to the millisecond; or for hours or days."""
        ends = [
            leave.at_ms + days + beside - self.clock.now_ms()
            for leave in self.models[0].left.values()
            for days in leave.overlaps_ms
            if days is not None
            for beside in (-1, 0, 1)
        ]
        ahead = [elapsed for elapsed in ends if elapsed > 0]
        if ahead and self.random.random() < 0.6:
            self._pass(min(ahead) if self.random.random() < 0.5 else self.random.choice(ahead))
        else:
            self._pass(self.random.choice((HOUR_MS, 11 * HOUR_MS, DAY_MS, 3 * DAY_MS)))

    def _pass(self, elapsed_ms: int) -> None:
        """Let time pass; the service looks twice a second, or did not run and starts."""
        self.clock.pass_ms(elapsed_ms)
        if self.random.random() < 0.2:
            self._start(self._overlap_ms)
        else:
            self._copy.look()

    def disable(self) -> None:
        able = [name for name, one in self._people.items() if one.able]
        if len(able) > 4:
            name = self.random.choice(able)
            self._people[name].able = False
            self._tell(name)

    def enable(self) -> None:
        for name, one in self._people.items():
            if not one.able:
                one.able = True
                self._tell(name)
                return

    def remove_person(self) -> None:
        """With the groups they were in, or without: then whoever is gone is in none all the same."""
        if len(self._people) > 4:
            name = self.random.choice([*self._people])
            self._gone.append(name)
            touched = self._drop(name)
            self._tell(*(touched if self.random.random() < 0.5 else ()), removed=(name,))

    def _drop(self, name: str) -> list[str]:
        """Take out what is gone; return the groups that named it."""
        (self._people if name in self._people else self._groups).pop(name)
        touched = [group for group, one in self._groups.items() if name in one.members]
        for group in touched:
            self._groups[group].members.discard(name)
        return touched

    def replace_person(self) -> None:
        """Somebody else under the name of who is gone inherits nothing, no window either."""
        if len(self._people) < 5:
            return
        old = self.random.choice([*self._people])
        dn = self._people[old].dn
        self._tell(*self._drop(old), removed=(old,))
        new = self._new_person()
        self._people[new].dn = dn
        self._tell(new)

    def bring_back(self) -> None:
        if self._gone:
            name = self._gone.pop()
            self._number += 1
            self._people[name] = Entry(f"uid={name}-{self._number}")
            self._tell(name)

    def hire(self) -> None:
        if len(self._people) < 9:
            new = self._new_person()
            groups = self.random.sample([*self._groups], 2)
            for group in groups:
                self._groups[group].members.add(new)
            self._tell(*self.random.sample([new, *groups], 3))

    def rename_person(self) -> None:
        """In one change with the groups that name them, or the person first; who they are does not change."""
        name = self.random.choice([*self._people])
        self._number += 1
        self._people[name].dn = f"uid=renamed{self._number}"
        self._tell_renamed(name)

    def rename_group(self) -> None:
        """Department groups stay department groups, others stay others."""
        name = self.random.choice([one for one in self._groups if one != "at"])
        self._number += 1
        places = BELOW if _is_below(self._groups[name].dn) else OUTSIDE
        self._groups[name].dn = self.random.choice(places).format(f"{name}-{self._number}")
        self._tell_renamed(name)

    def place_group(self) -> None:
        """A group becomes a department group, or is none any more."""
        name = self.random.choice([one for one in self._groups if one != "at"])
        self._number += 1
        places = OUTSIDE if _is_below(self._groups[name].dn) else BELOW
        self._groups[name].dn = self.random.choice(places).format(f"{name}-{self._number}")
        self._tell_renamed(name)

    def _tell_renamed(self, name: str) -> None:
        touched = [group for group, one in self._groups.items() if name in one.members]
        if self.random.random() < 0.5:
            # Who names them under the old name is heard of a moment later; nobody asks in between.
            tell(self._copy, self._entry(name))
        self._tell(name, *touched)

    def remove_group(self) -> None:
        names = [one for one in self._groups if one != "at"]
        if len(names) > 4:
            name = self.random.choice(names)
            self._tell(*self._drop(name), removed=(name,))

    def found_group(self) -> None:
        if len(self._groups) < 9:
            name = self._new_group(self.random.choice((BELOW, OUTSIDE)))
            self._groups[name].members |= set(self.random.sample([*self._people], 2))
            self._tell(name)

    def restart(self) -> None:
        self._start(self._overlap_ms)

    def restart_otherwise(self) -> None:
        """With a longer or shorter window, or with none."""
        self._start(self.random.choice((DAY_MS, 2 * DAY_MS, 14 * DAY_MS, None)))

    def read_everything(self) -> None:
        """A full read names everything anew, and may find somebody moved."""
        person, group = self.random.choice([*self._people]), self.random.choice([*self._groups])
        self._groups[group].members ^= {person}
        names = [*self._people, *self._groups]
        self._tell(*self.random.sample(names, len(names)), complete=True)

    def end_a_window(self) -> None:
        counting = self._counting()
        if counting:
            mover = self.random.choice(counting)
            end_window(self._engine, mover.window.number, "somebody")
            self._copy.look()
            for model in self.models:
                if (mover.login, mover.group) in model.left:
                    model.end(str(mover.login), mover.group)

    def contradictions(self, model: Model) -> list[str]:
        """Return where the stored groups, or the list of movers, are not what a model says."""
        stored, now_ms = effective_groups(self._engine), self.clock.now_ms()
        wrong = [] if set(stored) == model.seen.people else [f"present are {sorted(stored)}"]
        for person in sorted(model.seen.people & set(stored)):
            must, may = (model.groups(person, now_ms, surely=surely) for surely in (True, False))
            if not must <= stored[person] <= may:
                wrong.append(f"{person} is in {sorted(stored[person])}, not in {sorted(must)} to {sorted(may)}")
        return wrong + self._contradictions_of_the_list(model, now_ms)

    def _contradictions_of_the_list(self, model: Model, now_ms: int) -> list[str]:
        listed = {(mover.login, mover.group): mover.window.until_ms for mover in self._counting() if mover.login}
        must, may = (
            {
                (person, group): until_ms
                for person in model.seen.people
                for group, until_ms in model.counts(person, now_ms, surely=surely).items()
            }
            for surely in (True, False)
        )
        self.counted += len(must) if model is self.models[0] else 0
        wrong = [f"{one} is not listed" for one in must.keys() - listed.keys()]
        wrong += [f"{one} is listed" for one in listed.keys() - may.keys()]
        both = listed.keys() & may.keys()
        return wrong + [
            f"{one} is listed until {listed[one]}, not {may[one]}"
            for one in both
            if not must.get(one, now_ms + 1) <= listed[one] <= may[one]
        ]

    def _counting(self) -> list[Mover]:
        return [mover for mover in list_movers(self._engine) if mover.window.counts]


def _is_below(dn: str) -> bool:
    return dn == DEPARTMENTS or dn.endswith(f",{DEPARTMENTS}")


@pytest.mark.parametrize("seed", range(STORIES))
def test_movers_count_where_the_model_says(databases: Databases, seed: int) -> None:
    """After every step, on both databases: the groups that are stored, and the list that administrators see."""
    story = Story(databases.state, seed, [Model()])
    told: list[str] = []
    for _ in range(STEPS):
        told.append(story.step())
        assert story.contradictions(story.models[0]) == [], f"after {told[-6:]}"
    assert story.counted > 0


def test_the_stories_are_worth_telling(migrated_files: Path, tmp_path: Path) -> None:
    """Whoever gets one rule wrong is found out; else nothing is proved."""
    believed = set(WRONG_MODELS)
    deeds: Counter[str] = Counter()
    for seed in range(1_000, 1_000 + MOST_STORIES):
        folder = tmp_path / str(seed)
        shutil.copytree(migrated_files, folder)
        opened = open_databases(f"sqlite:///{folder}")
        story = Story(opened.state, seed, [Model(), *(kind() for kind in WRONG_MODELS)])
        for _ in range(STEPS):
            story.step()
            found = {
                type(model) for model in story.models[1:] if type(model) in believed and story.contradictions(model)
            }
            assert story.contradictions(story.models[0]) == []
            believed -= found
        deeds += story.deeds
        opened.close()
        if not believed:
            break
    assert sorted(kind.__name__ for kind in believed) == []
    assert len(deeds) == 21
