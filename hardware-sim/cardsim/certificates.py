# SPDX-License-Identifier: EUPL-1.2
"""Certificates for PIV slots as the card layout wants them, and wrong ones on demand."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cardsim import tlv
from cardsim.errors import PersonalisationError
from cardsim.piv_keys import PivSlot, SlotKey

PIV_CARD_AUTH = x509.ObjectIdentifier("2.16.840.1.101.3.6.8")
SMART_CARD_LOGON = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.2")
USER_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
UTF8_STRING = b"\x0c"


class Flaw(StrEnum):
    """What may be wrong with a certificate."""

    NONE = "none"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    WRONG_EKU = "wrong_eku"
    OTHER_ISSUER = "other_issuer"
    OTHER_KEY = "other_key"


@dataclass(frozen=True)
class Issuer:
    """A certification authority."""

    private_key: SlotKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True)
class Order:
    """How a certificate is to be made: by whom, from when, for how many days, and what is wrong with it."""

    issuer: Issuer
    valid_from: datetime
    valid_days: int = 365
    flaw: Flaw = Flaw.NONE


@dataclass(frozen=True)
class _Content:
    subject: x509.Name
    alternative_names: x509.SubjectAlternativeName | None
    key_usages: x509.ExtendedKeyUsage | None
    key_usages_critical: bool
    key_usage: x509.KeyUsage


def make_issuer(common_name: str, valid_from: datetime, valid_days: int = 3650) -> Issuer:
    """A self-signed P-256 authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_from + timedelta(days=valid_days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Issuer(key, builder.sign(key, hashes.SHA256()))


def card_authentication_slot(order: Order, card_uuid: UUID) -> PivSlot:
    """A new P-256 key and its 9E certificate (docs/card-layout.md, section PIV)."""
    wrong = order.flaw is Flaw.WRONG_EKU
    content = _Content(
        subject=x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, str(card_uuid))]),
        alternative_names=x509.SubjectAlternativeName([x509.UniformResourceIdentifier(card_uuid.urn)]),
        key_usages=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if wrong else PIV_CARD_AUTH]),
        key_usages_critical=True,
        key_usage=signature_alone(),
    )
    return _slot(order, content, ec.generate_private_key(ec.SECP256R1()))


def logon_slot(order: Order, common_name: str, upn: str, key_size: int = 2048) -> PivSlot:
    """A new RSA key of 2,048 or 3,072 bits and its 9A certificate with the user principal name."""
    value = tlv.encode(UTF8_STRING, upn.encode("utf-8"))
    wrong = order.flaw is Flaw.WRONG_EKU
    usages = [PIV_CARD_AUTH] if wrong else [ExtendedKeyUsageOID.CLIENT_AUTH, SMART_CARD_LOGON]
    content = _Content(
        subject=_common_name(common_name),
        alternative_names=x509.SubjectAlternativeName([x509.OtherName(USER_PRINCIPAL_NAME, value)]),
        key_usages=x509.ExtendedKeyUsage(usages),
        key_usages_critical=False,
        key_usage=_key_usage("digital_signature"),
    )
    return _slot(order, content, rsa.generate_private_key(65_537, key_size))


def signature_slot(order: Order, common_name: str) -> PivSlot:
    """A new P-256 key and its 9C certificate, of no use for logon."""
    wrong = order.flaw is Flaw.WRONG_EKU
    content = _Content(
        subject=_common_name(common_name),
        alternative_names=None,
        key_usages=x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH if wrong else ExtendedKeyUsageOID.EMAIL_PROTECTION]
        ),
        key_usages_critical=False,
        key_usage=_key_usage("digital_signature", "content_commitment"),
    )
    return _slot(order, content, ec.generate_private_key(ec.SECP256R1()))


def key_management_slot(order: Order, common_name: str) -> PivSlot:
    """A new P-256 key and its 9D certificate for key agreement."""
    wrong = order.flaw is Flaw.WRONG_EKU
    content = _Content(
        subject=_common_name(common_name),
        alternative_names=None,
        key_usages=x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]) if wrong else None,
        key_usages_critical=False,
        key_usage=_key_usage("key_agreement"),
    )
    return _slot(order, content, ec.generate_private_key(ec.SECP256R1()))


def signature_alone() -> x509.KeyUsage:
    """The key usage of a 9E certificate: digitalSignature alone."""
    return _key_usage("digital_signature")


def slot_from_pem(*, key_pem: str, certificate_pem: str) -> PivSlot:
    """A slot from an unencrypted private key and a certificate.

    Raises:
        PersonalisationError: if one of them cannot be read or no PIV card holds such a key.
    """
    try:
        key = serialization.load_pem_private_key(key_pem.encode("ascii"), password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise PersonalisationError("a PIV slot holds an RSA or an elliptic curve key")
        return PivSlot(key, certificate.public_bytes(serialization.Encoding.DER))
    except (ValueError, TypeError) as error:
        raise PersonalisationError("the PEM of a key or certificate cannot be used") from error


def key_pem(slot: PivSlot) -> str:
    """The private key of a slot as unencrypted PKCS#8, for a deck file."""
    return slot.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def certificate_pem(slot: PivSlot) -> str:
    """The certificate of a slot as PEM, for a deck file."""
    certificate = x509.load_der_x509_certificate(slot.certificate)
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _slot(order: Order, content: _Content, key: SlotKey) -> PivSlot:
    certified: SlotKey = key
    if order.flaw is Flaw.OTHER_KEY:
        certified = _another_key(key)
    return PivSlot(key, _certificate(_spoiled(order), content, certified))


def _another_key(key: SlotKey) -> SlotKey:
    if isinstance(key, rsa.RSAPrivateKey):
        return rsa.generate_private_key(65_537, key.key_size)
    return ec.generate_private_key(key.curve)


def _spoiled(order: Order) -> Order:
    """The order with times or issuer made wrong; the foreign issuer bears the same name."""
    lifetime = timedelta(days=order.valid_days)
    if order.flaw is Flaw.EXPIRED:
        return replace(order, valid_from=order.valid_from - lifetime - timedelta(days=1))
    if order.flaw is Flaw.NOT_YET_VALID:
        return replace(order, valid_from=datetime.now(UTC) + lifetime)
    if order.flaw is Flaw.OTHER_ISSUER:
        key = ec.generate_private_key(ec.SECP256R1())
        return replace(order, issuer=replace(order.issuer, private_key=key))
    return order


def _certificate(order: Order, content: _Content, certified: SlotKey) -> bytes:
    public_key = certified.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(content.subject)
        .issuer_name(order.issuer.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(order.valid_from)
        .not_valid_after(order.valid_from + timedelta(days=order.valid_days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(content.key_usage, critical=True)
        .add_extension(_authority_key_identifier(order.issuer), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if content.key_usages is not None:
        builder = builder.add_extension(content.key_usages, critical=content.key_usages_critical)
    if content.alternative_names is not None:
        builder = builder.add_extension(content.alternative_names, critical=False)
    certificate = builder.sign(order.issuer.private_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.DER)


def _authority_key_identifier(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private_key.public_key())


def _common_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*granted: str) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in granted for name in names})
