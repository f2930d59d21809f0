# SPDX-License-Identifier: EUPL-1.2
"""The table of a card's life, said once more by hand, and what follows from its shape."""

from itertools import product

from cardservice.cards.life.rules import PROFILES, Profile, ends_ms, needs_second, shift_end_ms
from cardservice.cards.rules import ENDED, HELP, ISSUE, TRANSITIONS, CardState, next_states

HOUR_MS = 3_600_000
# 2026-11-23T00:00:00Z: in the city it is one o'clock.
MIDNIGHT_MS = 1_795_392_000_000

LINES = """
stock -> in_production by cards.issue
in_production -> produced by cards.issue
in_production -> revoked by cards.issue
produced -> ready_for_pickup by cards.issue
produced -> revoked by cards.issue
ready_for_pickup -> active by cards.issue
ready_for_pickup -> revoked by cards.issue
active -> suspended by cards.change, own
active -> revoked by cards.change, own
active -> expired by cards.issue, own
suspended -> active by cards.change
suspended -> revoked by cards.change, own
revoked -> returned by cards.issue
expired -> returned by cards.issue
returned -> erased by cards.issue
erased -> stock by cards.issue
erased -> destroyed by cards.issue
"""


def test_the_table_is_this_and_nothing_else():
    """Every pair of states: what is written here by hand is allowed, by this right, and the rest is not."""
    said = {
        f"{one.start} -> {one.end} by {one.operation}{', own' if one.own else ''}"
        for pair in product(CardState, CardState)
        if (one := TRANSITIONS.get(pair)) is not None
    }
    assert said == set(LINES.strip().splitlines())
    assert {one.operation for one in TRANSITIONS.values()} == {HELP, ISSUE}


def test_whatever_ended_never_opens_again():
    """From no state that is over does any number of steps lead to an active card; only a stock card is made anew."""
    seen, waiting = set(), [CardState.REVOKED, CardState.EXPIRED]
    while waiting:
        state = waiting.pop()
        if state in seen or state is CardState.STOCK:
            continue
        seen.add(state)
        waiting += next_states(state)
    assert CardState.ACTIVE not in seen
    assert seen | {CardState.STOCK} == ENDED
    assert all(TRANSITIONS[pair].retires for pair in TRANSITIONS if pair[1] is CardState.ERASED)


def test_a_shift_ends_at_a_minute_to_midnight_in_the_city():
    """Summer and winter, and on the day the clock is changed; in the last minute it is the next day's."""
    assert shift_end_ms(MIDNIGHT_MS) == MIDNIGHT_MS + 23 * HOUR_MS - 60_000
    assert shift_end_ms(MIDNIGHT_MS + 23 * HOUR_MS - 60_000) == MIDNIGHT_MS + 47 * HOUR_MS - 60_000
    # 2026-10-25T00:00:00Z: at one o'clock UTC summer ends, the day has 25 hours.
    change_ms = 1_792_886_400_000
    assert shift_end_ms(change_ms) == change_ms + 23 * HOUR_MS - 60_000


def test_two_people_make_a_council_members_card_valid():
    """And nobody else's; what has no profile needs no second."""
    assert [one.name for one in PROFILES.values() if needs_second(one.name, "active")] == ["council_member"]
    assert not needs_second(None, "active")
    assert not needs_second("council_member", "revoked")
    assert ends_ms(Profile("x", frozenset(), 2), 1_000) == 1_000 + 48 * HOUR_MS
    assert ends_ms(PROFILES["temporary"], MIDNIGHT_MS) == shift_end_ms(MIDNIGHT_MS)
