# SPDX-License-Identifier: EUPL-1.2
"""Decks: JSON files that describe virtual cards.

Schema (every member not marked "optional" is required, unknown members are refused, bytes are hex)::

    {"deck": 1,
     "cards": [
       {"card_id": text, "label": text,
        "desfire": optional {"system_id": 1 to 16 bytes, optional "uid": 7 bytes, optional "picc_master": 16 bytes,
                    optional "badge_number": 12 bytes (the PICC key is then diversified, otherwise it is the master),
                    optional "one_key_set": true for a card made before there were two,
                    optional "chip": "EV1" | "EV2" | "EV3", optional "shows_uid": true where no random one is drawn,
                    "uses": [{"aid_as_sent": 3 bytes, "locate_key": 16 bytes, "generation": 1 to 255,
                              "number": 12 bytes,
                              optional "file": what file 1 holds in place of its 14 bytes, "" for no file,
                              optional "read_key": the key number that may read it (14 is free, 15 never), and
                              "application_master" and "proof_master": 16 bytes  (to be diversified), or
                              "application_key" and "proof_key": 16 bytes        (as the card holds them)}]},
                    or, as it leaves the factory, {"factory": "EV1" | "EV2" | "EV3", optional "uid": 7 bytes,
                    optional "capacity_bytes": 4096 or 8192};
                    both with optional "memory_file": a file beside the deck that keeps what commands change,
        "piv": optional {"card_uuid": UUID, "pin": 6 to 8 digits, "puk": 8 characters, optional "expires": YYYY-MM-DD,
                "slots": {"9A" | "9C" | "9D" | "9E": {"key": PEM, "certificate": PEM}},
                optional "objects": {tag of 3 bytes: the object as GET DATA returns it, "" for none}},
        "piv_contactless": optional true or false,
        "fault": optional {"kind": ...}}]}

Faults by ``kind``: ``pulled_after`` (``n_apdus``, optional ``carried_out``), ``torn_write`` (``n_bytes``), ``slow``
(``delay_s``), ``relayed`` (``delay_s``, ``jitter_s``, ``seed``), ``timed``, ``wrong_mac``, ``garbage`` (``seed``),
``cloned_number`` (takes number, generation and locate key of the described uses, guesses the other keys), ``replay``
(``atr``, ``answers``: list of bytes), ``endless``, ``mute``, ``uid_only``, ``memory_card`` (``uid``, ``block``),
``parrot`` (``answer``), ``random_status`` (``seed``), ``reflecting`` (``ins``: 71 or 77), ``unrotated`` (``key``) and
``tampered`` (``ins``, optional ``nth``, and one of ``answer``, ``append``, ``cut_to``, ``flip``), see
`cardsim.bad_faults`. ``system_id`` may be left out where no use needs diversification. A deck holds keys and PINs: it
is written with mode 0600.

``python -m cardsim.deck export`` writes the bad cards (`cardsim.bad_cards`) with their conversations, for a tender.
"""

import json
import os
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from uuid import UUID

from cardsim.card import VirtualCard
from cardsim.certificates import slot_from_pem
from cardsim.deck_desfire import desfire_from, stolen_from
from cardsim.deck_faults import faulty_from
from cardsim.deck_fields import Fields
from cardsim.desfire_memory import StateError
from cardsim.errors import DeckError, PersonalisationError
from cardsim.faults import ClonedNumber
from cardsim.interfaces import Card
from cardsim.kept import KeptCard
from cardsim.personalise import DEFAULT_EXPIRY, personalise_piv
from cardsim.piv import PivApplet
from cardsim.piv_keys import PivSlot
from cardsim.piv_objects import CERTIFICATES, STANDARD_OBJECTS

VERSION = 1
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_OBJECT_LENGTH = 65_536


