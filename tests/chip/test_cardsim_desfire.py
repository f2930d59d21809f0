# SPDX-License-Identifier: EUPL-1.2
"""Behaviour of the virtual DESFire: the tap of the card layout, rights, statuses, chaining, privacy."""

import dataclasses

import pytest

from cardsim import desfire_crypto as crypto
from cardsim.card import VirtualCard
from cardsim.desfire_data import AccessRights, AesKey, Application, CommunicationMode, StandardFile
from cardsim.desfire_memory import CardMemory
from cardsim.desfire_session import LAST_COUNTER
from cardsim.errors import PersonalisationError
from cardsim.personalise import UseKeys, derive_card_keys, desfire_with, personalise_desfire
from cardsim.reader import CardRefused, DesfireReader, locate, tap

SYSTEM_ID = b"STADT"
DOOR = UseKeys(bytes.fromhex("01C1F5"), b"A" * 16, b"P" * 16, b"L" * 16, 3, b"door-number!")
CANTEEN = UseKeys(bytes.fromhex("04C1F5"), b"a" * 16, b"p" * 16, b"l" * 16, 1, b"menu-number!")
KEYS = derive_card_keys(SYSTEM_ID, DOOR)
FREE_AID = bytes.fromhex("0A0B0C")


@pytest.fixture
def card() -> VirtualCard:
    card = VirtualCard("card", "card", desfire=personalise_desfire(SYSTEM_ID, [DOOR, CANTEEN]))
    card.power_on("contactless")
    return card


def card_with_file(mode, rights, size=200) -> VirtualCard:
    """A card whose only application has three keys and file 1 with content 00 01 02 ..."""
    file = StandardFile(1, bytearray(range(size)), mode, rights)
    application = Application(FREE_AID, [AesKey(bytes([n] * 16)) for n in range(3)], {1: file})
    card = VirtualCard("free", "free", desfire=desfire_with([application]))
    card.power_on("contactless")
    return card


def status(card: VirtualCard, frame: str) -> str:
    return card.transmit(bytes.fromhex(frame))[-2:].hex().upper()


def test_the_tap_of_the_layout(card):
    """Layout, generation and number come enciphered; the proof key then proves the card."""
    content = tap(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key, proof_key=KEYS.proof_key)
    assert content == b"\x01\x03" + DOOR.number


def test_the_non_first_authentication_keeps_ti_and_counter(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    before = card.desfire.activation.session
    reader.authenticate_non_first(1, KEYS.proof_key)
    after = card.desfire.activation.session
    assert (after.ti, after.command_counter, after.key_number) == (before.ti, 1, 1)
    assert after.enc_key != before.enc_key


def test_the_applications_differ_in_all_diversified_keys(card):
    door, canteen = card.desfire.applications
    values = {key.value for application in (door, canteen) for key in application.keys}
    assert len(values) == 6


@pytest.mark.parametrize("key_number", [0, 1, 2])
def test_a_wrong_key_ends_in_an_authentication_error(card, key_number):
    reader = DesfireReader(card)
    reader.select(DOOR.aid_as_sent)
    with pytest.raises(CardRefused, match="91AE"):
        reader.authenticate_first(key_number, b"wrong key wrong!")


def test_a_wrong_proof_ends_the_session(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    with pytest.raises(CardRefused, match="91AE"):
        reader.authenticate_non_first(1, b"wrong key wrong!")
    with pytest.raises(CardRefused, match="91AE"):
        reader.read_full(1, 0, 14)


def test_the_proof_key_may_do_nothing_with_the_file(card):
    reader = DesfireReader(card)
    reader.select(DOOR.aid_as_sent)
    reader.authenticate_first(1, KEYS.proof_key)
    with pytest.raises(CardRefused, match="91AE"):
        reader.read_full(1, 0, 14)


def test_the_locate_key_may_not_write_but_the_application_master_may(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    with pytest.raises(CardRefused, match="91AE"):
        reader.write_full(1, 0, b"\x02")
    reader.authenticate_first(0, KEYS.application_key)
    reader.write_full(1, 1, b"\x07")
    assert reader.read_full(1, 0, 0) == b"\x01\x07" + DOOR.number


def test_file_settings_are_those_of_the_layout(card):
    reader = DesfireReader(card)
    reader.select(DOOR.aid_as_sent)
    assert reader.send(0xF5, b"\x01") == (bytes.fromhex("000300200E0000"), b"\x91\x00")


def test_file_1_is_never_given_without_authentication(card):
    assert status(card, "905A00000301C1F500") == "9100"
    assert status(card, "90AD0000070100000000000000") == "91AE"


@pytest.mark.parametrize(
    ("offset", "length", "expected"), [(14, 1, "91BE"), (0, 15, "91BE"), (0xFFFFFF, 0xFFFFFF, "91BE")]
)
def test_reading_outside_the_file(card, offset, length, expected):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    with pytest.raises(CardRefused, match=expected):
        reader.read_full(1, offset, length)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), "911E"),
        (lambda body: body[:-1], "917E"),
        (lambda body: body[:-8], "917E"),
        (lambda body: body[:5], "917E"),
        (lambda body: b"\x02" + body[1:], "91F0"),
        (lambda body: body[:4] + b"\x01" + body[5:], "911E"),
    ],
    ids=["MAC bit", "MAC short", "no MAC", "header short", "other file", "header changed"],
)
def test_a_manipulated_read_is_refused_and_ends_the_session(card, change, expected):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    header = bytes.fromhex("01000000000000")
    body = header + reader.mac(0xAD, header)
    assert reader.send(0xAD, change(body)) == (b"", bytes.fromhex(expected))
    assert card.desfire.activation.session is None


