# SPDX-License-Identifier: EUPL-1.2
"""Options of doors and lockdowns: checked when they are stored, compiled into the city, decided by."""

import pytest
import sqlalchemy as sa
from service.directory import group, open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.access import setup, store
from cardservice.access.rules import Level, Reason, Tap, Use, decide
from cardservice.access.service import City
from cardservice.cards import service as cards
from cardservice.database import Databases, write
from cardservice.doors import store as doors
from cardservice.doors.rules import check_options
from cardservice.errors import Conflict

KEY = b"\x01anna's card"
RULES = {Use.DOOR: check_options}


class World:
    """A house with two floors; Anna may pass every point in it."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.databases, self.clock = databases, clock
        tell(open_copy(databases.state, clock), someone("anna"), group("office", "anna"))
        floors = [setup.ZoneSetup("house", "House"), *(setup.ZoneSetup(n, n, "house") for n in ("first", "second"))]
        self.apply(
            zones=floors,
            point_classes=[setup.PointClassSetup("plain", "Plain")],
            points=[
                setup.PointSetup("door-1", "Door 1", "first", "plain"),
                setup.PointSetup("door-2", "Door 2", "second", "plain", options={"held_open_ms": 5_000}),
                setup.PointSetup("escape", "Escape", "first", "plain", options={"escape_route": True}),
                setup.PointSetup("clock", "Clock", "first", "plain", use=Use.TIMECLOCK),
            ],
            rules=[setup.RuleSetup(group="office", zone="house")],
        )
        cards.register(databases.state, [cards.NewCard(1, row_numbers(databases.state)["anna"], (KEY,))])
        self.city = City(databases.state, clock)
        self.city.build()

    def apply(self, **parts: object) -> None:
        setup.apply(self.databases.state, 1, setup.AccessSetup(**parts), RULES)

    def lock_down(self, zone: str) -> bool:
        with write(self.databases.state) as connection:
            row = {"zone_id": doors.zone_number(connection, zone), "since_ms": 1, "by": "desk", "reason": "drill"}
            begun = doors.begin_lockdown(connection, row)
            changes.append(connection, "access", [0])
        return begun

    def end(self, zone: str) -> bool:
        with write(self.databases.state) as connection:
            ended = doors.end_lockdown(connection, doors.zone_number(connection, zone) or 0)
            changes.append(connection, "access", [0])
        return ended

    def lock_door(self, code: str) -> bool:
        with write(self.databases.state) as connection:
            row = {"point_id": doors.door_number(connection, code), "since_ms": 1, "by": "desk", "reason": "drill"}
            begun = doors.begin_lockdown(connection, row)
            changes.append(connection, "access", [0])
        return begun

    def end_at_door(self, code: str) -> bool:
        with write(self.databases.state) as connection:
            ended = doors.end_door_lockdown(connection, doors.door_number(connection, code))
            changes.append(connection, "access", [0])
        return ended

    def shut(self) -> set[str]:
        """Catch up; return the points at which Anna is refused because of a lockdown."""
        self.city.catch_up()
        anew = City(self.databases.state, self.clock)
        anew.build()
        assert dict(anew.snapshot.points) == dict(self.city.snapshot.points)
        snapshot, now_ms = self.city.snapshot, self.clock.now_ms()
        answers = {code: decide(snapshot, Tap(code, KEY, Level.CARD), now_ms, 0).reason for code in snapshot.points}
        assert set(answers.values()) <= {Reason.GRANTED, Reason.LOCKED_DOWN}
        return {code for code, reason in answers.items() if reason is Reason.LOCKED_DOWN}


@pytest.fixture
def world(databases: Databases, clock: FakeClock) -> World:
    return World(databases, clock)


def test_a_lockdown_shuts_the_doors_of_its_zone_and_those_inside(world: World) -> None:
    """Doors only, escape routes never; each lockdown ends by itself, whatever else stands."""
    assert world.shut() == set()
    assert world.lock_down("first")
    assert world.shut() == {"door-1"}
    assert not world.lock_down("first")
    assert world.lock_down("house")
    assert world.shut() == {"door-1", "door-2"}
    assert world.end("first")
    assert world.shut() == {"door-1", "door-2"}
    assert world.end("house")
    assert not world.end("house")
    assert world.shut() == set()


def test_a_lockdown_of_one_door_shuts_that_door_alone(world: World) -> None:
    """It stands beside those of zones: each ends by itself, and the door is shut as long as one of them holds."""
    assert world.lock_door("door-1")
    assert not world.lock_door("door-1")
    assert world.shut() == {"door-1"}
    assert world.lock_down("house")
    assert world.end_at_door("door-1")
    assert not world.end_at_door("door-1")
    assert world.shut() == {"door-1", "door-2"}
    assert world.lock_door("door-2")
    assert world.end("house")
    assert world.shut() == {"door-2"}


def test_name_and_options_are_compiled(world: World) -> None:
    door = world.city.snapshot.points["door-2"]
    assert (door.name, dict(door.options)) == ("Door 2", {"held_open_ms": 5_000})
    assert dict(world.city.snapshot.points["door-1"].options) == {}


@pytest.mark.parametrize("spoilt", ["", "[1]", '"x"', '{"a": {}}', '{"a": 1.5}', '{"A": 1}', "{", "[" * 50_000])
def test_options_spoilt_by_hand_cost_no_more_than_themselves(world: World, spoilt: str) -> None:
    """The city goes on; what is an escape route by its options is none then, and a lockdown holds."""
    with write(world.databases.state) as connection:
        connection.execute(sa.update(store.point).values(options=spoilt).where(store.point.c.code == "door-2"))
        changes.append(connection, "access", [0])
    assert world.lock_down("second")
    assert world.shut() == {"door-2"}
    assert dict(world.city.snapshot.points["door-2"].options) == {}


@pytest.mark.parametrize(
    ("use", "options", "words"),
    [
        (Use.DOOR, {"colour": "red"}, "point gate: option colour: there is none; allowed are held_open_ms"),
        (Use.DOOR, {"held_open_ms": 1}, "point gate: option held_open_ms: 1; allowed are whole numbers from 1000 to"),
        (Use.DOOR, {"locked_down": True}, "point gate: option locked_down: there is none"),
        (Use.DOOR, {"Colour": "red"}, r"point gate: options \['Colour'\]; allowed are 16 names of a-z"),
        (Use.DOOR, {"locking": "fail_safe"}, "point gate: option locking: there is none"),
        (Use.DOOR, {"contact": ["yes"]}, r"point gate: options \['contact'\]"),
        (Use.DOOR, {"contact": "x" * 201}, r"point gate: options \['contact'\]"),
        (Use.DOOR, {"held_open_ms": 10**5_000}, r"point gate: options \['held_open_ms'\]"),
        (Use.DOOR, {f"o{n}": 1 for n in range(17)}, "point gate: options 17; allowed are 16"),
        (Use.CANTEEN, {"till": "1"}, "point gate: points of the use canteen have no options"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_allowed(
    world: World, use: Use, options: dict[str, object], words: str
) -> None:
    with pytest.raises(Conflict, match=words):
        world.apply(points=[setup.PointSetup("gate", "Gate", "first", "plain", use=use, options=options)])
    assert "gate" not in City(world.databases.state, world.clock).snapshot.points
