# SPDX-License-Identifier: EUPL-1.2
"""The PIV application (NIST SP 800-73-4) and the proof of a card by its card authentication key, slot 9E.

The proof needs no PIN and says which card is present, never who holds it. The card signs a fresh challenge; the
certificate that comes with it is checked first (`piv_certificate`), so an unacceptable card is asked to sign nothing.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cardservice.chip.conversation import Conversation, RandomBytes, Transcript
from cardservice.chip.piv_certificate import CardAuthCertificate, CardAuthTrust, check_card_auth_certificate
from cardservice.chip.piv_formats import ObjectId, Slot, unwrap_certificate
from cardservice.chip.piv_keys import verify_signature
from cardservice.chip.piv_session import PivSession

NONCE_BYTES: Final = 32

_CHALLENGE_LABEL: Final = b"cardservice PIV card authentication 1\x00"


@dataclass(frozen=True, slots=True)
class ProvenCard:
    """A card that has proved to hold the key of an accepted certificate. The identifiers are not in the repr.

    Attributes:
        card_uuid: the card's UUID; None where its key itself is pinned.
        issuer_key: SHA-256 of the public key of the CA that issued its certificate, or of the pinned key, 32 bytes.
        certificate_fingerprint: SHA-256 of the certificate, 32 bytes.
        evidence: SHA-256 over every command and answer, 32 bytes, as `Transcript` defines it.
        not_after: until when the certificate is valid.
    """

    card_uuid: uuid.UUID | None = field(repr=False)
    issuer_key: bytes = field(repr=False)
    certificate_fingerprint: bytes = field(repr=False)
    evidence: bytes = field(repr=False)
    not_after: datetime


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
        SignatureWrong: the card does not hold the certificate's key.
        CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused a command.
        ValueError: `at` has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("the instant of the check needs a zone")
    transcript = Transcript()
    certificate = yield from transcript.record(_prove(context, trust, at, random_bytes))
    return ProvenCard(
        certificate.card_uuid,
        certificate.issuer_key,
        certificate.fingerprint,
        transcript.digest(),
        certificate.not_after,
    )


def _prove(
    context: bytes, trust: CardAuthTrust, at: datetime, random_bytes: RandomBytes
) -> Conversation[CardAuthCertificate]:
    session, content = yield from PivSession.select_and_read(ObjectId.CARD_AUTHENTICATION_CERTIFICATE)
    certificate = check_card_auth_certificate(unwrap_certificate(content), trust, at=at)

    digest = challenge_digest(context, random_bytes(NONCE_BYTES))
    signature = yield from session.sign(Slot.CARD_AUTHENTICATION, certificate.public_key, digest)
    failure = "the card does not hold the key of its card authentication certificate"
    verify_signature(certificate.public_key, signature, digest, failure=failure)
    return certificate


def challenge_digest(context: bytes, nonce: bytes) -> bytes:
    """What the card signs: SHA-256 over label, length of the context (4 bytes), context and nonce (32 bytes)."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return hashlib.sha256(_CHALLENGE_LABEL + len(context).to_bytes(4, "big") + context + nonce).digest()
