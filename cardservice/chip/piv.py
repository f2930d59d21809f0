# SPDX-License-Identifier: EUPL-1.2
"""The PIV application (NIST SP 800-73-4) and the proof of a card by its card authentication key, slot 9E.

The proof needs no PIN and says which card is present, never who holds it. The card signs a fresh challenge; the
certificate that comes with it is checked first (`piv_certificate`), so an unacceptable card is asked to sign nothing.
"""

import hashlib
import secrets
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, unique
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cardservice.chip.apdu import CommandApdu, accept, transceive
from cardservice.chip.conversation import Conversation, RandomBytes, Transcript
from cardservice.chip.errors import ApplicationNotFound, CardNotGenuine, ObjectNotFound, ProtocolError
from cardservice.chip.piv_certificate import (
    CardAuthCertificate,
    CardAuthTrust,
    CardPublicKey,
    check_card_auth_certificate,
)
from cardservice.chip.tlv import build, descend, only, parse

PIV_AID: Final = bytes.fromhex("A000000308000010000100")
NONCE_BYTES: Final = 32
MAX_CERTIFICATE_BYTES: Final = 65_536

_PIX: Final = PIV_AID[5:]
_CHALLENGE_LABEL: Final = b"cardservice PIV card authentication 1\x00"
_CERTIFICATE_PLAIN: Final = b"\x00"
_CERTIFICATE_GZIP: Final = b"\x01"
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
_DIGEST_INFO_SHA256: Final = bytes.fromhex("3031300D060960864801650304020105000420")


@unique
class Slot(IntEnum):
    """Key references (SP 800-73-4 Part 1, table 4b)."""

    AUTHENTICATION = 0x9A
    SIGNATURE = 0x9C
    KEY_MANAGEMENT = 0x9D
    CARD_AUTHENTICATION = 0x9E


@unique
class ObjectId(IntEnum):
    """Tags of data objects (SP 800-73-4 Part 1, table 3)."""

    CARD_AUTHENTICATION_CERTIFICATE = 0x5FC101


@unique
class Algorithm(IntEnum):
    """Algorithm identifiers (SP 800-78-5, table 9)."""

    RSA_3072 = 0x05
    RSA_2048 = 0x07
    ECC_P256 = 0x11


_RSA_ALGORITHMS: Final = {2048: Algorithm.RSA_2048, 3072: Algorithm.RSA_3072}


class PivSession:
    """The selected PIV application; `select` is the way to get one."""

    @classmethod
    def select(cls) -> Conversation["PivSession"]:
        """SELECT by the full application identifier (SP 800-73-4 Part 2 §3.1.1).

        Raises:
            ApplicationNotFound: the card holds no PIV application.
            ProtocolError: the answer is not the application property template of PIV.
            CardGone, StatusError: the card left, or refused.
        """
        response = yield from transceive("SELECT", CommandApdu(0x00, 0xA4, 0x04, 0x00, PIV_AID, le=256))
        try:
            template = accept("SELECT", response)
        except ObjectNotFound as missing:
            raise ApplicationNotFound(missing.command, missing.sw, "the card holds no PIV application") from missing
        if not descend(template, 0x61, 0x4F).endswith(_PIX):
            raise ProtocolError("SELECT", "the selected application is not PIV")
        return cls()

    def get_data(self, object_id: ObjectId) -> Conversation[bytes]:
        """GET DATA: the content of a data object, out of its `53` (SP 800-73-4 Part 2 §3.1.2).

        Raises:
            ObjectNotFound: the object is empty or absent.
            SecurityStatusNotSatisfied: the object wants a PIN first.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        tag_list = bytes(build(0x5C, object_id.to_bytes(3, "big")))
        response = yield from transceive("GET DATA", CommandApdu(0x00, 0xCB, 0x3F, 0xFF, tag_list, le=256))
        return descend(accept("GET DATA", response), 0x53)

    def general_authenticate(self, algorithm: Algorithm, slot: Slot, challenge: bytes) -> Conversation[bytes]:
        """GENERAL AUTHENTICATE: the card's response to a challenge (SP 800-73-4 Part 2 §3.2.4).

        Args:
            algorithm: must be that of the slot's key.
            slot: the key to use.
            challenge: a digest for ECC, a padded block of the modulus' length for RSA.

        Raises:
            SecurityStatusNotSatisfied: the key wants a PIN first.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        template = bytes(build(0x7C, build(0x82), build(0x81, challenge)))
        command = CommandApdu(0x00, 0x87, algorithm, slot, template, le=256)
        response = yield from transceive("GENERAL AUTHENTICATE", command)
        return descend(accept("GENERAL AUTHENTICATE", response), 0x7C, 0x82)


