# SPDX-License-Identifier: EUPL-1.2
"""Cards that outlive a process: one JSON file for each, written before a command that changed something is answered.

A folder of such files is the deck of a rig (`--deck FOLDER --loader cardsim.piv_state:load_cards`). A file is written
beside and renamed, so that it is whole at any moment. It holds keys and PINs: mode 0600.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from cardsim.card import VirtualCard
from cardsim.deck_fields import Fields
from cardsim.errors import DeckError
from cardsim.interfaces import Interface
from cardsim.piv import PivApplet, memory_of
from cardsim.piv_administration import ManagementKey
from cardsim.piv_keys import PinPolicy, PivSlot
from cardsim.piv_reference import REFERENCE_LENGTH, ReferenceData
from cardsim.piv_variant import PivVariant, StandardCard
from cardsim.yubico import YubicoCard

VERSION = 1
MAX_FILE_BYTES = 1 << 20
MAX_OBJECT_BYTES = 16_384
MAX_KEY_BYTES = 4096
MAX_CARDS = 100
VARIANTS: Mapping[str, Callable[[], PivVariant]] = {"piv": StandardCard, "yubico": YubicoCard}


def save_card(card: VirtualCard, path: Path) -> None:
    """Write the memory of a PIV card.

    Raises:
        DeckError: if the card has no PIV application, or the file cannot be written.
    """
    if card.piv is None:
        raise DeckError(f"{path}: a card without PIV has nothing to keep")
    described = {
        "card": VERSION,
        "card_id": card.card_id,
        "label": card.label,
        "piv_contactless": card.piv_contactless,
        "variant": card.piv.variant.rules.name,
        **_described(card.piv),
    }
    beside = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(described, indent=1))
        beside.replace(path)
    except OSError as error:
        raise DeckError(f"{path}: cannot be written: {error.strerror}") from error


def load_card(path: Path) -> VirtualCard:
    """The card as it was when its file was written, without power.

    Raises:
        DeckError: if the file cannot be read or is not a card; the message repeats no value.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        content: object = json.loads(raw) if len(raw) <= MAX_FILE_BYTES else None
    except OSError as error:
        raise DeckError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DeckError(f"{path}: is not JSON") from error
    fields = Fields(content, str(path))
    fields.integer("card", VERSION, VERSION)
    name = fields.text("variant")
    if name not in VARIANTS:
        raise fields.complaint("variant", f"one of {', '.join(sorted(VARIANTS))} is expected")
    card_id, label = fields.text("card_id"), fields.text("label")
    contactless = fields.flag("piv_contactless")
    applet = _applet(fields, VARIANTS[name]())
    fields.finish()
    return VirtualCard(card_id, label, piv=applet, piv_contactless=contactless)


def load_cards(folder: Path) -> dict[str, "KeptPivCard"]:
    """The cards of a folder by their id, each of which goes on reading and writing its file.

    Raises:
        DeckError: if a file is not a card, an id is there twice, or there are more than 100 files.
    """
    paths = sorted(folder.glob("*.json"))
    if len(paths) > MAX_CARDS:
        raise DeckError(f"{folder}: at most {MAX_CARDS} cards are allowed")
    cards: dict[str, KeptPivCard] = {}
    for path in paths:
        card = KeptPivCard(load_card(path), path)
        if card.card_id in cards:
            raise DeckError(f"{path}: another card of the folder has the same id")
        cards[card.card_id] = card
    return cards


@dataclass
class KeptPivCard:
    """A card whose file always has what its memory has. One process at a time may hold a card."""

    card: VirtualCard
    path: Path
    _kept: object = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._kept = self._memory()

    @property
    def card_id(self) -> str:
        """Name of the card inside a deck."""
        return self.card.card_id

    @property
    def label(self) -> str:
        """Text a person would read on the card."""
        return self.card.label

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card as its file has it now: another process may have had it in between.

        Raises:
            DeckError: if the file cannot be read or is no card any more.
        """
        self.card = load_card(self.path)
        self._kept = self._memory()
        return self.card.power_on(interface)

    def power_off(self) -> None:
        """Take the power away; every session is lost."""
        self.card.power_off()

    def transmit(self, apdu: bytes) -> bytes:
        """Answer one command; what it changed is on disk by then.

        Raises:
            DeckError: if that cannot be written; there is no answer then.
        """
        answer = self.card.transmit(apdu)
        memory = self._memory()
        if memory != self._kept:
            save_card(self.card, self.path)
            self._kept = memory
        return answer

    def _memory(self) -> object:
        return None if self.card.piv is None else memory_of(self.card.piv)


def _described(applet: PivApplet) -> dict[str, object]:
    key = applet.management_key
    return {
        "pin": _described_reference(applet.pin),
        "puk": _described_reference(applet.puk),
        "management_key": {"algorithm": key.algorithm, "value": key.value.hex()},
        "objects": [{"tag": tag.hex(), "content": content.hex()} for tag, content in applet.objects.items()],
        "slots": [_described_slot(number, slot) for number, slot in applet.slots.items()],
    }


def _described_reference(reference: ReferenceData) -> dict[str, object]:
    return {"value": reference.value.hex(), "retries": reference.retries, "remaining": reference.remaining}


def _described_slot(number: int, slot: PivSlot) -> dict[str, object]:
    form = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    policy = 0 if slot.pin_policy is None else slot.pin_policy.value
    key, certificate = slot.private_key.private_bytes(*form).hex(), slot.certificate.hex()
    kept = {"key": key, "certificate": certificate, "pin_policy": policy, "imported": slot.imported}
    return {"slot": f"{number:02X}", **kept}


def _applet(fields: Fields, variant: PivVariant) -> PivApplet:
    management = fields.child("management_key")
    algorithm = management.integer("algorithm", 0, 0xFF)
    try:
        key = ManagementKey(algorithm, management.octets("value", 16, 32))
        pin, puk = _reference(fields.child("pin")), _reference(fields.child("puk"))
    except ValueError as error:
        raise DeckError(f"{fields.where}: {error}") from error
    management.finish()
    objects = dict(_object(Fields(item, where)) for item, where in fields.items("objects"))
    slots = dict(_slot(Fields(item, where)) for item, where in fields.items("slots"))
    return PivApplet(objects, slots, pin, puk, key, variant)


def _reference(fields: Fields) -> ReferenceData:
    value = fields.octets("value", REFERENCE_LENGTH, REFERENCE_LENGTH)
    reference = ReferenceData(value, fields.integer("retries", 1, 15), fields.integer("remaining", 0, 15))
    fields.finish()
    return reference


def _object(fields: Fields) -> tuple[bytes, bytes]:
    described = fields.octets("tag", 1, 3), fields.octets("content", 0, MAX_OBJECT_BYTES)
    fields.finish()
    return described


def _slot(fields: Fields) -> tuple[int, PivSlot]:
    (number,) = fields.octets("slot", 1, 1)
    certificate = fields.octets("certificate", 0, MAX_OBJECT_BYTES)
    policy, imported = fields.integer("pin_policy", 0, len(PinPolicy)), fields.flag("imported")
    try:
        key = serialization.load_der_private_key(fields.octets("key", 1, MAX_KEY_BYTES), password=None)
    except ValueError as error:
        raise fields.complaint("key", "a private key (PKCS #8, DER) is expected") from error
    fields.finish()
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise fields.complaint("key", "an RSA or EC key is expected")
    return number, PivSlot(key, certificate, PinPolicy(policy) if policy else None, imported)
