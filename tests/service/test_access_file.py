# SPDX-License-Identifier: EUPL-1.2
"""The access model as one file: what was exported and imported again is the same; a change is stored whole or not."""

import tomllib
from dataclasses import replace
from datetime import date

import pytest
import sqlalchemy as sa
from service.directory import group, open_copy, someone, tell
from service.fake_clock import FakeClock
from service.random_access import OPTION_RULES
from service.random_city import RandomCity

from cardservice import changes
from cardservice.access import store
from cardservice.access.plan import words
from cardservice.access.plan.exceptions import point_exceptions
from cardservice.access.plan.rules import in_order
from cardservice.access.plan.service import Plans
from cardservice.access.plan.store import stored_model
from cardservice.access.plan.text import read_model, write_model
from cardservice.access.review.service import NewReview, Reviews, Who
from cardservice.access.rules import Level, Use
from cardservice.access.schedules import Interval
from cardservice.access.service import City
from cardservice.access.setup import (
    AccessSetup,
    LevelException,
    PointClassSetup,
    PointSetup,
    RuleSetup,
    ScheduleSetup,
    SpecialDaysSetup,
    SpecialHours,
    ZoneSetup,
    apply,
)
from cardservice.database import Databases, read, write
from cardservice.errors import Conflict, DatabaseUnavailable, NotFound
from cardservice.people.rules import DirectoryGroup

TABLES = (
    *(store.access_rule, store.level_exception, store.point, store.point_class_level, store.point_class),
    *(store.schedule_special_interval, store.schedule_special, store.schedule_interval, store.schedule),
    *(store.special_day, store.special_day_group, store.door_lockdown, store.zone),
)
DAY = tuple(Interval(day, 420, 1080) for day in range(5))
MODEL = AccessSetup(
    zones=[ZoneSetup("house", "Haus"), ZoneSetup("hall", "Flur", "house", Level.CARD)],
    special_days=[SpecialDaysSetup("closing", "Schließtage", ())],
    schedules=[ScheduleSetup("hours", "Dienstzeit", DAY, "NW", (SpecialHours("closing"),))],
    point_classes=[PointClassSetup("plain", "Innentür")],
    points=[PointSetup("door", "Tür", "hall", "plain"), PointSetup("gate", "Tor", "house", "plain")],
    rules=[RuleSetup(group="office", zone="hall", schedule="hours"), RuleSetup(login="ben", point="gate")],
)


def nowhere(*_: object) -> None:
    """Keep no line."""


@pytest.fixture
def plans(databases: Databases, clock: FakeClock) -> Plans:
    return Plans(databases.state, clock, OPTION_RULES)


@pytest.fixture
def small(databases: Databases, clock: FakeClock) -> AccessSetup:
    """A small city: anna is in the office, ben is not."""
    copy = open_copy(databases.state, clock)
    tell(copy, someone("anna"), someone("ben"), group("office", "anna"), group("guests"))
    apply(databases.state, 1, MODEL)
    return MODEL


def hash_of(databases: Databases, clock: FakeClock) -> str:
    city = City(databases.state, clock)
    city.build()
    return city.snapshot.content_hash()


def emptied(databases: Databases) -> None:
    with write(databases.state) as connection:
        connection.execute(sa.update(store.zone).values(parent_id=None))
        for table in TABLES:
            connection.execute(sa.delete(table))


def stored(databases: Databases) -> AccessSetup:
    with read(databases.state) as connection:
        return in_order(stored_model(connection))


def revision(databases: Databases) -> int:
    with read(databases.state) as connection:
        return changes.latest(connection)


@pytest.mark.parametrize("seed", range(4))
def test_what_was_exported_is_imported_without_a_change(
    databases: Databases, clock: FakeClock, plans: Plans, seed: int
) -> None:
    """And into an empty store it gives the very same city, to the hash of everything compiled, and the same bytes."""
    world = RandomCity(databases.state, clock, seed)
    world.populate()
    for _ in range(15):
        world.change_something()
    exported = plans.export()
    assert read_model(exported.encode()) == stored(databases)
    before = revision(databases)
    assert not any(plans.take_over(exported.encode(), removing=False, keep=nowhere))
    assert revision(databases) == before
    with write(databases.state) as connection:
        connection.execute(sa.delete(store.door_lockdown))
        # A zone's demand may have come after points that cannot give it; a file may not say so.
        connection.execute(sa.update(store.zone).values(level=None))
    exported, compiled = plans.export(), hash_of(databases, clock)
    emptied(databases)
    plans.take_over(exported.encode(), removing=False, keep=nowhere)
    assert plans.export() == exported
    assert hash_of(databases, clock) == compiled
    assert revision(databases) == before + 1


