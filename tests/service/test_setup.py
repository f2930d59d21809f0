# SPDX-License-Identifier: EUPL-1.2
"""Setting up the access model: all or nothing, and each contradiction is said."""

import pytest
import sqlalchemy as sa
from service.directory import group, open_copy, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.access import store
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
from cardservice.database import Databases
from cardservice.errors import Conflict, NotFound
from cardservice.people.rules import DirectoryGroup, DirectoryPerson

ZONE, KIND = ZoneSetup("hall", "Hall"), PointClassSetup("plain", "Plain")
POINT = PointSetup("door", "Door", "hall", "plain")


@pytest.fixture(autouse=True)
def people(databases: Databases, clock: FakeClock) -> None:
    copy = open_copy(databases.state, clock)
    tell(copy, someone("anna"), group("office", "anna"), someone("gone"), group("old"))
    tell(copy, removed=("gone", "old"))


def stored(databases: Databases) -> dict[str, int]:
    tables = (store.zone, store.schedule, store.point_class, store.point, store.access_rule)
    with databases.state.connect() as connection:
        return {
            table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables
        }


def test_a_setup_is_stored_with_one_change(databases: Databases) -> None:
    with databases.state.connect() as connection:
        before = changes.latest(connection)
    schedule = ScheduleSetup("hours", "Hours", (Interval(0, 0, 1440),), "NW")
    rules = [RuleSetup(group="office", point="door", schedule="hours"), RuleSetup(login="anna", zone="hall")]
    apply(databases.state, 1, AccessSetup([ZONE], [schedule], [KIND], [POINT], rules))
    assert stored(databases) == {"zone": 1, "schedule": 1, "point_class": 1, "point": 1, "access_rule": 2}
    with databases.state.connect() as connection:
        assert [change.kind for change in changes.since(connection, before)] == ["access"]


MISSING = [
    ({"zones": [ZoneSetup("room", "Room", "nowhere")]}, "there is no zone 'nowhere'"),
    ({"points": [PointSetup("gate", "Gate", "nowhere", "plain")]}, "there is no zone 'nowhere'"),
    ({"points": [PointSetup("gate", "Gate", "hall", "fancy")]}, "there is no point class 'fancy'"),
    ({"rules": [RuleSetup(group="nobody", point="door")]}, "there is no directory group 'nobody'"),
    ({"rules": [RuleSetup(group="old", point="door")]}, "there is no directory group 'old'"),
    ({"rules": [RuleSetup(login="nobody", point="door")]}, "there is no person 'nobody'"),
    ({"rules": [RuleSetup(login="gone", point="door")]}, "there is no person 'gone'"),
    ({"rules": [RuleSetup(group="office", point="gate")]}, "there is no point 'gate'"),
    ({"rules": [RuleSetup(group="office", point="door", schedule="never")]}, "there is no schedule 'never'"),
]


def test_a_name_that_does_not_exist_is_named(databases: Databases) -> None:
    """All or nothing: what came before it is not stored either."""
    before = stored(databases)
    for wrong, message in MISSING:
        with pytest.raises(NotFound, match=message):
            apply(databases.state, 1, _with(wrong))
    assert stored(databases) == before


CONTRADICTING = [
    {"zones": [ZONE, ZONE]},
    {"points": [POINT, POINT]},
    {"schedules": [ScheduleSetup("s", "S", (Interval(8, 0, 1),))]},
    {"schedules": [ScheduleSetup("s", "S", (Interval(0, 60, 60),))]},
    {"schedules": [ScheduleSetup("s", "S", (Interval(0, -1, 60),))]},
    {"schedules": [ScheduleSetup("s", "S", (Interval(0, 0, 1441),))]},
    {"schedules": [ScheduleSetup("s", "S", (), "XX")]},
    {"schedules": [ScheduleSetup("s", "S", (), "Augsburg")]},
    {"points": [PointSetup("gate", "Gate", "hall", "plain", time_zone="Europe/Nowhere")]},
    {"points": [PointSetup("gate", "Gate", "hall", "plain", time_zone="../../etc/passwd")]},
    {"points": [PointSetup("gate", "Gate", "hall", "plain", time_zone="")]},
    {"point_classes": [KIND, PointClassSetup("odd", "Odd", stale_policy="perhaps")]},
    {"point_classes": [KIND, PointClassSetup("odd", "Odd", journal_mode="some")]},
    {"rules": [RuleSetup(point="door")]},
    {"rules": [RuleSetup(group="office", login="anna", point="door")]},
    {"rules": [RuleSetup(group="office")]},
    {"rules": [RuleSetup(group="office", point="door", zone="hall")]},
    {"rules": [RuleSetup(group="office", point="door", effect="maybe")]},
]


def test_what_contradicts_is_refused_whole(databases: Databases) -> None:
    before = stored(databases)
    for wrong in CONTRADICTING:
        with pytest.raises(Conflict):
            apply(databases.state, 1, _with(wrong))
        assert stored(databases) == before, wrong


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgres"], indirect=True)
def test_a_text_too_long_is_refused(databases: Databases) -> None:
    """SQLite does not limit the length of a text; PostgreSQL does, and says so as a contradiction, not as a crash."""
    with pytest.raises(Conflict, match="too long"):
        apply(databases.state, 1, AccessSetup([ZoneSetup("x" * 65, "Long")]))


def test_a_name_that_two_have_is_nobodys(databases: Databases, clock: FakeClock) -> None:
    """A grant by name must not fall to whichever of two the database finds first."""
    copy = open_copy(databases.state, clock)
    namesake = DirectoryPerson("anna-2", "uid=anna-2", "Anna", enabled=True, login="anna")
    tell(copy, namesake, DirectoryGroup("office-2", "cn=office-2", "office", frozenset()))
    for rule in (RuleSetup(group="office", point="door"), RuleSetup(login="anna", point="door")):
        with pytest.raises(Conflict, match="more than one"):
            apply(databases.state, 1, _with({"rules": [rule]}))
    tell(copy, removed=("anna-2", "office-2"))
    rules = [RuleSetup(group="office", point="door"), RuleSetup(login="anna", zone="hall")]
    apply(databases.state, 1, _with({"rules": rules}))


def _with(parts: dict[str, object]) -> AccessSetup:
    return AccessSetup(**({"zones": [ZONE], "point_classes": [KIND], "points": [POINT]} | parts))
