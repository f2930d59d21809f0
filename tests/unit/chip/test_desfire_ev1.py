# SPDX-License-Identifier: EUPL-1.2
"""EV1 messaging against the wire captures of a real card, and D40 against published exchanges; what must be refused."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.chip.replay import Replay

from cardservice.chip.conversation import drive
from cardservice.chip.desfire_application import CardApplication, DataFile
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import DesKey
from cardservice.chip.desfire_ev1 import D40Messaging, Ev1Messaging, crc16, decipher_to_send
from cardservice.chip.desfire_formats import AccessRights, FileType, KeyType, NewApplication
from cardservice.chip.desfire_messages import CommMode, Ins, Message
from cardservice.chip.errors import CardNotGenuine, ProtocolError
from cardservice.chip.keys import SoftwareAesKey, SoftwareWritableKey

SESSIONS = json.loads((Path(__file__).parent / "desfire_ev1.json").read_text(encoding="utf-8"))["sessions"]
KEY_TYPES = {"3DES": KeyType.DES, "3K3DES": KeyType.TKTDES, "AES": KeyType.AES}
AES_ZERO = SoftwareAesKey(bytes(16))
DES_ZERO = DesKey(bytes(8))


def key_of(cipher: str, key: str):
    return SoftwareWritableKey(bytes.fromhex(key)) if cipher == "AES" else DesKey(bytes.fromhex(key))


def level_of(session) -> CardLevel | CardApplication:
    """At which level a session took place: the card's own commands tell."""
    picc = {"FormatCard", "GetCardVersion", "GetApplicationIDs"}
    at_picc = picc & {step["name"] for step in session["steps"]}
    return CardLevel(bytes(3)) if at_picc else CardApplication(bytes.fromhex("16AE00"))


def opened(session):
    level = level_of(session)
    key = key_of(session["cipher"], session["key"])
    authenticate = level.authenticate_aes if session["cipher"] == "AES" else level.authenticate_iso
    rnd_a = bytes.fromhex(session["rnd_a"])
    replay = Replay(session["authenticate"])
    drive(authenticate(session["key_no"], key, random_bytes=lambda _: rnd_a), replay)
    assert not replay.left
    return level


def number(text: str) -> bytes:
    found = re.search(r"0x([0-9A-F]{6})", text)
    return int(found[1], 16).to_bytes(3, "little") if found else b""


def say(level, session, step):
    """The step by our methods; returns what the conversation gives."""
    name, args, cipher = step["name"], step.get("args", ""), session["cipher"]
    if name == "CreateApplication":
        count, kind = re.search(r"KeyCount= (\d+), Type= (\w+)", args).groups()
        return level.create_application(NewApplication(number(args), 0x0F, int(count), KEY_TYPES[kind]))
    if name == "ChangeKey":
        old = key_of(cipher, step["old"]) if "old" in step else None
        new = key_of(cipher, step["new"])
        aes = cipher == "AES"
        version = 0 if step["new"].strip("0") == "" else 0x10
        key_no = int(re.search(r"KeyNo= (\d+)", args)[1])
        return level.change_key(key_no, new, old=old, version=version, key_type=KeyType.AES if aes else KeyType.DES)
    if name == "CreateStdDataFile":
        return level.create_std_data_file(DataFile(5, 80, CommMode.PLAIN, AccessRights(0, 0, 1, 1)))
    method, arguments = {
        "GetCardVersion": ("get_version", ()),
        "FormatCard": ("format_picc", ()),
        "GetApplicationIDs": ("get_application_ids", ()),
        "DeleteApplication": ("delete_application", (number(args),)),
        "GetKeySettings": ("get_key_settings", ()),
        "ChangeKeySettings": ("change_key_settings", (0x0D,)),
        "GetKeyVersion": ("get_key_version", (0,)),
        "GetFileIDs": ("get_file_ids", ()),
        "GetFileSettings": ("get_file_settings", (5,)),
        "DeleteFile": ("delete_file", (5,)),
    }[name]
    return getattr(level, method)(*arguments)


