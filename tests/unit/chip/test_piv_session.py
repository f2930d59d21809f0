# SPDX-License-Identifier: EUPL-1.2
"""Every command of a PIV session, against virtual cards that were written from the standard alone."""

import hashlib
import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from unit.chip.hostile import Script
from unit.chip.virtual_piv import (
    AES_KEY,
    MANAGEMENT,
    OTHER_PIN,
    OTHER_PUK,
    PIN,
    PUK,
    PivField,
    plain_applet,
    yubico_field,
)

from cardservice.chip.conversation import drive
from cardservice.chip.errors import (
    AuthenticationRefused,
    CardNotGenuine,
    ChipError,
    FunctionNotSupported,
    ObjectNotFound,
    PinRefused,
    ProtocolError,
    ReferenceDataBlocked,
    SecurityStatusNotSatisfied,
    SignatureWrong,
    StatusError,
)
from cardservice.chip.piv_formats import ObjectId, Reference, Slot
from cardservice.chip.piv_keys import Algorithm, digest_for, verify_signature
from cardservice.chip.piv_management import ManagementAlgorithm, SoftwareManagementKey
from cardservice.chip.piv_session import PinStatus, PivSession
from cardservice.chip.tlv import build

NOT_VERIFIED_3 = PinStatus(verified=False, attempts_remaining=3)


def status(field: PivField, session: PivSession) -> PinStatus:
    return drive(session.verify_status(), field)


# --- data objects ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("object_id", [ObjectId.PRINTED_INFORMATION, ObjectId.DISCOVERY, ObjectId.BIOMETRIC_TEMPLATES])
def test_an_object_is_read_as_it_was_written(object_id):
    """Contents in 53, in 7E and in 7F61, long enough for a chain of commands and for GET RESPONSE."""
    field, content = PivField(), os.urandom(2_900)
    session = field.administer()
    drive(session.put_data(object_id, content), field)
    drive(session.verify(PIN), field)
    assert drive(session.get_data(object_id), field) == content
    assert [apdu[0] for apdu in field.sent if apdu[1] == 0xDB] == [0x10] * 11 + [0x00]
    assert any(apdu[1] == 0xC0 for apdu in field.sent)


def test_an_answer_in_one_extended_piece_is_taken():
    content = os.urandom(3_000)
    assert drive(PivSession().get_data(0x5FC105), Script([bytes(build(0x53, content)) + b"\x90\x00"])) == content


def test_objects_are_written_after_the_management_key_only():
    field = PivField()
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(field.select().put_data(ObjectId.CHUID, b"x"), field)
    with pytest.raises(ObjectNotFound):
        drive(field.select().get_data(ObjectId.CHUID), field)


def test_an_object_behind_the_pin_is_read_after_it():
    field = PivField()
    session = field.administer()
    drive(session.put_data(ObjectId.PRINTED_INFORMATION, b"printed"), field)
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(session.get_data(ObjectId.PRINTED_INFORMATION), field)
    drive(session.verify(PIN), field)
    assert drive(session.get_data(ObjectId.PRINTED_INFORMATION), field) == b"printed"


# --- PIN and PUK -------------------------------------------------------------------------------------------------


def test_the_pin_counts_down_blocks_and_is_reset_by_the_puk():
    """SP 800-73-4 Part 2 §3.2.1 and §3.2.3: 63C2, 63C1, 63C0, 6983; a right PIN fills the counter up."""
    field = PivField()
    session = field.select()
    assert status(field, session) == NOT_VERIFIED_3
    remaining = []
    for _ in range(2):
        with pytest.raises(PinRefused) as refused:
            drive(session.verify(OTHER_PIN), field)
        remaining.append(refused.value.attempts_remaining)
    drive(session.verify(PIN), field)
    assert status(field, session) == PinStatus(verified=True, attempts_remaining=None)
    drive(session.verify_reset(), field)
    assert status(field, session) == NOT_VERIFIED_3
    for _ in range(3):
        with pytest.raises(PinRefused) as refused:
            drive(session.verify(OTHER_PIN), field)
        remaining.append(refused.value.attempts_remaining)
    assert remaining == [2, 1, 2, 1, 0]
    with pytest.raises(ReferenceDataBlocked):
        drive(session.verify(PIN), field)
    assert status(field, session) == PinStatus(verified=False, attempts_remaining=0)
    drive(session.reset_retry_counter(PUK, OTHER_PIN), field)
    drive(session.verify(OTHER_PIN), field)


