# SPDX-License-Identifier: EUPL-1.2
"""A random city, kept twice: in the database through the service's own use cases, and as plain facts."""

import random
from collections.abc import Callable

import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock
from service.oracle import Card, Facts, Person, Point, PointClass, Rule, Schedule
from sqlalchemy.engine import Engine

from cardservice import changes
from cardservice.access import setup, store
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval
from cardservice.cards import service as cards
from cardservice.cards.rules import ALLOWED, REVOCATION_REASONS, SUSPENSION_REASONS, CardState
from cardservice.database import write
from cardservice.people.rules import DirectoryGroup

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
ZONES_OF_TIME = ("Europe/Berlin", "Europe/Berlin", "Atlantic/Azores", "UTC")
# Minutes around which something happens: midnight, and the hours that are skipped or come twice.
MINUTES = (0, 1, 30, 59, 60, 61, 90, 119, 120, 121, 150, 179, 180, 181, 420, 720, 1080, 1380, 1439, 1440)
USES = ("door", "timeclock")


class RandomCity:
    """Does the same thing to the database and to the facts."""

    def __init__(self, engine: Engine, clock: FakeClock, seed: int) -> None:
        self.facts = Facts()
        self.random = random.Random(seed)
        self._engine = engine
        self._clock = clock
        self._copy = open_copy(engine, clock)
        self._references: dict[bytes, str] = {}
        self._number = 0

    def populate(self) -> None:
        """Fill an empty city."""
        for _ in range(8):
            self.add_person()
        for _ in range(5):
            self.set_group()
        for _ in range(3):
            self.add_zone()
        for _ in range(3):
            self.add_schedule()
        for _ in range(3):
            self.add_class()
        for _ in range(5):
            self.add_point()
        for _ in range(12):
            self.add_card()
        for _ in range(10):
            self.add_rule()

    def change_something(self) -> str:
        """Do one random thing; return what."""
        often: list[Callable[[], None]] = [self.set_group, self.alter_person, self.add_rule, self.change_state]
        seldom = [self.add_person, self.add_card, self.add_point, self.add_class, self.add_schedule, self.add_zone]
        others = [self.remove_person, self.remove_group, self.drop_rule, self.add_class_level]
        deed = self.random.choice([*often, *often, *seldom, *others])
        deed()
        return deed.__name__

    def _new(self, prefix: str) -> str:
        self._number += 1
        return f"{prefix}{self._number}"

    def _bounds(self) -> tuple[int | None, int | None]:
        def bound() -> int | None:
            days = self.random.choice((None, None, -30, 20, 100, 300, 500))
            return None if days is None else self._clock.now_ms() + days * DAY_MS + self.random.randrange(DAY_MS)

        return bound(), bound()

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

    def _apply(self, **parts: object) -> None:
        setup.apply(self._engine, 1, setup.AccessSetup(**{name: [part] for name, part in parts.items()}))

    def add_zone(self) -> None:
        name = self._new("z")
        parent = self.random.choice([None, *self.facts.zones])
        self.facts.zones[name] = parent
        self._apply(zones=setup.ZoneSetup(name, name, parent))

    def add_schedule(self) -> None:
        name = self._new("s")
        intervals = []
        for _ in range(self.random.randrange(1, 9)):
            start, end = sorted(self.random.sample(MINUTES, 2))
            intervals.append((self.random.choice((0, 1, 2, 3, 4, 5, 6, 6, 6, 6, 6, 7)), start, end))
        schedule = Schedule(intervals, self.random.choice((None, "NW", "BY", "BE")))
        self.facts.schedules[name] = schedule
        parts = tuple(Interval(*interval) for interval in intervals)
        self._apply(schedules=setup.ScheduleSetup(name, name, parts, schedule.land))

    def add_class(self) -> None:
        name = self._new("c")
        freshness_ms = self.random.choice((60_000, HOUR_MS))
        kind = PointClass(self.random.choice((1, 3, 4)), freshness_ms, self.random.random() < 0.3)
        self.facts.classes[name] = kind
        policy = "permit" if kind.stale_permits else "deny"
        self._apply(
            point_classes=setup.PointClassSetup(
                name, name, level=Level(kind.level), freshness_ms=freshness_ms, stale_policy=policy
            )
        )
        if self.random.random() < 0.5:
            self.add_class_level()

    def add_class_level(self) -> None:
        name, schedule = self.random.choice(list(self.facts.classes)), self.random.choice(list(self.facts.schedules))
        level = self.random.choice((1, 3, 4))
        self.facts.classes[name].levels.append((schedule, level))
        with write(self._engine) as connection:
            number = sa.select(store.point_class.c.id).where(store.point_class.c.code == name).scalar_subquery()
            other = sa.select(store.schedule.c.id).where(store.schedule.c.code == schedule).scalar_subquery()
            connection.execute(
                sa.insert(store.point_class_level).values(point_class_id=number, schedule_id=other, level=level)
            )
            changes.append(connection, "access", [0])

    def add_point(self) -> None:
        name = self._new("d")
        point = Point(
            self.random.choice(USES),
            self.random.choice(list(self.facts.zones)),
            self.random.choice(list(self.facts.classes)),
            self.random.choice(ZONES_OF_TIME),
        )
        self.facts.points[name] = point
        self._apply(
            points=setup.PointSetup(
                name, name, point.zone, point.point_class, use=Use(point.use), time_zone=point.time_zone
            )
        )

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

    def add_rule(self) -> None:
        present = [("person", name) for name, person in self.facts.people.items() if person.present]
        subject = self.random.choice([("group", name) for name in self.facts.groups] * 2 + present)
        targets = [("point", name) for name in self.facts.points] + [("zone", name) for name in self.facts.zones]
        target = self.random.choice([*targets, ("use", self.random.choice(USES))])
        schedule = self.random.choice([None, *self.facts.schedules])
        effect = self.random.choice(("grant",) * 5 + ("block",))
        bounds = self._bounds() if self.random.random() < 0.4 else (None, None)
        self.facts.rules.append(Rule(effect, subject, target, schedule, *bounds))
        self._apply(
            rules=setup.RuleSetup(
                group=subject[1] if subject[0] == "group" else None,
                login=subject[1] if subject[0] == "person" else None,
                point=target[1] if target[0] == "point" else None,
                zone=target[1] if target[0] == "zone" else None,
                use=Use(target[1]) if target[0] == "use" else None,
                schedule=schedule,
                effect=effect,
                valid_from_ms=bounds[0],
                valid_until_ms=bounds[1],
            )
        )

    def drop_rule(self) -> None:
        """Take back the oldest rule."""
        if not self.facts.rules:
            return
        del self.facts.rules[0]
        with write(self._engine) as connection:
            oldest = connection.execute(sa.select(sa.func.min(store.access_rule.c.id))).scalar_one()
            connection.execute(sa.delete(store.access_rule).where(store.access_rule.c.id == oldest))
            changes.append(connection, "access", [0])
