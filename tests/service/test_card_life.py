# SPDX-License-Identifier: EUPL-1.2
"""Giving, replacing, lending, taking back and losing cards, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from service.card_desk import DAY_MS, NOW_MS, CardDesk
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice.cards.life import service, stock
from cardservice.cards.life.rules import PROFILES, shift_end_ms
from cardservice.cards.life.service import Gift, GiftRefused, Giver
from cardservice.cards.life.stock import StockShort
from cardservice.cards.rules import TRANSITIONS, CardState
from cardservice.cards.service import By, NewCard, NotYours, OwnCard, SecondNeeded, register
from cardservice.cards.store import card, credential
from cardservice.database import Databases, read, write
from cardservice.errors import CardServiceError, Conflict, NotFound
from cardservice.web.reach import Reach

ACTIVE, SUSPENDED, REVOKED, RETURNED = CardState.ACTIVE, CardState.SUSPENDED, CardState.REVOKED, CardState.RETURNED
LOST, REPLACED, FORGOTTEN = ("revoked", "lost"), ("revoked", "replaced"), ("suspended", "forgotten")


@pytest.fixture
def people(databases: Databases, clock: FakeClock) -> dict[str, int]:
    tell(open_copy(databases.state, clock), someone("anna"), someone("bert"))
    return row_numbers(databases.state)


@pytest.fixture
def anna(people: dict[str, int]) -> int:
    return people["anna"]


@pytest.fixture
def desk(databases: Databases, people: dict[str, int]) -> CardDesk:
    return CardDesk(databases, people["bert"])


def test_a_card_counts_at_once_or_after_it_was_produced(desk, anna):
    """With numbers it is active; without it goes through every state of issuing. Who did what is written down."""
    at_once = desk.give(anna)
    assert desk.now(at_once) == ("active", None)
    assert desk.row(at_once).valid_until_ms == NOW_MS + 1826 * DAY_MS
    ordered = desk.order(anna)
    for state in (CardState.PRODUCED, CardState.READY_FOR_PICKUP, ACTIVE):
        desk.step(ordered, state)
    assert [(one.before, one.after, one.actor) for one in desk.events(ordered)] == [
        (None, "in_production", "desk"),
        ("in_production", "produced", "desk"),
        ("produced", "ready_for_pickup", "desk"),
        ("ready_for_pickup", "active", "desk"),
    ]


def test_a_gift_that_does_not_fit_is_refused_and_leaves_nothing(desk, anna, databases):
    """Profile, use, time, holder, reach, number."""
    desk.give(anna)
    for values in (
        {"profile": "king"},
        {"profile": "canteen_guest"},
        {"until_ms": NOW_MS},
        {"until_ms": NOW_MS + 1827 * DAY_MS},
    ):
        with pytest.raises(GiftRefused):
            desk.give(anna, **values)
    with pytest.raises(NotFound, match="no person 4711"):
        desk.give(4711)
    with pytest.raises(GiftRefused, match="already belongs"), write(databases.state) as connection:
        service.give(connection, Gift(anna, "employee", {"door": (1).to_bytes(12)}), desk.giver, NOW_MS)
    far = Giver(By("desk"), (Reach(organisations=frozenset({"elsewhere"})),))
    with pytest.raises(NotFound), write(databases.state) as connection:
        service.give(connection, Gift(anna, "employee"), far, NOW_MS)
    with read(databases.state) as connection:
        assert len(connection.execute(card.select()).all()) == 1


def test_nobody_issues_reinstates_or_erases_for_themselves(databases, anna, desk):
    """Giving, replacing, lending, taking back, every step but suspending and losing one's own."""
    own = CardDesk(databases, anna)
    reference = desk.give(anna)
    for refused in (own.give, own.order):
        with pytest.raises(OwnCard):
            refused(anna)
    for refused in (own.replace, own.lend):
        with pytest.raises(OwnCard):
            refused(reference)
    temporary = desk.lend(reference)
    with pytest.raises(OwnCard):
        own.hand_back(temporary)
    desk.hand_back(temporary)
    own.step(reference, SUSPENDED, "missing")
    with pytest.raises(OwnCard):
        own.step(reference, ACTIVE)
    own.step(reference, REVOKED, "lost")
    with pytest.raises(OwnCard):
        own.step(reference, RETURNED)


