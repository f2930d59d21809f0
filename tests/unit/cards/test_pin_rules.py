# SPDX-License-Identifier: EUPL-1.2
"""What may be a PIN, and how tries are counted, whenever they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.pin.rules import LOCKED_MS, TRIES, Tries, fault_of, one_more, still

# A few minutes, so that many come close together.
INSTANTS = st.integers(0, 6 * LOCKED_MS)


@pytest.mark.parametrize("pin", ["2580", "1357", "0042", "112233", "123465", "924681357024", "90210"])
def test_ordinary_digits_can_be_a_pin(pin):
    assert fault_of(pin) is None


@pytest.mark.parametrize(
    "pin",
    [
        *("", "258", "9246813570246", "25 80", "25a0", "-258", "\uff12\uff15\uff18\uff10", "\u00b2580"),
        *("0000", "999999", "1234", "4321", "7890", "3210", "0123456789", "098765", "901234"),
    ],
)
def test_trivial_digits_and_anything_else_cannot(pin):
    """The reason never repeats what was typed."""
    fault = fault_of(pin)
    assert fault is not None
    assert not pin or pin not in fault


def test_the_third_try_locks_and_five_minutes_heal():
    tries = Tries()
    for _ in range(TRIES):
        counted = one_more(tries, 1_000)
        assert counted is not None
        tries = counted
    assert tries == Tries(3, 1_000 + LOCKED_MS)
    assert one_more(tries, 1_000 + LOCKED_MS - 1) is None
    assert one_more(tries, 1_000 + LOCKED_MS) == Tries(1, 0)
    assert still(tries, 1_000 + LOCKED_MS) == Tries()


def test_a_clock_that_is_set_back_cannot_prolong_a_lock():
    locked = Tries(3, 10**12)
    assert still(locked, 10**12 - 86_400_000).locked_until_ms == 10**12 - 86_400_000 + LOCKED_MS


@given(st.lists(INSTANTS, min_size=1, max_size=60))
def test_however_tries_come_every_third_is_followed_by_five_minutes_without_one(instants):
    """Whatever the gaps, if none is right: a guesser has three tries in five minutes and no more."""
    tries, taken = Tries(), []
    for at_ms in sorted(instants):
        counted = one_more(tries, at_ms)
        if counted is not None:
            tries = counted
            taken.append(at_ms)
    for third, following in zip(taken[TRIES - 1 :: TRIES], taken[TRIES::TRIES], strict=False):
        assert following - third >= LOCKED_MS
