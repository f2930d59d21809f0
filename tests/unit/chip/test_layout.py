# SPDX-License-Identifier: EUPL-1.2
"""The number file and the applications of docs/card-layout.md."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.chip.errors import ProtocolError
from cardservice.chip.layout import CardUse, NumberFile, diversification_input

NUMBER = bytes.fromhex("0102030405060708090A0B0C")


def test_each_use_has_its_own_application():
    assert {use.value: use.aid.hex().upper() for use in CardUse} == {
        "door": "01C1F5",
        "timeclock": "02C1F5",
        "printer": "03C1F5",
        "canteen": "04C1F5",
        "offline_cylinder": "05C1F5",
    }


@given(st.integers(1, 255), st.binary(min_size=12, max_size=12))
def test_the_number_file_is_read_back(generation, number):
    content = NumberFile(generation, number)
    assert bytes(content) == b"\x01" + bytes((generation,)) + number
    assert NumberFile.from_bytes(bytes(content)) == content


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\x02\x01" + NUMBER, "layout 02"),
        (b"\x00\x00" + bytes(12), "layout 00"),
        (b"\x01\x00" + NUMBER, "generation 00"),
        (b"\x01\x01" + NUMBER[:-1], "13 bytes"),
        (b"\x01\x01" + NUMBER + b"\x00", "15 bytes"),
    ],
)
def test_another_layout_is_refused(content, complaint):
    with pytest.raises(ProtocolError, match=complaint):
        NumberFile.from_bytes(content)


@pytest.mark.parametrize(("generation", "number"), [(0, NUMBER), (256, NUMBER), (1, NUMBER[1:])])
def test_a_number_file_that_cannot_be_is_our_own_mistake(generation, number):
    with pytest.raises(ValueError, match="1 to 255"):
        NumberFile(generation, number)


@pytest.mark.parametrize(("number", "system_id"), [(NUMBER[1:], b"STADT"), (NUMBER, b""), (NUMBER, bytes(17))])
def test_a_diversification_input_has_its_lengths(number, system_id):
    with pytest.raises(ValueError, match="bytes, not"):
        diversification_input(number, CardUse.DOOR, system_id)


def test_no_two_uses_share_a_diversification_input():
    assert len({diversification_input(NUMBER, use, b"STADT") for use in CardUse}) == len(CardUse)


def test_the_number_is_not_shown():
    assert NUMBER.hex() not in repr(NumberFile(1, NUMBER))
    assert "number" not in repr(NumberFile(1, NUMBER))