@dataclass(frozen=True, slots=True)
class ProvenCard:
    """A card that has proved to hold the key of an accepted certificate. The identifiers are not in the repr.

    Attributes:
        card_uuid: the card's UUID.
        issuer_key: SHA-256 of the public key of the CA that issued its certificate, 32 bytes.
        certificate_fingerprint: SHA-256 of the certificate, 32 bytes.
        evidence: SHA-256 over every command and answer, 32 bytes, as `Transcript` defines it.
    """

    card_uuid: uuid.UUID = field(repr=False)
    issuer_key: bytes
    certificate_fingerprint: bytes = field(repr=False)
    evidence: bytes = field(repr=False)


def authenticate_card(
    context: bytes, trust: CardAuthTrust, *, at: datetime, random_bytes: RandomBytes = secrets.token_bytes
) -> Conversation[ProvenCard]:
    """Proves a card by its card authentication key, without a PIN.

    Args:
        context: what the proof is for (point, event); the card signs it together with a fresh nonce, so that a
            signature made for one purpose is worth nothing for another.
        trust: which certificates are accepted.
        at: the instant of the check, with a zone.
        random_bytes: source of the nonce.

    Raises:
        ApplicationNotFound: the card holds no PIV application.
        ObjectNotFound: it holds no card authentication certificate.
        CertificateRefused: the certificate is not acceptable; carries the cause.
        CardNotGenuine: the card does not hold the certificate's key.
        CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused a command.
        ValueError: `at` has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("the instant of the check needs a zone")
    transcript = Transcript()
    certificate = yield from transcript.record(_prove(context, trust, at, random_bytes))
    return ProvenCard(certificate.card_uuid, certificate.issuer_key, certificate.fingerprint, transcript.digest())


def _prove(
    context: bytes, trust: CardAuthTrust, at: datetime, random_bytes: RandomBytes
) -> Conversation[CardAuthCertificate]:
    session = yield from PivSession.select()
    content = yield from session.get_data(ObjectId.CARD_AUTHENTICATION_CERTIFICATE)
    certificate = check_card_auth_certificate(unwrap_certificate(content), trust, at=at)

    digest = challenge_digest(context, random_bytes(NONCE_BYTES))
    algorithm, challenge = _challenge_for(certificate.public_key, digest)
    signature = yield from session.general_authenticate(algorithm, Slot.CARD_AUTHENTICATION, challenge)
    _verify(certificate.public_key, signature, digest)
    return certificate


def unwrap_certificate(content: bytes) -> bytes:
    """The DER certificate out of a certificate object `70 ‖ 71 ‖ FE`, decompressed if `71` says so.

    Raises:
        ProtocolError: `70` or `71` is not there exactly once, the compression is unknown, the gzip stream is broken,
            or it holds more than 65,536 bytes (SP 800-73-4 Part 1, appendix A).
    """
    objects = parse(content)
    certificate, cert_info = only(objects, 0x70), only(objects, 0x71)
    if cert_info == _CERTIFICATE_PLAIN:
        return certificate
    if cert_info == _CERTIFICATE_GZIP:
        return _gunzip(certificate)
    raise ProtocolError("certificate object", "CertInfo is neither 00 (plain) nor 01 (gzip)")


def challenge_digest(context: bytes, nonce: bytes) -> bytes:
    """What the card signs: SHA-256 over label, length of the context (4 bytes), context and nonce (32 bytes)."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return hashlib.sha256(_CHALLENGE_LABEL + len(context).to_bytes(4, "big") + context + nonce).digest()


def _gunzip(compressed: bytes) -> bytes:
    decompressor = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        certificate = decompressor.decompress(compressed, MAX_CERTIFICATE_BYTES)
    except zlib.error as error:
        raise ProtocolError("certificate object", "the gzip stream is broken") from error
    if not decompressor.eof or decompressor.unused_data:
        detail = f"the gzip stream is cut short, has a tail, or holds more than {MAX_CERTIFICATE_BYTES} bytes"
        raise ProtocolError("certificate object", detail)
    return certificate


def _challenge_for(key: CardPublicKey, digest: bytes) -> tuple[Algorithm, bytes]:
    """Algorithm and challenge: the digest itself for ECC, its EMSA-PKCS1-v1_5 encoding (RFC 8017 §9.2) for RSA."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return Algorithm.ECC_P256, digest
    digest_info = _DIGEST_INFO_SHA256 + digest
    filler = b"\xff" * (key.key_size // 8 - 3 - len(digest_info))
    return _RSA_ALGORITHMS[key.key_size], b"\x00\x01" + filler + b"\x00" + digest_info


def _verify(key: CardPublicKey, signature: bytes, digest: bytes) -> None:
    sha256 = Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(sha256))
        else:
            key.verify(signature, digest, padding.PKCS1v15(), sha256)
    except InvalidSignature as error:
        raise CardNotGenuine("the card does not hold the key of its card authentication certificate") from error
