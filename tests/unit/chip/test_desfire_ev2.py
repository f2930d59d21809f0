# SPDX-License-Identifier: EUPL-1.2
"""EV2 messaging of the management commands against AN12196 and AN12343, byte for byte."""

import pytest
from unit.chip.replay import Replay

from cardservice.chip.conversation import drive
from cardservice.chip.desfire import Session
from cardservice.chip.desfire_application import CardApplication
from cardservice.chip.desfire_des import DesKey
from cardservice.chip.desfire_formats import AccessRights
from cardservice.chip.desfire_messages import CommMode, Ins, Message
from cardservice.chip.desfire_messaging import Ev2Messaging, SecureChannel, crc32
from cardservice.chip.errors import CardNotGenuine, ProtocolError
from cardservice.chip.keys import SoftwareAesKey, SoftwareWritableKey

ZERO = SoftwareWritableKey(bytes(16))
AID = bytes.fromhex("01C1F5")


def application(ti: str, enc: str, mac: str, *, cmd_ctr: int, key_no: int = 0) -> CardApplication:
    """An application in the middle of a published session."""
    keys = (SoftwareAesKey(bytes.fromhex(enc)), SoftwareAesKey(bytes.fromhex(mac)))
    opened = CardApplication(AID)
    opened._open_ev2(key_no, Session(SecureChannel(bytes.fromhex(ti), *keys), cmd_ctr))
    return opened


def in_table_23(cmd_ctr: int) -> CardApplication:
    keys = ("4CF3CB41A22583A61E89B158D252FC53", "5529860B2FC5FB6154B7F28361D30BF9")
    return application("7614281A", *keys, cmd_ctr=cmd_ctr)


def written(key: str) -> SoftwareWritableKey:
    return SoftwareWritableKey(bytes.fromhex(key))


def test_change_key_of_another_key():
    """AN12196 §5.16.1: key 2 under key 0, with old ⊕ new and the check sum of the new key."""
    assert crc32(bytes.fromhex("F3847D627727ED3BC9C4CC050489B966")).hex().upper() == "789DFADC"
    replay = Replay(
        [
            [
                "C4022CF362B7BF4311FF3BE1DAA295E8C68DE09050560D19B9E16C2393AE9CD1FAC75D0CE20BCD1D06E6",
                "00203BB55D1089D587",
            ]
        ]
    )
    drive(in_table_23(2).change_key(2, written("F3847D627727ED3BC9C4CC050489B966"), old=ZERO, version=1), replay)
    assert not replay.left


def test_change_key_of_the_key_that_authenticated():
    """AN12196 §5.16.2: key 0 under itself; the answer has no MAC, and the session is over."""
    replay = Replay([["C400C0EB4DEEFEDDF0B513A03A95A75491818580503190D4D05053FF75668A01D6FDA6610234BDED6432", "00"]])
    level = in_table_23(3)
    drive(level.change_key(0, written("5004BF991F408672B1EF00F08F9E8647"), old=None, version=1), replay)
    assert not replay.left
    assert level.authenticated_key_no is None


def test_change_file_settings_is_enciphered():
    """AN12196 table 19, whose settings are more than ours; ours are looked at in the same session."""
    keys = ("1309C877509E5A215007FF0ED19CA564", "4C6626F5E72EA694202139295C7A7FC7")
    channel = SecureChannel(bytes.fromhex("9D00C4DF"), *(SoftwareAesKey(bytes.fromhex(key)) for key in keys))
    data = bytes.fromhex("4000E0C1F121200000430000430000")
    sealed = Ev2Messaging(channel, 1).seal(Message(Ins.CHANGE_FILE_SETTINGS, CommMode.FULL, b"\x02", data))
    assert sealed.body.hex().upper() == "0261B6D97903566E84C3AE5274467E89EAD799B7C1A0EF7A04"
    assert sealed.reveal(bytes.fromhex("57BFF87B1241E93D")) == b""

    ours = application("9D00C4DF", *keys, cmd_ctr=1).change_file_settings(2, CommMode.PLAIN, AccessRights(12, 1, 0, 14))
    (apdu,) = next(ours)
    plain = channel.enc.decrypt_cbc(channel.command_iv(1), apdu[6:22])
    assert plain.hex().upper() == "000EC1" + "80" + "00" * 12


def test_non_first_authentication():
    """AN12196 table 23: new keys in the same session."""
    level = application("7614281A", "00" * 16, "00" * 16, cmd_ctr=2, key_no=3)
    replay = Replay(
        [
            ["7700", "AFA6A2B3C572D06C097BB8DB70463E22DC"],
            [
                "AFBE7D45753F2CAB85F34BC60CE58B940763FE969658A532DF6D95EA2773F6E991",
                "00B888349C24B315EAB5B589E279C8263E",
            ],
        ]
    )
    rnd_a = bytes.fromhex("60BE759EDA560250AC57CDDC11743CF6")
    drive(level.authenticate_ev2_non_first(0, ZERO, random_bytes=lambda _: rnd_a), replay)
    expected, ours = in_table_23(2).get_key_settings(), level.get_key_settings()
    assert next(ours) == next(expected)


