# SPDX-License-Identifier: EUPL-1.2
"""What authorities sign: cards' certificates, revocation lists, and the certificate of whoever answers by OCSP."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardservice.cards.pki.authorities import Authority, instant_utc, new_serial
from cardservice.cards.pki.profiles import (
    Profile,
    extensions_of,
    extensions_of_issuer,
    key_usage,
    list_url,
)
from cardservice.cards.pki.requests import CardPublicKey
from cardservice.cards.pki.rules import CLOCK_SLACK_MS, HOUR_MS, Entry, PkiRules, Reason
from cardservice.errors import Conflict

RESPONDER_DAYS: Final = 7
_FLAGS: Final = {
    Reason.KEY_COMPROMISE: x509.ReasonFlags.key_compromise,
    Reason.AFFILIATION_CHANGED: x509.ReasonFlags.affiliation_changed,
    Reason.SUPERSEDED: x509.ReasonFlags.superseded,
    Reason.CESSATION: x509.ReasonFlags.cessation_of_operation,
    Reason.HOLD: x509.ReasonFlags.certificate_hold,
}


def flag_of(reason: Reason) -> x509.ReasonFlags:
    """Return a reason as lists and answers encode it."""
    return _FLAGS[reason]


@dataclass(frozen=True, slots=True)
class Validity:
    """From when, and for how many days."""

    from_ms: int
    days: int


def sign_certificate(
    authority: Authority, profile: Profile, key: CardPublicKey, rules: PkiRules, valid: Validity
) -> x509.Certificate:
    """Return a card's certificate; it never outlasts the authority's own.

    Raises:
        Conflict: the authority's certificate has ended, or ends at once.
    """
    begins = instant_utc(valid.from_ms - CLOCK_SLACK_MS)
    last = authority.certificate.not_valid_after_utc
    ends = min(begins + timedelta(days=valid.days), last)
    if ends <= begins + timedelta(days=1) or begins < authority.certificate.not_valid_before_utc - timedelta(days=1):
        raise Conflict(
            f"authority {authority.name} is valid from {authority.certificate.not_valid_before_utc:%d.%m.%Y} until "
            f"{last:%d.%m.%Y}; check the clock, or make the next one with 'cardservice cards pki init {authority.kind}'"
        )
    builder = (
        x509.CertificateBuilder()
        .subject_name(profile.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(new_serial())
        .not_valid_before(max(begins, authority.certificate.not_valid_before_utc))
        .not_valid_after(ends)
    )
    own = extensions_of(profile, key)
    for extension, critical in [*own, *extensions_of_issuer(authority.certificate, authority.name, rules.url)]:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority.key, hashes.SHA256())


def sign_list(authority: Authority, number: int, entries: Iterable[Entry], rules: PkiRules, now_ms: int) -> bytes:
    """Return a complete revocation list (RFC 5280, 5) in DER, valid from now on for `rules.crl_hours`."""
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(instant_utc(now_ms))
        .next_update(instant_utc(now_ms + rules.crl_hours * HOUR_MS))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    if rules.url is not None:
        builder = builder.add_extension(_distribution_point(list_url(authority.name, rules.url)), critical=True)
    for entry in entries:
        revoked = (
            x509.RevokedCertificateBuilder()
            .serial_number(int(entry.serial, 16))
            .revocation_date(instant_utc(entry.since_ms))
            .add_extension(x509.CRLReason(flag_of(entry.reason)), critical=False)
        )
        builder = builder.add_revoked_certificate(revoked.build())
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _distribution_point(url: str) -> x509.IssuingDistributionPoint:
    """Say where the list is from, so that no other authority's list can be put in its place."""
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


@dataclass(frozen=True, slots=True)
class ResponderKey:
    """Whoever answers by OCSP in an authority's name, with a key that lives in memory and for days."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    renew_ms: int


def delegate(authority: Authority, now_ms: int) -> ResponderKey:
    """Return a new responder (RFC 6960, 4.2.2.2): it is not asked about itself, because it is over soon."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins = instant_utc(now_ms - CLOCK_SLACK_MS)
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"OCSP {authority.name}")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=RESPONDER_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage({"digital_signature"}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return ResponderKey(builder.sign(authority.key, hashes.SHA256()), key, now_ms + RESPONDER_DAYS * 12 * HOUR_MS)
