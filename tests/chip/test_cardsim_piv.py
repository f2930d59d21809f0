# SPDX-License-Identifier: EUPL-1.2
"""Behaviour of the virtual PIV application: binding, PIN rules, key operations, contactless limits."""

import hashlib
import uuid
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardsim import certificates, tlv
from cardsim.card import VirtualCard
from cardsim.certificates import Flaw, Order
from cardsim.errors import PersonalisationError
from cardsim.personalise import personalise_piv
from cardsim.piv_keys import PivSlot

CARD_UUID = uuid.UUID("0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SELECT = bytes.fromhex("00A4040009A0000003080000100000")
PIN = b"123456\xff\xff"
PUK = b"12345678"


@pytest.fixture(scope="module")
def issuer():
    return certificates.make_issuer("Test CA", NOW)


@pytest.fixture(scope="module")
def slots(issuer):
    order = Order(issuer, NOW)
    return {
        0x9A: certificates.logon_slot(order, "Erika Muster", "erika@stadt.test"),
        0x9C: certificates.signature_slot(order, "Erika Muster"),
        0x9D: certificates.key_management_slot(order, "Erika Muster"),
        0x9E: certificates.card_authentication_slot(order, CARD_UUID),
    }


@pytest.fixture
def card(slots):
    piv = personalise_piv(CARD_UUID, pin="123456", puk="12345678", slots=slots)
    card = VirtualCard("card", "card", piv=piv, piv_contactless=True)
    card.power_on("contact")
    card.transmit(SELECT)
    return card


def send(card: VirtualCard, header: str, data: bytes = b"", le: bool = True) -> tuple[bytes, str]:
    """One short command, chained where the data are long, its whole answer fetched by GET RESPONSE."""
    cla, rest = int(header[:2], 16), bytes.fromhex(header[2:])
    while len(data) > 255:
        assert card.transmit(bytes([cla | 0x10]) + rest + b"\xff" + data[:255]) == b"\x90\x00"
        data = data[255:]
    body = bytes([len(data)]) + data if data else b""
    answer = card.transmit(bytes([cla]) + rest + body + (b"\x00" if le else b""))
    whole = answer[:-2]
    while answer[-2] == 0x61:
        answer = card.transmit(b"\x00\xc0\x00\x00" + answer[-1:])
        whole += answer[:-2]
    return whole, answer[-2:].hex().upper()


def verify(card: VirtualCard, pin: bytes = PIN) -> str:
    return send(card, "00200080", pin, le=False)[1]


def get_data(card: VirtualCard, tag: str) -> tuple[bytes, str]:
    return send(card, "00CB3FFF", tlv.encode(b"\x5c", bytes.fromhex(tag)))


def authenticate(card: VirtualCard, algorithm: int, slot: int, value: bytes, tag: int = 0x81):
    inner = tlv.encode(b"\x82", b"") + tlv.encode(bytes([tag]), value)
    answer, ended = send(card, f"0087{algorithm:02X}{slot:02X}", tlv.encode(b"\x7c", inner))
    return (tlv.decode(tlv.decode(answer)[0x7C])[0x82] if answer else b""), ended


def public_key(slot: PivSlot):
    return x509.load_der_x509_certificate(slot.certificate).public_key()


# --- what OpenSC needs to bind -------------------------------------------------------------------------------------


@pytest.mark.parametrize("aid", ["A0000003080000100001 00", "A00000030800001000", "A000000308"])
def test_select_by_whole_and_truncated_aid(card, aid):
    answer, ended = send(card, "00A40400", bytes.fromhex(aid))
    assert (answer.hex().upper(), ended) == ("61114F0600001000010079074F05A000000308", "9000")


@pytest.mark.parametrize("aid", ["627601FF000000", "A00000000101", "E82B0601", "D23300", "A0", "A000000308000011"])
def test_foreign_aids_are_not_found(card, aid):
    assert send(card, "00A40400", bytes.fromhex(aid)) == (b"", "6A82")


def test_before_select_every_instruction_is_unknown(card):
    card.power_on("contact")
    assert get_data(card, "7E") == (b"", "6D00")
    assert verify(card) == "6D00"


def test_discovery_object(card):
    answer, ended = get_data(card, "7E")
    assert (answer.hex().upper(), ended) == ("7E124F0BA0000003080000100001005F2F024000", "9000")


def test_chuid_carries_the_card_uuid(card):
    content = tlv.decode(tlv.decode(get_data(card, "5FC102")[0])[0x53])
    assert list(content) == [0x30, 0x34, 0x35, 0x3E, 0xFE]
    assert content[0x34] == CARD_UUID.bytes
    assert (len(content[0x30]), content[0x35]) == (25, b"20321231")


def test_capability_container(card):
    content = tlv.decode(tlv.decode(get_data(card, "5FC107")[0])[0x53])
    assert content[0xF0][:7] == bytes.fromhex("A000000116FF02")
    assert (len(content[0xF0]), list(content)[-1]) == (21, 0xFE)


@pytest.mark.parametrize(("tag", "ended"), [("5FC10C", "6A82"), ("5FC103", "6A82"), ("7F61", "6A82")])
def test_absent_objects(card, tag, ended):
    assert get_data(card, tag) == (b"", ended)


@pytest.mark.parametrize(("slot", "tag"), [(0x9A, "5FC105"), (0x9C, "5FC10A"), (0x9D, "5FC10B"), (0x9E, "5FC101")])
def test_certificates_are_readable_without_pin(card, slots, slot, tag):
    content = tlv.decode(tlv.decode(get_data(card, tag)[0])[0x53])
    assert content == {0x70: slots[slot].certificate, 0x71: b"\x00", 0xFE: b""}


def test_le_is_honoured(card):
    """Eight bytes asked, eight given, 61xx for the rest; then GET RESPONSE delivers it and no more."""
    whole, _ = get_data(card, "5FC105")
    first = card.transmit(bytes.fromhex("00CB3FFF055C035FC10508"))
    assert first == whole[:8] + b"\x61\x00"
    assert card.transmit(bytes.fromhex("00C0000004"))[:4] == whole[8:12]
    rest = b""
    answer = card.transmit(bytes.fromhex("00C0000000"))
    while answer[-2] == 0x61:
        rest += answer[:-2]
        answer = card.transmit(b"\x00\xc0\x00\x00" + answer[-1:])
    assert rest + answer == whole[12:] + b"\x90\x00"
    assert card.transmit(bytes.fromhex("00C0000000")) == b"\x69\x85"


def test_extended_length_delivers_at_once(card):
    whole, _ = get_data(card, "5FC105")
    assert card.transmit(bytes.fromhex("00CB3FFF0000055C035FC1050000")) == whole + b"\x90\x00"


def test_without_le_the_answer_waits(card):
    assert card.transmit(bytes.fromhex("00CB3FFF035C017E")) == b"\x61\x14"


def test_another_command_drops_the_unread_rest(card):
    assert card.transmit(bytes.fromhex("00CB3FFF055C035FC10508"))[-2:] == b"\x61\x00"
    assert get_data(card, "7E")[1] == "9000"
    assert card.transmit(bytes.fromhex("00C0000000")) == b"\x69\x85"


@pytest.mark.parametrize(
    ("command", "ended"),
    [
        ("00CB3FFE035C017E00", "6A86"),
        ("00CB3FFF025C0500", "6A80"),
        ("00CB3FFF0353010100", "6A80"),
        ("00CB3FFF00", "6A80"),
        ("00A4000009A0000003080000100000", "6A86"),
        ("00C0000100", "6A86"),
        ("00FD000000", "6D00"),
        ("80CB3FFF035C017E00", "6E00"),
        ("04CB3FFF035C017E00", "6882"),
        ("01CB3FFF035C017E00", "6881"),
        ("0087079B047C02820000", "6A86"),
        ("00870782047C02820000", "6A86"),
        ("0087119A047C02820000", "6A86"),
        ("0087119E047C02820000", "6A80"),
        ("0087119E067C048202810000", "6A80"),
        ("0087119E00", "6A80"),
        ("0020000008313233343536FFFF", "6A88"),
        ("0020010008313233343536FFFF", "6A88"),
        ("0020018008313233343536FFFF", "6A86"),
        ("00240080083132333435363738", "6A80"),
        ("002C0081083132333435363738", "6A88"),
    ],
)
def test_statuses(card, command, ended):
    assert card.transmit(bytes.fromhex(command))[-2:].hex().upper() == ended


def test_chains_are_bounded(card):
    part = bytes.fromhex("1087079AFF") + bytes(255)
    answers = [card.transmit(part) for _ in range(65)]
    assert answers[:64] == [b"\x90\x00"] * 64
    assert answers[64] == b"\x67\x00"


# --- PIN and PUK ---------------------------------------------------------------------------------------------------


def test_verify_counts_down_blocks_and_is_unblocked_by_the_puk(card):
    assert send(card, "00200080", le=False)[1] == "63C3"
    wrong = b"654321\xff\xff"
    assert [verify(card, wrong) for _ in range(4)] == ["63C2", "63C1", "63C0", "6983"]
    assert verify(card) == "6983"
    assert send(card, "002C0080", b"00000000" + PIN, le=False)[1] == "63C2"
    assert send(card, "002C0080", PUK + b"999999\xff\xff", le=False)[1] == "9000"
    assert verify(card) == "63C2"
    assert verify(card, b"999999\xff\xff") == "9000"
    assert send(card, "00200080", le=False)[1] == "9000"


def test_the_counter_survives_a_power_cycle_but_the_verification_does_not(card):
    assert verify(card) == "9000"
    assert verify(card, b"654321\xff\xff") == "63C2"
    card.power_on("contact")
    card.transmit(SELECT)
    assert send(card, "00200080", le=False)[1] == "63C2"


@pytest.mark.parametrize("pin", [b"12345\xff\xff\xff", b"123456", b"12345a\xff\xff", b"123456\xff1", b"1" * 9])
def test_a_malformed_pin_costs_no_try(card, pin):
    assert verify(card, pin) == "6A80"
    assert send(card, "00200080", le=False)[1] == "63C3"


def test_p1_ff_logs_out(card):
    assert verify(card) == "9000"
    assert send(card, "0020FF80", le=False)[1] == "9000"
    assert send(card, "00200080", le=False)[1] == "63C3"


def test_a_wrong_pin_ends_an_earlier_verification(card):
    assert verify(card) == "9000"
    assert verify(card, b"654321\xff\xff") == "63C2"
    assert authenticate(card, 0x07, 0x9A, bytes(256)) == (b"", "6982")


def test_change_pin_and_puk(card):
    assert send(card, "00240080", b"654321\xff\xff" + b"111111\xff\xff", le=False)[1] == "63C2"
    assert send(card, "00240080", PIN + b"1\xff\xff\xff\xff\xff\xff\xff", le=False)[1] == "6A80"
    assert send(card, "00240080", PIN + b"111111\xff\xff", le=False)[1] == "9000"
    assert verify(card, b"111111\xff\xff") == "9000"
    assert send(card, "00240081", PUK + b"abcdefgh", le=False)[1] == "9000"
    assert send(card, "00240081", PUK + b"abcdefgh", le=False)[1] == "63C2"


def test_the_puk_blocks_too(card):
    attempts = [send(card, "002C0080", b"00000000" + PIN, le=False)[1] for _ in range(4)]
    assert attempts == ["63C2", "63C1", "63C0", "6983"]
    assert send(card, "002C0080", PUK + PIN, le=False)[1] == "6983"


# --- keys ----------------------------------------------------------------------------------------------------------


def test_9a_signs_by_rsa_after_the_pin(card, slots):
    public = public_key(slots[0x9A])
    digest = hashlib.sha256(b"message").digest()
    info = bytes.fromhex("3031300D060960864801650304020105000420") + digest
    block = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    assert authenticate(card, 0x07, 0x9A, block) == (b"", "6982")
    assert verify(card) == "9000"
    signature, ended = authenticate(card, 0x07, 0x9A, block)
    assert ended == "9000"
    public.verify(signature, b"message", padding.PKCS1v15(), hashes.SHA256())
    assert authenticate(card, 0x07, 0x9A, block)[1] == "9000"


def test_rsa_refuses_blocks_that_do_not_fit(card):
    assert verify(card) == "9000"
    assert authenticate(card, 0x07, 0x9A, b"\xff" * 256)[1] == "6A80"
    assert authenticate(card, 0x07, 0x9A, bytes(255))[1] == "6A80"


def test_rsa_3072_and_extended_length(issuer):
    slot = certificates.logon_slot(Order(issuer, NOW), "Max", "max@stadt.test", 3072)
    piv = personalise_piv(CARD_UUID, pin="123456", puk="12345678", slots={0x9A: slot})
    card = VirtualCard("card", "card", piv=piv)
    card.power_on("contact")
    card.transmit(SELECT)
    verify(card)
    inner = tlv.encode(b"\x82", b"") + tlv.encode(b"\x81", b"\x00\x01" + bytes(382))
    data = tlv.encode(b"\x7c", inner)
    answer = card.transmit(b"\x00\x87\x05\x9a\x00" + len(data).to_bytes(2, "big") + data + b"\x00\x00")
    result = tlv.decode(tlv.decode(answer[:-2])[0x7C])[0x82]
    numbers = public_key(slot).public_numbers()
    assert pow(int.from_bytes(result, "big"), numbers.e, numbers.n) == 1 << (382 * 8)


def test_9e_signs_without_pin(card, slots):
    digest = hashlib.sha256(b"challenge").digest()
    signature, ended = authenticate(card, 0x11, 0x9E, digest)
    assert ended == "9000"
    public = public_key(slots[0x9E])
    public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"other", ec.ECDSA(hashes.SHA256()))
    assert authenticate(card, 0x11, 0x9E, digest[:20])[1] == "6A80"