def test_a_file_is_the_same_however_the_model_was_entered(small: AccessSetup) -> None:
    """Order of entry, of hours and of days does not matter; what is read is what was written."""
    turned = replace(small, points=list(reversed(small.points)), rules=list(reversed(small.rules)))
    text = write_model(turned)
    assert text == write_model(small)
    assert read_model(text.encode()) == in_order(small)
    assert list(tomllib.loads(text)) == ["format", "zone", "special_days", "schedule", "point_class", "point", "grant"]


def test_the_difference_alone_is_stored_and_told(databases: Databases, plans: Plans, small: AccessSetup) -> None:
    """A renamed point, other hours, a later grant: row numbers stay, one change for whoever follows, one line kept."""
    night = replace(small.schedules[0], intervals=(*DAY, Interval(6, 0, 1440)))
    gate = replace(small.points[1], name="Südtor", exception=None, options={"escape_route": True})
    block = RuleSetup(group="office", use=Use.DOOR, effect="block", valid_until_ms=1)
    wanted = replace(
        small,
        schedules=[night],
        points=[small.points[0], gate],
        rules=[replace(small.rules[0], schedule=None), small.rules[1], block],
    )
    lines: list[object] = []
    before, numbers = revision(databases), row_numbers(databases)
    found = plans.take_over(write_model(wanted).encode(), removing=False, keep=lines.append)
    assert stored(databases) == in_order(wanted)
    assert revision(databases) == before + 1
    assert row_numbers(databases) == numbers
    assert lines == [{"kind": "model_imported", "added": 1, "changed": 3, "removed": 0}]
    assert list(words.lines(found, 10)) == [
        '~ schedule hours (Dienstzeit): sunday nothing -> ["00:00-24:00"]',
        '~ point gate (Südtor): name "Tor" -> "Südtor"; options nothing -> { escape_route = true }',
        "+ block for 'office' at use door, valid until 1970-01-01T00:00:00.001000Z",
        "~ grant for 'office' at zone hall: schedule \"hours\" -> nothing",
    ]
    assert list(words.lines(found, 1))[1:] == ["... and 3 lines more"]


def row_numbers(databases: Databases) -> dict[str, int]:
    with read(databases.state) as connection:
        points = {row.code: row.id for row in connection.execute(sa.select(store.point))}
        granted = store.access_rule.c.effect == "grant"
        grants = {f"grant {row.id}": row.id for row in connection.execute(sa.select(store.access_rule).where(granted))}
    return points | grants


def test_what_a_file_lacks_goes_only_if_that_is_said(databases: Databases, plans: Plans, small: AccessSetup) -> None:
    """A file that was cut off must not empty the city."""
    rest = replace(small, points=small.points[1:], rules=small.rules[1:], schedules=[], special_days=[])
    content = write_model(rest).encode()
    before = revision(databases)
    missing = "1 x special days, 1 x schedule, 1 x point, 1 x rule"
    with pytest.raises(Conflict, match=f"lacks what is stored: {missing}"):
        plans.take_over(content, removing=False, keep=nowhere)
    assert (stored(databases), revision(databases)) == (in_order(small), before)
    plans.take_over(content, removing=True, keep=nowhere)
    assert stored(databases) == in_order(rest)


def test_a_zone_that_is_locked_down_does_not_go(databases: Databases, plans: Plans, small: AccessSetup) -> None:
    with write(databases.state) as connection:
        number = sa.select(store.zone.c.id).where(store.zone.c.code == "hall").scalar_subquery()
        row = {"zone_id": number, "since_ms": 1, "by": "desk", "reason": "drill"}
        connection.execute(sa.insert(store.door_lockdown).values(row))
    rest = replace(small, zones=small.zones[:1], points=small.points[1:], rules=small.rules[1:])
    with pytest.raises(Conflict, match="zone 'hall' goes, but is locked down"):
        plans.take_over(write_model(rest).encode(), removing=True, keep=nowhere)
    assert stored(databases) == in_order(small)


def test_what_a_changed_zone_or_class_asks_counts_for_points_that_stay(plans: Plans, small: AccessSetup) -> None:
    strict = replace(small, zones=[replace(small.zones[0], level=Level.CARD_PIN), small.zones[1]])
    with pytest.raises(Conflict, match="point door: its class accepts card, but zone house demands card_pin"):
        plans.take_over(write_model(strict).encode(), removing=False, keep=nowhere)
    weak = replace(small, point_classes=[replace(small.point_classes[0], level=Level.UID)])
    with pytest.raises(Conflict, match="point door: its class accepts uid, but zone hall demands card"):
        plans.take_over(write_model(weak).encode(), removing=False, keep=nowhere)


