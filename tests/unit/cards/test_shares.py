# SPDX-License-Identifier: EUPL-1.2
"""Shares: enough of them make the secret, fewer do not, and whatever is wrong with one is named."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardservice.cards.keys import shares
from cardservice.cards.keys.sealing import ShareScheme
from cardservice.cards.keys.shares import Share, ShareRefused

SECRET = bytes.fromhex("5ec3e7c0ffee5eed1ca4a57e57b100d0")
SCHEME = ShareScheme(2, 3, "c17a")
# Written down once from this program: what is on paper has to be read by every later version.
ON_PAPER = Share(SCHEME, 1, bytes(range(16)))
PAPER = "070QM0-G30400-20G30G-2GC1R8-1450P3-0D1R7M-BSD9C4"
_REDUCTION = 0x87


def times(left: int, right: int) -> int:
    """Multiplication in GF(2^128) with x^128 + x^7 + x^2 + x + 1, written for this test alone."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = left << 1, right >> 1
        if left >> 128:
            left = left & (1 << 128) - 1 ^ _REDUCTION
    return product


def inverse(value: int) -> int:
    result = 1
    for _ in range(127):
        value = times(value, value)
        result = times(result, value)
    return result


def at_zero(points: list[tuple[int, int]]) -> int:
    """Lagrange's polynomial through the points, at 0."""
    total = 0
    for x, y in points:
        part = y
        for other, _ in points:
            if other != x:
                part = times(times(part, other), inverse(other ^ x))
        total ^= part
    return total


@given(secret=st.binary(min_size=16, max_size=16), needed=st.integers(2, 4), more=st.integers(0, 3))
@settings(max_examples=4, deadline=None)
def test_any_enough_of_them_make_the_secret(secret: bytes, needed: int, more: int) -> None:
    """In any order, typed from paper; and an independent calculation finds the same."""
    scheme = shares.new_scheme(needed, needed + more)
    made = shares.split(secret, scheme)
    for chosen in itertools.islice(itertools.permutations(made, needed), 4):
        typed = [shares.read(share.text()) for share in chosen]
        assert shares.combine(typed) == secret
        points = [(share.number, int.from_bytes(share.value, "big")) for share in typed]
        assert at_zero(points).to_bytes(16, "big") == secret


def test_fewer_tell_nothing() -> None:
    """With one share of two every secret is as likely as every other: to each there is a second that makes it."""
    one = shares.split(SECRET, SCHEME)[0]
    value = int.from_bytes(one.value, "big")
    for secret in (0, 1, 2**128 - 1, int.from_bytes(SECRET, "big")):
        slope = secret ^ value
        second = secret ^ times(slope, 2)
        assert at_zero([(1, value), (2, second)]) == secret
    with pytest.raises(ShareRefused, match="1 shares; 2 are needed"):
        shares.combine([one])


@given(place=st.integers(0, 41), letter=st.sampled_from("0123456789ABCDEFGHJKMNPQRSTVWXYZ"))
def test_any_wrong_letter_is_noticed(place: int, letter: str) -> None:
    letters = PAPER.replace("-", "")
    changed = letters[:place] + letter + letters[place + 1 :]
    if changed == letters:
        assert shares.read(changed) == ON_PAPER
    else:
        with pytest.raises(ShareRefused, match=r"check sum|another program"):
            shares.read(changed)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "this has 0"),
        (PAPER[:-1], "this has 41"),
        (PAPER + "0", "this has 43"),
        (PAPER[:-1] + "?", "something else"),
        (PAPER[:-1] + "U", "something else"),
        ("ß" * 42, "this has 84"),
    ],
)
def test_what_is_no_share_is_refused(typed: str, why: str) -> None:
    with pytest.raises(ShareRefused, match=why):
        shares.read(typed)


@given(st.text(max_size=200))
def test_whatever_is_typed_is_a_share_or_refused(typed: str) -> None:
    with pytest.raises(ShareRefused):
        shares.read(typed)


def test_how_it_is_typed_does_not_matter() -> None:
    """Small letters, spaces for dashes, and the letters that look like digits."""
    assert ON_PAPER.text() == PAPER
    typed = PAPER.lower().replace("-", "  ").replace("0", "o").replace("1", "l")
    assert shares.read(typed) == ON_PAPER
    assert "value" not in repr(ON_PAPER)


def test_shares_that_do_not_go_together_are_named() -> None:
    """One of another set, and the same one twice."""
    first, second, _ = shares.split(SECRET, SCHEME)
    foreign = shares.split(SECRET, ShareScheme(2, 3, "beef"))[0]
    shares.require_fit(second, [first], SCHEME)
    with pytest.raises(ShareRefused, match="share 1 is of set BEEF; this key store is opened by set C17A"):
        shares.require_fit(foreign, [], SCHEME)
    with pytest.raises(ShareRefused, match="share 1 was typed already"):
        shares.require_fit(first, [first], SCHEME)


@pytest.mark.parametrize(("needed", "count"), [(1, 3), (0, 0), (3, 2), (2, 17)])
def test_a_scheme_needs_two_people(needed: int, count: int) -> None:
    with pytest.raises(ShareRefused):
        shares.new_scheme(needed, count)
