# SPDX-License-Identifier: EUPL-1.2
"""The virtual DESFire against published vectors, byte for byte."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cardsim import desfire_crypto as crypto
from cardsim.an10922 import diversify, subkeys
from cardsim.apdu import parse_command
from cardsim.card import VirtualCard
from cardsim.desfire import DesfireApplet
from cardsim.desfire_data import AccessRights, AesKey, Application, CommunicationMode, StandardFile
from cardsim.desfire_memory import CardMemory
from cardsim.desfire_session import Ev2Session
from cardsim.desfire_status import DesfireError, DesfireStatus
from cardsim.personalise import UseKeys, derive_card_keys

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "desfire.json").read_text(encoding="utf-8"))
AID = bytes.fromhex("01C1F5")


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def scripted(*values: bytes) -> Callable[[int], bytes]:
    """A random source that gives the values in their order and checks the lengths asked for."""
    rest = list(values)

    def random_bytes(length: int) -> bytes:
        value = rest.pop(0)
        assert len(value) == length
        return value

    return random_bytes


def card_with_zero_keys(random_bytes: Callable[[int], bytes]) -> tuple[VirtualCard, StandardFile]:
    """A card as in AN12196: five zero keys, file 3 writable with key 3 in mode full."""
    file = StandardFile(3, bytearray(128), CommunicationMode.FULL, AccessRights(3, 3, 3, 0))
    application = Application(AID, [AesKey(bytes(16))] * 5, {3: file})
    picc = Application(bytes(3), [AesKey(bytes(16))])
    applet = DesfireApplet(CardMemory(picc, [application], unhex("04958CAA5C5E80")), random_bytes)
    card = VirtualCard("vector", "vector", desfire=applet)
    card.power_on("contactless")
    assert card.transmit(b"\x90\x5a\x00\x00\x03" + AID + b"\x00") == unhex("9100")
    return card, file


@pytest.mark.parametrize("vector", VECTORS["an10922_aes128"], ids=lambda v: v["source"])
def test_diversification_gives_the_published_key(vector):
    key, message = unhex(vector["key"]), unhex(vector["input"])
    assert diversify(master=key, diversification_input=message) == unhex(vector["diversified"])
    if "cmac_k1" in vector:
        assert subkeys(key) == (unhex(vector["cmac_k1"]), unhex(vector["cmac_k2"]))


def test_card_keys_follow_the_layouts_own_vector():
    """docs/card-layout.md fixes the byte order of M by a vector."""
    use = UseKeys(
        aid_as_sent=AID,
        application_master=unhex("00112233445566778899AABBCCDDEEFF"),
        proof_master=unhex("00112233445566778899AABBCCDDEEFF"),
        locate_key=bytes(16),
        generation=1,
        number=unhex("0102030405060708090A0B0C"),
    )
    keys = derive_card_keys(b"STADT", use)
    assert keys.proof_key == unhex("E9CF23C279045CE87AFB1F02A05BC099")
    assert keys.application_key == keys.proof_key
    assert keys.locate_key == bytes(16)


@pytest.mark.parametrize("length", [0, 32])
def test_diversification_refuses_inputs_of_other_lengths(length):
    with pytest.raises(ValueError, match="1 to 31 bytes"):
        diversify(master=bytes(16), diversification_input=bytes(length))


def test_a_full_two_block_input_uses_the_first_subkey():
    """With 31 bytes of input the message fills two blocks, so the key is the plain CMAC over 01 ‖ M."""
    master, message = bytes(range(16)), bytes(range(31))
    assert diversify(master=master, diversification_input=message) == crypto.cmac(master, b"\x01" + message)


@pytest.mark.parametrize("vector", VECTORS["ev2_session_keys"], ids=lambda v: v["source"])
def test_session_keys(vector):
    keys = crypto.session_keys(key=unhex(vector["key"]), rnd_a=unhex(vector["rnd_a"]), rnd_b=unhex(vector["rnd_b"]))
    assert keys == (unhex(vector["ses_auth_enc"]), unhex(vector["ses_auth_mac"]))


@pytest.mark.parametrize("vector", VECTORS["ev2_command_iv"], ids=lambda v: v["ti"])
def test_command_iv(vector):
    iv = crypto.message_iv(unhex(vector["ses_auth_enc"]), crypto.COMMAND_LABEL, unhex(vector["ti"]), vector["cmd_ctr"])
    assert iv == unhex(vector["iv"])


@pytest.mark.parametrize("vector", VECTORS["authenticate_ev2_first"], ids=lambda v: v["source"])
def test_authenticate_ev2_first_and_write(vector):
    """The card gives the published answers, session keys and TI; after table 20 it accepts table 22."""
    rnd_b = (
        unhex(vector["rnd_b"])
        if "rnd_b" in vector
        else crypto.decrypt_cbc(unhex(vector["key"]), unhex(vector["rnd_b_encrypted"]))
    )
    card, file = card_with_zero_keys(scripted(rnd_b, unhex(vector["ti"])))
    if len(vector["exchange"]) == 1:
        begin = bytes([0x90, 0x71, 0, 0, 2, vector["key_no"], 0, 0])
        assert card.transmit(begin) == unhex(vector["rnd_b_encrypted"]) + unhex("91AF")
    for command, answer in vector["exchange"]:
        assert card.transmit(unhex(command)) == unhex(answer)
    session = card.desfire.activation.session
    assert (session.enc_key, session.mac_key, session.ti) == (
        unhex(vector["ses_auth_enc"]),
        unhex(vector["ses_auth_mac"]),
        unhex(vector["ti"]),
    )
    if "table 20" in vector["source"]:
        (write,) = VECTORS["write_data_full"]
        assert card.transmit(unhex(write["apdu"])) == unhex(write["response"])
        assert file.content[:10] == unhex(write["plain"])
        assert session.command_counter == 1


@pytest.mark.parametrize("vector", VECTORS["mac_response"], ids=lambda v: v["source"])
def test_mac_mode_of_get_file_settings(vector):
    """The session accepts the published command MAC, refuses any other, and forms the published response MAC."""
    session = Ev2Session(0, bytes(16), unhex(vector["ses_auth_mac"]), unhex(vector["ti"]))
    body = parse_command(unhex(vector["apdu"])).data
    plain = unhex(vector["response"])[:-10]
    with pytest.raises(DesfireError) as refused:
        session.open_command(0xF5, body[:1], body[1:-1] + b"\x00", CommunicationMode.MAC)
    assert refused.value.status is DesfireStatus.INTEGRITY_ERROR
    assert session.open_command(0xF5, body[:1], body[1:], CommunicationMode.MAC) == b""
    assert session.close(plain, CommunicationMode.MAC) + unhex("9100") == unhex(vector["response"])


@pytest.mark.parametrize("vector", VECTORS["get_card_uid"], ids=lambda v: v["source"])
def test_get_card_uid(vector):
    """In the published session the card tells its real UID with the published bytes."""
    card, _ = card_with_zero_keys(scripted())
    assert card.desfire.uid == unhex(vector["uid"])
    card.desfire.activation.session = Ev2Session(
        0, unhex(vector["ses_auth_enc"]), unhex(vector["ses_auth_mac"]), unhex(vector["ti"])
    )
    assert card.transmit(unhex(vector["apdu"])) == unhex(vector["response"])