def load_deck(path: Path) -> dict[str, Card]:
    """The cards of a deck by their id.

    Raises:
        DeckError: if the file cannot be read or breaks the schema; the message names the place.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise DeckError(f"{path}: a deck has at most {MAX_FILE_BYTES} bytes")
        content: object = json.loads(raw)
    except OSError as error:
        raise DeckError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DeckError(f"{path}: is not JSON") from error
    deck = Fields(content, "deck")
    deck.integer("deck", VERSION, VERSION)
    descriptions = deck.items("cards")
    deck.finish()
    return build_cards(descriptions, path.parent)


def save_deck(cards: Sequence[dict[str, object]], path: Path) -> None:
    """Write descriptions of cards as a deck after checking them.

    Raises:
        DeckError: if a description breaks the schema or the file cannot be written.
    """
    build_cards([(card, f"deck.cards[{index}]") for index, card in enumerate(cards)], None)
    text = json.dumps({"deck": VERSION, "cards": list(cards)}, indent=1)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(text)
    except OSError as error:
        raise DeckError(f"{path}: cannot be written: {error.strerror}") from error


def build_cards(descriptions: Sequence[tuple[object, str]], folder: Path | None) -> dict[str, Card]:
    """The cards of descriptions, each with its place for messages; without a folder nothing else is read.

    Raises:
        DeckError: if a description breaks the schema.
    """
    cards: dict[str, Card] = {}
    for description, where in descriptions:
        fields = Fields(description, where)
        try:
            card = _build(fields, folder)
        except (PersonalisationError, StateError) as error:
            raise DeckError(f"{where}: {error}") from error
        if card.card_id in cards:
            raise fields.complaint("card_id", "another card of the deck has the same id")
        cards[card.card_id] = card
    return cards


def _build(fields: Fields, folder: Path | None) -> Card:
    card_id, label = fields.text("card_id"), fields.text("label")
    uses = fields.child("desfire") if fields.has("desfire") else None
    piv = _piv(fields.child("piv")) if fields.has("piv") else None
    contactless = fields.flag("piv_contactless")
    fault = fields.child("fault") if fields.has("fault") else None
    fields.finish()
    if fault is not None and fault.text("kind") == "cloned_number":
        fault.finish()
        if uses is None:
            raise fields.complaint("desfire", "a cloned number needs the uses it shows")
        return ClonedNumber(card_id, label, stolen_from(uses))
    desfire, memory_file = desfire_from(uses) if uses is not None else (None, None)
    card = VirtualCard(card_id, label, desfire=desfire, piv=piv, piv_contactless=contactless)
    kept: Card = card
    if memory_file is not None and folder is not None:
        kept = KeptCard(card, folder / memory_file)
    return kept if fault is None else faulty_from(fault, kept, card)


def _piv(fields: Fields) -> PivApplet:
    pin, puk = fields.text("pin"), fields.text("puk")
    card_uuid, expires = _card_uuid(fields), _expiry(fields)
    slots = _slots(fields.child("slots"))
    changed = _objects(fields.child("objects")) if fields.has("objects") else {}
    fields.finish()
    applet = personalise_piv(card_uuid, pin=pin, puk=puk, slots=slots, expires=expires)
    # What PUT DATA would check is not checked: these are objects as no personalisation leaves them.
    kept = {**applet.objects, **changed}
    applet.objects = {tag: content for tag, content in kept.items() if content}
    return applet


def _objects(fields: Fields) -> dict[bytes, bytes]:
    found = {}
    for tag in STANDARD_OBJECTS:
        if fields.has(tag.hex().upper()):
            found[tag] = fields.octets(tag.hex().upper(), 0, MAX_OBJECT_LENGTH)
    fields.finish()
    return found


def _card_uuid(fields: Fields) -> UUID:
    try:
        return UUID(fields.text("card_uuid"))
    except ValueError:
        raise fields.complaint("card_uuid", "a UUID is expected") from None


def _expiry(fields: Fields) -> date:
    if not fields.has("expires"):
        return DEFAULT_EXPIRY
    try:
        return date.fromisoformat(fields.text("expires"))
    except ValueError:
        raise fields.complaint("expires", "a date YYYY-MM-DD is expected") from None


def _slots(fields: Fields) -> dict[int, PivSlot]:
    slots = {}
    for number in CERTIFICATES:
        name = f"{number:02X}"
        if fields.has(name):
            material = fields.child(name)
            key, certificate = material.text("key"), material.text("certificate")
            material.finish()
            slots[number] = slot_from_pem(key_pem=key, certificate_pem=certificate)
    fields.finish()
    return slots


if __name__ == "__main__":
    # Whoever loads a deck needs none of the bad cards.
    from cardsim.deck_export import main

    sys.exit(main())
