# SPDX-License-Identifier: EUPL-1.2
"""A random city, kept twice: in the database through the service's own use cases, and as plain facts."""

from collections.abc import Callable

from service.directory import open_copy, row_numbers, someone, tell
from service.facts import Card, Person
from service.fake_clock import FakeClock
from service.random_access import RandomAccess
from sqlalchemy.engine import Engine

from cardservice.cards import service as cards
from cardservice.cards.rules import ALLOWED, REVOCATION_REASONS, SUSPENSION_REASONS, CardState
from cardservice.people.rules import DirectoryGroup


class RandomCity(RandomAccess):
    """Does the same thing to the database and to the facts."""

    def __init__(self, engine: Engine, clock: FakeClock, seed: int) -> None:
        super().__init__(engine, clock, seed)
        self._copy = open_copy(engine, clock)
        self._references: dict[bytes, str] = {}

    def populate(self) -> None:
        """Fill an empty city."""
        first = ((8, self.add_person), (5, self.set_group), (4, self.add_zone), (3, self.add_special_days))
        then = ((3, self.add_schedule), (3, self.add_class), (5, self.add_point), (12, self.add_card))
        for number, deed in (*first, *then, (10, self.add_rule)):
            for _ in range(number):
                deed()
        for _ in range(self.random.choice((0, 0, 1, 2))):
            self.begin_lockdown()

    def change_something(self) -> str:
        """Do one random thing; return what."""
        often: list[Callable[[], None]] = [self.set_group, self.alter_person, self.add_rule, self.change_state]
        often += [self.begin_lockdown, self.end_lockdown]
        seldom = [self.add_person, self.add_card, self.add_point, self.add_class, self.add_schedule, self.add_zone]
        seldom += [self.add_special_days, self.change_special_days, self.set_zone_level, self.set_exception]
        others = [self.remove_person, self.remove_group, self.drop_rule, self.add_demand, self.drop_demands]
        deed = self.random.choice([*often, *often, *seldom, *others])
        deed()
        return deed.__name__

    def add_person(self) -> None:
        self._store_person(self._new("p"))

    def alter_person(self) -> None:
        """Change somebody, or bring back somebody who had left."""
        self._store_person(self.random.choice(list(self.facts.people)))

    def _store_person(self, name: str) -> None:
        from_ms, until_ms = self._bounds() if self.random.random() < 0.3 else (None, None)
        person = Person(self.random.random() < 0.85, True, from_ms, until_ms)
        if name in self.facts.people and not self.facts.people[name].present:
            self._forget_memberships(name)
        self.facts.people[name] = person
        entry = someone(name, enabled=person.enabled, valid_from_ms=from_ms, valid_until_ms=until_ms)
        tell(self._copy, entry)

    def remove_person(self) -> None:
        present = [name for name, person in self.facts.people.items() if person.present]
        if len(present) < 3:
            return
        name = self.random.choice(present)
        tell(self._copy, removed=(name,))
        self.facts.people[name].present = False
        self._forget_memberships(name)

    def _forget_memberships(self, name: str) -> None:
        for members in self.facts.groups.values():
            members.discard(("person", name))

    def set_group(self) -> None:
        """Add a group or give one other members; circles happen."""
        name = self._new("g") if len(self.facts.groups) < 6 else self.random.choice(list(self.facts.groups))
        present = [("person", one) for one, person in self.facts.people.items() if person.present]
        nested = [("group", one) for one in self.facts.groups]
        members = set(self.random.sample(present, min(3, len(present))))
        members |= set(self.random.sample(nested, min(self.random.choice((0, 0, 1, 2)), len(nested))))
        self.facts.groups[name] = members
        prefix = {"person": "uid", "group": "cn"}
        dns = frozenset(f"{prefix[kind]}={one}" for kind, one in members)
        tell(self._copy, DirectoryGroup(name, f"cn={name}", name, dns))

    def remove_group(self) -> None:
        """A group that is gone names nobody; that others still list it does not matter."""
        if len(self.facts.groups) < 3:
            return
        name = self.random.choice(list(self.facts.groups))
        tell(self._copy, removed=(name,))
        del self.facts.groups[name]
        for members in self.facts.groups.values():
            members.discard(("group", name))

    def add_card(self) -> None:
        credential = self._new("key").encode()
        states = ["active"] * 20 + [state.value for state in CardState]
        holder = self.random.choice([None, *list(self.facts.people) * 4])
        from_ms, until_ms = self._bounds() if self.random.random() < 0.2 else (None, None)
        card = Card(self.random.choice(states), holder, from_ms, until_ms)
        self.facts.cards[credential] = card
        number = None if holder is None else row_numbers(self._engine)[holder]
        new = cards.NewCard(1, number, (credential,), CardState(card.state), None, from_ms, until_ms)
        (self._references[credential],) = cards.register(self._engine, [new])

    def change_state(self) -> None:
        credential = self.random.choice(list(self.facts.cards))
        card = self.facts.cards[credential]
        steps = sorted(to for start, to in ALLOWED if start == card.state)
        if not steps:
            return
        state = self.random.choice(steps)
        reasons = {"suspended": SUSPENSION_REASONS, "revoked": REVOCATION_REASONS}.get(state, (None,))
        cards.change_state(self._engine, self._references[credential], state, self.random.choice(reasons))
        card.state = state.value
