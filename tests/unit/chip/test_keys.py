# SPDX-License-Identifier: EUPL-1.2
"""AES, CMAC and AN10922 against published vectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.chip.card_double import cmac

from cardservice.chip.keys import SoftwareAesKey, SoftwareMasterKey, cmac_subkeys
from cardservice.chip.layout import CardUse, diversification_input

RFC4493_KEY = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")
RFC4493_MESSAGE = bytes.fromhex(
    "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E5130C81C46A35CE411E5FBC1191A0A52EFF69F2445DF4F9B17AD2B417BE66C3710"
)


def same_key(left: object, right: object) -> bool:
    """Keys are compared by what they do, for their bytes cannot be read."""
    probe = bytes(range(32))
    return left.encrypt_cbc(bytes(16), probe) == right.encrypt_cbc(bytes(16), probe)


@pytest.mark.parametrize(
    ("length", "mac"),
    [
        (0, "BB1D6929E95937287FA37D129B756746"),
        (16, "070A16B46B4D4144F79BDD9DD04A287C"),
        (40, "DFA66747DE9AE63030CA32611497C827"),
        (64, "51F0BEBF7E3B9D92FC49741779363CFE"),
    ],
)
def test_cmac_is_that_of_rfc_4493(length, mac):
    assert SoftwareAesKey(RFC4493_KEY).cmac(RFC4493_MESSAGE[:length]) == bytes.fromhex(mac)


def test_subkeys_are_those_of_rfc_4493():
    k1, k2 = cmac_subkeys(SoftwareAesKey(RFC4493_KEY))
    assert k1.hex().upper() == "FBEED618357133667C85E08F7236A8DE"
    assert k2.hex().upper() == "F7DDAC306AE266CCF90BC11EE46D513B"


def test_cbc_is_that_of_sp_800_38a():
    """SP 800-38A F.2.1 and F.2.2, first two blocks."""
    key, iv = SoftwareAesKey(RFC4493_KEY), bytes(range(16))
    enciphered = key.encrypt_cbc(iv, RFC4493_MESSAGE[:32])
    assert enciphered.hex().upper() == "7649ABAC8119B246CEE98E9B12E9197D5086CB9B507219EE95DB113A917678B2"
    assert key.decrypt_cbc(iv, enciphered) == RFC4493_MESSAGE[:32]


def test_published_diversifications(vectors):
    """Every AN10922 vector, the short input that is padded to two blocks among them."""
    assert len(vectors["an10922_aes128"]) == 2
    for vector in vectors["an10922_aes128"]:
        derived = SoftwareMasterKey(bytes.fromhex(vector["key"])).diversify(bytes.fromhex(vector["input"]))
        assert same_key(derived, SoftwareAesKey(bytes.fromhex(vector["diversified"]))), vector["source"]


def test_published_subkeys(vectors):
    vector = vectors["an10922_aes128"][0]
    k1, k2 = cmac_subkeys(SoftwareAesKey(bytes.fromhex(vector["key"])))
    assert (k1.hex().upper(), k2.hex().upper()) == (vector["cmac_k1"], vector["cmac_k2"])


def test_own_vector_fixes_the_byte_order():
    """The vector of docs/card-layout.md."""
    number = bytes.fromhex("0102030405060708090A0B0C")
    message = diversification_input(number, CardUse.DOOR, b"STADT")
    assert message.hex().upper() == "0102030405060708090A0B0C01C1F55354414454"
    derived = SoftwareMasterKey(bytes.fromhex("00112233445566778899AABBCCDDEEFF")).diversify(message)
    assert same_key(derived, SoftwareAesKey(bytes.fromhex("E9CF23C279045CE87AFB1F02A05BC099")))


@given(key=st.binary(min_size=16, max_size=16), message=st.binary(min_size=16, max_size=31))
def test_long_inputs_equal_a_plain_cmac(key, message):
    """From 16 bytes on, AN10922 is CMAC(01 ‖ M); the full 31 bytes use the other subkey."""
    assert same_key(SoftwareMasterKey(key).diversify(message), SoftwareAesKey(cmac(key, b"\x01" + message)))


@given(key=st.binary(min_size=16, max_size=16), message=st.binary(min_size=1, max_size=15))
def test_short_inputs_differ_from_a_plain_cmac(key, message):
    assert not same_key(SoftwareMasterKey(key).diversify(message), SoftwareAesKey(cmac(key, b"\x01" + message)))


@pytest.mark.parametrize("length", [0, 32])
def test_an_input_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="1 to 31"):
        SoftwareMasterKey(bytes(16)).diversify(bytes(length))


@pytest.mark.parametrize("length", [0, 15, 17, 24, 32])
def test_a_key_of_another_length_is_refused(length):
    with pytest.raises(ValueError, match="16 bytes"):
        SoftwareAesKey(bytes(length))


def test_a_repr_shows_nothing_of_the_key():
    secret = bytes.fromhex("C0FFEEC0FFEEC0FFEEC0FFEEC0FFEE01")
    for key in (SoftwareAesKey(secret), SoftwareMasterKey(secret)):
        shown = f"{key!r} {key}"
        assert "hidden" in shown
        assert "c0ffee" not in shown.lower()
        assert not hasattr(key, "__dict__")
