# SPDX-License-Identifier: EUPL-1.2
"""PIV card authentication: the proof, its binding, and hostile cards."""

import gzip
import hashlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.authority import CARD_UUID, NOW, Authority, Request, certificate_object, der
from unit.chip.card_double import PivDouble, Wire, tlv
from unit.chip.hostile import Script, scripts

from cardservice.chip.apdu import transmit_whole
from cardservice.chip.conversation import drive
from cardservice.chip.errors import (
    ApplicationNotFound,
    CardGone,
    CardNotGenuine,
    CertificateCause,
    CertificateRefused,
    ChipError,
    ObjectNotFound,
    ProtocolError,
    SecurityStatusNotSatisfied,
)
from cardservice.chip.piv import authenticate_card, challenge_digest
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.chip.piv_formats import ObjectId, unwrap_certificate
from cardservice.chip.piv_session import PivSession

CITY = Authority()
REQUEST = Request()
CERTIFICATE = der(CITY.issue(REQUEST))
TRUST = CardAuthTrust((TrustedIssuer(CITY.certificate, lambda _: False),))
CONTEXT = b"desk 4711"


def card() -> PivDouble:
    return PivDouble(REQUEST.key, certificate_object(CERTIFICATE))


def authentication(context: bytes = CONTEXT, **changes):
    return authenticate_card(context, TRUST, at=NOW, **changes)


COMMANDS_OF_A_PROOF = 4
"""SELECT, GET DATA, GET RESPONSE, GENERAL AUTHENTICATE; the first two travel together."""


def test_a_genuine_card_is_proved():
    wire = Wire(card())
    proven = wire.run(authentication())
    assert proven.card_uuid == CARD_UUID
    assert proven.certificate_fingerprint == hashlib.sha256(CERTIFICATE).digest()
    assert wire.sent[0] == ["00A404000BA00000030800001000010000", "00CB3FFF055C035FC10100"]
    assert wire.sent[1][0].startswith("00C00000")
    assert wire.sent[-1][0].startswith("0087119E267C2482008120")
    assert [len(batch) for batch in wire.batches] == [2, 1, 1]
    assert str(CARD_UUID) not in repr(proven)


def test_over_an_agent_a_proof_is_two_exchanges():
    """It fetches beside the card what the card holds back; over a network that would be a round trip for each part."""
    genuine = card()
    wire = Wire(lambda command: transmit_whole(command, genuine))
    assert wire.run(authentication()).card_uuid == CARD_UUID
    assert [len(batch) for batch in wire.batches] == [2, 1]


def test_a_card_that_holds_back_what_it_says_of_itself_is_asked_again():
    """T=0 answers SELECT with 61xx; the command behind it in the batch has thrown that away."""
    genuine, held = card(), bytearray()

    def transmit(command: bytes) -> bytes:
        if command[1] == 0xC0 and held:
            return bytes(held)
        held.clear()
        answer = genuine(command)
        if command[1] == 0xA4:
            held.extend(answer)
            return bytes((0x61, len(answer) - 2))
        return answer

    assert drive(authentication(), transmit).card_uuid == CARD_UUID


def test_the_card_signs_context_and_nonce():
    nonce = bytes(range(32))
    wire = Wire(card())
    wire.run(authentication(random_bytes=lambda _: nonce))
    assert wire.sent[-1][0].endswith(challenge_digest(CONTEXT, nonce).hex().upper() + "00")
    digests = {challenge_digest(context, nonce) for context in (CONTEXT, b"", CONTEXT + b"\x00")}
    assert len(digests | {challenge_digest(CONTEXT, bytes(32))}) == 4


def test_a_short_nonce_is_our_own_mistake():
    with pytest.raises(ValueError, match="32 bytes"):
        drive(authentication(random_bytes=lambda _: b"four"), card())


def test_the_evidence_is_the_hash_of_the_whole_conversation():
    wire = Wire(card())
    proven = wire.run(authentication())
    expected = hashlib.sha256()
    for command, answer in (pair for batch in wire.batches for pair in batch):
        for message in (command, answer):
            expected.update(len(message).to_bytes(4, "big") + message)
    assert proven.evidence == expected.digest()


def test_an_rsa_card_of_another_authority_is_proved():
    """Its challenge is too long for one short APDU, so it is chained in one exchange."""
    request = replace(REQUEST, key=rsa.generate_private_key(65_537, 2048))
    wire = Wire(PivDouble(request.key, certificate_object(der(CITY.issue(request)))))
    assert wire.run(authentication()).card_uuid == CARD_UUID
    chained = next(batch for batch in wire.sent[1:] if len(batch) == 2)
    assert [command[:8] for command in chained] == ["1087079E", "0087079E"]


def test_a_copied_rsa_certificate_does_not_make_a_card():
    request = replace(REQUEST, key=rsa.generate_private_key(65_537, 2048))
    clone = PivDouble(rsa.generate_private_key(65_537, 2048), certificate_object(der(CITY.issue(request))))
    with pytest.raises(CardNotGenuine):
        drive(authentication(), clone)


