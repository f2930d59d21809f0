# SPDX-License-Identifier: EUPL-1.2
"""Numbers of cards that were there before, in all usual ways of writing them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.cards.numbers.rules import NumberRefused, OldNumber, Written, read_number

CHIP = OldNumber(bytes.fromhex("04A2B3C4"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("04A2B3C4", Written.HEX),
        ("04:a2:b3:c4", Written.HEX),
        ("C4 B3 A2 04", Written.HEX_REVERSED),
        ("77771716", Written.DECIMAL),
        ("3300106756", Written.DECIMAL_REVERSED),
        ("1186:46020", Written.WIEGAND_34),
    ],
)
def test_one_card_is_the_same_however_it_is_written(text, written):
    """Worked out by hand: 0x04A2B3C4 = 77771716, 0xC4B3A204 = 3300106756, 0x04A2 = 1186, 0xB3C4 = 46020."""
    assert read_number(text, written) == CHIP


def test_one_card_is_shown_in_all_ways():
    """So that whoever brings a list sees how it was understood."""
    assert CHIP.in_all_ways() == {
        "hex": "04A2B3C4",
        "hex_reversed": "C4B3A204",
        "decimal": "77771716",
        "decimal_reversed": "3300106756",
        "wiegand_26": "162:46020",
        "wiegand_34": "1186:46020",
    }
    assert read_number("162:46020", Written.WIEGAND_26) == OldNumber(bytes.fromhex("A2B3C4"))


@given(st.sampled_from((4, 7)).flatmap(lambda size: st.binary(min_size=size, max_size=size)).filter(any))
def test_what_is_shown_is_read_as_the_same(value):
    """Of every number, in every way that keeps all of it."""
    one = OldNumber(value)
    ways = one.in_all_ways()
    for written in (Written.HEX, Written.HEX_REVERSED, Written.DECIMAL, Written.DECIMAL_REVERSED):
        assert read_number(ways[written], written, len(value)) == one


@given(st.lists(st.binary(min_size=3, max_size=7).filter(lambda value: len(value) in {3, 4, 7}), unique=True))
def test_no_two_old_numbers_are_one(values):
    """Of a Wiegand line, of four bytes and of seven; twelve bytes each."""
    numbers = {OldNumber(value).number() for value in values}
    assert len(numbers) == len(values)
    assert {len(number) for number in numbers} <= {12}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("", Written.HEX),
        ("04A2B3", Written.HEX),
        ("04A2B3C", Written.HEX),
        ("0x04A2B3C4", Written.HEX),
        ("00000000", Written.HEX),
        ("4294967296", Written.DECIMAL),
        ("-1", Written.DECIMAL),
        ("1e3", Written.DECIMAL),
        ("\u0661\u0662", Written.DECIMAL),
        ("256:1", Written.WIEGAND_26),
        ("1:65536", Written.WIEGAND_26),
        ("1", Written.WIEGAND_34),
        ("0:0", Written.WIEGAND_34),
        ("9" * 41, Written.DECIMAL),
    ],
)
def test_what_is_no_number_is_refused(text, written):
    """Never guessed at."""
    with pytest.raises(NumberRefused):
        read_number(text, written)
