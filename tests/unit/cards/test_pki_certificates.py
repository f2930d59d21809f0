# SPDX-License-Identifier: EUPL-1.2
"""What stands in certificates, what keys and requests are refused, and the sealed file of authorities."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from support.pki import ANNA, PASSPHRASE, RULES, SID, URL, authorities, key_for, proven, rsa_key, signed

from cardservice.cards.pki.authorities import Authorities, AuthorityFile, new_serial
from cardservice.cards.pki.mapping import SID_EXTENSION, sid_extension, strong_mappings, upn_name
from cardservice.cards.pki.profiles import PKINIT_CLIENT, SMART_CARD_LOGON, profile_for, require_logon_certificate
from cardservice.cards.pki.requests import CardRequest, read_request, require_key_fits, require_subject_fits
from cardservice.cards.pki.rules import DAY_MS, AuthorityKind, Slot
from cardservice.cards.pki.signing import Validity, sign_certificate
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer, check_card_auth_certificate, issuer_key
from cardservice.errors import Conflict, KeyStoreError

NOW_MS = 1_773_651_600_000
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    return authorities(tmp_path_factory.mktemp("pki"), NOW_MS)


def usages(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_tap_accepts_the_card_certificate_that_we_issue(found: Authorities) -> None:
    """The check of a tap, which was written apart, finds our UUID and our authority, and no list is asked for."""
    made = signed(found, Slot.CARD, NOW_MS)
    authority = found.of_kind(AuthorityKind.CARD)
    trust = CardAuthTrust((TrustedIssuer(authority.certificate, lambda _: False),))
    accepted = check_card_auth_certificate(made.public_bytes(Encoding.DER), trust, at=NOW)
    assert accepted.card_uuid == ANNA.card_uuid
    assert accepted.issuer_key == issuer_key(authority.certificate) == authority.issuer_key
    text = made.public_bytes(Encoding.DER)
    for name in ("Müller".encode(), b"anna", b"stadt.example\xa0", SID.encode()):
        assert name not in text


def test_logging_on_is_possible_with_the_logon_certificate_alone(found: Authorities) -> None:
    """UPN, SID, Kerberos name and the usages of logging on stand in 9A; other slots have usages and none of these."""
    logon = signed(found, Slot.LOGON, NOW_MS)
    assert usages(logon) == [ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON, PKINIT_CLIENT]
    for slot in (Slot.CARD, Slot.SIGNATURE, Slot.KEY_MANAGEMENT):
        other = signed(found, slot, NOW_MS)
        assert usages(other)
        assert not {ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON, PKINIT_CLIENT}.intersection(usages(other))
        assert all(one.oid != SID_EXTENSION for one in other.extensions)
        assert b"anna@stadt.example" not in upn_values(other)
        assert other.issuer != logon.issuer
    assert upn_values(logon)[0].endswith(b"anna@stadt.example")


def upn_values(certificate: x509.Certificate) -> list[bytes]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [one.value for one in names.get_values_for_type(x509.OtherName)]


def test_the_sid_is_encoded_as_windows_reads_it() -> None:
    """Byte for byte as [MS-WCCE] 2.2.2.7.7.4 has it for a SID of 45 characters; what is no SID is refused."""
    wanted = "303fa03d060a2b060104018237190201a02f042d" + SID.encode().hex()
    assert len(SID) == 45
    assert sid_extension(SID).value.hex() == wanted
    for wrong in ("", "S-1", "S-1-5-21-x", SID + "\n", "S-1-5" + "-1" * 20):
        with pytest.raises(Conflict, match="SID"):
            sid_extension(wrong)


def test_strong_mappings_name_issuer_serial_and_key(found: Authorities) -> None:
    """The serial number stands in reverse, the issuer from its country on."""
    made = signed(found, Slot.LOGON, NOW_MS)
    by_serial, by_key, by_digest = strong_mappings(made)
    turned = bytes.fromhex(f"{made.serial_number:040x}")[::-1].hex()
    assert by_serial == f"X509:<I>C=DE,O=Stadt Musterstadt,CN=Stadt Musterstadt logon-1<SR>{turned}"
    key = x509.SubjectKeyIdentifier.from_public_key(made.public_key()).digest.hex()
    assert (by_key, by_digest) == (f"X509:<SKI>{key}", f"X509:<SHA1-PUKEY>{key}")


def test_serial_numbers_are_random_positive_and_twenty_bytes_long() -> None:
    drawn = [new_serial() for _ in range(500)]
    assert len(set(drawn)) == 500
    assert all(len(x509_bytes(one)) == 20 and x509_bytes(one)[0] & 0x80 == 0 for one in drawn)


def x509_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def test_a_certificate_never_outlasts_its_authority(found: Authorities) -> None:
    authority = found.of_kind(AuthorityKind.CARD)
    last = authority.certificate.not_valid_after_utc
    late_ms = int(last.timestamp() * 1000) - 30 * DAY_MS
    assert signed(found, Slot.CARD, late_ms, days=1095).not_valid_after_utc == last
    key = key_for(Slot.CARD).public_key()
    profile = profile_for(Slot.CARD, ANNA, key, RULES)
    for at_ms in (late_ms + 31 * DAY_MS, NOW_MS - 400 * DAY_MS):
        with pytest.raises(Conflict, match="check the clock"):
            sign_certificate(authority, profile, key, RULES, Validity(at_ms, 365))


@pytest.mark.parametrize(
    ("slot", "key"),
    [
        (Slot.LOGON, lambda: ec.generate_private_key(ec.SECP256R1())),
        (Slot.LOGON, lambda: rsa.generate_private_key(65_537, 1024)),
        (Slot.CARD, lambda: ec.generate_private_key(ec.SECP384R1())),
        (Slot.CARD, rsa_key),
        (Slot.SIGNATURE, lambda: ec.generate_private_key(ec.SECP521R1())),
        (Slot.KEY_MANAGEMENT, lambda: rsa.generate_private_key(3, 2048)),
    ],
)
def test_a_weak_key_or_one_of_another_kind_is_refused(slot: Slot, key: Callable[[], object]) -> None:
    with pytest.raises(Conflict, match=f"does not fit slot {slot}"):
        profile_for(slot, ANNA, key().public_key(), RULES)


def test_a_city_may_ask_for_longer_keys() -> None:
    require_key_fits(Slot.LOGON, rsa_key().public_key(), 2048)
    with pytest.raises(Conflict, match="RSA with 3072"):
        require_key_fits(Slot.LOGON, rsa_key().public_key(), 3072)


def test_a_request_proves_its_key_or_is_refused() -> None:
    """The card only signs; a signature by another key, or over something else, makes no request."""
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    assert proven(key, "Änne Müller").key == key.public_key()
    request = CardRequest(key.public_key())
    for signature in (
        other.sign(request.to_be_signed(), ec.ECDSA(hashes.SHA256())),
        key.sign(b"x", ec.ECDSA(hashes.SHA256())),
    ):
        with pytest.raises(Conflict, match="not signed by the key"):
            request.signed(signature)


def test_a_request_in_somebody_elses_name_is_refused() -> None:
    for fits in (None, "Änne Müller"):
        require_subject_fits(proven(rsa_key(), fits).subject, "Änne Müller")
    for wrong in ("Anne Müller", "Administrator"):
        with pytest.raises(Conflict, match="another subject"):
            require_subject_fits(proven(rsa_key(), wrong).subject, "Änne Müller")


GOOD = proven(ec.generate_private_key(ec.SECP256R1()))


def changed(at: int, value: int) -> bytes:
    data = bytearray(GOOD.der)
    data[at % len(data)] ^= value
    return bytes(data)


@given(st.binary(max_size=400) | st.builds(changed, st.integers(0, 10_000), st.integers(1, 255)))
def test_any_other_bytes_are_no_request(data: bytes) -> None:
    """Random bytes, and a good request with one byte changed: refused in one way, or as good as it was."""
    try:
        assert read_request(data).key == GOOD.key
    except Conflict:
        return


def test_a_certificate_of_another_pki_has_to_be_what_was_asked_for(found: Authorities) -> None:
    """Another key, another person's UPN or SID, or usages beyond logging on: not taken."""
    good = signed(found, Slot.LOGON, NOW_MS)
    require_logon_certificate(good, ANNA, good.public_key())
    with pytest.raises(Conflict, match="another key"):
        require_logon_certificate(good, ANNA, rsa_key(2048, 1).public_key())
    with pytest.raises(Conflict, match="UPN is not"):
        require_logon_certificate(good, replace(ANNA, upn="bert@stadt.example"), good.public_key())
    with pytest.raises(Conflict, match="SID is not"):
        require_logon_certificate(good, replace(ANNA, sid=SID[:-1]), good.public_key())
    authority = found.of_kind(AuthorityKind.LOGON)
    profile = profile_for(Slot.LOGON, ANNA, good.public_key(), RULES)
    beyond = replace(profile, usages=(*profile.usages, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE))
    too_much = sign_certificate(authority, beyond, good.public_key(), RULES, Validity(NOW_MS, 9))
    with pytest.raises(Conflict, match="logging on alone"):
        require_logon_certificate(too_much, ANNA, good.public_key())
    nameless = sign_certificate(authority, replace(profile, names=()), good.public_key(), RULES, Validity(NOW_MS, 9))
    with pytest.raises(Conflict, match="UPN is not"):
        require_logon_certificate(nameless, ANNA, good.public_key())


