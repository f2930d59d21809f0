# SPDX-License-Identifier: EUPL-1.2
"""The cards of the demonstration city: good ones and every kind of bad one, as a `cardsim` deck."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding

from cardsim.certificates import Flaw, Issuer, Order, card_authentication_slot, certificate_pem, key_pem, make_issuer
from city import seed

AIDS: Final[Mapping[str, str]] = {
    "door": "01C1F5",
    "timeclock": "02C1F5",
    "printer": "03C1F5",
    "canteen": "04C1F5",
}


@dataclass(frozen=True)
class CityCard:
    """One card of the drawer; `login` is its holder, `state` what the service knows of it (none: not registered).

    `chip`: "employee" has a number for each use and PIV for PCs, "desfire" the numbers only, "piv..." PIV only.
    """

    card_id: str
    label_de: str
    label_en: str
    login: str | None = None
    state: str | None = "active"
    state_reason: str | None = None
    chip: str = "employee"
    fault: Mapping[str, Any] = field(default_factory=dict)
    copies: str | None = None

    @property
    def number_of(self) -> str:
        """The card whose numbers this one carries: its own, or the one it copies."""
        return self.copies or self.card_id


CARDS: Final = (
    CityCard("anna", "Anna Schmidt (Bauamt)", "Anna Schmidt (building office)", "schmidt"),
    CityCard("mehmet", "Mehmet Yılmaz (IT)", "Mehmet Yılmaz (IT)", "yilmaz"),
    CityCard("sabine", "Sabine Krüger (Bürgerbüro)", "Sabine Krüger (citizens' office)", "krueger"),
    CityCard("petra", "Petra Vogt (Konto gesperrt)", "Petra Vogt (account disabled)", "vogt"),
    CityCard("karl", "Karl Lange (Konto abgelaufen)", "Karl Lange (account expired)", "lange"),
    CityCard("jonas", "Jonas Weber (Karte verlegt)", "Jonas Weber (card missing)", "weber", "suspended", "missing"),
    CityCard("tomasz", "Tomasz Nowak (Karte verloren)", "Tomasz Nowak (card lost)", "nowak", "revoked", "lost"),
    CityCard("unbekannt", "Echt, aber nicht registriert", "Genuine, but not registered", state=None),
    CityCard("ute", "Ute Berger (PIV-Karte)", "Ute Berger (PIV card)", "berger", chip="piv"),
    CityCard("ute-alt", "PIV, Zertifikat abgelaufen", "PIV, certificate expired", state=None, chip="piv-expired"),
    CityCard(
        "kopie",
        "Kopie von Annas Nummer",
        "Copy of Anna's number",
        state=None,
        chip="desfire",
        copies="anna",
        fault={"kind": "cloned_number"},
    ),
    CityCard(
        "uid",
        "Nur eine Seriennummer (Klon)",
        "Serial number only (clone)",
        state=None,
        chip="none",
        fault={"kind": "uid_only"},
    ),
    CityCard(
        "stoerer", "Antwortet Unsinn", "Answers garbage", state=None, chip="none", fault={"kind": "garbage", "seed": 11}
    ),
    CityCard(
        "kurz",
        "Zu kurz vorgehalten",
        "Removed too soon",
        state=None,
        chip="desfire",
        fault={"kind": "pulled_after", "n_apdus": 3},
    ),
)


@dataclass(frozen=True)
class Deck:
    """The deck's descriptions, and the certificate of the CA that issued its PIV cards."""

    descriptions: Sequence[dict[str, object]]
    issuer_pem: str


def card_uuid(card_id: str) -> UUID:
    """Return the UUID (RFC 9562, version 4) of a card, the GUID of its CHUID."""
    return UUID(bytes=seed.derive(f"uuid {card_id}"), version=4)


def build(now: datetime | None = None) -> Deck:
    """Return the deck; PIV keys and certificates are made afresh, everything else follows from the seed."""
    today = now or datetime.now(UTC)
    issuer = make_issuer("Demonstration CA", today - timedelta(days=30))
    descriptions = [_describe(card, issuer, today) for card in CARDS]
    return Deck(descriptions, issuer.certificate.public_bytes(Encoding.PEM).decode())


def _describe(card: CityCard, issuer: Issuer, today: datetime) -> dict[str, object]:
    description: dict[str, object] = {"card_id": card.card_id, "label": card.label_en}
    if card.chip in {"desfire", "employee"}:
        description["desfire"] = {
            "system_id": seed.SYSTEM_ID.hex(),
            "picc_master": seed.master(*seed.PICC).hex(),
            "badge_number": seed.badge_number(card.card_id).hex(),
            "uses": [_use(card, use) for use in seed.USES],
        }
    if card.chip == "employee" or card.chip.startswith("piv"):
        flaw = Flaw.EXPIRED if card.chip == "piv-expired" else Flaw.NONE
        slot = card_authentication_slot(Order(issuer, today - timedelta(days=1), 365, flaw), card_uuid(card.card_id))
        description["piv"] = {
            "card_uuid": str(card_uuid(card.card_id)),
            "pin": "123456",
            "puk": "12345678",
            "slots": {"9E": {"key": key_pem(slot), "certificate": certificate_pem(slot)}},
        }
        # What lies open on the air interface is the issuing authority's choice: a guest's chose so, the city does not.
        description["piv_contactless"] = card.chip != "employee"
    if card.fault:
        description["fault"] = dict(card.fault)
    return description


def _use(card: CityCard, use: str) -> dict[str, object]:
    return {
        "aid_as_sent": AIDS[use],
        "application_master": seed.master(use, "application_master").hex(),
        "proof_master": seed.master(use, "proof").hex(),
        "locate_key": seed.master(use, "locate").hex(),
        "generation": 1,
        "number": seed.number(card.number_of, use).hex(),
    }
