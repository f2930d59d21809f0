# SPDX-License-Identifier: EUPL-1.2
"""What is read from the store for somebody's own pages, on both databases."""

import pytest
import sqlalchemy as sa
from service.directory import open_copy, row_numbers, someone, tell

from cardservice import changes
from cardservice.access import setup
from cardservice.access.own.service import MAX_CREDENTIALS, MAX_SHOWN, OwnPoints
from cardservice.access.rules import Reason, Use
from cardservice.access.service import City
from cardservice.cards.rules import CardState, desfire_credential, piv_credential
from cardservice.cards.service import NewCard, register
from cardservice.cards.store import card, credential, keys_of_person
from cardservice.database import read, write

USES = ("door", "timeclock", "printer", "canteen")


def number(use, what):
    return desfire_credential(use, bytes((what,)) * 12)


def piv(what):
    return piv_credential(bytes(32), bytes((what,)) * 16)


def a_card(person, what, state=CardState.ACTIVE):
    """A card with a number for each use and PIV; the bytes after the prefix are as high as they can be."""
    return NewCard(1, person, (*(number(use, what) for use in USES), piv(what)), state)


@pytest.fixture
def people(databases, clock):
    copy = open_copy(databases.state, clock)
    tell(copy, someone("anna"), someone("bert"))
    return row_numbers(databases.state)


@pytest.fixture
def city(databases, clock):
    built = City(databases.state, clock)
    built.build()
    return built


def keys_of(databases, person, use, limit=MAX_CREDENTIALS):
    with read(databases.state) as connection:
        return keys_of_person(connection, person, use, at_ms=0, limit=limit)


def test_ones_own_numbers_of_the_use_alone_are_read(databases, people):
    """Nobody else's, none of another use, none that is retired; what all uses share comes with each."""
    register(databases.state, [a_card(people["anna"], 0xFF), a_card(people["bert"], 2), a_card(None, 3)])
    for use in USES:
        assert keys_of(databases, people["anna"], use) == [number(use, 0xFF), piv(0xFF)]
    assert keys_of(databases, people["anna"], "workstation") == [piv(0xFF)]
    with write(databases.state) as connection:
        connection.execute(sa.update(credential).where(credential.c.key == piv(0xFF)).values(retired=True))
    assert keys_of(databases, people["anna"], "door") == [number("door", 0xFF)]


def test_many_old_cards_do_not_push_out_the_one_in_use(databases, people):
    """It comes first, although all others are newer; after it the newest."""
    old = [a_card(people["anna"], what, CardState.REVOKED) for what in (2, 3, 4)]
    register(databases.state, [a_card(people["anna"], 1), *old])
    assert keys_of(databases, people["anna"], "door", 3) == [number("door", 1), piv(1), number("door", 4)]


def add_doors(databases, how_many):
    apply = {
        "zones": [setup.ZoneSetup("haus", "Haus <1>"), setup.ZoneSetup("keller", "Keller", "haus")],
        "point_classes": [setup.PointClassSetup("office", "Innentür")],
        "points": [setup.PointSetup(f"d{n:04}", f"Tür {n:04}", "keller", "office") for n in range(how_many)],
        "rules": [setup.RuleSetup(login="anna", use=Use.DOOR)],
    }
    setup.apply(databases.state, 1, setup.AccessSetup(**apply))


def test_more_points_than_a_page_shows_are_counted(databases, clock, people, city):
    """The first by name with their zone, and how many are missing; another use and another person have none of it."""
    add_doors(databases, MAX_SHOWN + 7)
    register(databases.state, [a_card(people["anna"], 1), a_card(people["bert"], 2)])
    city.catch_up()
    own = OwnPoints(city, databases.state, clock, lambda _: 0)
    seen = own.view(Use.DOOR, people["anna"])
    assert (len(seen.open), seen.later, seen.more) == (MAX_SHOWN, (), 7)
    assert [(one.point.code, one.zone, one.reason) for one in seen.open[:2]] == [
        ("d0000", "Keller", Reason.GRANTED),
        ("d0001", "Keller", Reason.GRANTED),
    ]
    assert (seen.has_card, seen.out_of_use) == (True, None)
    for use, person in ((Use.WORKSTATION, "anna"), (Use.DOOR, "bert")):
        other = own.view(use, people[person])
        assert (other.open, other.later, other.more, other.has_card) == ((), (), 0, True)


def test_an_old_copy_refuses_on_the_page_as_at_the_door(databases, clock, people, city):
    """What is said is the reason, of one's own doors."""
    add_doors(databases, 2)
    register(databases.state, [a_card(people["anna"], 1), a_card(people["bert"], 2)])
    city.catch_up()
    ages = {"directory": 0}
    own = OwnPoints(city, databases.state, clock, lambda _: ages["directory"])
    bound_ms = setup.PointClassSetup("", "").freshness_ms
    ages["directory"] = bound_ms
    assert len(own.view(Use.DOOR, people["anna"]).open) == 2
    ages["directory"] = bound_ms + 1
    stale = own.view(Use.DOOR, people["anna"])
    assert (stale.open, [one.reason for one in stale.later]) == ((), [Reason.DIRECTORY_STALE] * 2)
    assert own.view(Use.DOOR, people["bert"]).later == ()


def test_a_card_handed_on_shows_nothing_of_its_new_holder(databases, clock, people, city):
    """Handed on while the page is made: stored, and not yet in the snapshot, or the other way round."""
    add_doors(databases, 1)
    register(databases.state, [a_card(people["anna"], 1)])
    city.catch_up()
    own = OwnPoints(city, databases.state, clock, lambda _: 0)
    assert len(own.view(Use.DOOR, people["anna"]).open) == 1
    with write(databases.state) as connection:
        connection.execute(sa.update(card).values(person_id=people["bert"]))
        changes.append(connection, "card", [1])
    for person in ("anna", "bert"):
        view = own.view(Use.DOOR, people[person])
        assert (view.has_card, view.open, view.out_of_use) == (False, (), None)
