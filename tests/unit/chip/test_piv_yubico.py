# SPDX-License-Identifier: EUPL-1.2
"""Yubico's own commands, against a card that was written from their published reference."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from unit.chip.authority import Authority, der
from unit.chip.hostile import Script
from unit.chip.virtual_piv import MANAGEMENT, OTHER_PIN, OTHER_PUK, PIN, PUK, YUBICO_FACTORY, PivField, yubico_field

from cardservice.chip.conversation import drive
from cardservice.chip.errors import (
    FunctionNotSupported,
    ObjectNotFound,
    PinRefused,
    ProtocolError,
    SecurityStatusNotSatisfied,
    StatusError,
)
from cardservice.chip.piv_formats import Reference, Slot
from cardservice.chip.piv_keys import Algorithm
from cardservice.chip.piv_management import ManagementAlgorithm
from cardservice.chip.piv_yubico import Metadata, YubicoExtensions
from cardservice.chip.tlv import build
from cardsim.yubico import FIRMWARE, SERIAL


@pytest.fixture
def field() -> PivField:
    return yubico_field()


@pytest.fixture
def card(field) -> YubicoExtensions:
    return YubicoExtensions(field.administer(YUBICO_FACTORY))


def block(card: YubicoExtensions, field: PivField) -> None:
    """Spends every try of PIN and PUK."""
    for _ in range(3):
        with pytest.raises(PinRefused):
            drive(card.session.verify(OTHER_PIN), field)
        with pytest.raises(PinRefused):
            drive(card.session.reset_retry_counter(OTHER_PUK, PIN), field)


def test_the_card_says_what_it_is(card, field):
    assert drive(card.get_version(), field) == FIRMWARE
    assert drive(card.get_serial(), field) == SERIAL


def test_the_management_key_is_replaced(card, field):
    before = drive(card.get_metadata(Slot.MANAGEMENT), field)
    drive(card.set_management_key(MANAGEMENT), field)
    after = drive(card.get_metadata(Slot.MANAGEMENT), field)
    assert [(told.algorithm, told.is_default) for told in (before, after)] == [
        (ManagementAlgorithm.TDES, True),
        (ManagementAlgorithm.AES_128, False),
    ]
    field.activate()
    field.administer(MANAGEMENT)


def test_the_management_key_is_replaced_by_its_holder_only(field):
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(YubicoExtensions(field.select()).set_management_key(MANAGEMENT), field)


def test_metadata_of_secrets_tell_their_counters(card, field):
    with pytest.raises(PinRefused):
        drive(card.session.verify(OTHER_PIN), field)
    pin, puk = (drive(card.get_metadata(reference), field) for reference in Reference)
    assert (pin.algorithm, pin.is_default, pin.attempts, pin.attempts_remaining) == (None, True, 3, 2)
    assert (puk.is_default, puk.attempts, puk.attempts_remaining) == (True, 3, 3)
    drive(card.session.change_reference_data(Reference.PUK, PUK, OTHER_PUK), field)
    assert drive(card.get_metadata(Reference.PUK), field).is_default is False


@pytest.mark.parametrize("algorithm", [Algorithm.RSA_2048, Algorithm.ECC_P256, Algorithm.ECC_P384])
def test_metadata_of_a_slot_tell_its_key(card, field, algorithm):
    with pytest.raises(ObjectNotFound):
        drive(card.get_metadata(Slot.SIGNATURE), field)
    key = drive(card.session.generate_asymmetric_key_pair(Slot.SIGNATURE, algorithm), field)
    told = drive(card.get_metadata(Slot.SIGNATURE), field)
    assert (told.algorithm, told.made_on_card, told.public_key) == (algorithm, True, key)
    assert (told.pin_policy, told.touch_policy) == (3, 1)


def test_the_number_of_tries_is_set(card, field):
    drive(card.session.verify(PIN), field)
    drive(card.set_pin_retries(5, 7), field)
    told = [drive(card.get_metadata(reference), field).attempts for reference in Reference]
    assert told == [5, 7]


@pytest.mark.parametrize("tries", [(0, 3), (3, 16), (-1, 3)])
def test_an_impossible_number_of_tries_is_our_own_mistake(card, tries):
    with pytest.raises(ValueError, match="1 to 15"):
        next(card.set_pin_retries(*tries))


def test_a_card_is_reset_only_when_nobody_can_open_it_any_more(card, field):
    drive(card.set_management_key(MANAGEMENT), field)
    drive(card.session.generate_asymmetric_key_pair(Slot.SIGNATURE, Algorithm.ECC_P256), field)
    with pytest.raises(StatusError) as refused:
        drive(card.reset(), field)
    assert refused.value.sw == 0x6985
    block(card, field)
    drive(card.reset(), field)
    field.activate()
    fresh = YubicoExtensions(field.administer(YUBICO_FACTORY))
    with pytest.raises(ObjectNotFound):
        drive(fresh.get_metadata(Slot.SIGNATURE), field)


def test_an_attestation_is_one_certificate():
    """The virtual card vouches for nothing; what a card of the maker answers is a certificate and nothing around it."""
    field = yubico_field()
    with pytest.raises(FunctionNotSupported):
        drive(YubicoExtensions(field.select()).attest(Slot.AUTHENTICATION), field)
    certificate = der(Authority("Maker").certificate)
    card = YubicoExtensions(field.select())
    assert drive(card.attest(Slot.AUTHENTICATION), Script([certificate + b"\x90\x00"])) == certificate
    for nonsense in (b"", certificate[:-1], certificate + certificate, b"\x04\x00"):
        with pytest.raises(ProtocolError):
            drive(card.attest(Slot.AUTHENTICATION), Script([nonsense + b"\x90\x00"]))


@pytest.mark.parametrize(("command", "length"), [("get_version", 3), ("get_serial", 4)])
def test_an_answer_of_another_length_is_refused(field, command, length):
    card = YubicoExtensions(field.select())
    for wrong in (0, length - 1, length + 1):
        with pytest.raises(ProtocolError):
            drive(getattr(card, command)(), Script([bytes(wrong) + b"\x90\x00"]))


def test_members_of_later_firmware_are_passed_over():
    """Another algorithm, an unknown member: the key is not read, the rest is."""
    told = Metadata.from_bytes(bytes(build(0x01, b"\xe0")) + bytes(build(0x04, b"\x86\x00")) + bytes(build(0x07, b"x")))
    assert (told.algorithm, told.public_key, told.attempts) == (0xE0, None, None)


@pytest.mark.parametrize(
    "answer",
    [
        build(0x01, b""),
        build(0x06, b"\x03"),
        build(0x02, b"\x01\x01\x01"),
        bytes(build(0x05, b"\x00")) * 2,
        bytes(build(0x0F, b"")) * 33,
        bytes(build(0x01, b"\x11")) + bytes(build(0x04, bytes(build(0x86, b"\x04" + bytes(64))))),
    ],
)
def test_malformed_metadata_are_refused(answer):
    with pytest.raises(ProtocolError):
        Metadata.from_bytes(bytes(answer))


def test_a_plain_card_knows_none_of_it():
    field = PivField()
    card = YubicoExtensions(field.select())
    for conversation in (card.get_version(), card.get_serial(), card.get_metadata(Slot.MANAGEMENT), card.reset()):
        with pytest.raises(StatusError) as refused:
            drive(conversation, field)
        assert refused.value.sw == 0x6D00
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(StatusError):
        drive(card.session.agree(Slot.KEY_MANAGEMENT, key), field)
