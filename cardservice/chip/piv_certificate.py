# SPDX-License-Identifier: EUPL-1.2
"""Which card authentication certificates (PIV slot 9E) are accepted, and why not.

The certificate must be issued directly by one of the trusted CAs; longer chains are not built, because a city names the
CA of its cards itself. A token that was bought has a certificate of nobody whom the city trusts: it counts if its very
key was registered here (it is pinned), and then for that key alone. The checks are written out rather than left to
`x509.verification`, which follows the rules of the web PKI and reports every refusal as the same error, while here each
refusal has its own cause.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from cardservice.chip.errors import CertificateCause, CertificateRefused

E = TypeVar("E", bound=x509.ExtensionType)

CardPublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

ID_PIV_CARD_AUTH: Final = x509.ObjectIdentifier("2.16.840.1.101.3.6.8")
RSA_KEY_BITS: Final = frozenset({2048, 3072})
"""The RSA sizes that SP 800-78 has an algorithm identifier for."""

_RSA_EXPONENT_MIN: Final = 65_537
_URN_UUID: Final = "urn:uuid:"
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_SIGNATURE_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNDERSTOOD: Final = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """A CA whose card authentication certificates are accepted.

    Attributes:
        certificate: the CA's certificate, trusted as it is; nothing above it is looked at.
        revoked_serials: whether the CA has revoked this serial number. How fresh that knowledge must be is decided by
            whoever supplies it.
    """

    certificate: x509.Certificate
    revoked_serials: Callable[[int], bool] = field(repr=False)


def _nothing_pinned(_key: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class CardAuthTrust:
    """Everything that decides whether a card authentication certificate is accepted.

    Attributes:
        issuers: the CAs whose certificates are accepted.
        pinned: whether the key with this SHA-256 was registered by itself; asked of certificates that name none of
            `issuers` as theirs.
    """

    issuers: tuple[TrustedIssuer, ...]
    pinned: Callable[[bytes], bool] = field(default=_nothing_pinned, repr=False)


@dataclass(frozen=True, slots=True)
class CardAuthCertificate:
    """An accepted certificate: what it says about the card. The identifiers are not in the repr.

    Attributes:
        card_uuid: the card's UUID, the GUID of its CHUID; None where the key itself is pinned.
        issuer_key: the `key_digest` of the CA that signed it; a UUID is unique only among the cards of one issuer.
            Of a pinned key: of itself.
        fingerprint: SHA-256 of the DER encoding as the card gave it, 32 bytes. For the record, not an identity: the
            CA's signature can be encoded in more than one valid way, so block a card by its UUID or serial number.
        public_key: P-256, or RSA with 2048 or 3072 bits.
        not_after: until when it is valid.
    """

    card_uuid: uuid.UUID | None = field(repr=False)
    issuer_key: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)
    public_key: CardPublicKey = field(repr=False)
    not_after: datetime


@dataclass(frozen=True, slots=True)
class _Claims:
    """What the checks look at, read out of a certificate in one go."""

    issuer: x509.Name
    serial_number: int
    not_before: datetime
    not_after: datetime
    public_key: object
    signature_hash: hashes.HashAlgorithm | None
    critical_extensions: frozenset[x509.ObjectIdentifier]
    basic_constraints: x509.BasicConstraints | None
    key_usage: x509.KeyUsage | None
    extended_key_usage: tuple[x509.ObjectIdentifier, ...]
    subject_serial_numbers: tuple[str, ...]
    alternative_uris: tuple[str, ...]


def check_card_auth_certificate(der: bytes, trust: CardAuthTrust, *, at: datetime) -> CardAuthCertificate:
    """Accepts a card authentication certificate (SP 800-73-4 Part 1 §3.1.3, RFC 5280 §4.2) or says why not.

    Args:
        der: the certificate as the card holds it.
        trust: the issuers that are accepted, with their revocations.
        at: the instant of the check, with a zone.

    Raises:
        CertificateRefused: with the first cause found; trust is checked before content.
        ValueError: `at` has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("the instant of the check needs a zone")
    certificate = _load(der)
    claims = _read_claims(certificate)
    if _names_none_of(trust, claims) and trust.pinned(own := issuer_key(certificate)):
        _check_validity(claims, at)
        _refuse_unknown_critical(claims.critical_extensions)
        accepted = _accepted_key(claims.public_key)
        return CardAuthCertificate(None, own, hashlib.sha256(der).digest(), accepted, claims.not_after)
    issuer = _find_issuer(certificate, claims, trust)
    _check_issuer(issuer.certificate, at)
    _check_validity(claims, at)
    if issuer.revoked_serials(claims.serial_number):
        raise CertificateRefused(CertificateCause.REVOKED, "its issuer has revoked it")
    _check_purpose(claims)
    return CardAuthCertificate(
        _card_uuid(claims),
        issuer_key(issuer.certificate),
        hashlib.sha256(der).digest(),
        _accepted_key(claims.public_key),
        claims.not_after,
    )


