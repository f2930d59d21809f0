# SPDX-License-Identifier: EUPL-1.2
"""Every management command: what leaves us, and what no card can make us believe."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.card_double import Wire
from unit.chip.hostile import Script, scripts

from cardservice.chip.conversation import drive
from cardservice.chip.desfire import Session
from cardservice.chip.desfire_application import CardApplication, DataFile
from cardservice.chip.desfire_card import CardLevel
from cardservice.chip.desfire_des import FACTORY_DES_KEY
from cardservice.chip.desfire_ev1 import Ev1Messaging
from cardservice.chip.desfire_formats import (
    FREE,
    NEVER,
    AccessRights,
    ChipVersion,
    Family,
    FileSettings,
    FileType,
    KeySets,
    KeySettings,
    KeyType,
    NewApplication,
    ValueLimits,
)
from cardservice.chip.desfire_messages import CommMode
from cardservice.chip.desfire_messaging import SecureChannel
from cardservice.chip.errors import AuthenticationRefused, CardNotGenuine, ChipError, ProtocolError, StatusError
from cardservice.chip.keys import SoftwareWritableKey

KEY = SoftwareWritableKey(bytes(range(16)))
OTHER = SoftwareWritableKey(bytes(16))
AID = bytes.fromhex("01C1F5")
FILE = DataFile(1, 14, CommMode.FULL, AccessRights(2, 0, 0, 0))
FULL, MAC, PLAIN = CommMode.FULL, CommMode.MAC, CommMode.PLAIN

COMMON = {
    "get_version": (),
    "get_card_uid": (),
    "get_key_settings": (),
    "change_key_settings": (0x0B,),
    "get_key_version": (0,),
}
CARD = {
    **COMMON,
    "get_application_ids": (),
    "create_application": (NewApplication(AID, 0x0B, 3),),
    "delete_application": (AID,),
    "set_default_key": (bytes(16),),
    "enable_random_uid": (),
    "format_picc": (),
    "free_memory": (),
}
APPLICATION = {
    **COMMON,
    "create_std_data_file": (FILE,),
    "create_backup_data_file": (FILE,),
    "delete_file": (1,),
    "get_file_ids": (),
    "get_file_settings": (1,),
    "commit_transaction": (),
    "abort_transaction": (),
    "get_key_set_versions": (),
    "initialize_key_set": (1,),
    "finalize_key_set": (1, 2),
    "roll_key_set": (1,),
}
IN_MODES = {
    "read_data": (1, 0, 14),
    "write_data": (1, 0, bytes(14)),
    "get_value": (1,),
    "credit": (1, 100),
    "debit": (1, 100),
}
# They end the session, so the card answers with nothing at all; what became of it shows at the next authentication.
MAY_BE_BARE = {"roll_key_set"}


def session() -> Session:
    return Session(SecureChannel(bytes(4), KEY, KEY))


def opened(level, family: str):
    if family == "EV2":
        level._open_ev2(0, session())
    else:
        level._open(0, Ev1Messaging(KEY, 16))
    return level


def commands(family: str) -> list[tuple[str, object]]:
    """Every command with a session, each on a level of its own: name and conversation."""
    made = [(name, getattr(opened(CardLevel(bytes(3)), family), name)(*args)) for name, args in CARD.items()]
    made += [(name, getattr(opened(CardApplication(AID), family), name)(*args)) for name, args in APPLICATION.items()]
    for mode in (MAC, FULL):
        for name, args in IN_MODES.items():
            made.append((name, getattr(opened(CardApplication(AID), family), name)(*args, mode=mode)))
    value = ValueLimits(0, 100, 50)
    in_value = {"mode": FULL, "rights": FILE.rights}
    made.append(("create_value_file", opened(CardApplication(AID), family).create_value_file(2, value, **in_value)))
    made.append(
        ("change_file_settings", opened(CardApplication(AID), family).change_file_settings(1, FULL, FILE.rights))
    )
    made.append(("change_key", opened(CardApplication(AID), family).change_key(1, KEY, old=OTHER)))
    made.append(("change_key_ev2", opened(CardApplication(AID), family).change_key_ev2(1, 0, KEY, old=OTHER)))
    return made


def test_every_command_is_among_those_that_are_tested():
    """A command that is added gets the hostile answers as well."""
    public = {
        name
        for level in (CardLevel, CardApplication)
        for name, method in vars(level).items()
        if not name.startswith("_") and callable(method)
    }
    tested = {name for name, _ in commands("EV2")} | {"read_signature"}
    assert public - tested == set()


@pytest.mark.parametrize("family", ["EV2", "EV1"])
@pytest.mark.parametrize("answer", ["9100", "00" * 8 + "9100", "FF" * 24 + "9100", "00" * 3000 + "9100", "9000"])
def test_no_command_accepts_an_answer_without_the_right_mac(family, answer):
    """Empty, zeros, oversize, another standard's success: nothing passes, and only the module's errors leave."""
    for name, conversation in commands(family):
        if name in MAY_BE_BARE and answer == "9100":
            continue
        with pytest.raises((ProtocolError, CardNotGenuine, StatusError)):
            drive(conversation, Script([bytes.fromhex(answer)]))


@pytest.mark.parametrize("family", ["EV2", "EV1"])
def test_every_refusal_becomes_a_status_error(family):
    """A status word is never taken for data, whatever comes with it."""
    for sw in ("91AE", "919D", "911E", "917E", "91BE", "9140", "6700"):
        for _, conversation in commands(family):
            with pytest.raises(StatusError):
                drive(conversation, Script([bytes(8) + bytes.fromhex(sw)]))


@pytest.mark.parametrize("family", ["EV2", "EV1"])
def test_endless_frames_are_stopped(family):
    """Each command ends after 64 frames at most."""
    for _, conversation in commands(family):
        wire = Wire(Script([b"x\x91\xaf"]))
        with pytest.raises(ChipError):
            wire.run(conversation)
        assert len(wire.batches) <= 64


@settings(max_examples=60, deadline=None)
@given(script=scripts, family=st.sampled_from(["EV2", "EV1"]), place=st.integers(0, 200))
def test_arbitrary_answers_only_raise_chip_errors(script, family, place):
    """Whatever a card says, a command ends with one of the module's errors, in bounded time."""
    made = commands(family)
    name, conversation = made[place % len(made)]
    wire = Wire(Script(script))
    try:
        wire.run(conversation)
    except ChipError:
        assert len(wire.batches) <= 65
    else:
        assert name in MAY_BE_BARE