def test_days_that_move_are_checked_in_every_schedule_that_names_them(plans: Plans, small: AccessSetup) -> None:
    holiday = replace(small, special_days=[replace(small.special_days[0], days=(date(2026, 12, 25),))])
    with pytest.raises(Conflict, match="schedule hours: 2026-12-25 is one of closing and a public holiday"):
        plans.take_over(write_model(holiday).encode(), removing=False, keep=nowhere)


def test_names_that_several_have_or_nobody_any_more_are_told_apart(
    databases: Databases, clock: FakeClock, plans: Plans, small: AccessSetup
) -> None:
    """A rule for somebody who left, and one for a namesake, survive export and import."""
    copy = open_copy(databases.state, clock)
    tell(copy, DirectoryGroup("office-2", "cn=office-2", "office", frozenset()), removed=("ben",))
    exported = plans.export()
    assert [rule.subject_id for rule in read_model(exported.encode()).rules] == ["city:ben", "city:office"]
    assert not any(plans.take_over(exported.encode(), removing=False, keep=nowhere))
    without = plans.export().replace('subject_id = "city:office"\n', "")
    with pytest.raises(Conflict, match="more than one directory group 'office'"):
        plans.take_over(without.encode(), removing=False, keep=nowhere)
    unknown = exported.replace("city:office", "city:nobody")
    with pytest.raises(NotFound, match="there is no directory group 'city:nobody'"):
        plans.take_over(unknown.encode(), removing=False, keep=nowhere)


def test_a_line_that_cannot_be_kept_stores_nothing(databases: Databases, plans: Plans, small: AccessSetup) -> None:
    def broken(_: object) -> None:
        raise DatabaseUnavailable("full")

    wanted = replace(small, zones=[replace(small.zones[0], name="Neues Haus"), small.zones[1]])
    with pytest.raises(DatabaseUnavailable):
        plans.take_over(write_model(wanted).encode(), removing=False, keep=broken)
    assert stored(databases) == in_order(small)


def test_exceptions_say_what_is_demanded_instead_of_what(databases: Databases, clock: FakeClock) -> None:
    """Ended ones first, then by their end; where the class is strong enough the exception is needless."""
    open_copy(databases.state, clock)
    now_ms = clock.now_ms()
    ends = {"gone": now_ms, "later": now_ms + 2, "soon": now_ms + 1}
    points = [
        PointSetup(code, code, "hall", "strong" if code == "soon" else "weak", exception=LevelException(at, "Umbau"))
        for code, at in ends.items()
    ]
    kinds = [PointClassSetup("weak", "Weak", level=Level.UID), PointClassSetup("strong", "Strong")]
    apply(databases.state, 1, AccessSetup(zones=MODEL.zones, point_classes=kinds, points=points))
    found = point_exceptions(databases.state, now_ms)
    assert [(one.point, one.ended, one.needless) for one in found] == [
        ("gone", True, False),
        ("soon", False, True),
        ("later", False, False),
    ]
    assert [words.exception_line(one) for one in found] == [
        "gone (gone): ended 2026-03-16T09:00:00Z; demanded uid instead of card as zone Flur does; Umbau",
        "soon (soon): until 2026-03-16T09:00:00.001000Z; needless: its class demands no less than its zones; Umbau",
        "later (later): until 2026-03-16T09:00:00.002000Z; demands uid instead of card as zone Flur does; Umbau",
    ]


@pytest.mark.usefixtures("small")
def test_a_file_from_before_a_review_takes_no_grant_out_of_it(
    databases: Databases, clock: FakeClock, plans: Plans
) -> None:
    """An old export would give back silently what only an answer may; one made since is taken over."""
    before = plans.export().encode()
    reviews = Reviews(databases.state, clock, nowhere, lambda: None)
    reviews.begin(NewReview("spring", "Frühjahr", clock.now_ms() + 30 * 86_400_000), Who("the desk"))
    since = plans.export().encode()
    assert before != since
    for wrong in (before, before.replace(b'schedule = "hours"\n', b"")):
        with pytest.raises(Conflict, match="review spring waits"):
            plans.take_over(wrong, removing=True, keep=nowhere)
    assert plans.take_over(since, removing=False, keep=nowhere) is not None
    assert plans.export().encode() == since