def test_9c_wants_the_pin_before_every_use(card):
    digest = bytes(32)
    assert authenticate(card, 0x11, 0x9C, digest)[1] == "6982"
    verify(card)
    assert authenticate(card, 0x11, 0x9C, digest)[1] == "9000"
    assert authenticate(card, 0x11, 0x9C, digest)[1] == "6982"


@pytest.mark.parametrize("between", ["00CB3FFF035C017E00", "0020008000", "00A4040009A00000030800001000", "00DB3FFF"])
def test_9c_wants_the_pin_immediately_before(card, between):
    """SP 800-73-4 part 1, 3.2.1: cards forget it at whatever else is asked, be it refused or not."""
    verify(card)
    card.transmit(bytes.fromhex(between))
    assert authenticate(card, 0x11, 0x9C, bytes(32))[1] == "6982"


def test_9d_agrees_on_a_secret_and_signs_nothing(card, slots):
    own = ec.generate_private_key(ec.SECP256R1())
    point = own.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    verify(card)
    secret, ended = authenticate(card, 0x11, 0x9D, point, tag=0x85)
    assert (secret, ended) == (own.exchange(ec.ECDH(), public_key(slots[0x9D])), "9000")
    off_the_curve = point[:-1] + bytes([point[-1] ^ 1])
    assert authenticate(card, 0x11, 0x9D, off_the_curve, tag=0x85)[1] == "6A80"
    assert authenticate(card, 0x11, 0x9D, bytes(32))[1] == "6A80"
    assert authenticate(card, 0x11, 0x9E, point, tag=0x85)[1] == "6A80"