@pytest.mark.parametrize("index", range(len(SESSIONS)))
def test_a_whole_captured_session_byte_for_byte(index):
    """Every command leaves us as the real card was sent it, and every answer of the real card is accepted."""
    session = SESSIONS[index]
    level = opened(session)
    given = {}
    for step in session["steps"]:
        replay = Replay(step["exchange"])
        if step["name"] == "WriteFileData":
            content = bytes(range(80))
            drive(level.write_data(5, 0, content[:52], mode=CommMode.PLAIN), replay)
            drive(level.write_data(5, 52, content[52:], mode=CommMode.PLAIN), replay)
        elif step["name"] == "ReadFileData":
            first = drive(level.read_data(5, 0, 48, mode=CommMode.PLAIN), replay)
            assert first + drive(level.read_data(5, 48, 32, mode=CommMode.PLAIN), replay) == bytes(range(80))
        else:
            given[step["name"]] = drive(say(level, session, step), replay)
        assert not replay.left
    check_values(given)


def check_values(given) -> None:
    if "GetCardVersion" in given:
        version = given["GetCardVersion"]
        assert (version.family.name, version.storage_bytes) == ("EV1", 8192)
        assert version.uid.hex().upper() == "04063F72633480"
    if "GetApplicationIDs" in given:
        assert given["GetApplicationIDs"] == tuple(map(bytes.fromhex, ("16DE00", "24DE00", "16AE00")))
    if "GetKeySettings" in given:
        assert (given["GetKeySettings"].settings, given["GetKeySettings"].key_count) == (0x0D, 2)
    if "GetFileSettings" in given:
        settings = given["GetFileSettings"]
        assert (settings.file_type, settings.size_bytes) == (FileType.STANDARD, 80)
        assert settings.rights == AccessRights(0, 0, 1, 1)
    if "GetKeyVersion" in given:
        assert given["GetKeyVersion"] == 0x10


def test_the_captures_cover_every_cipher_and_both_forms_of_change_key():
    """The file of captures was not cut down."""
    changes = {(s["cipher"], "old" in x) for s in SESSIONS for x in s["steps"] if x["name"] == "ChangeKey"}
    assert changes >= {(c, other) for c in ("DES", "3K3DES", "AES") for other in (False, True)}
    assert len(SESSIONS) == 18


def test_legacy_authentication_is_that_of_a_published_exchange():
    """Authenticate 0A under the factory key, as two people captured it (stackoverflow, mifare.net: "ChangeKey 1E")."""
    for rnd_a, exchange in (
        (
            "1122334455667788",
            [["0A00", "AFAA55A05A86ED0023"], ["AFCD72DFC6E6D040A4F011174EEBE03AA6", "00AD6CC16025CCFB7B"]],
        ),
        (
            "0001020304050607",
            [["0A00", "AF63C54DCF6F3A6FC9"], ["AF491E890DE9ACE9329C5C6D55D9FA36D7", "00B7D1DA7CE0DD986B"]],
        ),
    ):
        level = CardLevel(bytes(3))
        drive(level.authenticate(0, DES_ZERO, random_bytes=lambda _, a=rnd_a: bytes.fromhex(a)), Replay(exchange))
    drive(level.change_key_settings(0x0F), Replay([["54CB643FD030E687DA", "00"]]))


def test_crc_a_is_that_of_iso_14443_3():
    """ISO/IEC 14443-3 annex B: 00 00 gives A0 1E, 12 34 gives 26 CF; proxmark3's TestCRC16."""
    assert crc16(bytes(2)).hex().upper() == "A01E"
    assert crc16(b"\x12\x34").hex().upper() == "26CF"
    assert crc16(bytes.fromhex("04440F32763180")).hex().upper() == "2798"