def test_certificates_say_where_lists_and_answers_are(found: Authorities) -> None:
    made = signed(found, Slot.CARD, NOW_MS)
    points = made.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [one.value for point in points for one in point.full_name] == [f"{URL}/pki/card-1.crl"]
    access = made.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    assert [one.access_location.value for one in access] == [f"{URL}/pki/ocsp", f"{URL}/pki/card-1.cer"]


def test_the_keys_of_authorities_lie_sealed(tmp_path: Path) -> None:
    """Nothing of a key is in the file in the clear, nobody else may read it, and a wrong passphrase opens nothing."""
    made = authorities(tmp_path, NOW_MS)
    path = tmp_path / "pki.json"
    assert path.stat().st_mode & 0o077 == 0
    secret = made.of_kind(AuthorityKind.CARD).key.private_numbers().private_value
    assert f"{secret:x}" not in path.read_text()
    assert f"{secret:x}" not in repr(list(made))
    with pytest.raises(KeyStoreError, match="wrong passphrase"):
        AuthorityFile(path, lambda: b"wrong", software_logon=True).load()


def test_no_software_signs_logons_outside_the_demonstration(tmp_path: Path) -> None:
    """Neither a new authority nor one that the file brings along."""
    authorities(tmp_path, NOW_MS)
    file = AuthorityFile(tmp_path / "pki.json", lambda: PASSPHRASE)
    with pytest.raises(KeyStoreError, match="for the demonstration alone"):
        file.load()
    fresh = AuthorityFile(tmp_path / "other.json", lambda: PASSPHRASE)
    with pytest.raises(Conflict, match="process of its own"):
        fresh.init(AuthorityKind.LOGON, "Stadt", NOW_MS)
    fresh.init(AuthorityKind.CARD, "Stadt", NOW_MS)
    assert [one.name for one in fresh.load()] == ["card-1"]


def test_no_key_serves_two_authorities(tmp_path: Path) -> None:
    """A key of both kinds would make every card certificate one that can log on."""
    card, logon = authorities(tmp_path, NOW_MS)
    assert card.issuer_key != logon.issuer_key
    with pytest.raises(KeyStoreError, match="same key"):
        Authorities((card, replace(logon, certificate=card.certificate)))


def test_the_newest_authority_of_a_kind_signs_and_older_ones_stay(tmp_path: Path) -> None:
    made = authorities(tmp_path, NOW_MS, AuthorityKind.CARD, AuthorityKind.CARD)
    assert [one.name for one in made] == ["card-1", "card-2"]
    assert made.of_kind(AuthorityKind.CARD).name == "card-2"
    assert made.named("card-1") is not None
    assert made.of_kind(AuthorityKind.LOGON) is None


def test_the_upn_is_utf8() -> None:
    assert upn_name("änne@stadt").value.hex() == "0c0b" + "änne@stadt".encode().hex()