# --- contactless ---------------------------------------------------------------------------------------------------


@pytest.fixture
def contactless(card):
    card.power_on("contactless")
    assert card.transmit(SELECT)[-2:] == b"\x90\x00"
    return card


def test_contactless_reads_only_the_free_objects(contactless):
    for tag in ("7E", "5FC102", "5FC101"):
        assert get_data(contactless, tag)[1] == "9000"
    for tag in ("5FC105", "5FC107", "5FC10A", "5FC10B"):
        assert get_data(contactless, tag) == (b"", "6982")


def test_contactless_uses_only_9e(contactless):
    assert authenticate(contactless, 0x11, 0x9E, bytes(32))[1] == "9000"
    assert authenticate(contactless, 0x07, 0x9A, bytes(256))[1] == "6982"
    assert authenticate(contactless, 0x11, 0x9C, bytes(32))[1] == "6982"


def test_9a_stays_closed_contactless_even_if_the_pin_counted_as_verified(contactless):
    """Two locks: VERIFY is refused, and the key itself wants the contacts."""
    contactless.piv._pin_verified = True
    assert authenticate(contactless, 0x07, 0x9A, bytes(256)) == (b"", "6982")


def test_contactless_pin_commands_are_refused_and_cost_no_try(contactless):
    wrong = b"654321\xff\xff"
    assert verify(contactless, wrong) == "6982"
    assert verify(contactless) == "6982"
    assert send(contactless, "00240080", wrong + PIN, le=False)[1] == "6982"
    assert send(contactless, "00240081", b"00000000" + PUK, le=False)[1] == "6982"
    assert send(contactless, "002C0080", b"00000000" + PIN, le=False)[1] == "6A81"
    assert (contactless.piv.pin.remaining, contactless.piv.puk.remaining) == (3, 3)