@given(st.binary(min_size=8, max_size=64).filter(lambda data: len(data) % 8 == 0), st.binary(min_size=16, max_size=16))
def test_a_d40_card_enciphers_what_we_have_deciphered(data, key):
    """Deciphering to send is undone by block-wise enciphering, which is all that a D40 card can do."""
    des = DesKey(key)
    sent, before, plain = decipher_to_send(des, data), bytes(8), b""
    for i in range(0, len(sent), 8):
        plain += bytes(a ^ b for a, b in zip(des.encrypt_cbc(bytes(8), sent[i : i + 8]), before, strict=True))
        before = sent[i : i + 8]
    assert plain == data


def test_a_d40_mac_is_checked():
    """ReadData with MAC: the right one is accepted, every other is not."""
    message = Message(Ins.READ_DATA_NATIVE, CommMode.MAC, bytes(7), answer_bytes=3)
    mac = DES_ZERO.encrypt_cbc(bytes(8), b"abc" + bytes(5))[:4]
    assert D40Messaging(DES_ZERO).seal(message).reveal(b"abc" + mac) == b"abc"
    with pytest.raises(CardNotGenuine):
        D40Messaging(DES_ZERO).seal(message).reveal(b"abd" + mac)
    with pytest.raises(ProtocolError):
        D40Messaging(DES_ZERO).seal(message).reveal(b"abc")


def full_answer(key, block: int, data: bytes, check_sum: bytes, padding: bytes) -> bytes:
    plain = data + check_sum + padding
    return key.encrypt_cbc(bytes(block), plain.ljust(-(-len(plain) // block) * block, b"\x00"))


@pytest.mark.parametrize(
    ("check_sum", "padding", "error"),
    [("wrong", b"", CardNotGenuine), ("right", b"\x07", ProtocolError), ("right", b"\x00\x80", ProtocolError)],
)
def test_an_enciphered_answer_needs_check_sum_and_padding(check_sum, padding, error):
    """D40 enciphered reading: CRC16 over the data, then nothing but padding."""
    message = Message(Ins.READ_DATA_NATIVE, CommMode.FULL, bytes(7), answer_bytes=3)
    crc = crc16(b"abc") if check_sum == "right" else bytes(2)
    with pytest.raises(error):
        D40Messaging(DES_ZERO).seal(message).reveal(full_answer(DES_ZERO, 8, b"abc", crc, padding))
    good = full_answer(DES_ZERO, 8, b"abc", crc16(b"abc"), b"")
    assert D40Messaging(DES_ZERO).seal(message).reveal(good) == b"abc"


@given(st.binary(max_size=80), st.sampled_from(list(CommMode)), st.integers(0, 40))
def test_arbitrary_answers_are_never_accepted_under_ev1(answer, mode, length):
    """Without the session key nothing passes the CMAC or the CRC32; only the module's errors leave."""
    message = Message(Ins.READ_DATA_NATIVE, mode, bytes(7), answer_bytes=length)
    with pytest.raises((CardNotGenuine, ProtocolError)):
        Ev1Messaging(AES_ZERO, 16).seal(message).reveal(answer)


@given(st.binary(max_size=80), st.integers(0, 40))
def test_arbitrary_enciphered_answers_under_d40_only_raise_its_errors(answer, length):
    message = Message(Ins.READ_DATA_NATIVE, CommMode.FULL, bytes(7), answer_bytes=length)
    try:
        D40Messaging(DES_ZERO).seal(message).reveal(answer)
    except (CardNotGenuine, ProtocolError):
        return


@pytest.mark.parametrize("length", [0, 7, 9, 23, 25])
def test_a_des_key_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="8, 16 or 24"):
        DesKey(bytes(length))


def test_a_des_key_shows_nothing():
    shown = repr(DesKey(bytes.fromhex("C0FFEEC0FFEEC0FF")))
    assert "hidden" in shown
    assert "c0ff" not in shown.lower()
