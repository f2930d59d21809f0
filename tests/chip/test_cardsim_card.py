# SPDX-License-Identifier: EUPL-1.2
"""The virtual card as a reader sees it: interfaces, UID, hostile input."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardsim.apdu import ApduError, parse_command
from cardsim.card import VirtualCard
from cardsim.desfire import NATIVE_INSTRUCTIONS
from cardsim.desfire_data import AesKey, Application
from cardsim.personalise import desfire_with, personalise_piv

SELECT_PIV = bytes.fromhex("00A4040009A0000003080000100000")
SELECT_DESFIRE = bytes.fromhex("00A4040007D276000085010000")


def new_card(**options) -> VirtualCard:
    return VirtualCard(
        "card",
        "card",
        desfire=desfire_with([Application(b"\x01\xc1\xf5", [AesKey(bytes(16))])]),
        piv=personalise_piv(uuid.UUID(int=1), pin="123456", puk="12345678", slots={}),
        **options,
    )


def test_without_power_there_is_no_answer():
    card = new_card()
    assert card.transmit(SELECT_PIV) == b""
    card.power_on("contact")
    card.power_off()
    assert card.transmit(SELECT_PIV) == b""


def test_an_unknown_interface_is_refused():
    with pytest.raises(ValueError, match="contactless"):
        new_card().power_on("air")


def test_atrs():
    """Contactless as PC/SC part 3 builds it from the historical byte 80: 3B 81 80 01 80 and the check byte."""
    card = new_card()
    assert card.power_on("contactless") == bytes.fromhex("3B8180018080")
    assert card.power_on("contact") == bytes.fromhex("3B8180018080")


def test_the_uid_is_random_on_every_activation():
    card = new_card()
    seen = set()
    for _ in range(8):
        card.power_on("contactless")
        answer = card.transmit(bytes.fromhex("FFCA000000"))
        assert (answer[0], len(answer), answer[-2:]) == (0x08, 6, b"\x90\x00")
        assert card.transmit(bytes.fromhex("FFCA000000")) == answer
        seen.add(answer)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        ("FFCA000004", "9000"),
        ("FFCA000003", "6C04"),
        ("FFCA00000A", "6282"),
        ("FFCA0000", "6700"),
        ("FFCA010000", "6A81"),
        ("FFB0000010", "6A81"),
    ],
)
def test_reader_commands(command, ending):
    card = new_card()
    card.power_on("contactless")
    assert card.transmit(bytes.fromhex(command))[-2:] == bytes.fromhex(ending)


def test_the_contacts_answer_piv_and_no_desfire():
    card = new_card()
    card.power_on("contact")
    assert card.transmit(SELECT_PIV)[-2:] == b"\x90\x00"
    assert card.transmit(bytes.fromhex("905A00000301C1F500")) == bytes.fromhex("6E00")
    assert card.transmit(b"\x90") == bytes.fromhex("6E00")
    assert card.transmit(b"\x60") == bytes.fromhex("6700")
    assert card.transmit(SELECT_DESFIRE) == bytes.fromhex("6A82")
    assert card.transmit(bytes.fromhex("FFCA000000")) == bytes.fromhex("6A81")


def test_contactless_piv_is_off_by_default():
    card = new_card()
    card.power_on("contactless")
    assert card.transmit(SELECT_PIV) == bytes.fromhex("6A82")
    assert card.transmit(bytes.fromhex("00CB3FFF055C035FC10200")) == bytes.fromhex("6D00")
    assert card.transmit(SELECT_DESFIRE) == bytes.fromhex("9000")
    assert card.transmit(bytes.fromhex("905A00000301C1F500")) == bytes.fromhex("9100")


def test_the_applets_do_not_share_an_activation():
    """A DESFire frame deselects PIV; an ISO command ends the DESFire selection."""
    card = new_card(piv_contactless=True)
    card.power_on("contactless")
    assert card.transmit(SELECT_PIV)[-2:] == b"\x90\x00"
    assert card.transmit(bytes.fromhex("905A00000301C1F500")) == b"\x91\x00"
    assert card.transmit(bytes.fromhex("00CB3FFF055C035FC10200")) == b"\x6d\x00"
    assert card.desfire.activation.selected.is_picc_level


def test_a_card_without_applets_refuses_politely():
    card = VirtualCard("empty", "empty")
    card.power_on("contact")
    assert card.transmit(SELECT_PIV) == bytes.fromhex("6A82")
    assert card.transmit(bytes.fromhex("00B0000000")) == bytes.fromhex("6D00")
    assert card.transmit(bytes.fromhex("80B0000000")) == bytes.fromhex("6E00")


@pytest.mark.parametrize("length", [65_545, 1_000_000])
@pytest.mark.parametrize("first", [0x00, 0x90, 0x60, 0xFF])
def test_overlong_commands(first, length):
    card = new_card()
    card.power_on("contactless")
    assert card.transmit(bytes([first]) + bytes(length - 1)) == bytes.fromhex("6700")


def test_the_longest_extended_command_is_parsed():
    raw = bytes.fromhex("00870000") + b"\x00\xff\xff" + bytes(65_535) + b"\x00\x00"
    command = parse_command(raw)
    assert (len(raw), len(command.data), command.expected_length) == (65_544, 65_535, 65_536)


@pytest.mark.parametrize(
    ("raw", "data", "expected_length"),
    [
        ("00A40400", "", None),
        ("00A4040000", "", 256),
        ("00A4040010", "", 16),
        ("00A4040002AABB", "AABB", None),
        ("00A4040002AABB05", "AABB", 5),
        ("00A40400000000", "", 65_536),
        ("00A40400000002AABB", "AABB", None),
        ("00A40400000002AABB0100", "AABB", 256),
    ],
)
def test_the_cases_of_iso_7816(raw, data, expected_length):
    command = parse_command(bytes.fromhex(raw))
    assert (command.data.hex().upper(), command.expected_length) == (data, expected_length)


@pytest.mark.parametrize(
    "raw",
    ["", "00A404", "00A404000000", "00A4040003AABB", "00A4040001AABBCC", "00A404000000030000", "00A40400000000AABB"],
)
def test_contradicting_lengths(raw):
    with pytest.raises(ApduError, match="6700"):
        parse_command(bytes.fromhex(raw))


NATIVE = tuple(sorted(NATIVE_INSTRUCTIONS))
COMMANDS = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda ins, body: bytes([0x90, ins, 0, 0, len(body)]) + body + b"\x00",
        st.sampled_from(NATIVE),
        st.binary(min_size=1, max_size=60),
    ),
    st.builds(
        lambda cla, ins, p1, p2, body: bytes([cla, ins, p1, p2, len(body)]) + body + b"\x00",
        st.sampled_from([0x00, 0x10]),
        st.sampled_from([0x20, 0x24, 0x2C, 0x87, 0xA4, 0xC0, 0xCB]),
        st.sampled_from([0x00, 0x04, 0x11, 0x3F, 0xFF]),
        st.sampled_from([0x00, 0x80, 0x81, 0x9A, 0x9E, 0xFF]),
        st.binary(min_size=1, max_size=60),
    ),
    st.just(SELECT_PIV),
)


@settings(max_examples=150, deadline=None)
@given(interface=st.sampled_from(["contact", "contactless"]), commands=st.lists(COMMANDS, max_size=8))
def test_any_input_gets_an_answer_with_a_status(interface, commands):
    """No input raises; wrapped and ISO answers end with a status word, native ones begin with a status."""
    card = new_card(piv_contactless=True)
    card.power_on(interface)
    for command in commands:
        answer = card.transmit(command)
        if interface == "contactless" and command[:1] and command[0] in NATIVE:
            assert len(answer) >= 1
        else:
            assert len(answer) >= 2
            assert answer[-2] in (0x90, 0x91, 0x61, 0x62, 0x63, 0x67, 0x68, 0x69, 0x6A, 0x6C, 0x6D, 0x6E)
