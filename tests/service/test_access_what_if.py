# SPDX-License-Identifier: EUPL-1.2
"""What a change of the access model would do to whom: as `decide` answers before and after, and nothing is stored."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
import sqlalchemy as sa
from service.directory import group, open_copy, someone, tell
from service.facts import DAY_MS
from service.fake_clock import FakeClock
from service.random_access import OPTION_RULES
from service.random_city import RandomCity

from cardservice.access.city import PointCompiler, people_named_directly
from cardservice.access.plan.effects import Count, Effect
from cardservice.access.plan.service import Plans
from cardservice.access.plan.text import write_model
from cardservice.access.rules import CardRecord, HouseRules, Level, PointRecord, Tap, Use, decide
from cardservice.access.schedules import Interval
from cardservice.access.setup import (
    AccessSetup,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    ZoneSetup,
    apply,
)
from cardservice.database import Databases, read
from cardservice.errors import Conflict, NotFound
from cardservice.people.store import person

MODEL = AccessSetup(
    zones=[ZoneSetup("house", "Haus")],
    # Saturdays; the clock begins on a Monday.
    schedules=[ScheduleSetup("saturday", "Samstag", (Interval(5, 480, 600),))],
    point_classes=[PointClassSetup("plain", "Innentür"), PointClassSetup("vault", "Tresor", level=Level.CARD_PIN)],
    points=[PointSetup("door", "Tür", "house", "plain"), PointSetup("gate", "Tor", "house", "plain")],
    rules=[RuleSetup(group="office", zone="house")],
)


@dataclass(frozen=True)
class Everybody:
    """A state in which every person has a card whose credential is their row number."""

    points: Mapping[str, PointRecord]
    subjects: Mapping[int, tuple[int, ...]]

    def card(self, credential: bytes) -> CardRecord:
        row = int(credential)
        return CardRecord(None, None, self.subjects[row], row, 1)

    def point(self, code: str) -> PointRecord | None:
        return self.points.get(code)

    def passing(self, at_ms: int, codes: set[str]) -> set[tuple[int, str]]:
        """Return who passes where; a second person is there, and everything is proved."""
        return {
            (row, code)
            for row in self.subjects
            for code in codes
            if decide(self, Tap(code, str(row).encode(), Level.CARD_PIN, -1), at_ms, 0).permit
        }


def everybody(databases: Databases, clock: FakeClock) -> Everybody:
    with read(databases.state) as connection:
        compiled = PointCompiler(connection, clock.now_ms(), HouseRules()).points(connection)
        direct = people_named_directly(connection)
        rows = connection.execute(sa.select(person).where(person.c.present, person.c.enabled)).all()
    calm = {code: replace(one, lockdown=None, freshness_ms=1) for code, one in compiled.items()}
    own = {row.id: ((-row.id,) if row.id in direct else ()) for row in rows}
    return Everybody(calm, {row.id: (*json.loads(row.groups), *own[row.id]) for row in rows})


def edges(points: Iterator[PointRecord], from_ms: int) -> list[int]:
    found = {from_ms}
    for point in points:
        for entry in (*point.timed, *point.blocks, *point.timed_levels):
            found |= {at_ms for at_ms in entry.toggles if from_ms < at_ms < from_ms + 7 * DAY_MS}
    return sorted(found)


@pytest.fixture
def plans(databases: Databases, clock: FakeClock) -> Plans:
    return Plans(databases.state, clock, OPTION_RULES)


@pytest.fixture
def small(databases: Databases, clock: FakeClock) -> AccessSetup:
    """Anna is in the office; ben is a guest; the guests' group is in nothing; eva is disabled."""
    copy = open_copy(databases.state, clock)
    tell(copy, someone("anna"), someone("ben"), someone("cem"), someone("eva", enabled=False))
    tell(copy, group("office", "anna", "eva"), group("guests", "ben", "cem"))
    apply(databases.state, 1, MODEL)
    return MODEL