def test_a_pin_given_at_the_contacts_is_not_valid_contactless(card):
    verify(card)
    card.power_on("contactless")
    card.transmit(SELECT)
    assert authenticate(card, 0x07, 0x9A, bytes(256))[1] == "6982"


# --- certificates and personalisation ------------------------------------------------------------------------------


def load(slot: PivSlot) -> x509.Certificate:
    return x509.load_der_x509_certificate(slot.certificate)


def usages(certificate: x509.Certificate):
    return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_the_9e_certificate_is_that_of_the_layout(issuer, slots):
    certificate = load(slots[0x9E])
    certificate.verify_directly_issued_by(issuer.certificate)
    assert [(a.oid, a.value) for a in certificate.subject] == [(NameOID.SERIAL_NUMBER, str(CARD_UUID))]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(f"urn:uuid:{CARD_UUID}")]
    extended = usages(certificate)
    assert extended.critical
    assert [u.dotted_string for u in extended.value] == ["2.16.840.1.101.3.6.8"]
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_agreement
    assert not usage.key_cert_sign
    assert not usage.content_commitment
    assert isinstance(certificate.public_key().curve, ec.SECP256R1)


def test_the_9a_certificate_is_for_logon(issuer, slots):
    certificate = load(slots[0x9A])
    certificate.verify_directly_issued_by(issuer.certificate)
    assert set(usages(certificate).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2"),
    }
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (upn,) = names.get_values_for_type(x509.OtherName)
    assert upn.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert upn.value == b"\x0c\x10erika@stadt.test"
    assert certificate.public_key().key_size == 2048


