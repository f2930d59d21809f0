# SPDX-License-Identifier: EUPL-1.2
"""ISO 7816-4 §5.2.2: BER-TLV, read flat and in bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.chip.errors import ProtocolError
from cardservice.chip.tlv import Tlv, build, descend, only, parse

tags = st.sampled_from([0x53, 0x70, 0x71, 0x7C, 0x81, 0xFE, 0x5F2F, 0x7F49, 0x5FC101])


def test_the_application_property_template():
    template = bytes.fromhex("61114F0600001000010079074F05A000000308")
    assert parse(template) == (Tlv(0x61, template[2:]),)
    assert descend(template, 0x61, 0x4F) == bytes.fromhex("000010000100")
    assert descend(template, 0x61, 0x79, 0x4F) == bytes.fromhex("A000000308")


@pytest.mark.parametrize(
    ("length", "field"), [(0, "00"), (127, "7F"), (128, "8180"), (255, "81FF"), (256, "820100"), (65_536, "83010000")]
)
def test_lengths_are_written_in_their_shortest_form(length, field):
    encoded = bytes(build(0x53, bytes(length)))
    assert encoded[1 : -length or None].hex().upper() == field
    assert parse(encoded) == (Tlv(0x53, bytes(length)),)


@pytest.mark.parametrize("encoded", ["5302AABB", "538102AABB", "53820002AABB", "5383000002AABB", "538400000002AABB"])
def test_longer_length_fields_are_read(encoded):
    """BER allows them, and cards write certificates with them."""
    assert parse(bytes.fromhex(encoded)) == (Tlv(0x53, b"\xaa\xbb"),)


@pytest.mark.parametrize(
    "malformed",
    [
        "53",  # no length
        "5301",  # no value
        "5302AA",  # value cut short
        "5381",  # length cut short
        "538201",  # length cut short
        "5380AA0000",  # indefinite length
        "53850000000001AA",  # five length bytes
        "53FFAA",  # reserved length
        "5383010001",  # 65,537 bytes promised
        "5384FFFFFFFF",  # 4 GiB promised
        "5F",  # tag cut short
        "5FC1",  # tag cut short
        "5FC1C10100",  # tag of four bytes
        "0000",  # padding
        "FF00",  # padding
        "530000",  # padding behind an object
    ],
)
def test_malformed_objects_are_refused(malformed):
    with pytest.raises(ProtocolError, match="BER-TLV"):
        parse(bytes.fromhex(malformed))


def test_a_value_above_the_bound_is_refused_even_when_it_is_there():
    with pytest.raises(ProtocolError, match="at most 65536"):
        parse(bytes.fromhex("5383010001") + bytes(65_537))


def test_a_tag_must_be_there_exactly_once():
    twice = bytes.fromhex("710100710101")
    for data in (b"", twice):
        with pytest.raises(ProtocolError, match="exactly once"):
            descend(data, 0x71)
    assert only(parse(twice + b"\x70\x00"), 0x70) == b""


def test_nesting_costs_nothing():
    """A bomb of thousands of levels is one opaque value; only the levels we name are opened."""
    bomb = b""
    while len(bomb) < 60_000:
        bomb = bytes(build(0x7C, bomb))
    assert len(parse(bomb)) == 1
    assert len(descend(bomb, *[0x7C] * 8)) < len(bomb)
    with pytest.raises(ProtocolError):
        parse(b"\x30\x80" * 3_000)


def test_we_never_ask_deeper_than_eight_levels():
    with pytest.raises(ValueError, match="at most 8"):
        descend(b"", *[0x7C] * 9)


@pytest.mark.parametrize("tag", [0x00, 0xFF, 0x5F, 0x5FC1, 0x5301, 0x5FC1C101])
def test_only_real_tags_are_built(tag):
    with pytest.raises(ValueError, match="BER-TLV tag"):
        build(tag, b"")


def test_only_bounded_values_are_built():
    with pytest.raises(ValueError, match="65536"):
        build(0x53, bytes(65_537))


@given(st.lists(st.tuples(tags, st.binary(max_size=300)), max_size=8))
def test_what_is_built_is_read_back(objects):
    built = [build(tag, value) for tag, value in objects]
    assert parse(b"".join(bytes(tlv) for tlv in built)) == tuple(built)
    container = build(0x7C, *built)
    assert parse(descend(bytes(container), 0x7C)) == tuple(built)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_objects_or_a_protocol_error(data):
    try:
        objects = parse(data)
    except ProtocolError:
        return
    assert sum(len(tlv.value) for tlv in objects) + 2 * len(objects) <= len(data)
