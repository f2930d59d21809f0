# SPDX-License-Identifier: EUPL-1.2
"""DESFire commands: authentication vectors, status words, additional frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.chip.card_double import Wire, aes
from unit.chip.hostile import Script, answers

from cardservice.chip.desfire import (
    Command,
    Session,
    answer_ev2_first,
    authenticate_ev2_first,
    perform,
    select_application,
    wrap,
)
from cardservice.chip.desfire_messages import CommMode, Ins
from cardservice.chip.desfire_messaging import SecureChannel
from cardservice.chip.errors import (
    ApplicationNotFound,
    AuthenticationRefused,
    CardNotGenuine,
    ChipError,
    FileNotFound,
    IntegrityRefused,
    KeyNotFound,
    PermissionDenied,
    ProtocolError,
)
from cardservice.chip.keys import SoftwareAesKey

ZERO_KEY = SoftwareAesKey(bytes(16))


def a_session() -> Session:
    return Session(SecureChannel(bytes(4), ZERO_KEY, ZERO_KEY))


def raw_answer(command: bytes) -> Command[bytes]:
    return Command(command, lambda raw: raw)


def test_first_pass_is_that_of_an12196_table_14(vectors):
    vector = vectors["authenticate_ev2_first"][0]
    (apdu, answer), _ = vector["exchange"]
    begin = authenticate_ev2_first(vector["key_no"])
    assert begin.apdu.hex().upper() == apdu
    enciphered = begin.decode(bytes.fromhex(answer))
    assert aes(bytes(16), enciphered, decrypt=True).hex().upper() == vector["rnd_b"]


def test_second_pass_opens_the_published_session(vectors):
    """Tables 14 and 20: our token, and a session that then speaks with the published TI and keys."""
    for vector in vectors["authenticate_ev2_first"]:
        key, rnd_a = SoftwareAesKey(bytes.fromhex(vector["key"])), bytes.fromhex(vector["rnd_a"])
        enciphered = vector.get("rnd_b_encrypted") or vector["exchange"][0][1][:32]
        reply = answer_ev2_first(key, bytes.fromhex(enciphered), random_bytes=lambda _, rnd_a=rnd_a: rnd_a)
        apdu, answer = vector["exchange"][-1]
        assert reply.apdu.hex().upper() == apdu

        session_keys = [SoftwareAesKey(bytes.fromhex(vector[name])) for name in ("ses_auth_enc", "ses_auth_mac")]
        expected = Session(SecureChannel(bytes.fromhex(vector["ti"]), *session_keys))
        opened = reply.decode(bytes.fromhex(answer))
        for _ in range(2):
            ours = opened.write_data(3, 0, b"content", mode=CommMode.FULL)
            assert ours.apdu == expected.write_data(3, 0, b"content", mode=CommMode.FULL).apdu


def test_a_card_without_the_key_is_not_genuine(vectors):
    vector = vectors["authenticate_ev2_first"][0]
    rnd_a = bytes.fromhex(vector["rnd_a"])
    reply = answer_ev2_first(ZERO_KEY, bytes(16), random_bytes=lambda _: rnd_a)
    forged = bytearray.fromhex(vector["exchange"][-1][1])
    forged[0] ^= 1
    with pytest.raises(CardNotGenuine):
        reply.decode(bytes(forged))


def test_a_random_source_that_gives_too_little_is_an_error():
    with pytest.raises(ValueError, match="random source"):
        answer_ev2_first(ZERO_KEY, bytes(16), random_bytes=lambda _: b"four")


def test_non_first_keeps_identifier_and_counter():
    """AuthenticateEV2NonFirst changes the keys only: the next MAC covers the same TI and the counter as it stood."""
    session = a_session()
    session.read_data(1, 0, 1, mode=CommMode.MAC)
    begin = session.authenticate_ev2_non_first(1)
    assert begin.apdu.hex().upper() == "9077000001" + "01" + "00"
    rnd_a, rnd_b = bytes(range(16)), bytes(range(16, 32))
    reply = session.answer_ev2_non_first(ZERO_KEY, aes(bytes(16), rnd_b), random_bytes=lambda _: rnd_a)
    renewed = reply.decode(aes(bytes(16), rnd_a[1:] + rnd_a[:1]) + b"\x91\x00")
    expected = Session(SecureChannel.derive(ZERO_KEY, rnd_a, rnd_b, bytes(4)), 1)
    read = {"file_no": 1, "offset": 0, "length": 14, "mode": CommMode.FULL}
    assert renewed.read_data(**read).apdu == expected.read_data(**read).apdu


def test_select_application_is_framed_as_documented():
    assert select_application(bytes.fromhex("01C1F5")).apdu.hex().upper() == "905A00000301C1F500"
    assert wrap(Ins.GET_CARD_UID).hex().upper() == "9051000000"


@pytest.mark.parametrize(
    ("sw", "error"),
    [
        ("91A0", ApplicationNotFound),
        ("91AE", AuthenticationRefused),
        ("919D", PermissionDenied),
        ("91F0", FileNotFound),
        ("9140", KeyNotFound),
        ("911E", IntegrityRefused),
    ],
)
def test_status_words_become_their_errors(sw, error):
    with pytest.raises(error) as refused:
        a_session().get_card_uid().decode(bytes.fromhex(sw))
    assert refused.value.sw == int(sw, 16)
    assert str(refused.value).startswith(f"GET_CARD_UID: {sw}")


@pytest.mark.parametrize("sw", ["91A0", "6E00", "6D00", "6A82", "6881"])
def test_a_card_without_desfire_has_no_application(sw):
    """A PIV card on the contact interface refuses class 90; to the caller it is an unknown card."""
    with pytest.raises(ApplicationNotFound):
        select_application(b"\x01\xc1\xf5").decode(bytes.fromhex(sw))


@pytest.mark.parametrize("answer", ["91AF", "009100", "9000"])
def test_a_select_answered_with_something_else_is_refused(answer):
    with pytest.raises(ChipError):
        select_application(b"\x01\xc1\xf5").decode(bytes.fromhex(answer))


@pytest.mark.parametrize("answer", ["9100", "00" * 16 + "9100", "00" * 15 + "91AF", "00" * 17 + "91AF"])
def test_a_first_pass_needs_16_bytes_and_91af(answer):
    with pytest.raises(ProtocolError):
        authenticate_ev2_first(2).decode(bytes.fromhex(answer))


def test_additional_frames_are_joined():
    wire = Wire(Script([b"one\x91\xaf", b"two\x91\xaf", b"three\x91\x00"]))
    assert wire.run(perform(raw_answer(wrap(Ins.GET_CARD_UID)))) == b"onetwothree\x91\x00"
    assert wire.sent == [["9051000000"], ["90AF000000"], ["90AF000000"]]


def test_endless_additional_frames_are_stopped_by_rounds():
    wire = Wire(Script([b"\x91\xaf"]))
    with pytest.raises(ProtocolError, match="64 frames"):
        wire.run(perform(raw_answer(wrap(Ins.GET_CARD_UID))))
    assert len(wire.batches) == 64


def test_endless_additional_frames_are_stopped_by_bytes():
    wire = Wire(Script([bytes(60_000) + b"\x91\xaf"]))
    with pytest.raises(ProtocolError, match="65536 bytes"):
        wire.run(perform(raw_answer(wrap(Ins.GET_CARD_UID))))
    assert len(wire.batches) == 2


@given(answers.filter(lambda raw: len(raw) >= 2))
def test_decoders_only_raise_chip_errors(raw):
    session = a_session()
    commands = [
        select_application(b"\x01\xc1\xf5"),
        authenticate_ev2_first(2),
        answer_ev2_first(ZERO_KEY, bytes(16), random_bytes=bytes),
        session.answer_ev2_non_first(ZERO_KEY, bytes(16), random_bytes=bytes),
        session.read_data(1, 0, 14, mode=CommMode.FULL),
        session.read_data(1, 0, 14, mode=CommMode.PLAIN),
        session.get_card_uid(),
    ]
    for command in commands:
        try:
            command.decode(raw)
        except ChipError:
            continue


@given(st.binary(max_size=2))
def test_bytes_beyond_one_frame_are_our_own_mistake(extra):
    with pytest.raises(ValueError, match="255"):
        wrap(Ins.WRITE_DATA, bytes(256) + extra)


def test_an_application_identifier_has_three_bytes():
    with pytest.raises(ValueError, match="3 bytes"):
        select_application(b"\x01\xc1")