def test_a_right_makes_its_own_steps_and_no_others(databases, anna, desk):
    """Every pair of states with each of the two rights: made where the table says so, else nothing is changed."""
    made = 0
    for at, (start, end, right) in enumerate(product(CardState, CardState, ("cards.change", "cards.issue"))):
        (reference,) = register(databases.state, [NewCard(1, anna, (f"{at}".encode(),), start)])
        step = TRANSITIONS.get((start, end))
        reason = step.reasons[0] if step and step.reasons else None
        if step is not None and step.operation == right:
            desk.step(reference, end, reason, operation=right)
            made += 1
            assert desk.now(reference) == (end, reason)
            continue
        with pytest.raises(NotYours if step else Conflict):
            desk.step(reference, end, reason, operation=right)
        assert desk.now(reference) == (start, None)
        assert desk.events(reference) == []
    assert made == len(TRANSITIONS)


def test_a_replacement_ends_the_old_card_when_it_counts(desk, anna):
    """It lasts as long; the old card stays until then, is not reinstated meanwhile, and nobody orders two."""
    old = desk.give(anna, until_ms=NOW_MS + 10 * DAY_MS)
    new = desk.replace(old, produced=False)
    assert desk.now(old) == ("active", None)
    assert desk.row(new).valid_until_ms == NOW_MS + 10 * DAY_MS
    with pytest.raises(Conflict, match="stands for card"):
        desk.replace(old)
    desk.step(old, SUSPENDED, "missing")
    with pytest.raises(Conflict, match="take that one back first"):
        desk.step(old, ACTIVE)
    for state in (CardState.PRODUCED, CardState.READY_FOR_PICKUP, ACTIVE):
        desk.step(new, state)
    assert (desk.now(old), desk.now(new)) == (REPLACED, ("active", None))
    newest = desk.replace(new)
    assert (desk.now(new), desk.now(newest)) == (REPLACED, ("active", None))
    assert desk.row(newest).person_id == anna


def test_a_forgotten_card_waits_until_the_temporary_one_is_back(desk, anna):
    """To the end of the shift; no step of its own and no end of a suspension brings it back before."""
    main = desk.give(anna)
    desk.step(main, SUSPENDED, "forgotten", until_ms=NOW_MS + 5)
    temporary = desk.lend(main)
    assert desk.row(temporary).valid_until_ms == shift_end_ms(NOW_MS)
    desk.now_ms = NOW_MS + 10
    assert desk.row(main).suspended_until_ms is None
    with pytest.raises(Conflict, match="take that one back first"):
        desk.step(main, ACTIVE)
    for again in (main, temporary):
        with pytest.raises(Conflict):
            desk.lend(again)
    assert desk.hand_back(temporary) == main
    assert (desk.now(main), desk.now(temporary)) == (("active", None), ("returned", None))
    with pytest.raises(Conflict):
        desk.hand_back(temporary)
    with pytest.raises(Conflict, match="stands in for no other"):
        desk.hand_back(main)


def test_what_was_lost_meanwhile_does_not_come_back_with_the_temporary_card(desk, anna):
    """The temporary card is taken back; the main one stays what it became."""
    main = desk.give(anna)
    temporary = desk.lend(main)
    desk.step(main, REVOKED, "stolen")
    assert desk.hand_back(temporary) is None
    assert desk.now(main) == ("revoked", "stolen")
    ended = desk.give(anna)
    temporary = desk.lend(ended)
    desk.step(temporary, CardState.EXPIRED)
    assert desk.hand_back(temporary) == ended, "one that has ended by itself is taken back like any other"
    over = desk.give(anna, until_ms=NOW_MS + 2 * DAY_MS)
    temporary = desk.lend(over)
    desk.now_ms = NOW_MS + 3 * DAY_MS
    assert desk.hand_back(temporary) is None
    assert desk.now(over) == FORGOTTEN
    with pytest.raises(Conflict, match="is over"):
        desk.step(over, ACTIVE)


def test_a_loss_ends_all_cards_of_a_person_at_once(desk, anna, people, databases):
    """The active, the suspended, the ordered and the temporary one; nobody else's. What ended is told."""
    main, ordered = desk.give(anna), desk.order(anna)
    other = CardDesk(databases)
    with write(databases.state) as connection:
        foreign = service.give(connection, Gift(people["bert"], "employee"), other.giver, NOW_MS)
    temporary = desk.lend(main)
    with write(databases.state) as connection:
        found = service.report_lost(connection, anna, By("desk"), NOW_MS)
    assert [one for one, _ in found] == [main, ordered, temporary]
    assert {desk.now(one) for one in (main, ordered, temporary)} == {LOST}
    assert [effects.uses_ended for _, effects in found] == [(), (), ("door",)]
    with write(databases.state) as connection:
        assert service.report_lost(connection, anna, By("desk"), NOW_MS) == []
    assert desk.now(foreign) == ("in_production", None)


