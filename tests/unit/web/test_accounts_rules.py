# SPDX-License-Identifier: EUPL-1.2
"""Accounts by themselves: what a key looks like, when another is due, who manages which account, and how fast it is."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.web.accounts.rules import DAY_MS, Account, Binding, Key, Pace, Terms, manages, new_key, reminders
from cardservice.web.callers import Allowance
from cardservice.web.operations import Scope
from cardservice.web.reach import EVERYWHERE, Reach

NOW_MS = 1_773_651_600_000


def account(*keys: Key, disabled: bool = False) -> Account:
    terms = Terms(frozenset({Scope.DOOR}), EVERYWHERE, Pace())
    return Account(1, "till-1", terms, disabled, "why", "anna", NOW_MS, "anna", NOW_MS, keys)


def key(days: float, *, revoked: bool = False) -> Key:
    revoked_ms = NOW_MS if revoked else None
    return Key("00000000", NOW_MS - DAY_MS, NOW_MS + int(days * DAY_MS), "anna", revoked_ms=revoked_ms)


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.steady_ns = 0

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_ns(self) -> int:
        return self.steady_ns


def test_a_key_is_256_random_bits_behind_a_prefix_and_a_name():
    """What is secret of it is not in its representation."""
    made = new_key(bytes(range(36)))
    assert re.fullmatch(r"oc_00010203_[0-9a-f]{64}", made.token)
    assert bytes.fromhex(made.token.split("_")[2]) == bytes(range(4, 36))
    assert (made.key, made.token in repr(made)) == ("00010203", False)


@pytest.mark.parametrize("count", [0, 32, 35, 37])
def test_no_key_is_made_of_less(count):
    with pytest.raises(ValueError, match="36 bytes"):
        new_key(b"x" * count)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ((), None),
        ((key(14.1),), None),
        ((key(14),), "ends in 14 days"),
        ((key(0.5),), "ends in 1 day;"),
        ((key(0),), "has ended"),
        ((key(3), key(300)), None),
        ((key(3), key(300, revoked=True)), "ends in 3 days"),
        ((key(3, revoked=True),), None),
    ],
)
def test_another_key_is_asked_for_in_time(keys, told):
    """By the key that ends last; what was revoked on purpose asks for nothing, nor does an account without keys."""
    sentences = reminders(account(*keys), NOW_MS)
    assert (sentences == []) if told is None else (len(sentences) == 1 and told in sentences[0])
    assert reminders(account(*keys, disabled=True), NOW_MS) == []


def test_another_certificate_is_asked_for_in_time():
    """By the one that expires last, beside the sentence about keys; one that was revoked asks for nothing."""

    def bound(days: int, revoked_ms: int | None = None) -> Binding:
        ends_ms = NOW_MS + days * DAY_MS
        return Binding("00" * 8, bytes(32), "CN=till", 0, ends_ms, "anna", 0, None, revoked_ms)

    def told(*certificates: Binding) -> list[str]:
        return reminders(replace(account(), certificates=certificates), NOW_MS)

    assert "last certificate ends in 3 days" in told(bound(3), bound(1))[0]
    assert "last certificate has ended" in told(bound(-1))[0]
    assert told(bound(3), bound(400)) == told(bound(3, NOW_MS)) == []


some_codes = st.none() | st.frozensets(st.sampled_from("abc"))
reaches = st.builds(Reach, some_codes, some_codes, some_codes, some_codes)
places = st.tuples(*[st.sampled_from("abc")] * 4)


def holds(reach: Reach, organisation: str, zone: str, unit: str, point: str) -> bool:
    return reach.holds_point(point, organisation, frozenset({zone})) and reach.holds_person(organisation, unit)


@given(st.lists(reaches, max_size=3), reaches, places)
def test_an_account_that_somebody_manages_reaches_nothing_that_is_not_theirs(mine, its, place):
    if manages(mine, its) and holds(its, *place):
        assert any(holds(reach, *place) for reach in mine)


@given(reaches)
def test_whoever_may_everything_manages_every_account_and_nobody_none(its):
    assert manages([EVERYWHERE], its)
    assert not manages([], its)


@given(st.integers(1, 50), st.integers(1, 20), st.lists(st.integers(0, 300), max_size=60))
def test_no_window_of_time_holds_more_than_the_pace(per_s, burst, waits_ms):
    """However requests are spread: in no stretch more than what comes in plus what may come at once."""
    clock = HandClock()
    allowance = Allowance(per_s, burst, clock)
    taken_ms: list[int] = []
    for wait_ms in waits_ms:
        clock.steady_ns += wait_ms * 1_000_000
        wait_s = allowance.wait_s()
        if wait_s == 0:
            taken_ms.append(clock.steady_ns // 1_000_000)
        else:
            assert wait_s == 1
    for first, begin_ms in enumerate(taken_ms):
        for count, end_ms in enumerate(taken_ms[first:], start=1):
            assert count <= burst + (end_ms - begin_ms) * per_s / 1_000 + 1e-6


def test_after_the_wait_that_was_told_the_next_one_passes():
    clock = HandClock()
    allowance = Allowance(2, 1, clock)
    assert allowance.wait_s() == 0
    clock.steady_ns += allowance.wait_s() * 1_000_000_000
    assert allowance.wait_s() == 0