@pytest.mark.parametrize("reference", list(Reference))
def test_reference_data_are_changed_by_those_in_force(reference):
    field = PivField()
    session = field.select()
    old, new = {Reference.PIN: (PIN, OTHER_PIN), Reference.PUK: (PUK, OTHER_PUK)}[reference]
    drive(session.change_reference_data(reference, old, new), field)
    with pytest.raises(PinRefused) as refused:
        drive(session.change_reference_data(reference, old, new), field)
    assert refused.value.attempts_remaining == 2
    drive(session.change_reference_data(reference, new, old), field)


def test_a_blocked_puk_says_so():
    field = PivField()
    session = field.select()
    for remaining in (2, 1, 0):
        with pytest.raises(PinRefused) as refused:
            drive(session.reset_retry_counter(OTHER_PUK, PIN), field)
        assert refused.value.attempts_remaining == remaining
    with pytest.raises(ReferenceDataBlocked):
        drive(session.reset_retry_counter(PUK, PIN), field)


# --- the contactless interface -----------------------------------------------------------------------------------


def test_the_contactless_interface_refuses_what_it_must_and_costs_no_try():
    """Part 2 table 2: each refusal is typed, and the counters stay as they are."""
    field = PivField()
    session = field.administer()
    key = drive(session.generate_asymmetric_key_pair(Slot.AUTHENTICATION, Algorithm.ECC_P256), field)
    free = drive(session.generate_asymmetric_key_pair(Slot.CARD_AUTHENTICATION, Algorithm.ECC_P256), field)
    field.interface = "contactless"
    field.activate()
    session = field.select()
    digest = hashlib.sha256(b"challenge").digest()
    refused = {
        SecurityStatusNotSatisfied: (
            session.verify(PIN),
            session.verify_status(),
            session.change_reference_data(Reference.PUK, OTHER_PUK, PUK),
            session.mutual_authenticate(MANAGEMENT),
            session.external_authenticate(MANAGEMENT),
            session.sign(Slot.AUTHENTICATION, key, digest),
        ),
        FunctionNotSupported: (
            session.reset_retry_counter(OTHER_PUK, PIN),
            session.put_data(ObjectId.CHUID, b"x"),
            session.generate_asymmetric_key_pair(Slot.CARD_AUTHENTICATION, Algorithm.ECC_P256),
        ),
    }
    for error, conversations in refused.items():
        for conversation in conversations:
            with pytest.raises(error):
                drive(conversation, field)
    assert (field.applet.pin.remaining, field.applet.puk.remaining) == (3, 3)
    signature = drive(session.sign(Slot.CARD_AUTHENTICATION, free, digest), field)
    verify_signature(free, signature, digest, failure="the key without a PIN works at both interfaces")


# --- keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_key_made_on_the_card_signs(algorithm):
    """RSA-2048, RSA-3072, P-256 and P-384; the signature is the key's and no other's."""
    field = PivField()
    session = field.administer()
    key = drive(session.generate_asymmetric_key_pair(Slot.AUTHENTICATION, algorithm), field)
    digest = digest_for(key, b"what is signed")
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(session.sign(Slot.AUTHENTICATION, key, digest), field)
    drive(session.verify(PIN), field)
    signature = drive(session.sign(Slot.AUTHENTICATION, key, digest), field)
    verify_signature(key, signature, digest, failure="signed")
    with pytest.raises(SignatureWrong, match="of something else"):
        verify_signature(key, signature, digest_for(key, b"something else"), failure="of something else")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
def test_a_key_made_on_the_card_agrees_on_a_secret(curve):
    field, peer = PivField(), ec.generate_private_key(curve)
    algorithm = {256: Algorithm.ECC_P256, 384: Algorithm.ECC_P384}[curve.key_size]
    session = field.administer()
    key = drive(session.generate_asymmetric_key_pair(Slot.KEY_MANAGEMENT, algorithm), field)
    drive(session.verify(PIN), field)
    secret = drive(session.agree(Slot.KEY_MANAGEMENT, peer.public_key()), field)
    assert secret == peer.exchange(ec.ECDH(), key)