@settings(max_examples=60, deadline=None)
@given(script=scripts, kind=st.sampled_from(["ev2", "aes", "iso", "legacy"]))
def test_arbitrary_answers_never_authenticate(script, kind):
    """Without the key no answers lead to a session, whichever authentication it is."""
    level = CardLevel(bytes(3))
    conversation = {
        "ev2": lambda: level.authenticate_ev2_first(0, KEY, random_bytes=lambda n: b"\x5a" * n),
        "aes": lambda: level.authenticate_aes(0, KEY, random_bytes=lambda n: b"\x5a" * n),
        "iso": lambda: level.authenticate_iso(0, FACTORY_DES_KEY, random_bytes=lambda n: b"\x5a" * n),
        "legacy": lambda: level.authenticate(0, FACTORY_DES_KEY, random_bytes=lambda n: b"\x5a" * n),
    }[kind]()
    with pytest.raises(ChipError):
        drive(conversation, Script(script))
    assert level.authenticated_key_no is None


def test_a_random_source_that_gives_too_little_is_an_error():
    conversation = CardLevel(bytes(3)).authenticate_aes(0, KEY, random_bytes=lambda _: b"four")
    with pytest.raises(ValueError, match="random source"):
        drive(conversation, Script([bytes(16) + b"\x91\xaf"]))


def test_a_long_command_travels_in_frames_of_54_bytes():
    """The MAC is over the whole, and comes at the end of the last frame."""
    level = opened(CardApplication(AID), "EV2")
    wire = Wire(Script([b"\x91\xaf", b"\x91\xaf", b"\x91\x1e"]))
    with pytest.raises(StatusError):
        wire.run(level.write_data(1, 0, bytes(120), mode=MAC))
    sent = [bytes.fromhex(batch[0]) for batch in wire.sent]
    assert [(apdu[1], apdu[4]) for apdu in sent] == [(0x3D, 54), (0xAF, 54), (0xAF, 27)]
    body = b"".join(apdu[5:-1] for apdu in sent)
    whole = b"\x3d" + bytes(2) + bytes(4) + body[:-8]
    assert body[-8:] == KEY.cmac(whole)[1::2]


def test_a_card_that_answers_a_command_before_it_is_complete_is_refused():
    level = opened(CardApplication(AID), "EV2")
    with pytest.raises(ProtocolError, match="before the command is complete"):
        drive(level.write_data(1, 0, bytes(120), mode=PLAIN), Script([b"early\x91\xaf"]))


