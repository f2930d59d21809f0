# SPDX-License-Identifier: EUPL-1.2
"""EV2 secure messaging against the published vectors, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.chip.desfire import Session
from cardservice.chip.desfire_messages import CommMode, Ins, Message
from cardservice.chip.desfire_messaging import SecureChannel, pad, session_vectors, unpad
from cardservice.chip.errors import CardNotGenuine, ProtocolError
from cardservice.chip.keys import SoftwareAesKey

ANY_KEY = SoftwareAesKey(bytes(range(16)))


def channel(vector: dict, *, enc: str | None = None) -> SecureChannel:
    enc_key = SoftwareAesKey(bytes.fromhex(enc or vector["ses_auth_enc"]))
    return SecureChannel(bytes.fromhex(vector["ti"]), enc_key, SoftwareAesKey(bytes.fromhex(vector["ses_auth_mac"])))


def test_session_keys(vectors):
    for vector in vectors["ev2_session_keys"]:
        key = SoftwareAesKey(bytes.fromhex(vector["key"]))
        sv1, sv2 = session_vectors(bytes.fromhex(vector["rnd_a"]), bytes.fromhex(vector["rnd_b"]))
        assert key.cmac(sv1).hex().upper() == vector["ses_auth_enc"]
        assert key.cmac(sv2).hex().upper() == vector["ses_auth_mac"]


def test_command_initial_vectors(vectors):
    for vector in vectors["ev2_command_iv"]:
        enc = SoftwareAesKey(bytes.fromhex(vector["ses_auth_enc"]))
        iv = SecureChannel(bytes.fromhex(vector["ti"]), enc, ANY_KEY).command_iv(vector["cmd_ctr"])
        assert iv.hex().upper() == vector["iv"]


def test_mac_mode(vectors):
    """AN12196 table 8: GetFileSettings, both directions."""
    for vector in vectors["mac_response"]:
        session = Session(channel(vector, enc="00" * 16), vector["cmd_ctr"])
        command = session.get_file_settings(2)
        assert command.apdu.hex().upper() == vector["apdu"]
        answer = bytes.fromhex(vector["response"])
        assert command.decode(answer) == answer[:-10]


def test_full_mode_response(vectors):
    """AN12196 §7.3: GetCardUID."""
    for vector in vectors["get_card_uid"]:
        command = Session(channel(vector), vector["cmd_ctr"]).get_card_uid()
        assert command.apdu.hex().upper() == vector["apdu"]
        assert command.decode(bytes.fromhex(vector["response"])).hex().upper() == vector["uid"]


def test_full_mode_command(vectors):
    """AN12196 table 22: WriteData in the session of table 20."""
    opened = vectors["authenticate_ev2_first"][1]
    for vector in vectors["write_data_full"]:
        session = Session(channel(opened))
        plain = bytes.fromhex(vector["plain"])
        command = session.write_data(vector["file_no"], vector["offset"], plain, mode=CommMode.FULL)
        assert command.apdu.hex().upper() == vector["apdu"]
        assert command.decode(bytes.fromhex(vector["response"])) is None


@pytest.mark.parametrize("bit", range(0, 24 * 8, 7))
def test_a_changed_bit_is_not_genuine(vectors, bit):
    vector = vectors["get_card_uid"][0]
    answer = bytearray.fromhex(vector["response"])[:-2]
    answer[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CardNotGenuine):
        Session(channel(vector)).get_card_uid().decode(bytes(answer) + b"\x91\x00")


def test_an_answer_belongs_to_its_own_command(vectors):
    """A genuine answer replayed for the next command is refused, because the counter has moved."""
    vector = vectors["get_card_uid"][0]
    session = Session(channel(vector))
    session.get_card_uid()
    with pytest.raises(CardNotGenuine):
        session.get_card_uid().decode(bytes.fromhex(vector["response"]))


def test_plain_mode_adds_nothing_and_still_counts(vectors):
    vector = vectors["get_card_uid"][0]
    session = Session(channel(vector))
    plain = session.read_data(1, 0, 2, mode=CommMode.PLAIN)
    assert plain.apdu.hex().upper() == "90AD0000070100000002000000"
    assert plain.decode(bytes.fromhex("CAFE9100")) == bytes.fromhex("CAFE")
    assert session.get_card_uid().apdu.hex().upper() != vector["apdu"]


def test_a_counter_that_is_used_up_ends_the_session(vectors):
    session = Session(channel(vectors["get_card_uid"][0]), 0xFFFF)
    with pytest.raises(ProtocolError, match="authenticate again"):
        session.get_card_uid()


@pytest.mark.parametrize("data", [b"", b"\x00" * 7])
def test_an_answer_too_short_for_a_mac_is_refused(data):
    secured = SecureChannel(bytes(4), ANY_KEY, ANY_KEY)
    with pytest.raises(ProtocolError, match="MAC"):
        secured.reveal(data, CommMode.MAC, 0)


@pytest.mark.parametrize(("data", "complaint"), [(bytes(15), "whole blocks"), (bytes(16), "padding")])
def test_a_right_mac_over_malformed_data_is_a_protocol_error(data, complaint):
    """Only reachable by a card that holds the key: still no other exception leaves."""
    secured = SecureChannel(bytes(4), ANY_KEY, ANY_KEY)
    enciphered = data if len(data) % 16 else ANY_KEY.encrypt_cbc(secured.response_iv(0), data)
    mac = ANY_KEY.cmac(b"\x00" + b"\x01\x00" + bytes(4) + enciphered)[1::2]
    with pytest.raises(ProtocolError, match=complaint):
        secured.reveal(enciphered + mac, CommMode.FULL, 0)


@given(st.binary(max_size=80))
def test_padding_round_trip(data):
    padded = pad(data)
    assert len(padded) % 16 == 0
    assert 1 <= len(padded) - len(data) <= 16
    assert unpad(padded) == data


@pytest.mark.parametrize("padded", [b"", bytes(16), b"\x80" + bytes(16), b"\x01" * 16])
def test_wrong_padding_is_refused(padded):
    with pytest.raises(ProtocolError, match="padding"):
        unpad(padded)


def test_a_message_hides_its_data():
    assert "SECRET" not in repr(Message(Ins.WRITE_DATA, CommMode.FULL, b"", b"SECRET"))