def issuer_key(certificate: x509.Certificate) -> bytes:
    """SHA-256 of a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), 32 bytes: names a CA whatever it calls itself.

    Raises:
        CertificateRefused: the key cannot be read.
    """
    try:
        public_key = certificate.public_key()
    except _UNREADABLE as error:
        raise CertificateRefused(CertificateCause.UNREADABLE, "its key cannot be read") from error
    return hashlib.sha256(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def _load(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except _UNREADABLE as error:
        raise CertificateRefused(CertificateCause.UNREADABLE, "it is not a DER encoded X.509 certificate") from error


def _read_claims(certificate: x509.Certificate) -> _Claims:
    """The border to the X.509 library: whatever it cannot read is one refusal, and nothing is read later."""
    try:
        extensions = certificate.extensions
        names = _extension(extensions, x509.SubjectAlternativeName)
        subject_serial_numbers = certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        return _Claims(
            issuer=certificate.issuer,
            serial_number=certificate.serial_number,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            public_key=certificate.public_key(),
            signature_hash=certificate.signature_hash_algorithm,
            critical_extensions=frozenset(extension.oid for extension in extensions if extension.critical),
            basic_constraints=_extension(extensions, x509.BasicConstraints),
            key_usage=_extension(extensions, x509.KeyUsage),
            extended_key_usage=tuple(_extension(extensions, x509.ExtendedKeyUsage) or ()),
            subject_serial_numbers=tuple(str(attribute.value) for attribute in subject_serial_numbers),
            alternative_uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier) if names else ()),
        )
    except (*_UNREADABLE, x509.UnsupportedGeneralNameType) as error:
        raise CertificateRefused(CertificateCause.UNREADABLE, "a field of it cannot be read") from error


def _names_none_of(trust: CardAuthTrust, claims: _Claims) -> bool:
    return all(issuer.certificate.subject != claims.issuer for issuer in trust.issuers)


def _find_issuer(certificate: x509.Certificate, claims: _Claims, trust: CardAuthTrust) -> TrustedIssuer:
    """The issuer whose key has signed the certificate; several may share a name while a CA changes its key."""
    candidates = [issuer for issuer in trust.issuers if issuer.certificate.subject == claims.issuer]
    if not candidates:
        raise CertificateRefused(CertificateCause.ISSUER_UNKNOWN, "its issuer is none of the trusted CAs")
    if not isinstance(claims.signature_hash, _SIGNATURE_HASHES):
        raise CertificateRefused(
            CertificateCause.SIGNATURE_ALGORITHM, "its signature uses neither SHA-256, -384 nor -512"
        )
    for issuer in candidates:
        if _has_signed(issuer.certificate, certificate):
            return issuer
    raise CertificateRefused(CertificateCause.SIGNATURE_WRONG, "it is not signed by the CA that it names as issuer")


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _check_issuer(issuer: x509.Certificate, at: datetime) -> None:
    constraints = _extension(issuer.extensions, x509.BasicConstraints)
    key_usage = _extension(issuer.extensions, x509.KeyUsage)
    if constraints is None or not constraints.ca or key_usage is None or not key_usage.key_cert_sign:
        raise CertificateRefused(
            CertificateCause.ISSUER_NOT_A_CA, "its issuer is not marked as a CA that signs certificates"
        )
    _refuse_unknown_critical(extension.oid for extension in issuer.extensions if extension.critical)
    if not issuer.not_valid_before_utc <= at <= issuer.not_valid_after_utc:
        raise CertificateRefused(
            CertificateCause.ISSUER_NOT_VALID, "its issuer's certificate is not valid at this time"
        )


