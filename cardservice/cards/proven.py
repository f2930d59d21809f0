# SPDX-License-Identifier: EUPL-1.2
"""Under which key a PIV card that has proved itself is known, and which PIV cards are believed at all."""

from collections.abc import Callable, Iterable

from cryptography import x509

from cardservice.cards.pki.mapping import serial_bytes
from cardservice.cards.rules import pinned_credential, piv_credential, revoked_certificate
from cardservice.chip.piv import ProvenCard
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer, issuer_key

# Tells whether something stands in the register under this key.
Known = Callable[[bytes], bool]


def credential_of(card: ProvenCard) -> bytes:
    """Return the key under which a card is known."""
    if card.card_uuid is None:
        return pinned_credential(card.issuer_key)
    return piv_credential(card.issuer_key, card.card_uuid.bytes)


def trust_of(authorities: Iterable[x509.Certificate], known: Known) -> CardAuthTrust:
    """Return what decides about certificates of cards: the CAs, what was revoked, and keys that were registered.

    All of it is what the register knows at the moment of the tap: no list is fetched for it.
    """
    return CardAuthTrust(
        tuple(TrustedIssuer(one, _revoked_by(issuer_key(one), known)) for one in authorities),
        lambda key: known(pinned_credential(key)),
    )


def _revoked_by(issuer: bytes, known: Known) -> Callable[[int], bool]:
    return lambda serial: known(revoked_certificate(issuer, serial_bytes(serial)))