def test_write_and_read_in_mac_mode():
    """AN12343 p. 54: MACs of WriteData and ReadData in both directions, over two commands of one session."""
    key, ti = SoftwareAesKey(bytes.fromhex("9366FA195EB566F5BD2BAD4020B83002")), bytes.fromhex("E2D3AF69")
    messaging = Ev2Messaging(SecureChannel(ti, key, key))
    header, data = bytes.fromhex("00000000190000"), b"\x22" * 25
    write = messaging.seal(Message(Ins.WRITE_DATA, CommMode.MAC, header, data))
    assert write.body == header + data + bytes.fromhex("68F2C28C575A1628")
    assert write.reveal(bytes.fromhex("0820F68898C2A7F1")) == b""
    read = messaging.seal(Message(Ins.READ_DATA, CommMode.MAC, bytes.fromhex("00000000300000")))
    assert read.body[7:].hex().upper() == "0D9BE191D5960834"
    content = data + bytes(23)
    assert read.reveal(content + bytes.fromhex("A49A44222D926666")) == content


def test_change_key_ev2_names_the_set_and_mixes_the_old_key():
    """C6 has the key set before the key number; its key data are those of C4, whichever key authenticated."""
    new, old = written("F3847D627727ED3BC9C4CC050489B966"), written("11" * 16)
    level = in_table_23(2)
    (apdu,) = next(level.change_key_ev2(1, 0, new, old=old, version=0))
    assert apdu[:7].hex().upper() == "90C600002A" + "0100"
    channel = in_table_23(2)._session.messaging.channel
    plain = channel.enc.decrypt_cbc(channel.command_iv(2), apdu[7:39])
    mixed = bytes(a ^ 0x11 for a in bytes.fromhex("F3847D627727ED3BC9C4CC050489B966"))
    assert plain == (mixed + b"\x00" + bytes.fromhex("789DFADC") + b"\x80").ljust(32, b"\x00")


@pytest.mark.parametrize(
    ("key_no", "old"),
    [(0, ZERO), (1, None)],
)
def test_the_old_key_is_given_for_every_other_key_and_only_for_those(key_no, old):
    """A ChangeKey with the wrong form would be refused by the card and cost the session; it does not leave us."""
    with pytest.raises(ValueError, match="old key"):
        drive(in_table_23(0).change_key(key_no, ZERO, old=old), Replay([]))
    with pytest.raises(ValueError, match="old key"):
        drive(in_table_23(0).change_key_ev2(0, key_no, ZERO, old=old), Replay([]))


def test_roll_key_set_answers_without_a_mac_and_ends_the_session():
    level = in_table_23(0)
    drive(level.roll_key_set(1), lambda _: b"\x91\x00")
    assert level.authenticated_key_no is None


def test_a_mac_that_is_there_is_checked_even_where_none_is_due():
    for conversation in (in_table_23(0).roll_key_set(1), in_table_23(0).change_key(0, ZERO, old=None)):
        with pytest.raises(CardNotGenuine):
            drive(conversation, lambda _: bytes(8) + b"\x91\x00")


@pytest.mark.parametrize("key_set_no", [0, 16, -1])
def test_the_set_in_force_is_neither_prepared_nor_rolled_to(key_set_no):
    for method, more in (("initialize_key_set", ()), ("finalize_key_set", (2,)), ("roll_key_set", ())):
        with pytest.raises(ValueError, match="in force"):
            drive(getattr(in_table_23(0), method)(key_set_no, *more), Replay([]))


def test_keys_are_not_changed_in_the_open():
    """Without a session there is nothing to encipher a key with."""
    with pytest.raises(ValueError, match="authentication"):
        drive(CardApplication(AID).change_key(1, ZERO, old=ZERO), Replay([]))
    with pytest.raises(ValueError, match="EV2 session"):
        drive(CardApplication(AID).authenticate_ev2_non_first(1, ZERO, random_bytes=bytes), Replay([]))


def test_keys_of_different_length_are_not_mixed():
    with pytest.raises(ValueError, match="differ in length"):
        drive(in_table_23(0).change_key(1, ZERO, old=DesKey(bytes(24))), Replay([]))


def test_a_wrong_answer_ends_our_session_as_it_ends_the_card_s():
    level = in_table_23(0)
    with pytest.raises(ProtocolError):
        drive(level.get_key_settings(), lambda _: b"\x91\x00")
    assert level.authenticated_key_no is None
