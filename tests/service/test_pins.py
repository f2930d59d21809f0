# SPDX-License-Identifier: EUPL-1.2
"""PINs in the store, on both databases: what is kept, how wrong ones are counted, and whom that can lock out."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from service.conftest import Place
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.cards.pin.rules import LOCKED_MS, TRIES, Tries, Verdict
from cardservice.cards.pin.service import Cost, Holder, Pins, PinView
from cardservice.cards.pin.store import holder_pin, pin_tries
from cardservice.cards.service import NewCard, register
from cardservice.cards.store import card
from cardservice.database import Databases, open_databases, read
from cardservice.errors import Conflict, NotFound

PIN, OTHER = "2580", "1470"
# A guess as cheap as the library allows: how dear it is in service stands in one test.
CHEAP = Cost(memory_kib=64, passes=1)
PEPPER = b"p" * 32


class Desk:
    """Two people, Anna with two cards and Mehmet with one, and the PINs of their city."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.engine, self.clock = databases.state, clock
        tell(open_copy(databases.state, clock), someone("anna"), someone("mehmet"))
        people = row_numbers(databases.state)
        self.anna, self.mehmet = people["anna"], people["mehmet"]
        holders = (self.anna, self.anna, self.mehmet)
        keys = [NewCard(1, person, (b"key%d" % number,)) for number, person in enumerate(holders)]
        self.references = register(databases.state, keys)
        with read(databases.state) as connection:
            self.first, self.second, self.mehmets = connection.execute(
                sa.select(card.c.id).order_by(card.c.id)
            ).scalars()
        self.pins = self.opened()

    def opened(self, pepper: bytes = PEPPER) -> Pins:
        """The PINs as a service sees them that has just started."""
        return Pins(self.engine, lambda: pepper, self.clock, CHEAP)

    def wrong(self, times: int, card_id: int | None = None) -> list[Verdict]:
        return [self.pins.check(card_id or self.first, self.anna, OTHER) for _ in range(times)]


@pytest.fixture
def desk(databases: Databases, clock: FakeClock) -> Desk:
    return Desk(databases, clock)


def test_the_right_pin_is_right_and_any_other_is_wrong(desk):
    desk.pins.set(desk.anna, PIN)
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.RIGHT
    assert desk.pins.check(desk.second, desk.anna, PIN) is Verdict.RIGHT, "one PIN, whichever card of theirs it is"
    for other in (OTHER, PIN + "0", PIN[:3], "0" + PIN):
        assert desk.opened().check(desk.mehmets, desk.anna, other) in {Verdict.WRONG, Verdict.LOCKED}


def test_three_wrong_ones_lock_the_card_and_it_heals_by_itself(desk):
    """The right one is refused as well while it is locked, and is taken at the very end of five minutes."""
    desk.pins.set(desk.anna, PIN)
    assert desk.wrong(TRIES) == [Verdict.WRONG] * TRIES
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.LOCKED
    desk.clock.pass_ms(LOCKED_MS - 1)
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.LOCKED
    desk.clock.pass_ms(1)
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.RIGHT
    assert desk.wrong(TRIES + 1) == [Verdict.WRONG] * TRIES + [Verdict.LOCKED], "the right one began a new count"


def test_two_wrong_ones_and_a_right_one_begin_again(desk):
    desk.pins.set(desk.anna, PIN)
    for _ in range(3):
        desk.wrong(TRIES - 1)
        assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.RIGHT


def test_a_restart_forgets_nothing(desk, place: Place):
    """Count and lock are on disk before anything is compared, so that another process finds them."""
    desk.pins.set(desk.anna, PIN)
    desk.wrong(TRIES - 1)
    again = open_databases(place.url)
    try:
        restarted = Pins(again.state, lambda: PEPPER, desk.clock, CHEAP)
        assert restarted.check(desk.first, desk.anna, OTHER) is Verdict.WRONG
        assert restarted.check(desk.first, desk.anna, PIN) is Verdict.LOCKED
    finally:
        again.close()


def test_many_at_once_get_no_more_than_three_tries(desk):
    """Twelve points try at the same moment with one card: three guesses are compared, the others are refused."""
    desk.pins.set(desk.anna, PIN)
    together = threading.Barrier(12)

    def guess(_: int) -> Verdict:
        together.wait(20)
        return desk.pins.check(desk.first, desk.anna, OTHER)

    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(guess, range(12)))
    assert (found.count(Verdict.WRONG), found.count(Verdict.LOCKED)) == (TRIES, 12 - TRIES)


