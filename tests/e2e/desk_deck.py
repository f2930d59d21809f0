# SPDX-License-Identifier: EUPL-1.2
"""The deck of an issuing desk: one employee card with all four PIV keys behind its contacts."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cardsim.certificates import (
    Order,
    card_authentication_slot,
    certificate_pem,
    key_management_slot,
    key_pem,
    logon_slot,
    make_issuer,
    signature_slot,
)
from cardsim.deck import save_deck
from city import deck

CARD = "ausweis"
PIN, WRONG_PIN, PUK = "471108", "471109", "87654321"


@dataclass(frozen=True)
class DeskDeck:
    """Where the deck lies, and the certificates its card carries, by slot."""

    file: Path
    certificates: dict[str, x509.Certificate]


def write_deck(folder: Path) -> DeskDeck:
    """Write a deck with one card; keys and certificates are new."""
    issuer = make_issuer("Issuing desk", datetime.now(UTC) - timedelta(days=2))
    order = Order(issuer, datetime.now(UTC) - timedelta(days=1))
    slots = {
        "9A": logon_slot(order, "Anna Schmidt", "schmidt@stadt.example"),
        "9C": signature_slot(order, "Anna Schmidt"),
        "9D": key_management_slot(order, "Anna Schmidt"),
        "9E": card_authentication_slot(order, deck.card_uuid(CARD)),
    }
    card = {
        "card_id": CARD,
        "label": "Employee card",
        "piv": {
            "card_uuid": str(deck.card_uuid(CARD)),
            "pin": PIN,
            "puk": PUK,
            "slots": {
                name: {"key": key_pem(slot), "certificate": certificate_pem(slot)} for name, slot in slots.items()
            },
        },
    }
    file = folder / "desk.json"
    save_deck([card], file)
    certificates = {name: x509.load_der_x509_certificate(slot.certificate) for name, slot in slots.items()}
    assert all(certificate.public_bytes(Encoding.DER) for certificate in certificates.values())
    return DeskDeck(file, certificates)
