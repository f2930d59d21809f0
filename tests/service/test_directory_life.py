# SPDX-License-Identifier: EUPL-1.2
"""Joiners, movers and leavers at the door: from what the directory says to the answer of a tap, on real stores."""

import pytest
from service.directory import group, open_copy, proof, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.access import setup
from cardservice.access.rules import Level, Reason, Tap, decide
from cardservice.access.service import City
from cardservice.cards.service import NewCard, register
from cardservice.database import Databases
from cardservice.people.holds.service import Decision, Verdict, list_holds
from cardservice.people.holds.service import decide as settle
from cardservice.people.service import DirectoryCopy

DAY_MS = 86_400_000


class Town:
    """Whoever is in `office` may pass the door; every change is published as the service does it."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.state, self.clock = databases.state, clock
        self.city = City(databases.state, clock)
        self.copy: DirectoryCopy = self.open()
        tell(self.copy, group("office"))
        access = setup.AccessSetup(
            zones=[setup.ZoneSetup("room", "Room")],
            point_classes=[setup.PointClassSetup("plain", "Plain")],
            points=[setup.PointSetup("door", "Door", "room", "plain")],
            rules=[setup.RuleSetup(group="office", point="door")],
        )
        setup.apply(databases.state, 1, access)
        self.city.build()

    def open(self) -> DirectoryCopy:
        return open_copy(self.state, self.clock, publish=self.city.catch_up)

    def give_card(self, name: str) -> None:
        register(self.state, [NewCard(1, row_numbers(self.state)[name], (self.key(name),))])
        self.city.catch_up()

    def tap(self, name: str) -> Reason:
        now_ms = self.clock.now_ms()
        return decide(self.city.snapshot, Tap("door", self.key(name), Level.CARD), now_ms, 0).reason

    @staticmethod
    def key(name: str) -> bytes:
        return b"\x01card of " + name.encode()


@pytest.fixture
def town(databases: Databases, clock: FakeClock) -> Town:
    return Town(databases, clock)


def test_a_joiner_with_a_future_start_passes_from_that_instant_on(town: Town) -> None:
    """No event comes when the day comes: the tap compares."""
    start_ms = town.clock.now_ms() + 3 * DAY_MS
    tell(town.copy, someone("anna", valid_from_ms=start_ms), group("office", "anna"))
    town.give_card("anna")
    assert town.tap("anna") is Reason.PERSON_NOT_YET_VALID
    town.clock.pass_ms(3 * DAY_MS - 1)
    assert town.tap("anna") is Reason.PERSON_NOT_YET_VALID
    town.clock.pass_ms(1)
    assert town.tap("anna") is Reason.GRANTED
    tell(town.copy, someone("anna", valid_from_ms=town.clock.now_ms() + DAY_MS))
    assert town.tap("anna") is Reason.PERSON_NOT_YET_VALID


def test_a_start_that_is_taken_back_counts_at_once(town: Town) -> None:
    tell(town.copy, someone("anna", valid_from_ms=town.clock.now_ms() + DAY_MS), group("office", "anna"))
    town.give_card("anna")
    tell(town.copy, someone("anna"))
    assert town.tap("anna") is Reason.GRANTED


@pytest.mark.parametrize("how", ["disabled", "expired", "removed"])
def test_a_leaver_is_refused_at_the_next_tap(town: Town, how: str) -> None:
    """However the directory says it; after a restart too."""
    tell(town.copy, someone("anna"), someone("bert"), group("office", "anna", "bert"))
    for name in ("anna", "bert"):
        town.give_card(name)
    expected = {"disabled": Reason.PERSON_DISABLED, "expired": Reason.PERSON_EXPIRED, "removed": Reason.PERSON_LEFT}
    if how == "removed":
        tell(town.copy, removed=("anna",))
    elif how == "disabled":
        tell(town.copy, someone("anna", enabled=False))
    else:
        tell(town.copy, someone("anna", valid_until_ms=town.clock.now_ms()))
    assert (town.tap("anna"), town.tap("bert")) == (expected[how], Reason.GRANTED)
    town.city.build()
    assert (town.tap("anna"), town.tap("bert")) == (expected[how], Reason.GRANTED)


@pytest.mark.parametrize("restart", [False, True])
def test_created_anew_under_the_same_name_is_somebody_else(town: Town, *, restart: bool) -> None:
    """Neither groups nor the card of the one before; and who was before is gone for good."""
    tell(town.copy, someone("anna"), group("office", "anna"), group("yard", "@office"))
    town.give_card("anna")
    assert town.tap("anna") is Reason.GRANTED
    tell(town.copy, removed=("anna",))
    if restart:
        town.copy = town.open()
    tell(town.copy, someone("anna-2", dn="uid=anna"))
    town.give_card("anna-2")
    assert (town.tap("anna"), town.tap("anna-2")) == (Reason.PERSON_LEFT, Reason.NO_GRANT)
    tell(town.copy, group("office", "anna"))
    assert (town.tap("anna"), town.tap("anna-2")) == (Reason.PERSON_LEFT, Reason.GRANTED)


def test_a_new_name_changes_no_right_and_the_old_name_gives_none(town: Town) -> None:
    """Marriage, in the order in which servers tell it: the person, then the group, and somebody takes the old name."""
    tell(town.copy, someone("anna"), group("office", "anna"))
    town.give_card("anna")
    tell(town.copy, someone("anna", dn="uid=schmidt"))
    tell(town.copy, group("office", "schmidt"))
    assert town.tap("anna") is Reason.GRANTED
    tell(town.copy, someone("heir", dn="uid=anna"))
    town.give_card("heir")
    assert (town.tap("anna"), town.tap("heir")) == (Reason.GRANTED, Reason.NO_GRANT)


def test_a_mover_loses_the_old_and_gets_the_new_at_once(town: Town) -> None:
    """Through nested groups; a group that is moved out takes everybody below it along."""
    people = [someone("anna"), someone("bert")]
    tell(town.copy, *people, group("desk", "anna", "bert"), group("team", "@desk"), group("office", "@team"))
    for name in ("anna", "bert"):
        town.give_card(name)
    assert (town.tap("anna"), town.tap("bert")) == (Reason.GRANTED, Reason.GRANTED)
    tell(town.copy, group("desk", "bert"))
    assert (town.tap("anna"), town.tap("bert")) == (Reason.NO_GRANT, Reason.GRANTED)
    tell(town.copy, group("team"))
    assert town.tap("bert") is Reason.NO_GRANT
    tell(town.copy, group("team", "@desk", "anna"))
    assert (town.tap("anna"), town.tap("bert")) == (Reason.GRANTED, Reason.GRANTED)


def test_groups_that_hold_each_other_end(town: Town) -> None:
    """Everybody in the circle is in all of it, until the circle is cut."""
    tell(town.copy, someone("anna"), group("office", "@team"), group("team", "@desk"), group("desk", "@office", "anna"))
    town.give_card("anna")
    assert town.tap("anna") is Reason.GRANTED
    tell(town.copy, group("team", "@team"))
    assert town.tap("anna") is Reason.NO_GRANT


def test_who_is_held_passes_until_somebody_confirms(town: Town) -> None:
    """Many lost at once keep their rights; a single one disabled meanwhile does not; confirmed, they are refused."""
    everyone = [someone(f"p{number}") for number in range(60)]
    tell(town.copy, *everyone, group("office", *(f"p{number}" for number in range(60))))
    for name in ("p0", "p1", "p50"):
        town.give_card(name)
    tell(town.copy, removed=tuple(f"p{number}" for number in range(40)), complete=True)
    town.copy.proved(proof(town.clock))
    tell(town.copy, someone("p50", enabled=False))
    assert [town.tap(name) for name in ("p0", "p1", "p50")] == [Reason.GRANTED, Reason.GRANTED, Reason.PERSON_DISABLED]
    tell(town.copy, someone("p1"))
    (hold,) = list_holds(town.state)
    settle(town.state, hold.number, Decision(Verdict.CONFIRM, "somebody", 1))
    town.copy.look()
    assert [town.tap(name) for name in ("p0", "p1")] == [Reason.PERSON_LEFT, Reason.GRANTED]


def test_an_end_in_the_directory_is_not_moved_by_a_later_end_of_the_card(town: Town) -> None:
    """Whichever comes first, and from the instant on: until is exclusive."""
    until_ms = town.clock.now_ms() + DAY_MS
    tell(town.copy, someone("anna", valid_until_ms=until_ms), group("office", "anna"))
    card = NewCard(1, row_numbers(town.state)["anna"], (town.key("anna"),), valid_until_ms=until_ms + DAY_MS)
    register(town.state, [card])
    town.city.catch_up()
    town.clock.pass_ms(DAY_MS - 1)
    assert town.tap("anna") is Reason.GRANTED
    town.clock.pass_ms(1)
    assert town.tap("anna") is Reason.PERSON_EXPIRED
