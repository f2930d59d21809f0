# SPDX-License-Identifier: EUPL-1.2
"""The BER codec reads what it writes, and refuses everything outside its bounds."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directorysim import BerError, ber


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_survive(value: int) -> None:
    """Every integer of up to eight bytes is read back as written."""
    assert ber.to_integer(ber.decode(ber.encode_integer(value))) == value


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_sequences_of_octets_survive(values: list[bytes]) -> None:
    """A sequence of octet strings is read back as written, whatever the lengths."""
    decoded = ber.decode(ber.encode_sequence(*(ber.encode_octets(value) for value in values)))
    assert [child.content for child in decoded.children] == values


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    """Random bytes never raise anything but BerError."""
    with suppress(BerError):
        ber.decode(data)
    with suppress(BerError):
        ber.message_length(data, limit_bytes=1000)


def test_nesting_is_bounded() -> None:
    """32 levels are read, 33 are refused."""
    data = b""
    for _ in range(32):
        data = ber.encode(ber.SEQUENCE, data)
    ber.decode(data)
    with pytest.raises(BerError, match="deeper than 32"):
        ber.decode(ber.encode(ber.SEQUENCE, data))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x30\x80\x00\x00", "takes 0 bytes"),
        (b"\x30\x85\x00\x00\x00\x00\x01\x00", "takes 5 bytes"),
        (b"\x1f\x81\x01\x00", "multi-byte tag"),
        (b"\x30\x03\x04\x05a", "past the end"),
        (b"\x30\x03\x04", "past the end"),
        (b"\x04\x01a\x04\x01b", "2 elements"),
        (b"", "0 elements"),
    ],
)
def test_malformed_elements_are_refused(data: bytes, complaint: str) -> None:
    """Indefinite, oversized, truncated and multiple elements are refused with a reason."""
    with pytest.raises(BerError, match=complaint):
        ber.decode(data)


def test_too_many_elements_are_refused() -> None:
    """The number of elements of one message is bounded."""
    values = b"\x05\x00" * (ber.MAX_ELEMENTS - 1)
    ber.decode(ber.encode(ber.SEQUENCE, values))
    with pytest.raises(BerError, match="more than"):
        ber.decode(ber.encode(ber.SEQUENCE, values + b"\x05\x00"))


def test_a_message_length_is_known_before_the_message_is_there() -> None:
    """An oversized message is refused by its header; an incomplete header is waited for."""
    assert ber.message_length(b"\x30\x82\x01", limit_bytes=1000) is None
    assert ber.message_length(b"\x30\x82\x01\x00", limit_bytes=1000) == 260
    with pytest.raises(BerError, match="1000 are allowed"):
        ber.message_length(b"\x30\x84\x7f\xff\xff\xff", limit_bytes=1000)
    with pytest.raises(BerError, match="0x30 is required"):
        ber.message_length(b"\x16\x03\x01", limit_bytes=1000)