@pytest.mark.parametrize("seed", range(4))
def test_it_says_what_decide_would_answer(databases: Databases, clock: FakeClock, plans: Plans, seed: int) -> None:
    """Of a random city before and after random changes: exactly those gain and lose whom `decide` answers otherwise."""
    world = RandomCity(databases.state, clock, seed)
    world.populate()
    wanted, after = plans.export(), everybody(databases, clock)
    for _ in range(3):
        for deed in (world.add_rule, world.add_rule, world.add_schedule, world.drop_rule, world.add_demand):
            deed()
    world.add_point()
    before = everybody(databases, clock)
    stored = plans.export()
    gains: set[tuple[int, str]] = set()
    loses: set[tuple[int, str]] = set()
    codes = before.points.keys() | after.points.keys()
    subjects = before.subjects.keys() & after.subjects.keys()
    # Who is named by no rule has no number of their own: what is not there is never asked.
    both = {row: tuple({*before.subjects[row], *after.subjects[row]}) for row in subjects}
    for at_ms in edges(iter([*before.points.values(), *after.points.values()]), clock.now_ms()):
        was, will = (Everybody(side.points, both).passing(at_ms, set(codes)) for side in (before, after))
        gains |= will - was
        loses |= was - will
    assert gains | loses
    outlook = plans.what_if(wanted.encode(), listed=10_000)
    assert plans.export() == stored
    told = {effect: {(one.login, one.point) for one in outlook.listed if one.effect is effect} for effect in Effect}
    with read(databases.state) as connection:
        logins = {row.id: row.login for row in connection.execute(sa.select(person.c.id, person.c.login))}
    assert told[Effect.GAINS] == {(logins[row], code) for row, code in gains}
    assert told[Effect.LOSES] == {(logins[row], code) for row, code in loses}
    for effect, pairs in ((Effect.GAINS, gains), (Effect.LOSES, loses)):
        assert outlook.effects.count(effect) == Count(len({row for row, _ in pairs}), len(pairs))


def test_people_and_pairs_are_counted_and_nothing_is_stored(
    databases: Databases, plans: Plans, small: AccessSetup
) -> None:
    """The office loses one door of two and needs a PIN at the other; guests gain on Saturdays."""
    door, gate = small.points
    wanted = replace(
        small,
        points=[door, replace(gate, point_class="vault")],
        rules=[RuleSetup(group="office", point="gate"), RuleSetup(group="guests", use=Use.DOOR, schedule="saturday")],
    )
    before = plans.export()
    outlook = plans.what_if(write_model(wanted).encode(), listed=3)
    counts = {effect: outlook.effects.count(effect) for effect in Effect}
    assert counts == {
        Effect.GAINS: Count(2, 4),
        Effect.LOSES: Count(1, 1),
        Effect.NEEDS_MORE: Count(1, 1),
        Effect.NEEDS_LESS: Count(0, 0),
    }
    assert [(one.effect, one.point, one.login) for one in outlook.listed] == [
        (Effect.GAINS, "door", "ben"),
        (Effect.GAINS, "door", "cem"),
        (Effect.LOSES, "door", "anna"),
    ]
    assert plans.export() == before
    assert plans.preview(write_model(wanted).encode()).differences == outlook.differences


def test_a_model_that_could_not_be_stored_is_refused(plans: Plans, small: AccessSetup) -> None:
    wanted = replace(small, rules=[RuleSetup(group="nobody", zone="house")])
    with pytest.raises(NotFound, match="there is no directory group 'nobody'"):
        plans.what_if(write_model(wanted).encode())


def memberships(*tables: str) -> bytes:
    return "\n".join(["format = 1", *(f"[[membership]]\n{table}" for table in tables)]).encode()


def test_somebody_who_joins_or_leaves_a_group(databases: Databases, plans: Plans, small: AccessSetup) -> None:
    """Without a model in the file it stays as it is; memberships of groups in groups count."""
    joins = 'group = "office"\nlogin = "ben"\nchange = "joins"'
    leaves = 'group = "office"\nlogin = "anna"\nchange = "leaves"'
    outlook = plans.what_if(memberships(joins, leaves), listed=10)
    assert {(one.effect, one.login) for one in outlook.listed} == {(Effect.GAINS, "ben"), (Effect.LOSES, "anna")}
    assert outlook.effects.count(Effect.GAINS) == Count(1, 2)
    nested = plans.what_if(memberships('group = "office"\nmember_group = "guests"\nchange = "joins"'))
    assert nested.effects.count(Effect.GAINS) == Count(2, 4)
    assert nested.effects.count(Effect.LOSES) == Count(0, 0)


@pytest.mark.parametrize(
    ("table", "error", "says"),
    [
        ('group = "office"\nlogin = "nobody"\nchange = "joins"', NotFound, "of this login"),
        ('group = "none"\nlogin = "ben"\nchange = "joins"', NotFound, "called 'none'"),
        ('group = "office"\nlogin = "ben"\nchange = "visits"', Conflict, "one of joins, leaves"),
    ],
)
def test_a_membership_that_cannot_be_is_refused(
    plans: Plans, small: AccessSetup, table: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plans.what_if(memberships(table))
