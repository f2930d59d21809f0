# SPDX-License-Identifier: EUPL-1.2
"""What makes a transfer, and how much of one can be taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.ledger.rules import MAX_CENTS, MAX_POSTINGS, AccountName, Posting, Transfer, is_within

A, B, C = (AccountName("wallet", letter) for letter in "abc")


def transfer(*amounts: int, kind: str = "payment") -> Transfer:
    postings = tuple(Posting(AccountName("wallet", str(n)), amount) for n, amount in enumerate(amounts))
    return Transfer(kind, postings, 0)


@pytest.mark.parametrize(
    ("amounts", "why"),
    [
        ((), "2 to 32"),
        ((5,), "2 to 32"),
        ((1,) * MAX_POSTINGS + (-MAX_POSTINGS,), "2 to 32"),
        ((5, 0, -5), "whole cents"),
        ((5.0, -5.0), "whole cents"),
        ((True, -1), "whole cents"),
        ((MAX_CENTS + 1, -MAX_CENTS - 1), "whole cents"),
        ((5, -4), "add up to 1 cents"),
    ],
)
def test_what_is_no_transfer(amounts: tuple[int, ...], why: str) -> None:
    """Nothing that does not add up, moves nothing or moves parts of a cent is ever posted."""
    with pytest.raises(ValueError, match=why):
        transfer(*amounts)


def test_an_account_stands_in_a_transfer_once() -> None:
    with pytest.raises(ValueError, match="each account once"):
        Transfer("payment", (Posting(A, 3), Posting(A, 2), Posting(B, -5)), 0)


@pytest.mark.parametrize("kind", ["", "k" * 21])
def test_a_kind_fits_its_column(kind: str) -> None:
    with pytest.raises(ValueError, match="kind"):
        transfer(5, -5, kind=kind)


@given(st.lists(st.integers(-MAX_CENTS // 40, MAX_CENTS // 40).filter(bool), min_size=1, max_size=MAX_POSTINGS - 1))
def test_whatever_adds_up_is_a_transfer(amounts: list[int]) -> None:
    if sum(amounts):
        assert transfer(*amounts, -sum(amounts)).postings[0].amount_cents == amounts[0]


@pytest.mark.parametrize(
    ("postings", "within"),
    [
        ([(A, 10), (B, -10)], True),
        ([(A, 1), (B, -1)], True),
        ([(A, 11), (B, -11)], False),
        ([(A, -1), (B, 1)], False),
        ([(A, 10), (C, -10)], False),
    ],
)
def test_no_more_is_taken_back_than_is_left(postings: list[tuple[AccountName, int]], within: bool) -> None:
    """Account by account, only in the other direction, and nothing from an account that was not part of it."""
    assert is_within({A: -10, B: 10}, [Posting(*posting) for posting in postings]) is within
