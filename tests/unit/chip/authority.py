# SPDX-License-Identifier: EUPL-1.2
"""A certification authority for the tests: issues good card authentication certificates, and bad ones on request."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from unit.chip.card_double import tlv

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
CARD_UUID = uuid.UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8")
CARD_AUTH = x509.ObjectIdentifier("2.16.840.1.101.3.6.8")
USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def key_usage(*allowed: str) -> x509.KeyUsage:
    names = (*USAGES, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: name in allowed for name in names})


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


@dataclass
class Request:
    """A certificate to be issued; every field has the value of a good one."""

    key: PrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    subject: x509.Name = field(default_factory=lambda: name((NameOID.SERIAL_NUMBER, str(CARD_UUID))))
    not_before: datetime = NOW - timedelta(days=1)
    not_after: datetime = NOW + timedelta(days=1)
    usage: x509.KeyUsage | None = field(default_factory=lambda: key_usage("digital_signature"))
    extended_usage: tuple[x509.ObjectIdentifier, ...] = (CARD_AUTH,)
    uris: tuple[str, ...] = (f"urn:uuid:{CARD_UUID}",)
    basic_constraints: x509.BasicConstraints | None = None
    unknown_critical: bool = False
    signature_hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    serial: int = 4711


class Authority:
    """One CA with a certificate of its own."""

    def __init__(self, common_name: str = "City card CA", **changes: object) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name((NameOID.COMMON_NAME, common_name))
        defaults = {
            "key": self.key,
            "subject": self.name,
            "usage": key_usage("key_cert_sign", "crl_sign"),
            "extended_usage": (),
            "uris": (),
            "basic_constraints": x509.BasicConstraints(ca=True, path_length=0),
            "not_before": NOW - timedelta(days=900),
            "not_after": NOW + timedelta(days=900),
        }
        self.certificate = self.issue(Request(**{**defaults, **changes}))

    def issue(self, request: Request) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.name)
            .public_key(request.key.public_key())
            .serial_number(request.serial)
            .not_valid_before(request.not_before)
            .not_valid_after(request.not_after)
        )
        if request.usage:
            builder = builder.add_extension(request.usage, critical=True)
        if request.extended_usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(request.extended_usage), critical=True)
        if request.uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in request.uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if request.basic_constraints:
            builder = builder.add_extension(request.basic_constraints, critical=True)
        if request.unknown_critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
            builder = builder.add_extension(unknown, critical=True)
        return builder.sign(self.key, request.signature_hash)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def certificate_object(certificate: bytes, cert_info: bytes = b"\x00") -> bytes:
    return tlv("70", certificate) + tlv("71", cert_info) + tlv("FE")
