# SPDX-License-Identifier: EUPL-1.2
"""BER is read within bounds: right values come back, anything else is one kind of error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.ldap import ber
from integrations.ldap.errors import MalformedBer


@given(st.binary(max_size=300), st.sampled_from([ber.OCTET_STRING, ber.SEQUENCE, 0x64, 0xA0]))
def test_what_is_encoded_is_read_back(value: bytes, tag: int) -> None:
    data = ber.encode(tag, value)
    assert ber.read_element(data, 0, len(data)) == (tag, len(data) - len(value), len(data))


@given(st.integers(min_value=0, max_value=2**62))
def test_integers_are_read_back(number: int) -> None:
    data = ber.encode_integer(number)
    start, end = ber.expect(data, 0, len(data), ber.INTEGER)
    assert ber.read_integer(data, start, end) == number


@given(st.binary(max_size=60))
def test_any_bytes_end_in_elements_or_one_error(data: bytes) -> None:
    try:
        found = list(ber.elements(data, 0, len(data), at_most=100))
    except MalformedBer:
        return
    assert all(0 <= start <= end <= len(data) for _, start, end in found)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x30", "cut off"),
        (b"\x30\x80\x00\x00", "0 octets"),
        (b"\x30\x85\x00\x00\x00\x00\x01\x00", "5 octets"),
        (b"\x30\x05\x00", "longer than what holds it"),
        (b"\x1f\x01\x00", "second octet"),
    ],
)
def test_forms_ldap_does_not_use_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedBer, match=words):
        ber.read_element(data, 0, len(data))


def test_a_message_beyond_the_bound_is_refused_before_it_is_collected() -> None:
    header = b"\x30\x84" + (ber.MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")
    with pytest.raises(MalformedBer, match="at most"):
        ber.message_length(header, 0)


def test_an_incomplete_header_is_no_error() -> None:
    assert [ber.message_length(b"\x30\x82\x01\x00"[:size], 0) for size in range(5)] == [None, None, None, None, 260]


def test_too_many_elements_are_refused() -> None:
    with pytest.raises(MalformedBer, match="more than 2"):
        list(ber.elements(b"\x04\x00" * 3, 0, 6, at_most=2))


@pytest.mark.parametrize("size", [0, 9])
def test_integers_of_wrong_size_are_refused(size: int) -> None:
    with pytest.raises(MalformedBer):
        ber.read_integer(b"\x01" * size, 0, size)
