# SPDX-License-Identifier: EUPL-1.2
"""Where PIV cards become ours: a plan, a CA that remembers what it issued, and both conversations in a row."""

from dataclasses import dataclass
from datetime import timedelta

from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from unit.chip.authority import CARD_UUID, NOW, Authority, Request, der, key_usage, name
from unit.chip.virtual_piv import MANAGEMENT, OTHER_PIN, OTHER_PUK, PIN, PUK, YUBICO_FACTORY, PivField, plain_applet

from cardservice.cards.forbidden import why_forbidden
from cardservice.cards.pki.requests import CardRequest
from cardservice.chip.conversation import drive
from cardservice.chip.piv_certificate import CardAuthTrust, TrustedIssuer
from cardservice.chip.piv_formats import Slot
from cardservice.chip.piv_keys import Algorithm, PublicKey
from cardservice.chip.piv_personalise import complete, make_keys
from cardservice.chip.piv_plan import Delivery, KeyPlan, MadeKey, PivPlan
from cardservice.chip.piv_yubico import YubicoFamily
from cardsim.piv import PivApplet
from cardsim.yubico import factory_card

CITY = Authority()
TRUST = CardAuthTrust((TrustedIssuer(CITY.certificate, lambda _: False),))
EXPIRES = (NOW + timedelta(days=365)).date()
QUICK_KEYS = tuple(KeyPlan(slot, Algorithm.ECC_P256) for slot in (Slot.CARD_AUTHENTICATION, Slot.AUTHENTICATION))


@dataclass
class HeldByCard:
    """The private half that nobody has but the card."""

    public: PublicKey

    def public_key(self) -> PublicKey:
        return self.public


class DeskField(PivField):
    """A card on the encoder, with what the CA has issued for it so far."""

    def __init__(self, applet: PivApplet) -> None:
        super().__init__(applet)
        self.issued: dict[Slot, bytes] = {}
        self.made: list[MadeKey] = []


def plain_field() -> DeskField:
    return DeskField(plain_applet())


def yubico_field() -> DeskField:
    return DeskField(factory_card())


def plan(**changes: object) -> PivPlan:
    """What a plain card becomes, whose maker has set the planned management key."""
    usual = {
        "card_uuid": CARD_UUID,
        "expires": EXPIRES,
        "management": MANAGEMENT,
        "pin": OTHER_PIN,
        "puk": OTHER_PUK,
        "delivery": Delivery(PIN, PUK),
        "why_forbidden": why_forbidden,
        "keys": QUICK_KEYS,
    }
    return PivPlan(**{**usual, **changes})


def yubico_plan(**changes: object) -> PivPlan:
    """What a card of Yubico's becomes, whose management key is the factory's."""
    return plan(**{"delivery": Delivery(PIN, PUK, YUBICO_FACTORY), "family": YubicoFamily(), **changes})


def request(_: Slot, key: PublicKey) -> bytes:
    """What a request about the key has to have signed, as the city's own PKI puts it together."""
    return CardRequest(key).to_be_signed()


def issue(made: MadeKey) -> bytes:
    """A certificate for a key whose request is signed by it."""
    proven = CardRequest(made.public_key).signed(made.signature)
    if made.slot is Slot.CARD_AUTHENTICATION:
        return der(CITY.issue(Request(key=HeldByCard(proven.key))))
    logon = Request(
        key=HeldByCard(proven.key),
        subject=name((NameOID.COMMON_NAME, "logon")),
        usage=key_usage("digital_signature"),
        extended_usage=(ExtendedKeyUsageOID.CLIENT_AUTH,),
        uris=(),
    )
    return der(CITY.issue(logon))


def personalise(field: DeskField, what: PivPlan, **changes: object) -> None:
    """Both conversations, with the CA between them."""
    made = drive(make_keys(what, request, issued=field.issued, **changes), field)
    field.made.extend(made)
    field.issued.update({key.slot: issue(key) for key in made})
    drive(complete(what, field.issued, **changes), field)