def test_a_replayed_command_is_refused(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    header = bytes.fromhex("01000000000000")
    body = header + reader.mac(0xAD, header)
    assert reader.send(0xAD, body)[1] == b"\x91\x00"
    assert reader.send(0xAD, body) == (b"", b"\x91\x1e")


def test_wrong_padding_is_an_integrity_error(card):
    reader = DesfireReader(card)
    reader.select(DOOR.aid_as_sent)
    reader.authenticate_first(0, KEYS.application_key)
    iv = crypto.message_iv(reader.enc_key, crypto.COMMAND_LABEL, reader.ti, 0)
    body = bytes.fromhex("01000000010000") + crypto.encrypt_cbc(reader.enc_key, bytes(16), iv)
    assert reader.send(0x8D, body + reader.mac(0x8D, body)) == (b"", b"\x91\x1e")


def test_a_used_up_counter_ends_the_session(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    card.desfire.activation.session.command_counter = reader.command_counter = LAST_COUNTER
    with pytest.raises(CardRefused, match="91AE"):
        reader.read_full(1, 0, 14)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("905A00000399999900", "91A0"),
        ("905A00000201C100", "917E"),
        ("905A00000001", "6700"),
        ("905A000000", "917E"),
        ("9071000002030000", "9140"),
        ("907100000100", "6700"),
        ("90710000010000", "917E"),
        ("907100000202FF00", "917E"),
        ("90770000010100", "919D"),
        ("90AF000000", "911C"),
        ("90EE000000", "911C"),
        ("90CA000000", "919D"),
        ("906A000000", "919D"),
        ("9051000000", "91AE"),
        ("90640000010300", "9140"),
        ("90AD0000070200000000000000", "91F0"),
        ("90AD000000", "917E"),
        ("9060010000", "6A86"),
        ("90600000", "6700"),
        ("906000000101", "6700"),
    ],
)
def test_statuses_inside_an_application(card, frame, expected):
    assert status(card, "905A00000301C1F500") == "9100"
    assert status(card, frame) == expected


def test_directories_and_settings(card):
    card.desfire.memory.picc.key_settings = 0x0F
    assert card.transmit(bytes.fromhex("906A000000")) == DOOR.aid_as_sent + CANTEEN.aid_as_sent + b"\x91\x00"
    assert card.transmit(bytes.fromhex("9045000000")) == bytes.fromhex("0F819100")
    assert status(card, "906F000000") == "919D"
    assert status(card, "905A00000301C1F500") == "9100"
    assert card.transmit(bytes.fromhex("906F000000")) == bytes.fromhex("019100")
    assert card.transmit(bytes.fromhex("9045000000")) == bytes.fromhex("0B9301030210009100")
    assert card.transmit(bytes.fromhex("90640000010200")) == bytes.fromhex("009100")


