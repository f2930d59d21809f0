# SPDX-License-Identifier: EUPL-1.2
"""Authorities of a test and what they sign for systems: in their time or not, for clients or not, directly or below."""

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOUR_S = 3_600
PEM = serialization.Encoding.PEM


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@dataclass(frozen=True)
class Holder:
    """A system with its certificate, its key, and the certificates between it and the authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate and those above it."""
        return "".join(one.public_bytes(PEM).decode() for one in (self.certificate, *self.above))

    def store(self, folder: Path) -> Path:
        """Write chain and key into one file, as clients read them."""
        kinds = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file = folder / f"{self.certificate.serial_number:x}.pem"
        file.write_bytes(self.pem.encode() + self.key.private_bytes(PEM, *kinds))
        return file


@dataclass(frozen=True)
class Authority:
    """An authority; `above` is the one it is below, None for a root."""

    name: str = "Test CA"
    above: "Authority | None" = None
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        signer = self.above or self
        built = (
            self._begun(_name(self.name), self.key.public_key(), -HOUR_S, 1_000 * HOUR_S)
            .issuer_name(_name(signer.name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(), critical=True)
        )
        object.__setattr__(self, "certificate", built.sign(signer.key, hashes.SHA256()))

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(PEM)

    def issue(
        self,
        name: str = "till-1",
        key: ec.EllipticCurvePrivateKey | None = None,
        hours: tuple[int, int] = (-1, 240),
        *,
        for_clients: bool = True,
    ) -> Holder:
        """Return a certificate for a system, which holds from the first to the second of these hours from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.CLIENT_AUTH if for_clients else ExtendedKeyUsageOID.SERVER_AUTH
        begun = self._begun(_name(name), key.public_key(), hours[0] * HOUR_S, hours[1] * HOUR_S)
        built = begun.issuer_name(_name(self.name)).add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        built = built.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        above = () if self.above is None else (self.certificate,)
        return Holder(built.sign(self.key, hashes.SHA256()), key, above)

    @staticmethod
    def _begun(
        subject: x509.Name, key: ec.EllipticCurvePublicKey, begins_s: int, expires_s: int
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_now() + dt.timedelta(seconds=begins_s))
            .not_valid_after(_now() + dt.timedelta(seconds=expires_s))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _usage() -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    others = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=True, crl_sign=True, **others)