def test_a_command_has_an_upper_bound():
    with pytest.raises(ValueError, match="at most"):
        drive(opened(CardApplication(AID), "EV2").write_data(1, 0, bytes(4000), mode=PLAIN), Script([b"\x91\xaf"]))


def test_an_answer_of_several_frames_is_checked_as_one():
    """Additional frames are joined before the MAC is looked at."""
    data = bytes(range(40))
    mac = KEY.cmac(b"\x00" + b"\x01\x00" + bytes(4) + data)[1::2]
    script = Script([data[:20] + b"\x91\xaf", data[20:] + mac + b"\x91\x00"])
    level = opened(CardApplication(AID), "EV2")
    assert drive(level.read_data(1, 0, 40, mode=MAC), script) == data


def test_the_originality_signature_ends_with_its_own_status():
    """Read_Sig ends with 9190 and 56 bytes; shorter ones and refusals are not taken."""
    wire = Wire(Script([bytes(56) + b"\x91\x90"]))
    assert wire.run(CardLevel(bytes(3)).read_signature()) == bytes(56)
    assert wire.sent == [["903C0000010000"]]
    for answer, error in ((bytes(55) + b"\x91\x90", ProtocolError), (b"\x91\x1c", StatusError)):
        with pytest.raises(error):
            drive(CardLevel(bytes(3)).read_signature(), Script([answer]))


def test_an_authentication_that_is_refused_leaves_no_session():
    level = opened(CardLevel(bytes(3)), "EV2")
    with pytest.raises(AuthenticationRefused):
        drive(level.authenticate_ev2_first(0, KEY, random_bytes=bytes), Script([b"\x91\xae"]))
    assert level.authenticated_key_no is None


# --- formats


def test_an_application_with_key_sets_is_encoded_as_documented():
    """AID ‖ KeySett1 ‖ KeySett2 (AES, KeySett3, 3 keys) ‖ KeySett3 ‖ version ‖ sets ‖ key size ‖ roll key."""
    made = NewApplication(AID, 0x0B, 3, key_sets=KeySets(2, 7, 0))
    assert bytes(made).hex().upper() == "01C1F5" + "0B" + "93" + "01" + "07" + "02" + "10" + "00"


def test_an_application_with_a_file_identifier_is_encoded_as_documented():
    """As libfreefare and proxmark3 send it: least significant byte first, and bit 5 of KeySett2 is set."""
    made = NewApplication(AID, 0x0F, 2, KeyType.TKTDES, iso_file_id=0xE110, iso_name=b"city")
    assert bytes(made).hex().upper() == "01C1F5" + "0F" + "62" + "10E1" + b"city".hex()


@pytest.mark.parametrize(
    "wrong",
    [
        {"aid": b"\x01"},
        {"key_count": 0},
        {"key_count": 15},
        {"iso_name": b"x"},
        {"iso_name": bytes(17), "iso_file_id": 1},
    ],
)
def test_an_impossible_application_is_our_own_mistake(wrong):
    with pytest.raises(ValueError, match=r"application|identifier"):
        NewApplication(**{"aid": AID, "settings": 0x0B, "key_count": 3, **wrong})
    with pytest.raises(ValueError, match="key sets"):
        KeySets(1, 1, 0)


@given(rights=st.builds(AccessRights, *[st.integers(0, 15)] * 4))
def test_access_rights_round_trip(rights):
    assert AccessRights.from_bytes(bytes(rights)) == rights


def test_access_rights_are_encoded_as_in_an12196():
    """AN12196 table 19: E0 C1 is read/write 14, change 0, read 12, write 1."""
    assert AccessRights.from_bytes(b"\xe0\xc1") == AccessRights(read=12, write=1, read_write=FREE, change=0)
    assert bytes(AccessRights(read=2, write=0, read_write=0, change=0)).hex() == "0020"
    assert bytes(AccessRights(read=FREE, write=1, read_write=NEVER, change=0)).hex() == "f0e1"


def test_versions_tell_the_family_and_the_size():
    """Hardware bytes of real chips, as AN12343 §2 and proxmark3 list them."""
    for hardware, family, size, sets in (
        ("04010100001A05"[:8] + "02" + "1605", Family.D40, 2048, False),
        ("04010101001A05", Family.EV1, 8192, False),
        ("04010112001605", Family.EV2, 2048, True),
        ("04010133001805", Family.EV3, 4096, True),
        ("04080130001305", Family.LIGHT, 512, False),
        ("05010133001805", Family.OTHER, 4096, False),
    ):
        version = ChipVersion.from_bytes(bytes.fromhex(hardware) + bytes(21))
        assert (version.family, version.storage_bytes, version.has_key_sets) == (family, size, sets)


