# SPDX-License-Identifier: EUPL-1.2
"""Card authentication certificates: one that is accepted, and every cause of a refusal on its own."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.authority import CARD_AUTH, CARD_UUID, NOW, Authority, Request, der, key_usage, name

from cardservice.chip.errors import CertificateCause, CertificateRefused
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer, check_card_auth_certificate, issuer_key

CITY = Authority()
GOOD = Request()
GOOD_DER = der(CITY.issue(GOOD))
OTHER_UUID = str(uuid.UUID(int=7, version=4))


def trust(*authorities: Authority, revoked: frozenset[int] = frozenset()) -> CardAuthTrust:
    return CardAuthTrust(tuple(TrustedIssuer(ca.certificate, revoked.__contains__) for ca in authorities or (CITY,)))


def refusal(certificate: bytes, trusted: CardAuthTrust | None = None, at: datetime = NOW) -> CertificateCause:
    with pytest.raises(CertificateRefused) as refused:
        check_card_auth_certificate(certificate, trusted or trust(), at=at)
    return refused.value.cause


def test_a_good_certificate_gives_the_card_uuid():
    accepted = check_card_auth_certificate(GOOD_DER, trust(), at=NOW)
    assert accepted.card_uuid == CARD_UUID
    assert accepted.fingerprint == x509.load_der_x509_certificate(GOOD_DER).fingerprint(hashes.SHA256())
    assert accepted.public_key == GOOD.key.public_key()
    assert str(CARD_UUID) not in repr(accepted)


def test_an_rsa_card_of_another_authority_is_accepted():
    request = replace(GOOD, key=rsa.generate_private_key(65_537, 2048))
    assert check_card_auth_certificate(der(CITY.issue(request)), trust(), at=NOW).card_uuid == CARD_UUID


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"not_before": NOW + timedelta(seconds=1)}, CertificateCause.NOT_YET_VALID),
        ({"not_after": NOW - timedelta(seconds=1)}, CertificateCause.EXPIRED),
        ({"extended_usage": ()}, CertificateCause.EXTENDED_KEY_USAGE),
        ({"extended_usage": (ExtendedKeyUsageOID.CLIENT_AUTH,)}, CertificateCause.EXTENDED_KEY_USAGE),
        ({"extended_usage": (CARD_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)}, CertificateCause.EXTENDED_KEY_USAGE),
        ({"extended_usage": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)}, CertificateCause.EXTENDED_KEY_USAGE),
        ({"usage": None}, CertificateCause.KEY_USAGE),
        ({"usage": key_usage("key_agreement")}, CertificateCause.KEY_USAGE),
        ({"usage": key_usage("digital_signature", "key_cert_sign")}, CertificateCause.KEY_USAGE),
        ({"basic_constraints": x509.BasicConstraints(ca=True, path_length=None)}, CertificateCause.IS_A_CA),
        ({"unknown_critical": True}, CertificateCause.CRITICAL_EXTENSION),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, CertificateCause.KEY_TYPE),
        ({"key": rsa.generate_private_key(65_537, 1024)}, CertificateCause.KEY_TYPE),
        ({"key": rsa.generate_private_key(3, 2048)}, CertificateCause.KEY_TYPE),
        ({"subject": name((NameOID.COMMON_NAME, "Erika Mustermann"))}, CertificateCause.CARD_UUID_MISSING),
        ({"subject": name((NameOID.SERIAL_NUMBER, CARD_UUID.hex))}, CertificateCause.CARD_UUID_MISSING),
        ({"subject": name((NameOID.SERIAL_NUMBER, f"urn:uuid:{CARD_UUID}"))}, CertificateCause.CARD_UUID_MISSING),
        ({"subject": name(*[(NameOID.SERIAL_NUMBER, str(CARD_UUID))] * 2)}, CertificateCause.CARD_UUID_MISSING),
        ({"subject": name((NameOID.SERIAL_NUMBER, OTHER_UUID))}, CertificateCause.CARD_UUID_CONFLICT),
        ({"uris": ()}, CertificateCause.CARD_UUID_MISSING),
        ({"uris": ("https://example.org/card",)}, CertificateCause.CARD_UUID_MISSING),
        ({"uris": (f"urn:uuid:{CARD_UUID}", f"urn:uuid:{OTHER_UUID}")}, CertificateCause.CARD_UUID_MISSING),
        ({"uris": (f"urn:uuid:{OTHER_UUID}",)}, CertificateCause.CARD_UUID_CONFLICT),
    ],
)
def test_one_flaw_is_one_cause(changes, cause):
    """Each certificate is good but for one thing."""
    assert refusal(der(CITY.issue(replace(GOOD, **changes)))) is cause


def test_an_unknown_issuer_is_refused():
    assert refusal(der(Authority("Another CA").issue(GOOD))) is CertificateCause.ISSUER_UNKNOWN
    assert refusal(GOOD_DER, CardAuthTrust(())) is CertificateCause.ISSUER_UNKNOWN


BOUGHT = Authority("A token's own")
OWN = Request(usage=None, extended_usage=(), uris=(), subject=name((NameOID.COMMON_NAME, "Token 4711")))


def pinning(*certificates: x509.Certificate) -> CardAuthTrust:
    """The city's CA, and the keys of these certificates by themselves."""
    keys = {issuer_key(one) for one in certificates}
    return replace(trust(), pinned=keys.__contains__)


