# SPDX-License-Identifier: EUPL-1.2
"""Proof that a key is in somebody's hands: a certification request (RFC 2986), signed by the key it is about.

A card that has made its key signs a request that is put together here: `CardRequest` says what is to be signed, and
takes the signature. Requests that come as a file are read by `read_request`; every byte of them is hostile until then.
"""

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cardservice.cards.pki.delegated import DelegatedEcKey, DelegatedRsaKey, Sign
from cardservice.cards.pki.rules import Slot
from cardservice.errors import Conflict

CardPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_CERTIFICATE_BYTES: Final = 64 * 1024
RSA_BITS: Final = frozenset({2048, 3072})
_EXPONENT: Final = 65_537
_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class Proven:
    """A public key whose private half signed a request, what the request calls its owner, and the request itself."""

    key: CardPublicKey
    subject: x509.Name
    der: bytes


class _Asked(Exception):
    """What has to be signed is known."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True, slots=True)
class CardRequest:
    """A request for a key that a card has made; signed with SHA-256 (and PKCS #1 v1.5 if it is RSA)."""

    key: CardPublicKey
    common_name: str | None = None

    def to_be_signed(self) -> bytes:
        """Return the bytes whose SHA-256 digest the card signs."""

        def ask(data: bytes) -> bytes:
            raise _Asked(data)

        try:
            self._made(ask)
        except _Asked as asked:
            return asked.data
        raise AssertionError("a request was made without its signature")

    def signed(self, signature: bytes) -> Proven:
        """Return the request with the card's signature (ECDSA: DER).

        Raises:
            Conflict: the signature is not the key's.
        """
        return read_request(self._made(lambda _: signature).public_bytes(Encoding.DER))

    def _made(self, sign: Sign) -> x509.CertificateSigningRequest:
        names = [] if self.common_name is None else [common_name(self.common_name)]
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
        if isinstance(self.key, rsa.RSAPublicKey):
            return builder.sign(DelegatedRsaKey(self.key, sign), hashes.SHA256())
        return builder.sign(DelegatedEcKey(self.key, sign), hashes.SHA256())


def common_name(name: str) -> x509.NameAttribute[str]:
    """Return a person's name as a subject has it: at most 64 characters (RFC 5280, A.1)."""
    return x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])


def read_request(data: bytes) -> Proven:
    """Read a request, PEM or DER.

    Raises:
        Conflict: it is none, or its key has not signed it.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise Conflict(f"a certification request has at most {MAX_REQUEST_BYTES} bytes")
    try:
        pem = data.lstrip().startswith(b"-----")
        request = x509.load_pem_x509_csr(data) if pem else x509.load_der_x509_csr(data)
        key, subject, hashed = request.public_key(), request.subject, request.signature_hash_algorithm
        valid = isinstance(hashed, _HASHES) and request.is_signature_valid
    except (*_UNREADABLE, InvalidSignature):
        raise Conflict("this is not a certification request (PKCS #10)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise Conflict("the request's key is neither RSA nor of an elliptic curve")
    if not valid:
        raise Conflict("the request is not signed by the key that it is about, or not with SHA-256 or better")
    return Proven(key, subject, request.public_bytes(Encoding.DER))


def read_certificate(data: bytes) -> x509.Certificate:
    """Read a certificate, PEM or DER; who signed it is not looked at.

    Raises:
        Conflict: it is none, or a part of it cannot be read.
    """
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise Conflict(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    try:
        pem = data.lstrip().startswith(b"-----")
        found = x509.load_pem_x509_certificate(data) if pem else x509.load_der_x509_certificate(data)
        # Read now what is looked at later: what cannot be read is refused once.
        _ = found.extensions, found.public_key(), found.subject, found.signature_hash_algorithm
    except (*_UNREADABLE, x509.DuplicateExtension):
        raise Conflict("this is not an X.509 certificate") from None
    except x509.UnsupportedGeneralNameType:
        raise Conflict("a field of the certificate cannot be read") from None
    return found


def require_key_fits(slot: Slot, key: object, logon_rsa_bits: int) -> None:
    """Refuse a key that is too weak for a slot, or of the wrong kind.

    Raises:
        Conflict: it is.
    """
    if slot is Slot.LOGON:
        fits = isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS and key.key_size >= logon_rsa_bits
        wanted = f"RSA with {' or '.join(str(bits) for bits in sorted(RSA_BITS) if bits >= logon_rsa_bits)} bits"
    elif slot is Slot.CARD:
        fits = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
        wanted = "P-256"
    else:
        elliptic = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
        fits = elliptic or (isinstance(key, rsa.RSAPublicKey) and key.key_size in RSA_BITS)
        wanted = "P-256, P-384, or RSA with 2048 or 3072 bits"
    if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e != _EXPONENT:
        fits, wanted = False, f"{wanted} and exponent {_EXPONENT}"
    if not fits:
        raise Conflict(f"the key does not fit slot {slot}: wanted is {wanted}")


def require_subject_fits(subject: x509.Name, name: str | None) -> None:
    """Refuse a request in somebody else's name; one without a name is nobody's in particular.

    Raises:
        Conflict: it is.
    """
    own = x509.Name([] if name is None else [common_name(name)])
    if len(subject.rdns) > 0 and subject != own:
        raise Conflict("the request names another subject than the card's holder; leave its subject empty")