def test_a_compressed_certificate_is_read():
    compressed = PivDouble(REQUEST.key, certificate_object(gzip.compress(CERTIFICATE), b"\x01"))
    assert drive(authentication(), compressed).card_uuid == CARD_UUID


def test_a_copied_certificate_does_not_make_a_card():
    clone = PivDouble(ec.generate_private_key(ec.SECP256R1()), certificate_object(CERTIFICATE))
    with pytest.raises(CardNotGenuine):
        drive(authentication(), clone)


def test_a_replayed_signature_proves_nothing():
    wire = Wire(card())
    wire.run(authentication())
    with pytest.raises(CardNotGenuine):
        drive(authentication(), Script([answer for batch in wire.batches for _, answer in batch]))


def test_an_unacceptable_card_is_asked_to_sign_nothing():
    foreign = PivDouble(REQUEST.key, certificate_object(der(Authority("Another CA").issue(REQUEST))))
    wire = Wire(foreign)
    with pytest.raises(CertificateRefused) as refused:
        wire.run(authentication())
    assert refused.value.cause is CertificateCause.ISSUER_UNKNOWN
    assert not any(command.startswith("0087") for batch in wire.sent for command in batch)


def test_a_card_without_piv_is_unknown():
    with pytest.raises(ApplicationNotFound):
        drive(authentication(), Script([b"\x6a\x82"]))


def test_a_card_without_the_certificate_says_so():
    with pytest.raises(ObjectNotFound):
        drive(authentication(), PivDouble(REQUEST.key, None))


def test_a_key_that_wants_a_pin_is_refused():
    genuine = card()
    with pytest.raises(SecurityStatusNotSatisfied):
        drive(authentication(), lambda apdu: b"\x69\x82" if apdu[1] == 0x87 else genuine(apdu))


def test_another_application_is_not_piv():
    with pytest.raises(ProtocolError, match="not PIV"):
        drive(PivSession.select(), Script([bytes.fromhex("61074F05A0000003979000")]))


def test_get_data_opens_its_container():
    assert drive(PivSession().get_data(ObjectId.CARD_AUTHENTICATION_CERTIFICATE), card()) == certificate_object(
        CERTIFICATE
    )


@pytest.mark.parametrize("pulled_at", range(COMMANDS_OF_A_PROOF))
def test_a_pulled_card_is_gone_at_any_command(pulled_at):
    genuine, count = card(), iter(range(100))
    with pytest.raises(CardGone):
        drive(authentication(), lambda apdu: b"" if next(count) == pulled_at else genuine(apdu))


def test_an_instant_without_zone_is_refused_before_the_card_is_asked():
    with pytest.raises(ValueError, match="zone"):
        next(authenticate_card(CONTEXT, TRUST, at=NOW.replace(tzinfo=None)))


BOMB = gzip.compress(bytes(10_000_000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        tlv("70", CERTIFICATE),
        tlv("71", b"\x00"),
        tlv("70", CERTIFICATE) * 2 + tlv("71", b"\x00"),
        certificate_object(CERTIFICATE, b"\x02"),
        certificate_object(CERTIFICATE, b""),
        certificate_object(CERTIFICATE, b"\x01"),
        certificate_object(gzip.compress(CERTIFICATE)[:-1], b"\x01"),
        certificate_object(gzip.compress(CERTIFICATE) + b"tail", b"\x01"),
        certificate_object(BOMB, b"\x01"),
    ],
)
def test_a_malformed_certificate_object_is_refused(content):
    """The gzip bomb among them: 10 MB out of 10 kB are never unpacked."""
    with pytest.raises(ProtocolError):
        unwrap_certificate(content)


def test_a_certificate_as_large_as_allowed_is_unpacked():
    assert unwrap_certificate(certificate_object(gzip.compress(bytes(65_536)), b"\x01")) == bytes(65_536)


@settings(max_examples=200, deadline=None)
@given(scripts)
def test_arbitrary_answers_never_prove_a_card(script):
    wire = Wire(Script(script))
    with pytest.raises(ChipError):
        wire.run(authentication())
    assert len(wire.batches) <= 3 * 65


@settings(max_examples=100, deadline=None)
@given(good=st.integers(0, COMMANDS_OF_A_PROOF), script=scripts)
def test_arbitrary_answers_after_a_good_beginning_never_prove_a_card(good, script):
    genuine, hostile, count = card(), Script(script), iter(range(1_000))
    try:
        proven = drive(authentication(), lambda apdu: genuine(apdu) if next(count) < good else hostile(apdu))
    except ChipError:
        return
    assert proven.card_uuid == CARD_UUID
    assert good == COMMANDS_OF_A_PROOF, "a proof needs every answer of the genuine card"