def test_a_thousand_wrong_tries_with_one_card_lock_nobody_else_out(desk):
    """Neither the same holder's other card nor anybody else's."""
    desk.pins.set(desk.anna, PIN)
    desk.pins.set(desk.mehmet, OTHER)
    assert set(desk.wrong(1_000)[TRIES:]) == {Verdict.LOCKED}
    assert desk.pins.check(desk.second, desk.anna, PIN) is Verdict.RIGHT
    assert desk.pins.check(desk.mehmets, desk.mehmet, OTHER) is Verdict.RIGHT


def test_whoever_has_no_pin_is_told_the_same(desk):
    """Wrong, wrong, wrong, locked: nobody learns who has one. What is compared costs the same."""
    assert desk.wrong(TRIES + 1) == [Verdict.WRONG] * TRIES + [Verdict.LOCKED]
    assert desk.pins._nobodys.split("$")[1:4] == desk.pins._verifier(desk.anna, PIN).split("$")[1:4]


def test_a_pin_is_not_chosen_badly_nor_kept(desk):
    with pytest.raises(Conflict, match="follow each other"):
        desk.pins.set(desk.anna, "1234")
    assert desk.pins.view(desk.anna) == PinView(None, {})
    desk.pins.set(desk.anna, PIN)
    with pytest.raises(Conflict, match="must differ") as refused:
        desk.pins.set(desk.anna, PIN)
    assert PIN not in str(refused.value)
    desk.pins.set(desk.anna, OTHER)
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.WRONG
    assert desk.pins.check(desk.first, desk.anna, OTHER) is Verdict.RIGHT


def test_a_new_pin_no_pin_and_unlocking_end_a_lock(desk):
    desk.pins.set(desk.anna, PIN)
    desk.wrong(TRIES)
    desk.wrong(TRIES, desk.second)
    named_by_card = desk.pins.find(desk.references[0])
    assert named_by_card == Holder(desk.anna, desk.first)
    assert desk.pins.view(desk.anna).tries == dict.fromkeys(
        desk.references[:2], Tries(TRIES, desk.clock.now_ms() + LOCKED_MS)
    )
    desk.pins.unlock(named_by_card)
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.RIGHT
    assert desk.pins.check(desk.second, desk.anna, PIN) is Verdict.LOCKED
    desk.pins.unlock(desk.pins.find("anna"))
    assert desk.pins.check(desk.second, desk.anna, PIN) is Verdict.RIGHT
    desk.wrong(TRIES)
    desk.pins.set(desk.anna, OTHER)
    assert desk.pins.check(desk.first, desk.anna, OTHER) is Verdict.RIGHT
    assert desk.pins.reset(desk.anna)
    assert not desk.pins.reset(desk.anna)
    assert desk.pins.check(desk.first, desk.anna, OTHER) is Verdict.WRONG


def test_who_is_meant_is_found_or_refused_plainly(desk):
    assert desk.pins.find("mehmet") == Holder(desk.mehmet)
    with pytest.raises(NotFound, match="neither a card nor a login"):
        desk.pins.find("nobody")
    (unheld,) = register(desk.engine, [NewCard(1, None, (b"unheld",))])
    with pytest.raises(NotFound, match="nobody holds"):
        desk.pins.find(unheld)


def test_what_is_stored_fits_with_the_key_store_and_its_own_person_only(desk):
    """A stolen database gives no PIN away, and one who may write in it cannot give another person their own."""
    desk.pins.set(desk.anna, PIN)
    with desk.engine.begin() as connection:
        (row,) = connection.execute(sa.select(holder_pin))
        assert PIN not in row.verifier
        connection.execute(
            sa.insert(holder_pin).values(person_id=desk.mehmet, verifier=row.verifier, changed_ms=row.changed_ms)
        )
    assert desk.pins.check(desk.mehmets, desk.mehmet, PIN) is Verdict.WRONG
    assert desk.opened(b"q" * 32).check(desk.second, desk.anna, PIN) is Verdict.WRONG
    assert desk.pins.check(desk.first, desk.anna, PIN) is Verdict.RIGHT
    with read(desk.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(pin_tries)).scalar() == 2, "of the wrong ones"


def test_in_service_a_guess_costs_what_is_written_down(desk):
    """Argon2id with 19 MiB and two passes: docs/performance of a tap at a door with a PIN rest on it."""
    Pins(desk.engine, lambda: PEPPER, desk.clock).set(desk.anna, PIN)
    with read(desk.engine) as connection:
        (verifier,) = connection.execute(sa.select(holder_pin.c.verifier)).scalars()
    assert verifier.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
