# SPDX-License-Identifier: EUPL-1.2
"""Who may do what with the files and keys of a virtual DESFire, in which communication mode, and what refusals say."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cardsim.card import VirtualCard
from cardsim.desfire import HANDLERS, DesfireApplet
from cardsim.desfire_ciphers import BlockCipher, KeyKind
from cardsim.desfire_crypto import encrypt_cbc
from cardsim.desfire_data import (
    FREE,
    NEVER,
    AccessRights,
    AesKey,
    Application,
    CardKey,
    CommunicationMode,
    RecordFile,
    StandardFile,
    ValueFile,
)
from cardsim.desfire_memory import CardMemory, Chip, factory_fresh
from cardsim.desfire_session_ev1 import Ev1Session, LegacySession
from cardsim.reader import CardRefused, DesfireReader

AID = bytes.fromhex("0A0B0C")
UID = bytes.fromhex("04112233445566")
MODES = list(CommunicationMode)
STD, BACKUP, VALUE, LINEAR, CYCLIC = 1, 2, 3, 4, 5
FIRST, FOUR = b"\x00\x00\x00", b"\x04\x00\x00"
ONE = b"\x01\x00\x00\x00"


def key(number: int) -> bytes:
    return bytes([0x10 + number] * 16)


def card_with(rights: AccessRights, mode=CommunicationMode.FULL, *, settings=0x0F, chip=Chip.EV2) -> VirtualCard:
    """An application with five AES keys and a file of each type, all with the same rights and mode."""
    files = [
        StandardFile(STD, bytearray(b"abcd"), mode, rights),
        StandardFile(BACKUP, bytearray(b"abcd"), mode, rights, backup=True),
        ValueFile(VALUE, mode, rights, 0, 100, 50, limited_credit=10, options=1),
        RecordFile(LINEAR, mode, rights, 4, 3, cyclic=False, records=[b"one.", b"two."]),
        RecordFile(CYCLIC, mode, rights, 4, 3, cyclic=True, records=[b"one.", b"two."]),
    ]
    application = Application(AID, [AesKey(key(n)) for n in range(5)], {f.number: f for f in files}, settings)
    picc = Application(bytes(3), [AesKey(bytes(16))], key_settings=0x0F)
    card = VirtualCard("card", "card", desfire=DesfireApplet(CardMemory(picc, [application], UID, chip)))
    card.power_on("contactless")
    return card


def opened(card: VirtualCard, number: int) -> DesfireReader:
    reader = DesfireReader(card)
    reader.select(AID)
    reader.authenticate_first(number, key(number))
    return reader


# What a command is, and the rights of which one is enough: r, w, both (read/write).
COMMANDS = {
    "ReadData": (0xAD, bytes([STD]) + FIRST + FOUR, b"", "rb"),
    "ReadData backup": (0xAD, bytes([BACKUP]) + FIRST + FOUR, b"", "rb"),
    "WriteData": (0x8D, bytes([STD]) + FIRST + FOUR, b"wxyz", "wb"),
    "WriteData backup": (0x8D, bytes([BACKUP]) + FIRST + FOUR, b"wxyz", "wb"),
    "GetValue": (0x6C, bytes([VALUE]), b"", "rwb"),
    "Debit": (0xDC, bytes([VALUE]), ONE, "rwb"),
    "LimitedCredit": (0x1C, bytes([VALUE]), ONE, "wb"),
    "Credit": (0x0C, bytes([VALUE]), ONE, "b"),
    "ReadRecords": (0xAB, bytes([LINEAR]) + FIRST + b"\x01\x00\x00", b"", "rb"),
    "WriteRecord": (0x8B, bytes([LINEAR]) + FIRST + FOUR, b"new.", "wb"),
    "WriteRecord cyclic": (0x8B, bytes([CYCLIC]) + FIRST + FOUR, b"new.", "wb"),
}
KEY_OF_RIGHT = {"r": 1, "w": 2, "b": 3}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_each_right_opens_its_commands_in_the_mode_of_the_file(command, mode):
    """Each key in turn: exactly those whose right is enough succeed, the others are told to authenticate."""
    ins, header, data, enough = command
    card = card_with(AccessRights(read=1, write=2, read_write=3, change=4), mode)
    for number in range(5):
        reader = opened(card, number)
        if number in {KEY_OF_RIGHT[right] for right in enough}:
            reader.in_mode(ins, header, data, mode)
        else:
            with pytest.raises(CardRefused, match="91AE"):
                reader.in_mode(ins, header, data, mode)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_free_access_is_plain_and_never_is_never(command):
    """With E nobody needs a key and nothing is protected; with F no key helps, and the card says so."""
    ins, header, data, _ = command
    frame = bytes([0x90, ins, 0, 0, len(header + data)]) + header + data + b"\x00"
    for right, status in ((FREE, b"\x91\x00"), (NEVER, b"\x91\x9d"), (1, b"\x91\xae")):
        card = card_with(AccessRights(right, right, right, 0))
        card.transmit(b"\x90\x5a\x00\x00\x03" + AID + b"\x00")
        assert card.transmit(frame)[-2:] == status


def test_free_access_inside_a_session_of_another_key_is_plain_and_counted():
    card = card_with(AccessRights(FREE, 1, 1, 1))
    reader = opened(card, 0)
    assert reader.in_mode(0xAD, bytes([STD]) + FIRST + FOUR, b"", CommunicationMode.PLAIN) == b"abcd"
    assert reader.managed(0x6F) == bytes([STD, BACKUP, VALUE, LINEAR, CYCLIC])


@pytest.mark.parametrize(("sent", "expected"), list(product(MODES, MODES)), ids=lambda mode: mode.name)
def test_a_command_in_another_mode_than_the_files_is_refused(sent, expected):
    """Whatever the reader does not protect as the file demands is a wrong length or a wrong MAC."""
    card = card_with(AccessRights(0, 0, 0, 0), expected)
    reader = opened(card, 0)
    header = bytes([STD]) + FIRST + FOUR
    if sent is expected:
        assert reader.in_mode(0x8D, header, b"wxyz", sent) == b""
        assert reader.in_mode(0xAD, header, b"", sent) == b"wxyz"
        return
    with pytest.raises(CardRefused, match=r"917E|911E"):
        reader.in_mode(0x8D, header, b"wxyz", sent)
    assert card.desfire.applications[0].files[STD].content == b"abcd"


@pytest.mark.parametrize(
    ("change", "number", "expected"),
    [(0, 0, None), (0, 1, "91AE"), (3, 3, None), (3, 0, "91AE"), (NEVER, 0, "919D")],
)
def test_the_change_right_guards_the_settings(change, number, expected):
    card = card_with(AccessRights(1, 1, 1, change))
    reader = opened(card, number)
    if expected is None:
        reader.command(0x5F, bytes([STD]), bytes.fromhex("011022"))
        assert card.desfire.applications[0].files[STD].settings()[:4] == bytes.fromhex("00011022")
        return
    with pytest.raises(CardRefused, match=expected):
        reader.command(0x5F, bytes([STD]), bytes.fromhex("011022"))


def test_settings_that_anybody_may_change_change_plainly():
    card = card_with(AccessRights(1, 1, 1, FREE))
    card.transmit(b"\x90\x5a\x00\x00\x03" + AID + b"\x00")
    assert card.transmit(bytes.fromhex("905F0000040103112100")) == b"\x91\x00"
    assert card.desfire.applications[0].files[STD].settings()[:4] == bytes.fromhex("00031121")


@pytest.mark.parametrize(
    ("settings", "authenticated", "changed", "expected"),
    [
        (0x0F, 0, 1, None),
        (0x0F, 1, 1, "91AE"),
        (0x2F, 2, 1, None),
        (0x2F, 0, 1, "91AE"),
        (0x2F, 0, 2, None),
        (0x2F, 2, 2, "91AE"),
        (0xEF, 1, 1, None),
        (0xEF, 0, 1, "91AE"),
        (0xFF, 0, 1, "919D"),
        (0xFF, 0, 0, None),
        (0x0E, 0, 0, "919D"),
        (0x0F, 1, 0, "91AE"),
    ],
)
def test_the_key_settings_say_who_changes_which_key(settings, authenticated, changed, expected):
    """High half: master key, a named key, the key itself, nobody; bit 0: whether the master key changes at all."""
    card = card_with(AccessRights(0, 0, 0, 0), settings=settings)
    reader = opened(card, authenticated)

    def change() -> None:
        if changed == authenticated:
            reader.change_own_key(bytes([changed]), key(9))
        else:
            reader.change_other_key(bytes([changed]), key(changed), key(9))

    if expected is None:
        change()
        assert card.desfire.applications[0].keys[changed].value == key(9)
        return
    with pytest.raises(CardRefused, match=expected):
        change()
    assert card.desfire.applications[0].keys[changed].value == key(changed)


def test_a_key_change_with_a_wrong_old_key_is_an_integrity_error():
    card = card_with(AccessRights(0, 0, 0, 0))
    with pytest.raises(CardRefused, match="911E"):
        opened(card, 0).change_other_key(b"\x01", key(2), key(9))
    assert card.desfire.applications[0].keys[1].value == key(1)


@pytest.mark.parametrize(
    ("bit", "ins", "header"),
    [(0x04, 0xCD, "0603000004" + "0000"), (0x04, 0xDF, "01"), (0x02, 0x6F, ""), (0x02, 0xF5, "01"), (0x02, 0x45, "")],
    ids=["create", "delete", "list", "file settings", "key settings"],
)
def test_bits_of_the_key_settings_keep_commands_for_the_master_key(bit, ins, header):
    """Bit 2 files, bit 1 listings: with it any key may, without it the master key alone."""
    for key_settings, number, may in ((0x0F, 1, True), (0x0F & ~bit, 1, False), (0x0F & ~bit, 0, True)):
        reader = opened(card_with(AccessRights(0, 0, 0, 0), settings=key_settings), number)
        if may:
            reader.managed(ins, bytes.fromhex(header))
        else:
            with pytest.raises(CardRefused, match="91AE"):
                reader.managed(ins, bytes.fromhex(header))


def test_frozen_settings_stay():
    card = card_with(AccessRights(0, 0, 0, 0))
    reader = opened(card, 0)
    reader.command(0x54, b"", b"\x07")
    with pytest.raises(CardRefused, match="919D"):
        reader.command(0x54, b"", b"\x0f")
    assert card.desfire.applications[0].key_settings == 0x07


# Frames without a session in an application with free access to everything, and the status each must get.
REFUSALS = {
    "no such file": ("90BD0000070900000004000000", "91F0"),
    "beyond the file": ("90BD0000070100000005000000", "91BE"),
    "no such instruction": ("90EE000000", "911C"),
    "nothing to commit": ("90C7000000", "910C"),
    "nothing to abort": ("90A7000000", "910C"),
    "commit with a strange option": ("90C70000010100", "917E"),
    "record beyond the newest": ("90BB0000070402000001000000", "91BE"),
    "write beyond the record": ("903B000009" + "04" + "030000" + "020000" + "AABB" + "00", "91BE"),
    "read a value file": ("90BD0000070300000001000000", "919D"),
    "value of a data file": ("906C0000010100", "919D"),
    "credit beyond the limit": ("900C000005033300000000", "91BE"),
    "debit beyond the limit": ("90DC000005033300000000", "91BE"),
    "limited credit beyond": ("901C000005030B00000000", "91BE"),
    "negative credit": ("900C00000503FFFFFFFF00", "919E"),
    "file number taken": ("90CD000007010000000400" + "0000", "91DE"),
    "file number too high": ("90CD000007200000000400" + "0000", "919E"),
    "file without size": ("90CD000007060000000000" + "0000", "919E"),
    "mode unknown": ("90CD000007060400000400" + "0000", "919E"),
    "right of a key that is not there": ("90CD000007060000700400" + "0000", "919E"),
    "file larger than the card": ("90CD000007060000000000" + "FF00", "910E"),
    "limits the wrong way": ("90CC00001106000000" + "0A000000" + "05000000" + "07000000" + "00" + "00", "919E"),
    "cyclic file of one record": ("90C000000A06000000040000" + "010000" + "00", "919E"),
    "file to delete is missing": ("90DF0000010900", "91F0"),
    "key not there": ("90640000010900", "9140"),
    "key to authenticate with not there": ("90AA0000010900", "9140"),
    "DES with an AES key": ("901A0000010000", "91AE"),
    "oldest scheme with an AES key": ("900A0000010000", "91AE"),
    "application not there": ("905A00000301010100", "91A0"),
    "card command in an application": ("90FC000000", "919D"),
    "configuration in an application": ("905C000000", "919D"),
    "change of a key without session": ("90C40000010000", "91AE"),
    "key sets where there are none": ("90560000020102" + "00", "919D"),
    "delete another application": ("90DA000003" + "010101" + "00", "91A0"),
}


@pytest.mark.parametrize(("frame", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_every_refusal_has_its_status_and_changes_nothing(frame, expected):
    card = card_with(AccessRights(FREE, FREE, FREE, FREE))
    card.transmit(b"\x90\x5a\x00\x00\x03" + AID + b"\x00")
    before = card.desfire.memory.to_bytes()
    assert card.transmit(bytes.fromhex(frame)).hex().upper() == expected
    assert card.desfire.memory.to_bytes() == before


CREATIONS = {
    "AID taken": ("0A0B0C0F81", "91DE"),
    "AID of the card": ("0000000F81", "919E"),
    "no key": ("0102030F80", "919E"),
    "fifteen keys": ("0102030F8F", "919E"),
    "kind unknown": ("0102030FC1", "919E"),
    "one key set": ("0102030F910101011000", "919E"),
    "seventeen key sets": ("0102030F910101111000", "919E"),
    "keys of 8 bytes": ("0102030F910101020800", "919E"),
    "three-key DES in 16 bytes": ("0102030F510101021000", "919E"),
    "roll key not there": ("0102030F910101021001", "919E"),
    "keys of its own for proximity": ("0102030F9102", "919D"),
    "too short": ("0102030F", "917E"),
    "more than it is": ("0102030F8100", "917E"),
    "name too long": ("0102030FA1" + "1234" + "41" * 17, "917E"),
    "too large for the card": ("0102030F9E" + "01" + "01101000", "910E"),
}


@pytest.mark.parametrize(("description", "expected"), CREATIONS.values(), ids=CREATIONS)
def test_applications_that_cannot_be_made(description, expected):
    """Each refusal of CreateApplication has its status, and no memory is taken."""
    card = card_with(AccessRights(0, 0, 0, 0))
    memory = card.desfire.memory
    memory.used_bytes = memory.capacity_bytes - 256
    body = bytes.fromhex(description)
    assert card.transmit(bytes([0x90, 0xCA, 0, 0, len(body)]) + body + b"\x00").hex().upper() == expected
    assert (len(memory.applications), memory.free_bytes) == (1, 256)


def test_an_ev1_takes_28_applications():
    memory = factory_fresh(UID, chip=Chip.EV1)
    card = VirtualCard("full", "full", desfire=DesfireApplet(memory))
    card.power_on("contactless")
    for number in range(1, 29):
        assert card.transmit(bytes([0x90, 0xCA, 0, 0, 5, number, 0, 0, 0x0F, 0x81, 0])) == b"\x91\x00"
    assert card.transmit(bytes([0x90, 0xCA, 0, 0, 5, 29, 0, 0, 0x0F, 0x81, 0])) == b"\x91\xce"


def test_an_ev1_asked_for_names_inside_a_session_disables_itself():
    """The second frame says C1; from then on, and after the power is back, everything is answered CD."""
    memory = factory_fresh(UID, chip=Chip.EV1)
    memory.picc.keys = [AesKey(bytes(16))]
    for number in (1, 2):
        names = {"iso_file_id": bytes([0x10, number]), "df_name": bytes([0x41, number])}
        memory.applications.append(Application(bytes([number, 0, 0]), [AesKey(bytes(16))], **names))
    card = VirtualCard("named", "named", desfire=DesfireApplet(memory, bytes))
    card.power_on("contactless")
    assert card.transmit(bytes.fromhex("906D000000"))[-2:] == b"\x91\xaf"
    assert card.transmit(bytes.fromhex("90AF000000"))[-2:] == b"\x91\x00"
    challenge = card.transmit(bytes.fromhex("90AA0000010000"))[:-2]
    # RndA and RndB are zeros, so the reader's answer is one chain of zero blocks that begins with the challenge.
    proof = encrypt_cbc(bytes(16), bytes(32), challenge)
    assert card.transmit(bytes.fromhex("90AF000020") + proof + b"\x00")[-2:] == b"\x91\x00"
    assert card.transmit(bytes.fromhex("906D000000"))[-2:] == b"\x91\xaf"
    assert card.transmit(bytes.fromhex("90AF000000")) == b"\x91\xc1"
    card.power_on("contactless")
    assert card.transmit(bytes.fromhex("9060000000")) == b"\x91\xcd"


def test_des_keys_tell_the_version_in_their_lowest_bits():
    value = bytes.fromhex("0100010001000001") + bytes(8)
    assert CardKey(value, 0, KeyKind.DES).told_version == 0b10101001
    with pytest.raises(ValueError, match="THREE_KEY_DES has 24 bytes"):
        CardKey(value, 0, KeyKind.THREE_KEY_DES)


def test_credits_and_debits_of_one_transaction_do_not_make_room_for_each_other():
    """A debit is checked against what is there, a credit against the upper limit, whatever the transaction does."""
    card = card_with(AccessRights(0, 0, 0, 0), CommunicationMode.PLAIN)
    reader = opened(card, 0)
    reader.in_mode(0x0C, bytes([VALUE]), (50).to_bytes(4, "little"), CommunicationMode.PLAIN)
    reader.in_mode(0xDC, bytes([VALUE]), (50).to_bytes(4, "little"), CommunicationMode.PLAIN)
    with pytest.raises(CardRefused, match="91BE"):
        reader.in_mode(0xDC, bytes([VALUE]), ONE, CommunicationMode.PLAIN)
    reader = DesfireReader(card)
    reader.send(0xAF)
    assert card.desfire.applications[0].files[VALUE].value == 50


def test_limited_credit_gives_back_once_what_was_debited():
    card = card_with(AccessRights(0, 0, 0, 0))
    file = card.desfire.applications[0].files[VALUE]
    reader = opened(card, 0)
    reader.command(0xDC, bytes([VALUE]), (20).to_bytes(4, "little"))
    reader.managed(0xC7)
    assert (file.value, file.limited_credit) == (30, 20)
    reader.command(0x1C, bytes([VALUE]), (5).to_bytes(4, "little"))
    reader.managed(0xC7, b"\x00")
    assert (file.value, file.limited_credit) == (35, 0)
    with pytest.raises(CardRefused, match="91BE"):
        reader.command(0x1C, bytes([VALUE]), ONE)


def test_a_full_linear_file_takes_records_only_after_it_is_cleared():
    card = card_with(AccessRights(0, 0, 0, 0))
    reader = opened(card, 0)
    write = (0x8B, bytes([LINEAR]) + FIRST + FOUR, b"tri.")
    reader.command(*write)
    reader.managed(0xC7)
    with pytest.raises(CardRefused, match="91BE"):
        reader.command(*write)
    reader = opened(card, 0)
    reader.managed(0xEB, bytes([LINEAR]))
    reader.managed(0xC7)
    reader.command(*write)
    reader.managed(0xC7)
    assert card.desfire.applications[0].files[LINEAR].records == [b"tri."]


@pytest.mark.parametrize("number", [LINEAR, CYCLIC])
def test_between_clearing_and_the_commit_no_record_is_written(number):
    """Whether the file was full or not; whoever forgets the commit must not learn it from plastic."""
    reader = opened(card_with(AccessRights(0, 0, 0, 0)), 0)
    reader.managed(0xEB, bytes([number]))
    with pytest.raises(CardRefused, match="91BE"):
        reader.command(0x8B, bytes([number]) + FIRST + FOUR, b"tri.")


@pytest.mark.parametrize("ending", ["select", "power", "abort"])
def test_what_waits_for_a_commit_is_lost_without_one(ending):
    """Backup data, value and record stay as they were after a selection, without power, and by AbortTransaction."""
    card = card_with(AccessRights(0, 0, 0, 0))
    before = card.desfire.memory.to_bytes()
    reader = opened(card, 0)
    reader.command(0x8D, bytes([BACKUP]) + FIRST + FOUR, b"lost")
    reader.command(0xDC, bytes([VALUE]), ONE)
    reader.command(0x8B, bytes([CYCLIC]) + FIRST + FOUR, b"lost")
    assert reader.command(0xAD, bytes([BACKUP]) + FIRST + FOUR, b"") == b"abcd"
    if ending == "abort":
        reader.managed(0xA7)
    elif ending == "power":
        card.power_on("contactless")
    else:
        reader.select(AID)
    reader = opened(card, 0)
    with pytest.raises(CardRefused, match="910C"):
        reader.managed(0xC7)
    assert card.desfire.memory.to_bytes() == before


FIRST_OCTETS = st.sampled_from([0, 1, 2, 3, 4, 5, 0x80])
BODIES = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda first, rest: bytes([first]) + rest, FIRST_OCTETS, st.binary(max_size=24)),
)


@settings(max_examples=100, deadline=None)
@given(
    scheme=st.sampled_from(["none", "EV1", "legacy"]),
    in_application=st.booleans(),
    mode=st.sampled_from(MODES),
    commands=st.lists(st.tuples(st.sampled_from(sorted(HANDLERS)), BODIES), max_size=6),
)
def test_no_command_whatever_follows_it_breaks_the_card(scheme, in_application, mode, commands):
    """Any body, in a session of the older schemes or none: a status, and a memory that can be saved and restored."""
    card = card_with(AccessRights(0, 0, 0, FREE), mode)
    card.transmit(b"\x90\x5a\x00\x00\x03" + (AID if in_application else bytes(3)) + b"\x00")
    for ins, body in commands:
        if scheme == "EV1":
            cipher = BlockCipher(KeyKind.AES, bytes(16))
            card.desfire.activation.session = Ev1Session(0, cipher, bytes(16))
        elif scheme == "legacy":
            card.desfire.activation.session = LegacySession(0, BlockCipher(KeyKind.DES, bytes(16)))
        answer = card.transmit(bytes([ins]) + body)
        assert answer
        while answer[0] == 0xAF and card.desfire.activation.pending is not None:
            answer = card.transmit(b"\xaf")
        assert CardMemory.from_bytes(card.desfire.memory.to_bytes()) == card.desfire.memory