def test_file_settings_of_every_kind_are_read():
    """The example of AN12196 table 8 among them."""
    assert FileSettings.from_bytes(bytes.fromhex("000300200E0000")) == FileSettings(
        FileType.STANDARD, FULL, AccessRights(2, 0, 0, 0), 14
    )
    sdm = FileSettings.from_bytes(bytes.fromhex("0040EEEE000100D1FE001F00004400004400002000006A0000"))
    assert (sdm.mode, sdm.size_bytes, sdm.rights.read) == (PLAIN, 256, FREE)
    value = FileSettings.from_bytes(bytes.fromhex("0201001000000000640000003200000000"))
    assert (value.file_type, value.size_bytes, len(value.rest)) == (FileType.VALUE, 0, 13)


@given(st.binary(max_size=80))
def test_parsers_only_raise_their_error(data):
    """Hostile bytes are refused with the module's error, never accepted as something impossible."""
    for parse in (ChipVersion.from_bytes, KeySettings.from_bytes, FileSettings.from_bytes):
        try:
            parsed = parse(data)
        except ProtocolError:
            continue
        if isinstance(parsed, KeySettings):
            assert 1 <= parsed.key_sets <= 16
        if isinstance(parsed, ChipVersion):
            assert parsed.storage_bytes <= 1 << 32


@pytest.mark.parametrize("amount", [-1, 1 << 31])
def test_an_amount_that_does_not_fit_is_our_own_mistake(amount):
    with pytest.raises(ValueError, match="amount"):
        drive(opened(CardApplication(AID), "EV2").credit(1, amount, mode=FULL), Script([b"\x91\x00"]))


def test_a_card_that_only_pretends_an_authentication_is_not_genuine():
    """It answers the last pass with success and cannot know RndA'."""
    for method, key, count in (
        ("authenticate_aes", KEY, 16),
        ("authenticate_iso", FACTORY_DES_KEY, 8),
        ("authenticate", FACTORY_DES_KEY, 8),
    ):
        script = Script([bytes(count) + b"\x91\xaf", bytes(count) + b"\x91\x00"])
        conversation = getattr(CardLevel(bytes(3)), method)(0, key, random_bytes=lambda n: b"\x5a" * n)
        with pytest.raises(CardNotGenuine):
            drive(conversation, script)


def test_identifiers_and_keys_of_another_length_are_our_own_mistake():
    with pytest.raises(ValueError, match="3 bytes"):
        drive(CardLevel(bytes(3)).delete_application(b"\x01"), Script([b"\x91\x00"]))
    with pytest.raises(ValueError, match="16 bytes"):
        drive(CardLevel(bytes(3)).set_default_key(bytes(24)), Script([b"\x91\x00"]))
    with pytest.raises(ValueError, match="key number"):
        AccessRights(16, 0, 0, 0)


@pytest.mark.parametrize(
    ("parse", "answer"),
    [
        (KeySettings.from_bytes, "0BC3"),
        (KeySettings.from_bytes, "0B9301011110" + "00"),
        (FileSettings.from_bytes, "06000000"),
        (FileSettings.from_bytes, "000000000100"),
        (FileSettings.from_bytes, "0000"),
        (ChipVersion.from_bytes, "00" * 27),
    ],
)
def test_answers_that_mean_nothing_are_refused(parse, answer):
    """An unknown cipher, 17 key sets, an unknown file type, a size cut short, answers of another length."""
    with pytest.raises(ProtocolError):
        parse(bytes.fromhex(answer))


def test_lists_that_cannot_be_are_refused():
    """An AID list of 4 bytes, a file twice, 17 key sets."""
    plain_card, plain_application = CardLevel(bytes(3)), CardApplication(AID)
    for conversation, answer in (
        (plain_card.get_application_ids(), bytes(4)),
        (plain_application.get_file_ids(), b"\x01\x01"),
        (plain_application.get_key_set_versions(), bytes(17)),
        (plain_application.get_key_set_versions(), b""),
        (plain_card.free_memory(), bytes(2)),
    ):
        with pytest.raises(ProtocolError):
            drive(conversation, Script([answer + b"\x91\x00"]))