def test_a_pinned_key_is_accepted_whatever_its_certificate_says():
    """A token that was bought: no UUID, no usage, nobody's CA. It is known by its key, whoever certifies it next."""
    certificate = BOUGHT.issue(OWN)
    accepted = check_card_auth_certificate(der(certificate), pinning(certificate), at=NOW)
    assert (accepted.card_uuid, accepted.issuer_key) == (None, issuer_key(certificate))
    assert accepted.public_key == OWN.key.public_key()
    renewed = der(Authority("Somebody else").issue(OWN))
    assert check_card_auth_certificate(renewed, pinning(certificate), at=NOW).issuer_key == issuer_key(certificate)


def test_another_key_is_not_pinned_with_it():
    """Neither a copy of the certificate's words under another key, nor one that claims to be of the city's CA."""
    copied = der(BOUGHT.issue(replace(OWN, key=ec.generate_private_key(ec.SECP256R1()))))
    assert refusal(copied, pinning(BOUGHT.issue(OWN))) is CertificateCause.ISSUER_UNKNOWN
    of_ours = Authority().issue(OWN)
    assert refusal(der(of_ours), pinning(of_ours)) is CertificateCause.SIGNATURE_WRONG


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"not_after": NOW - timedelta(seconds=1)}, CertificateCause.EXPIRED),
        ({"not_before": NOW + timedelta(seconds=1)}, CertificateCause.NOT_YET_VALID),
        ({"unknown_critical": True}, CertificateCause.CRITICAL_EXTENSION),
        ({"key": ec.generate_private_key(ec.SECP384R1())}, CertificateCause.KEY_TYPE),
    ],
)
def test_a_pinned_key_is_refused_all_the_same(changes, cause):
    certificate = BOUGHT.issue(replace(OWN, **changes))
    assert refusal(der(certificate), pinning(certificate)) is cause


def test_a_revoked_certificate_of_the_city_is_not_saved_by_its_key():
    certificate = CITY.issue(GOOD)
    trusted = replace(trust(revoked=frozenset({GOOD.serial})), pinned={issuer_key(certificate)}.__contains__)
    assert refusal(der(certificate), trusted) is CertificateCause.REVOKED


def test_a_forged_issuer_name_is_refused():
    """Same name as the city's CA, another key."""
    assert refusal(der(Authority().issue(GOOD))) is CertificateCause.SIGNATURE_WRONG


def test_a_ca_may_change_its_key_under_the_same_name():
    successor = Authority()
    assert (
        check_card_auth_certificate(der(successor.issue(GOOD)), trust(CITY, successor), at=NOW).card_uuid == CARD_UUID
    )