def test_two_people_make_a_council_members_card_valid(desk, anna):
    """One alone cannot; who was second stands in the history."""
    reference = desk.give(anna, "council_member")
    assert desk.now(reference) == ("ready_for_pickup", None)
    with pytest.raises(SecondNeeded):
        desk.step(reference, ACTIVE)
    desk.step(reference, ACTIVE, second="carla")
    assert desk.events(reference)[-1].second_actor == "carla"


def test_an_erased_card_is_known_by_nothing_and_counted_as_blank_again(desk, anna, databases):
    """Delivered = issued + void + stock all the time; nobody takes more than there are."""
    with write(databases.state) as connection:
        number = stock.add(connection, 1, "spring", 3, NOW_MS)
        with pytest.raises(Conflict, match="already"):
            stock.add(connection, 1, "spring", 3, NOW_MS)
    reference = desk.give(anna, delivery=number)
    with write(databases.state) as connection:
        stock.void(connection, number, 1, 2)
    with pytest.raises(StockShort):
        desk.give(anna, delivery=number)
    with pytest.raises(NotFound, match="no delivery 99"):
        desk.give(anna, delivery=99)
    desk.step(reference, REVOKED, "left")
    for state in (RETURNED, CardState.ERASED, CardState.STOCK):
        desk.step(reference, state)
    with read(databases.state) as connection:
        (one,) = stock.deliveries(connection)
        assert (one.delivered, one.issued, one.void, one.stock, one.adds_up) == (3, 0, 2, 1, True)
        assert all(row.retired for row in connection.execute(credential.select()))
    assert desk.row(reference).person_id is None


def test_two_clerks_at_the_same_moment_do_one_thing(desk, anna, databases):
    """Lending, replacing and the last blank card: one of both gets it, the other is told why not."""
    main, other = desk.give(anna), desk.give(anna)
    with write(databases.state) as connection:
        number = stock.add(connection, 1, "last", 1, NOW_MS)

    def at_once(make) -> list[str]:
        def attempt(_: int) -> str:
            try:
                return make() and "made"
            except CardServiceError as error:
                return type(error).__name__

        with ThreadPoolExecutor(2) as pool:
            return sorted(pool.map(attempt, range(2)))

    assert at_once(lambda: desk.lend(main)) == ["Conflict", "made"]
    assert at_once(lambda: desk.replace(other, produced=False)) == ["Conflict", "made"]
    assert at_once(lambda: desk.give(anna, delivery=number)) == ["StockShort", "made"]


STEPS = st.lists(st.sampled_from(("lend", "back", "replace", "lose", "reinstate", "miss")), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(STEPS)
def test_any_order_of_steps_is_what_a_small_model_says(desk, anna, steps):
    """Whatever clerks do in whatever order, one card of a person is active at most, and it is the one of the model."""
    main, temporary, state = desk.give(anna), None, "active"
    for step in steps:
        expected = _model(step, state)
        try:
            if step == "lend":
                temporary = desk.lend(main)
            elif step == "back":
                desk.hand_back(temporary or main)
            elif step == "replace":
                main = desk.replace(main)
            elif step == "lose":
                desk.step(main, REVOKED, "lost")
            else:
                desk.step(
                    main, ACTIVE if step == "reinstate" else SUSPENDED, None if step == "reinstate" else "missing"
                )
        except Conflict:
            assert expected is None, (step, state)
            continue
        assert expected is not None, (step, state)
        state = expected
        valid = [one for one in (main, temporary) if one and desk.now(one)[0] == "active"]
        assert valid == {"active": [main], "lent": [temporary], "lost and lent": [temporary]}.get(state, [])


def _model(step: str, state: str) -> str | None:
    """Return what a person's cards are after a step, None if it is refused."""
    lent = {"lent": "active", "lost and lent": "lost"}
    rows = {
        "lend": {"active": "lent"},
        "back": lent,
        "replace": {"active": "active", "missing": "active", "lost": "active"},
        "lose": {"active": "lost", "missing": "lost", "lent": "lost and lent"},
        "reinstate": {"missing": "active"},
        "miss": {"active": "missing"},
    }
    return rows[step].get(state)


def test_profiles_say_which_uses_know_a_card():
    """A visitor's card pays nowhere, a canteen guest's opens nothing."""
    assert PROFILES["visitor"].uses == {"door"}
    assert PROFILES["canteen_guest"].uses == {"canteen"}
