# SPDX-License-Identifier: EUPL-1.2
"""What a review is of, and who answers for what in it, on both databases."""

import pytest
import sqlalchemy as sa
from service.directory import open_copy, tell
from service.fake_clock import FakeClock
from service.review_world import ADMIN, END, KEEP, World

from cardservice import changes
from cardservice.access import setup
from cardservice.access import store as access
from cardservice.access.review.rules import DAY_MS, Wanted
from cardservice.access.review.service import Who
from cardservice.access.review.views import Due
from cardservice.database import Databases, write
from cardservice.errors import Conflict, NotFound


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def test_grants_made_after_the_beginning_are_not_in_the_review(world: World) -> None:
    """Not even one that gets the row number of a grant deleted meanwhile."""
    before = world.begin(zone="town")
    rule = access.access_rule
    with write(world.databases.state) as connection:
        connection.execute(sa.delete(rule).where(rule.c.effect == "block"))
        connection.execute(sa.delete(rule).where(rule.c.id == before["carla"].grant))
        changes.append(connection, "access", [0])
    assert not world.passing()["carla"]
    deleted = f"deleted {before['carla'].item}"
    world.apply(rules=[setup.RuleSetup(login="carla", point="gate")])
    if world.databases.state.dialect.name == "sqlite":
        assert max(world.ends()) == before["carla"].grant
    assert world.states() == {"office": "open", "works": "open", deleted: "deleted"}
    with pytest.raises(Conflict, match="was deleted"):
        world.say(deleted, KEEP)
    assert world.passing(world.deadline_ms) == {"anna": False, "boris": False, "carla": True}
    world.reviews.extend("spring", world.deadline_ms + DAY_MS, ADMIN, reason="holidays")
    world.reviews.abort("spring", ADMIN, reason="wrong zone")
    assert {end for number, end in world.ends().items() if number != before["carla"].grant} == {None}


def test_a_review_is_of_a_zone_with_what_is_inside_or_of_one_group(world: World) -> None:
    assert world.begin("cellar", zone="cellar").keys() == {"office"}
    assert world.begin("works", group="works").keys() == {"works"}
    with pytest.raises(Conflict, match="review cellar waits for some"):
        world.begin("house", zone="house")
    world.say("office", KEEP, code="cellar")
    world.say("works", KEEP, code="works")
    assert world.begin("house", zone="house").keys() == {"office", "works"}
    world.reviews.abort("house", ADMIN, reason="x")
    assert world.begin("all").keys() == {"office", "works", "carla"}


def test_the_nearest_owner_at_the_beginning_answers(world: World) -> None:
    """Of the grant, of its zone, of the nearest zone around; a group that is gone is none; later owners count later."""
    world.own("keepers", zone="house")
    assert {name: item.owner for name, item in world.begin("one").items()} == {
        "office": "keepers",
        "works": "keepers",
        "carla": None,
    }
    world.own("works", zone="cellar")
    world.own("office", zone="town")
    world.own("office", grant=world.items("one")["works"].grant)
    assert world.items("one")["office"].owner == "keepers"
    assert set(world.reviews.list()[0].due) == {Due("keepers", 2), Due(None, 1)}
    world.reviews.abort("one", ADMIN, reason="x")
    owners = {name: item.owner for name, item in world.begin("two").items()}
    assert owners == {"office": "works", "works": "office", "carla": "office"}
    assert world.items("two", owner="office").keys() == {"works", "carla"}
    assert world.items("two", nobodys=True) == {}
    world.reviews.abort("two", ADMIN, reason="x")
    tell(open_copy(world.databases.state, world.clock), removed=("works",))
    world.own(None, zone="town")
    owners = {item.grant: item.owner for item in world.begin("three").values()}
    assert sorted(map(str, owners.values())) == ["None", "keepers", "office"]
    for wrong in ({"zone": "nowhere"}, {"grant": 10**6}, {"grant": max(world.ends())}):
        with pytest.raises(NotFound):
            world.own("office", **wrong)
    for twofold in ({}, {"zone": "town", "grant": 1}):
        with pytest.raises(Conflict, match="a zone or of a grant"):
            world.own("office", **twofold)


def test_a_member_of_the_owner_answers_and_nobody_else_by_name(world: World) -> None:
    """Not for another owner's grants, not for nobody's, and never for a grant of their own."""
    world.own("keepers", zone="town")
    world.own("works", zone="cellar")
    world.begin()
    for login, subject in (("boris", "works"), ("carla", "office"), ("anna", "office")):
        with pytest.raises(Conflict, match="not a member"):
            world.say(subject, KEEP, Who("portal", login))
    with pytest.raises(Conflict, match="grant of their own"):
        world.say("carla", KEEP, Who("portal", "carla"))
    with pytest.raises(NotFound, match="nobody who may answer"):
        world.say("works", KEEP, Who("portal", "nobody"))
    assert world.states() == {"office": "open", "works": "open", "carla": "open"}
    assert world.say("office", KEEP, Who("portal", "boris")).answered_by == "boris"
    assert world.say("works", END, Who("portal", "carla")).answered_by == "carla"


def test_lists_go_on_where_they_stopped(world: World) -> None:
    world.begin("one", zone="cellar")
    world.begin("two", group="works")
    first = world.reviews.list(limit=1)
    assert [one.code for one in (*first, *world.reviews.list(first[0].number))] == ["one", "two"]
    (item,) = world.reviews.items(Wanted(), limit=1)
    assert [one.review for one in world.reviews.items(Wanted(after=item.item))] == ["two"]
