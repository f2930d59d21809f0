# SPDX-License-Identifier: EUPL-1.2
"""A PIV token that was bought: its certificate is signed by its own key, without usage or UUID."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from cardsim.card import VirtualCard
from cardsim.personalise import personalise_piv
from cardsim.piv_keys import PivSlot

_DAY = timedelta(days=1)


def bought_token(
    begins: datetime | None = None, days: int = 365, *, shown: ec.EllipticCurvePrivateKey | None = None
) -> VirtualCard:
    """Return a token. With `shown` it shows the certificate of that key, and holds another."""
    mine, begins = ec.generate_private_key(ec.SECP256R1()), begins or datetime.now(UTC)
    key = shown or mine
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Token")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins - _DAY, begins + days * _DAY)
    slot = PivSlot(mine, builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    piv = personalise_piv(UUID(int=1, version=4), pin="123456", puk="12345678", slots={0x9E: slot})
    return VirtualCard("token", "token", piv=piv, piv_contactless=True)


def key_digest_of(card: VirtualCard) -> bytes:
    """Return SHA-256 of the key in the certificate that a token shows."""
    assert card.piv is not None
    key = x509.load_der_x509_certificate(card.piv.slots[0x9E].certificate).public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