def _check_validity(claims: _Claims, at: datetime) -> None:
    if at < claims.not_before:
        raise CertificateRefused(CertificateCause.NOT_YET_VALID, f"it is valid from {claims.not_before}")
    if at > claims.not_after:
        raise CertificateRefused(CertificateCause.EXPIRED, f"it was valid until {claims.not_after}")


def _check_purpose(claims: _Claims) -> None:
    """A card authentication certificate proves a card and nothing else; one that may do more is refused."""
    _refuse_unknown_critical(claims.critical_extensions)
    if claims.basic_constraints is not None and claims.basic_constraints.ca:
        raise CertificateRefused(CertificateCause.IS_A_CA, "it is a CA certificate")
    if claims.extended_key_usage != (ID_PIV_CARD_AUTH,):
        raise CertificateRefused(
            CertificateCause.EXTENDED_KEY_USAGE, "its extended key usage is not id-PIV-cardAuth alone"
        )
    if claims.key_usage is None or not _is_digital_signature_alone(claims.key_usage):
        raise CertificateRefused(CertificateCause.KEY_USAGE, "its key usage is not digitalSignature alone")


def _refuse_unknown_critical(critical: Iterable[x509.ObjectIdentifier]) -> None:
    unknown = sorted(oid.dotted_string for oid in critical if oid not in _UNDERSTOOD)
    if unknown:
        detail = f"critical extension {unknown[0]} is not understood (RFC 5280 §4.2)"
        raise CertificateRefused(CertificateCause.CRITICAL_EXTENSION, detail)


def _is_digital_signature_alone(usage: x509.KeyUsage) -> bool:
    others = (
        usage.content_commitment,
        usage.key_encipherment,
        usage.data_encipherment,
        usage.key_agreement,
        usage.key_cert_sign,
        usage.crl_sign,
    )
    return usage.digital_signature and not any(others)


def _accepted_key(key: object) -> CardPublicKey:
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    if (
        isinstance(key, rsa.RSAPublicKey)
        and key.key_size in RSA_KEY_BITS
        and key.public_numbers().e >= _RSA_EXPONENT_MIN
    ):
        return key
    raise CertificateRefused(CertificateCause.KEY_TYPE, "its key is neither P-256 nor RSA with 2048 or 3072 bits")


def _card_uuid(claims: _Claims) -> uuid.UUID:
    """The card UUID, which subject and subject alternative name must give once each and alike."""
    uris = [uri for uri in claims.alternative_uris if uri.lower().startswith(_URN_UUID)]
    if len(uris) != 1 or len(claims.subject_serial_numbers) != 1:
        detail = "subject serialNumber and subjectAltName urn:uuid must both be present, once each"
        raise CertificateRefused(CertificateCause.CARD_UUID_MISSING, detail)
    named, alternative = claims.subject_serial_numbers[0], uris[0][len(_URN_UUID) :]
    card_uuid = _canonical_uuid(named)
    if card_uuid != _canonical_uuid(alternative):
        raise CertificateRefused(CertificateCause.CARD_UUID_CONFLICT, "subject and subjectAltName name different UUIDs")
    return card_uuid


def _canonical_uuid(text: str) -> uuid.UUID:
    """Reads the form of RFC 4122 §3 only, not the looser ones that `uuid.UUID` accepts."""
    if not _UUID.fullmatch(text):
        raise CertificateRefused(CertificateCause.CARD_UUID_MISSING, "the UUID is not written as RFC 4122 §3 has it")
    return uuid.UUID(text)


def _extension(extensions: x509.Extensions, kind: type[E]) -> E | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