def test_flawed_certificates_have_just_their_flaw(issuer):
    def flawed(flaw: Flaw) -> tuple[PivSlot, x509.Certificate]:
        slot = certificates.card_authentication_slot(Order(issuer, NOW, flaw=flaw), CARD_UUID)
        return slot, load(slot)

    assert flawed(Flaw.EXPIRED)[1].not_valid_after_utc < NOW
    assert flawed(Flaw.NOT_YET_VALID)[1].not_valid_before_utc > datetime.now(UTC)
    assert list(usages(flawed(Flaw.WRONG_EKU)[1]).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    foreign = flawed(Flaw.OTHER_ISSUER)[1]
    assert foreign.issuer == issuer.certificate.subject
    with pytest.raises(InvalidSignature):
        foreign.verify_directly_issued_by(issuer.certificate)
    slot, other = flawed(Flaw.OTHER_KEY)
    other.verify_directly_issued_by(issuer.certificate)
    assert other.public_key() != slot.private_key.public_key()


def test_pem_round_trip_and_unusable_pem(slots):
    slot = slots[0x9E]
    pem = certificates.certificate_pem(slot)
    again = certificates.slot_from_pem(key_pem=certificates.key_pem(slot), certificate_pem=pem)
    assert again.certificate == slot.certificate
    assert again.private_key.private_numbers() == slot.private_key.private_numbers()
    with pytest.raises(PersonalisationError, match="PEM"):
        certificates.slot_from_pem(key_pem="rubbish", certificate_pem=pem)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pin": "12345"}, "6 to 8"),
        ({"pin": "12345a"}, "6 to 8"),
        ({"puk": "1234567"}, "8 ASCII"),
        ({"puk": "1234567ä"}, "8 ASCII"),
    ],
)
def test_wrong_secrets_make_no_card_and_are_not_repeated(wrong, message):
    with pytest.raises(PersonalisationError, match=message) as refused:
        personalise_piv(CARD_UUID, **({"pin": "123456", "puk": "12345678", "slots": {}} | wrong))
    assert next(iter(wrong.values())) not in str(refused.value)


def test_unknown_slots_and_weak_keys_are_refused(slots):
    with pytest.raises(PersonalisationError, match="got 9B"):
        personalise_piv(CARD_UUID, pin="123456", puk="12345678", slots={0x9B: slots[0x9E]})
    with pytest.raises(ValueError, match="RSA-1024"):
        PivSlot(rsa.generate_private_key(65_537, 1024), b"")


def test_pins_and_keys_stay_out_of_representations(card, slots):
    shown = repr(card)
    assert "123456" not in shown
    assert "private_key" not in shown
    assert slots[0x9E].certificate.hex() not in shown