def test_a_card_cannot_issue_cards():
    """A trusted list that holds a certificate without CA flags trusts nothing below it."""
    for changes in ({"basic_constraints": None}, {"usage": key_usage("digital_signature")}, {"usage": None}):
        not_a_ca = Authority(**changes)
        assert refusal(der(not_a_ca.issue(GOOD)), trust(not_a_ca)) is CertificateCause.ISSUER_NOT_A_CA


def test_a_ca_outside_its_validity_issues_nothing():
    expired = Authority(not_after=NOW - timedelta(days=2))
    assert refusal(der(expired.issue(GOOD)), trust(expired)) is CertificateCause.ISSUER_NOT_VALID


def test_a_ca_with_an_unknown_critical_extension_is_refused():
    constrained = Authority(unknown_critical=True)
    assert refusal(der(constrained.issue(GOOD)), trust(constrained)) is CertificateCause.CRITICAL_EXTENSION


def test_a_weak_signature_hash_is_refused():
    weak = der(CITY.issue(replace(GOOD, signature_hash=hashes.SHA224())))
    assert refusal(weak) is CertificateCause.SIGNATURE_ALGORITHM


def test_a_revoked_certificate_is_refused_by_its_own_issuer_only():
    """Serial numbers are unique per issuer, so another CA's revocation says nothing."""
    assert refusal(GOOD_DER, trust(revoked=frozenset({GOOD.serial}))) is CertificateCause.REVOKED
    other = TrustedIssuer(Authority("Another CA").certificate, lambda _: True)
    city = TrustedIssuer(CITY.certificate, lambda _: False)
    assert check_card_auth_certificate(GOOD_DER, CardAuthTrust((other, city)), at=NOW).card_uuid == CARD_UUID


def test_validity_includes_both_ends():
    for at in (GOOD.not_before, GOOD.not_after):
        assert check_card_auth_certificate(GOOD_DER, trust(), at=at).card_uuid == CARD_UUID


def test_an_instant_without_zone_is_our_own_mistake():
    with pytest.raises(ValueError, match="zone"):
        check_card_auth_certificate(GOOD_DER, trust(), at=NOW.replace(tzinfo=None))


@pytest.mark.parametrize(
    "broken", [b"", b"\x30\x00", GOOD_DER[:-1], GOOD_DER + b"\x00", b"-----BEGIN CERTIFICATE-----"]
)
def test_what_is_not_a_certificate_is_unreadable(broken):
    assert refusal(broken) is CertificateCause.UNREADABLE


SIGNED = x509.load_der_x509_certificate(GOOD_DER).tbs_certificate_bytes
SIGNED_FROM = GOOD_DER.index(SIGNED)


def changed(start: int, end: int):
    """The good certificate with one to three bytes changed between two positions."""
    changes = st.lists(st.tuples(st.integers(start, end - 1), st.integers(1, 255)), min_size=1, max_size=3)

    def apply(drawn: list[tuple[int, int]]) -> bytes:
        certificate = bytearray(GOOD_DER)
        for position, mask in drawn:
            certificate[position] ^= mask
        return bytes(certificate)

    return changes.map(apply).filter(lambda certificate: certificate != GOOD_DER)


# The X.509 library warns of encodings that it will refuse one day.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(changed(SIGNED_FROM, SIGNED_FROM + len(SIGNED)))
def test_a_change_in_the_signed_part_is_refused_with_a_cause(certificate):
    assert refusal(certificate) in CertificateCause


@settings(max_examples=200, deadline=None)
@given(changed(0, SIGNED_FROM) | changed(SIGNED_FROM + len(SIGNED), len(GOOD_DER)))
def test_a_change_around_the_signed_part_changes_no_claim(certificate):
    """A signature can be encoded in more than one way, so the rare change may pass, but it says the same card."""
    try:
        accepted = check_card_auth_certificate(certificate, trust(), at=NOW)
    except CertificateRefused:
        return
    assert (accepted.card_uuid, accepted.public_key) == (CARD_UUID, GOOD.key.public_key())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data):
    assert refusal(data) is CertificateCause.UNREADABLE
