# SPDX-License-Identifier: EUPL-1.2
"""A random city, kept twice: in the database through the service's own use cases, and as plain facts."""

from collections.abc import Callable

import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell
from service.facts import Card, Person
from service.fake_clock import FakeClock
from service.random_access import RandomAccess
from sqlalchemy.engine import Engine

from cardservice.cards import service as cards
from cardservice.cards.rules import REVOCATION_REASONS, SUSPENSION_REASONS, TRANSITIONS, CardState
from cardservice.database import write
from cardservice.people.outsiders.service import Outsiders, Who, Wish
from cardservice.people.rules import NO_KNOWN_END_MS, DirectoryGroup
from cardservice.people.store import person

CLERK = Who("clerk")


class RandomCity(RandomAccess):
    """Does the same thing to the database and to the facts."""

    def __init__(self, engine: Engine, clock: FakeClock, seed: int) -> None:
        super().__init__(engine, clock, seed)
        self._copy = open_copy(engine, clock)
        self._references: dict[bytes, str] = {}
        self._desk = Outsiders(engine, clock)

    def populate(self) -> None:
        """Fill an empty city."""
        first = (
            (8, self.add_person),
            (5, self.set_group),
            (1, self.add_outsider),
            (4, self.add_zone),
            (3, self.add_special_days),
        )
        then = ((3, self.add_schedule), (3, self.add_class), (5, self.add_point), (12, self.add_card))
        for number, deed in (*first, *then, (2, self.suspend), (10, self.add_rule)):
            for _ in range(number):
                deed()
        for _ in range(self.random.choice((0, 0, 1, 2))):
            self.begin_lockdown()
            self.begin_door_lockdown()

    def change_something(self) -> str:
        """Do one random thing; return what."""
        often: list[Callable[[], None]] = [self.set_group, self.alter_person, self.add_rule, self.change_state]
        often += [self.begin_lockdown, self.end_lockdown, self.begin_door_lockdown, self.end_door_lockdown]
        often += [self.lock_out, self.suspend]
        seldom = [self.add_person, self.add_card, self.add_point, self.add_class, self.add_schedule, self.add_zone]
        seldom += [
            self.add_special_days,
            self.change_special_days,
            self.set_zone_level,
            self.set_exception,
            self.add_outsider,
        ]
        seldom += [self.alter_outsider, self.limit_sponsor]
        others = [self.remove_person, self.remove_group, self.drop_rule, self.add_demand, self.drop_demands]
        deed = self.random.choice([*often, *often, *seldom, *others])
        deed()
        return deed.__name__

    def add_person(self) -> None:
        self._store_person(self._new("p"))

    def alter_person(self) -> None:
        """Change somebody, or bring back somebody who had left."""
        self._store_person(self.random.choice(self._of_the_directory()))

    def _of_the_directory(self) -> list[str]:
        return [name for name, person in self.facts.people.items() if person.sponsor is None]

    def _its_groups(self) -> list[str]:
        """Name the directory's groups: no group of the service's own is in one of them."""
        return [name for name in self.facts.groups if name not in self._own_groups]

    def add_outsider(self) -> None:
        """Somebody of the directory answers for somebody who is in none."""
        wish = self._outsider_wish()
        if wish is None:
            return
        name, number = self._new("o"), int(self._desk.add(wish, CLERK)["person"])
        # The facts name everybody by one word: so does the store, though nobody signs in with it.
        with write(self._engine) as connection:
            connection.execute(sa.update(person).where(person.c.id == number).values(stable_id=name, login=name))
        self._note_outsider(name, wish)

    def alter_outsider(self) -> None:
        """Give somebody another sponsor, time and groups."""
        outsiders = [name for name, one in self.facts.people.items() if one.sponsor is not None]
        wish = self._outsider_wish()
        if not outsiders or wish is None:
            return
        name = self.random.choice(outsiders)
        self._desk.change(row_numbers(self._engine)[name], wish, CLERK)
        self._note_outsider(name, wish)

    def limit_sponsor(self) -> None:
        """Disable somebody who answers for others, or give them an end; what happens to them later may undo that."""
        sponsors = {one.sponsor for one in self.facts.people.values() if one.sponsor is not None}
        present = sorted(name for name in sponsors if self.facts.people[name].present)
        if present:
            name = self.random.choice(present)
            one = self.facts.people[name]
            if self.random.random() < 0.3:
                one.enabled = False
            else:
                one.from_ms, one.until_ms = None, self._instant(3, 20)
            self._tell(name)

    def _outsider_wish(self) -> Wish | None:
        now_ms, numbers = self._clock.now_ms(), row_numbers(self._engine)
        answering = [name for name in self._of_the_directory() if self._answers(self.facts.people[name], now_ms)]
        if not answering:
            return None
        if not self._own_groups:
            group = self._new("own")
            self._own_groups[group] = int(self._desk.add_group(group)["group"])
            self.facts.groups[group] = set()
        from_ms, until_ms = sorted((self._instant(-30, 0, 3), self._instant(5, 20, 100, 300)))
        groups = self.random.sample(sorted(self._own_groups), self.random.choice((0, 1, 1)))
        self._sponsor, self._joined = self.random.choice(answering), groups
        numbers_of_groups = frozenset(self._own_groups[one] for one in groups)
        return Wish("O", numbers[self._sponsor], until_ms, "-", from_ms=from_ms, groups=numbers_of_groups)

    @staticmethod
    def _answers(one: Person, at_ms: int) -> bool:
        in_time = (one.from_ms is None or at_ms >= one.from_ms) and (one.until_ms is None or at_ms < one.until_ms)
        return one.present and one.enabled and in_time

    def _note_outsider(self, name: str, wish: Wish) -> None:
        self.facts.people[name] = Person(True, True, wish.from_ms, wish.until_ms, sponsor=self._sponsor)
        for group in self._own_groups:
            self.facts.groups[group].discard(("person", name))
            if group in self._joined:
                self.facts.groups[group].add(("person", name))

    def _store_person(self, name: str) -> None:
        from_ms, until_ms = self._bounds() if self.random.random() < 0.3 else (None, None)
        person = Person(self.random.random() < 0.85, True, from_ms, until_ms, self.random.random() < 0.3)
        if person.locked_out:
            person.lock_ends_ms = self.random.choice(
                (None, None, until_ms, *[self._instant(-2, 0, 3, 20, 100, 300)] * 3)
            )
        if name in self.facts.people and not self.facts.people[name].present:
            self._forget_memberships(name)
        self.facts.people[name] = person
        self._tell(name)

    def _tell(self, name: str) -> None:
        """Have the directory say what is a fact of a person."""
        person = self.facts.people[name]
        lock_ends_ms = NO_KNOWN_END_MS if person.lock_ends_ms is None else person.lock_ends_ms
        entry = someone(
            name,
            enabled=person.enabled,
            valid_from_ms=person.from_ms,
            valid_until_ms=person.until_ms,
            locked_until_ms=lock_ends_ms if person.locked_out else None,
        )
        tell(self._copy, entry)

    def lock_out(self) -> None:
        """Somebody who could pass else types wrong passwords, or what that caused is over."""
        people = {name: self.facts.people[name] for name in self._of_the_directory()}
        able = [name for name, person in people.items() if person.present and person.enabled]
        if not able:
            return
        name = self.random.choice(able)
        person = self.facts.people[name]
        person.locked_out = not person.locked_out
        person.lock_ends_ms = self._instant(None, 0, 3, 20, 100, 300) if person.locked_out else None
        self._tell(name)

    def remove_person(self) -> None:
        present = [name for name in self._of_the_directory() if self.facts.people[name].present]
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
        name = self._new("g") if len(self._its_groups()) < 6 else self.random.choice(self._its_groups())
        present = [("person", one) for one in self._of_the_directory() if self.facts.people[one].present]
        nested = [("group", one) for one in self._its_groups()]
        members = set(self.random.sample(present, min(3, len(present))))
        members |= set(self.random.sample(nested, min(self.random.choice((0, 0, 1, 2)), len(nested))))
        self.facts.groups[name] = members
        prefix = {"person": "uid", "group": "cn"}
        dns = frozenset(f"{prefix[kind]}={one}" for kind, one in members)
        tell(self._copy, DirectoryGroup(name, f"cn={name}", name, dns))

    def remove_group(self) -> None:
        """A group that is gone names nobody; that others still list it does not matter."""
        if len(self._its_groups()) < 3:
            return
        name = self.random.choice(self._its_groups())
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
        self._change_state(self.random.choice(list(self.facts.cards)))

    def suspend(self) -> None:
        """Suspend a card until an instant, now and then the one at which its own time begins or ends."""
        active = [one for one in self.facts.cards if self._state_now(one) == "active"]
        if active:
            self._change_state(self.random.choice(active), CardState.SUSPENDED)

    def _change_state(self, credential: bytes, state: CardState | None = None) -> None:
        card, now_ms = self.facts.cards[credential], self._clock.now_ms()
        steps = sorted(to for start, to in TRANSITIONS if start == self._state_now(credential))
        if card.until_ms is not None and card.until_ms <= now_ms:
            steps = [one for one in steps if one is not CardState.ACTIVE]
        if not steps:
            return
        state = state or self.random.choice(steps)
        step = TRANSITIONS[CardState(self._state_now(credential)), state]
        ends_ms = None
        if state is CardState.SUSPENDED:
            own = [at_ms for at_ms in (card.from_ms, card.until_ms) if at_ms is not None and at_ms > now_ms]
            ends_ms = self.random.choice((None, *own, *[self._instant(1, 3, 20, 20, 100)] * 3))
        reasons = {"suspended": SUSPENSION_REASONS, "revoked": REVOCATION_REASONS}.get(state, (None,))
        new = cards.NewState(state, self.random.choice(reasons), ends_ms)
        cards.change_state(self._engine, self._references[credential], new, now_ms)
        card.state, card.suspension_ends_ms = state.value, ends_ms
        if step.retires:
            # Nobody knows the card by this any more.
            del self.facts.cards[credential]

    def _state_now(self, credential: bytes) -> str:
        """Return what a card is now: a suspension that has ended is over."""
        card = self.facts.cards[credential]
        over = card.suspension_ends_ms is not None and card.suspension_ends_ms <= self._clock.now_ms()
        return "active" if over else card.state