def test_a_closed_directory_opens_for_the_master_key_only():
    applet = personalise_desfire(SYSTEM_ID, [DOOR])
    applet.applications[0].key_settings = 0x09
    card = VirtualCard("closed", "closed", desfire=applet)
    card.power_on("contactless")
    assert status(card, "905A00000301C1F500") == "9100"
    assert status(card, "906F000000") == "91AE"
    reader = DesfireReader(card)
    reader.select(DOOR.aid_as_sent)
    reader.authenticate_first(0, KEYS.application_key)
    data, ended = reader.send(0x6F, reader.mac(0x6F, b""))
    reader.command_counter += 1
    assert (data, ended) == (b"\x01" + reader.mac(0, b"\x01"), b"\x91\x00")


def test_another_command_aborts_a_chain_and_the_chain_is_gone(card):
    assert status(card, "905A00000301C1F500") == "9100"
    assert status(card, "9071000002020000") == "91AF"
    assert status(card, "9060000000") == "91CA"
    assert status(card, "90AF000000") == "911C"
    assert status(card, "9060000000") == "91AF"


def test_selecting_ends_the_session(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    reader.select(DOOR.aid_as_sent)
    with pytest.raises(CardRefused, match="91AE"):
        reader.read_full(1, 0, 14)


def test_a_power_cycle_forgets_selection_and_session(card):
    locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    card.power_on("contactless")
    assert card.desfire.activation.session is None
    assert card.desfire.activation.selected.is_picc_level


def test_get_version_shows_zeros_for_the_uid(card):
    """Three frames; no byte of the real UID, and the same bytes for every card."""
    frames = [card.transmit(bytes.fromhex(f)) for f in ("9060000000", "90AF000000", "90AF000000")]
    assert [frame[-2:].hex() for frame in frames] == ["91af", "91af", "9100"]
    assert [len(frame) - 2 for frame in frames] == [7, 7, 14]
    assert frames[2][:7] == bytes(7)
    other = VirtualCard("other", "other", desfire=personalise_desfire(SYSTEM_ID, [CANTEEN]))
    other.power_on("contactless")
    again = [other.transmit(bytes.fromhex(f)) for f in ("9060000000", "90AF000000", "90AF000000")]
    assert again == frames


def test_the_real_uid_is_told_in_a_session(card):
    reader, _ = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    assert reader.command(0x51, b"", b"") == card.desfire.uid


def test_the_picc_master_key_authenticates_at_the_picc_level():
    applet = desfire_with([], picc_key=b"M" * 16)
    card = VirtualCard("card", "card", desfire=applet)
    card.power_on("contactless")
    reader = DesfireReader(card)
    reader.authenticate_first(0, b"M" * 16)
    assert reader.command(0x51, b"", b"") == applet.uid


def test_native_frames_carry_the_status_first(card):
    assert card.transmit(b"\x5a" + DOOR.aid_as_sent) == b"\x00"
    assert card.transmit(b"\x6f") == b"\x00\x01"
    challenge = card.transmit(b"\x71\x02\x00")
    assert (challenge[0], len(challenge)) == (0xAF, 17)
    rnd_b = crypto.decrypt_cbc(KEYS.locate_key, challenge[1:])
    answer = crypto.encrypt_cbc(KEYS.locate_key, bytes(16) + crypto.rotate_left(rnd_b))
    assert card.transmit(b"\xaf" + answer)[0] == 0
    assert card.transmit(b"\x60\x00") == b"\x7e"


def test_many_applications_are_listed_in_frames_of_whole_aids():
    applications = [Application(bytes([n, 1, 1]), [AesKey(bytes(16))]) for n in range(30)]
    card = VirtualCard("many", "many", desfire=desfire_with(applications))
    card.desfire.memory.picc.key_settings = 0x0F
    card.power_on("contactless")
    first, second = card.transmit(bytes.fromhex("906A000000")), card.transmit(bytes.fromhex("90AF000000"))
    assert (len(first), first[-2:], len(second), second[-2:]) == (59, b"\x91\xaf", 35, b"\x91\x00")


def test_plain_reading_with_free_access_in_native_frames():
    card = card_with_file(CommunicationMode.FULL, AccessRights(0xE, 0xF, 0xF, 0))
    card.transmit(b"\x5a" + FREE_AID)
    answer = card.transmit(bytes.fromhex("BD01000000000000"))
    data = answer[1:]
    while answer[0] == 0xAF:
        answer = card.transmit(b"\xaf")
        data += answer[1:]
    assert data == bytes(range(200))
    assert card.transmit(bytes.fromhex("3D0100000001000000")) == b"\x9d"


def test_a_long_write_is_collected_over_frames():
    card = card_with_file(CommunicationMode.FULL, AccessRights(1, 1, 1, 0))
    reader = DesfireReader(card)
    reader.select(FREE_AID)
    reader.authenticate_first(1, bytes([1] * 16))
    header, data = bytes.fromhex("01010000640000"), b"x" * 100
    iv = crypto.message_iv(reader.enc_key, crypto.COMMAND_LABEL, reader.ti, 0)
    body = header + crypto.encrypt_cbc(reader.enc_key, crypto.pad(data), iv)
    body += reader.mac(0x3D, body)
    assert reader.send(0x3D, body[:59]) == (b"", b"\x91\xaf")
    assert reader.send(0xAF, body[59:118]) == (b"", b"\x91\xaf")
    answer, ended = reader.send(0xAF, body[118:])
    reader.command_counter += 1
    assert (answer, ended) == (reader.mac(0, b""), b"\x91\x00")
    assert reader.read_full(1, 0, 102) == b"\x00" + data + bytes([101])


@pytest.mark.parametrize("extra", [b"", b"z" * 12])
def test_a_chained_write_with_too_few_or_too_many_bytes_fails(extra):
    card = card_with_file(CommunicationMode.PLAIN, AccessRights(0xE, 0xE, 0xF, 0))
    card.transmit(b"\x5a" + FREE_AID)
    assert card.transmit(bytes.fromhex("3D010000000A0000")) == b"\xaf"
    assert card.transmit(b"\xaf" + extra) == b"\x7e"
    assert card.desfire.applications[0].files[1].content == bytearray(range(200))


def test_mac_mode_reads_plain_bytes_with_a_mac():
    card = card_with_file(CommunicationMode.MAC, AccessRights(2, 0xF, 0xF, 0))
    reader = DesfireReader(card)
    reader.select(FREE_AID)
    reader.authenticate_first(2, bytes([2] * 16))
    header = bytes.fromhex("01050000030000")
    data, ended = reader.send(0xAD, header + reader.mac(0xAD, header))
    reader.command_counter += 1
    plain = bytes([5, 6, 7])
    assert (data, ended) == (plain + reader.mac(0, plain), b"\x91\x00")


def test_secrets_stay_out_of_representations(card):
    session = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)[0]
    shown = repr([card, card.desfire.activation, session, DOOR, KEYS])
    secret = {KEYS.locate_key, KEYS.proof_key, KEYS.application_key, DOOR.proof_master, session.enc_key}
    assert not [value for value in secret if repr(value)[2:-1] in shown or value.hex() in shown.lower()]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"number": b"short"}, "12 bytes"),
        ({"generation": 0}, "1 to 255"),
        ({"aid_as_sent": bytes(3)}, "not 000000"),
        ({"locate_key": b"short"}, "16 bytes"),
    ],
)
def test_wrong_parameters_make_no_card(wrong, message):
    with pytest.raises(PersonalisationError, match=message):
        personalise_desfire(SYSTEM_ID, [dataclasses.replace(DOOR, **wrong)])


def test_an_aid_twice_or_a_long_system_id_makes_no_card():
    with pytest.raises(PersonalisationError, match="AID of its own"):
        personalise_desfire(SYSTEM_ID, [DOOR, DOOR])
    with pytest.raises(PersonalisationError, match="1 to 16 bytes"):
        personalise_desfire(b"x" * 17, [DOOR])


def test_a_card_needs_a_picc_level():
    application = Application(FREE_AID, [AesKey(bytes(16))])
    with pytest.raises(ValueError, match="AID 000000"):
        CardMemory(application, [], bytes(7))
