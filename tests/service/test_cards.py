# SPDX-License-Identifier: EUPL-1.2
"""Registering cards and moving them through their life, on both databases."""

import pytest
from service.directory import open_copy, row_numbers, someone, tell
from service.fake_clock import FakeClock

from cardservice import changes
from cardservice.cards.rules import REVOCATION_REASONS, SUSPENSION_REASONS, TRANSITIONS, CardState
from cardservice.cards.service import NewCard, NewState, change_state, list_cards, register
from cardservice.database import Databases
from cardservice.errors import Conflict, NotFound

NOW_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def anna(databases: Databases, clock: FakeClock) -> int:
    tell(open_copy(databases.state, clock), someone("anna"))
    return row_numbers(databases.state)["anna"]


def new(*keys: bytes, person: int | None = 1, state: CardState = CardState.ACTIVE) -> NewCard:
    return NewCard(1, person, keys, state)


def card_changes(databases: Databases) -> int:
    with databases.state.connect() as connection:
        return sum(change.kind == "card" for change in changes.since(connection, 0))


def test_registered_cards_are_listed_in_order(databases: Databases, anna: int) -> None:
    references = register(databases.state, [new(b"a", person=anna), new(b"b", b"c", person=None)])
    listed = list_cards(databases.state)
    assert [view.reference for view in listed] == references
    assert [view.person_id for view in listed] == [anna, None]
    assert [view.state for view in listed] == [CardState.ACTIVE, CardState.ACTIVE]
    assert len(list_cards(databases.state, limit=1)) == 1
    assert card_changes(databases) == 2


def test_a_credential_belongs_to_one_card(databases: Databases) -> None:
    """All or none: the good card registered with it is not stored, and no change is logged."""
    register(databases.state, [new(b"a")])
    for attempt in ([new(b"b"), new(b"a")], [new(b"b"), new(b"c", b"c")]):
        with pytest.raises(Conflict, match="already belongs"):
            register(databases.state, attempt)
    assert len(list_cards(databases.state)) == 1
    assert card_changes(databases) == 1
    register(databases.state, [new(b"b")])


def test_registering_nothing_changes_nothing(databases: Databases) -> None:
    assert register(databases.state, []) == []
    assert card_changes(databases) == 0


def test_the_life_cycle_allows_what_it_names_and_nothing_else(databases: Databases) -> None:
    """From every state to every one: stored and logged where it is allowed, otherwise as if nobody had asked."""
    for end in CardState:
        try_from_everywhere(databases, end)


def try_from_everywhere(databases: Databases, end: CardState) -> None:
    before = card_changes(databases)
    reasons = {CardState.SUSPENDED: SUSPENSION_REASONS, CardState.REVOKED: REVOCATION_REASONS}.get(end, (None,))
    starts = list(CardState)
    references = register(databases.state, [new(f"{start} {end}".encode(), state=start) for start in starts])
    for start, reference in zip(starts, references, strict=True):
        if (start, end) in TRANSITIONS:
            change_state(databases.state, reference, NewState(end, reasons[-1]), NOW_MS)
        else:
            with pytest.raises(Conflict, match=f"is {start}; from there it can become"):
                change_state(databases.state, reference, NewState(end, reasons[-1]), NOW_MS)
    allowed = {start for start in starts if (start, end) in TRANSITIONS}
    now = {view.reference: (view.state, view.state_reason) for view in list_cards(databases.state)}
    assert {reference: now[reference] for reference in references} == {
        reference: (end, reasons[-1]) if start in allowed else (start, None)
        for start, reference in zip(starts, references, strict=True)
    }
    assert card_changes(databases) - before == len(starts) + len(allowed)


def test_a_reason_must_be_one_of_the_named(databases: Databases) -> None:
    (reference,) = register(databases.state, [new(b"a")])
    for state in (CardState.SUSPENDED, CardState.REVOKED):
        for reason in (None, "", "because", "LOST"):
            with pytest.raises(Conflict, match="needs a reason: "):
                change_state(databases.state, reference, NewState(state, reason), NOW_MS)
    assert list_cards(databases.state)[0].state is CardState.ACTIVE


def test_the_reason_of_a_suspension_ends_with_it(databases: Databases) -> None:
    (reference,) = register(databases.state, [new(b"a")])
    change_state(databases.state, reference, NewState(CardState.SUSPENDED, "missing", NOW_MS + 1), NOW_MS)
    change_state(databases.state, reference, NewState(CardState.ACTIVE, "missing"), NOW_MS)
    assert list_cards(databases.state)[0].state_reason is None
    assert list_cards(databases.state)[0].suspended_until_ms is None


def test_a_suspension_ends_at_its_instant_without_anybody_acting(databases: Databases) -> None:
    """From then on the card is active for whoever changes it next, too; a suspension without an end stays."""
    (reference,) = register(databases.state, [new(b"a")])
    change_state(databases.state, reference, NewState(CardState.SUSPENDED, "missing", NOW_MS + 10), NOW_MS)
    (view,) = list_cards(databases.state)
    assert [view.state_at(NOW_MS + ms) for ms in (0, 9, 10)] == [
        *(CardState.SUSPENDED, CardState.SUSPENDED, CardState.ACTIVE)
    ]
    with pytest.raises(Conflict, match="is suspended; from there it can become: active, revoked"):
        change_state(databases.state, reference, NewState(CardState.SUSPENDED, "missing"), NOW_MS + 9)
    with pytest.raises(Conflict, match="is active; from there it can become: expired, revoked, suspended"):
        change_state(databases.state, reference, NewState(CardState.ACTIVE), NOW_MS + 10)
    change_state(databases.state, reference, NewState(CardState.SUSPENDED, "forgotten"), NOW_MS + 10)
    (view,) = list_cards(databases.state)
    assert (view.state_at(2 * NOW_MS), view.suspended_until_ms) == (CardState.SUSPENDED, None)


def test_an_end_belongs_to_a_suspension_and_lies_in_the_future(databases: Databases) -> None:
    (reference,) = register(databases.state, [new(b"a")])
    for state in (CardState.REVOKED, CardState.ACTIVE):
        with pytest.raises(Conflict, match=f"only a suspension has an end; a card that becomes {state} has none"):
            change_state(databases.state, reference, NewState(state, "lost", NOW_MS + 1), NOW_MS)
    for end_ms in (NOW_MS, NOW_MS - 1):
        with pytest.raises(Conflict, match="its end must lie in the future"):
            change_state(databases.state, reference, NewState(CardState.SUSPENDED, "missing", end_ms), NOW_MS)
    assert list_cards(databases.state)[0].state is CardState.ACTIVE


def test_an_unknown_card_is_named(databases: Databases) -> None:
    with pytest.raises(NotFound, match="there is no card nowhere"):
        change_state(databases.state, "nowhere", NewState(CardState.SUSPENDED, "missing"), NOW_MS)