RSA_NUMBERS = rsa.generate_private_key(65_537, 2048).public_key().public_numbers()
MODULUS = RSA_NUMBERS.n.to_bytes(256, "big")


@pytest.mark.parametrize(
    ("members", "algorithm"),
    [
        ((build(0x86, b"\x04" + bytes(64)),), Algorithm.ECC_P256),
        ((build(0x86, b"\x02" + bytes(32)),), Algorithm.ECC_P256),
        ((build(0x86, b""),), Algorithm.ECC_P384),
        ((build(0x81, MODULUS), build(0x82, b"\x03")), Algorithm.RSA_2048),
        ((build(0x81, MODULUS), build(0x82, bytes(60_000))), Algorithm.RSA_2048),
        ((build(0x81, b"\xff" * 60_000), build(0x82, b"\x01\x00\x01")), Algorithm.RSA_2048),
        ((build(0x81, MODULUS), build(0x82, b"\x01\x00\x01")), Algorithm.RSA_3072),
        ((build(0x81, MODULUS),), Algorithm.RSA_2048),
        ((), Algorithm.RSA_2048),
    ],
)
def test_a_public_key_that_is_none_is_refused(members, algorithm):
    answer = bytes(build(0x7F49, *members)) + b"\x90\x00"
    with pytest.raises(ProtocolError):
        drive(PivSession().generate_asymmetric_key_pair(Slot.AUTHENTICATION, algorithm), Script([answer]))


# --- the management key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", list(ManagementAlgorithm))
@pytest.mark.parametrize("way", ["mutual_authenticate", "external_authenticate"])
def test_the_management_key_opens_the_card(algorithm, way):
    raw = bytes(range(1, algorithm.key_bytes + 1))
    field = PivField(plain_applet(algorithm, raw))
    session = field.select()
    key = SoftwareManagementKey(algorithm, raw)
    drive(getattr(session, way)(key), field)
    drive(session.put_data(ObjectId.CHUID, b"x"), field)
    assert raw.hex() not in repr(key)


@pytest.mark.parametrize("way", ["mutual_authenticate", "external_authenticate"])
@pytest.mark.parametrize(
    "key",
    [
        SoftwareManagementKey(ManagementAlgorithm.AES_128, bytes(16)),
        SoftwareManagementKey(ManagementAlgorithm.AES_256, AES_KEY * 2),
        SoftwareManagementKey(ManagementAlgorithm.TDES, bytes(range(24))),
    ],
)
def test_another_management_key_is_refused(key, way):
    """Another value, and another kind of key."""
    field = PivField()
    session = field.select()
    with pytest.raises(AuthenticationRefused):
        drive(getattr(session, way)(key), field)


def test_a_card_that_only_accepts_is_not_believed():
    """It gives a witness, takes ours, and answers our challenge with anything."""
    witness = bytes(build(0x7C, build(0x80, bytes(16)))) + b"\x90\x00"
    answer = bytes(build(0x7C, build(0x82, bytes(16)))) + b"\x90\x00"
    with pytest.raises(CardNotGenuine):
        drive(PivSession().mutual_authenticate(MANAGEMENT), Script([witness, answer]))


@pytest.mark.parametrize("length", [0, 8, 15, 17, 32])
def test_a_witness_of_another_length_is_not_deciphered(length):
    witness = bytes(build(0x7C, build(0x80, bytes(length)))) + b"\x90\x00"
    with pytest.raises(ProtocolError):
        drive(PivSession().mutual_authenticate(MANAGEMENT), Script([witness]))


def test_a_management_key_of_another_length_is_our_own_mistake():
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        SoftwareManagementKey(ManagementAlgorithm.AES_256, AES_KEY)


@pytest.mark.parametrize("make", [PivField, yubico_field])
def test_both_makes_of_card_are_the_same_session(make):
    """Nothing in the session asks whose card it is."""
    field = make()
    session = field.select()
    assert status(field, session) == NOT_VERIFIED_3
    drive(session.verify(PIN), field)
    with pytest.raises(StatusError):
        drive(session.sign(Slot.AUTHENTICATION, ec.generate_private_key(ec.SECP256R1()).public_key(), bytes(32)), field)
    with pytest.raises(ChipError):
        drive(session.get_data(ObjectId.CHUID), field)
