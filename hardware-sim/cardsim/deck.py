# SPDX-License-Identifier: EUPL-1.2
"""Decks: JSON files that describe virtual cards.

Schema (every member not marked "optional" is required, unknown members are refused, bytes are hex)::

    {"deck": 1,
     "cards": [
       {"card_id": text, "label": text,
        "desfire": optional {"system_id": 1 to 16 bytes, optional "uid": 7 bytes, optional "picc_master": 16 bytes,
                    optional "badge_number": 12 bytes (the PICC key is then diversified, otherwise it is the master),
                    optional "one_key_set": true for a card made before there were two,
                    "uses": [{"aid_as_sent": 3 bytes, "locate_key": 16 bytes, "generation": 1 to 255,
                              "number": 12 bytes,
                              "application_master" and "proof_master": 16 bytes  (to be diversified), or
                              "application_key" and "proof_key": 16 bytes        (as the card holds them)}]},
                    or, as it leaves the factory, {"factory": "EV1" | "EV2" | "EV3", optional "uid": 7 bytes,
                    optional "capacity_bytes": 4096 or 8192};
                    both with optional "memory_file": a file beside the deck that keeps what commands change,
        "piv": optional {"card_uuid": UUID, "pin": 6 to 8 digits, "puk": 8 characters, optional "expires": YYYY-MM-DD,
                "slots": {"9A" | "9C" | "9D" | "9E": {"key": PEM, "certificate": PEM}}},
        "piv_contactless": optional true or false,
        "fault": optional {"kind": ...}}]}

Faults by ``kind``: ``pulled_after`` (``n_apdus``, optional ``carried_out``), ``torn_write`` (``n_bytes``), ``slow``
(``delay_s``), ``relayed`` (``delay_s``, ``jitter_s``, ``seed``), ``timed``, ``wrong_mac``, ``garbage`` (``seed``),
``cloned_number`` (takes number, generation and locate key of the described uses, guesses the other keys), ``replay``
(``atr``, ``answers``: list of bytes), ``endless``, ``mute``, ``uid_only``. ``system_id`` may be left out where no use
needs diversification. A deck holds keys and PINs: it is written with mode 0600.
"""

import json
import os
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from uuid import UUID

from cardsim.card import VirtualCard
from cardsim.certificates import slot_from_pem
from cardsim.deck_fields import Fields, octets_from
from cardsim.desfire import DesfireApplet
from cardsim.desfire_memory import Chip, StateError
from cardsim.errors import DeckError, PersonalisationError
from cardsim.faults import (
    ClonedNumber,
    EndlessCard,
    GarbageCard,
    Mute,
    PulledAfter,
    Recording,
    Replay,
    SlowCard,
    StolenIdentity,
    TornWrite,
    UidOnly,
    WrongMac,
)
from cardsim.interfaces import Card
from cardsim.kept import KeptCard
from cardsim.personalise import (
    DEFAULT_EXPIRY,
    CardKeys,
    UseKeys,
    derive_card_keys,
    derive_picc_key,
    desfire_with,
    factory_desfire,
    personalise_piv,
    use_application,
)
from cardsim.piv import PivApplet
from cardsim.piv_keys import PivSlot
from cardsim.piv_objects import CERTIFICATES
from cardsim.timing import RelayedCard, TimedCard

VERSION = 1
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_DELAY_S = 60.0
MAX_ANSWER_LENGTH = 65_538


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
    return _build_all(descriptions, path.parent)


def save_deck(cards: Sequence[dict[str, object]], path: Path) -> None:
    """Write descriptions of cards as a deck after checking them.

    Raises:
        DeckError: if a description breaks the schema or the file cannot be written.
    """
    _build_all([(card, f"deck.cards[{index}]") for index, card in enumerate(cards)], None)
    text = json.dumps({"deck": VERSION, "cards": list(cards)}, indent=1)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(text)
    except OSError as error:
        raise DeckError(f"{path}: cannot be written: {error.strerror}") from error


def _build_all(descriptions: Sequence[tuple[object, str]], folder: Path | None) -> dict[str, Card]:
    """The cards; without a folder nothing is read but the descriptions themselves."""
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
        return ClonedNumber(card_id, label, _stolen(uses))
    desfire, memory_file = _desfire(uses) if uses is not None else (None, None)
    card = VirtualCard(card_id, label, desfire=desfire, piv=piv, piv_contactless=contactless)
    kept: Card = card
    if memory_file is not None and folder is not None:
        kept = KeptCard(card, folder / memory_file)
    return kept if fault is None else _faulty(fault, kept, card)


def _desfire(fields: Fields) -> tuple[DesfireApplet, str | None]:
    """The applet, and the name of the file that keeps it."""
    uid = fields.octets("uid", 7, 7) if fields.has("uid") else None
    memory_file = fields.text("memory_file") if fields.has("memory_file") else None
    if memory_file is not None and Path(memory_file).name != memory_file:
        raise fields.complaint("memory_file", "a file name without a folder is expected")
    if fields.has("factory"):
        return _factory(fields, uid), memory_file
    one_key_set = fields.flag("one_key_set")
    applications = [use_application(keys, one_key_set=one_key_set) for keys in _card_keys(fields)]
    picc_key = fields.octets("picc_master", 16, 16) if fields.has("picc_master") else None
    if fields.has("badge_number"):
        if picc_key is None:
            raise fields.complaint("picc_master", "a badge number needs the master it diversifies")
        system_id, badge_number = fields.octets("system_id", 1, 16), fields.octets("badge_number", 12, 12)
        picc_key = derive_picc_key(system_id, picc_master=picc_key, badge_number=badge_number)
    fields.finish()
    return desfire_with(applications, uid=uid, picc_key=picc_key), memory_file


def _factory(fields: Fields, uid: bytes | None) -> DesfireApplet:
    chip = fields.text("factory")
    if chip not in Chip.__members__:
        raise fields.complaint("factory", f"one of {', '.join(Chip.__members__)} is expected")
    capacity = fields.integer("capacity_bytes", 4096, 8192) if fields.has("capacity_bytes") else 8192
    fields.finish()
    return factory_desfire(chip=Chip[chip], capacity_bytes=capacity, uid=uid)


def _card_keys(fields: Fields) -> list[CardKeys]:
    system_id = fields.octets("system_id", 1, 16) if fields.has("system_id") else b""
    return [_use(Fields(use, where), system_id) for use, where in fields.items("uses")]


def _use(fields: Fields, system_id: bytes) -> CardKeys:
    aid, number = fields.octets("aid_as_sent", 3, 3), fields.octets("number", 12, 12)
    generation = fields.integer("generation", 1, 255)
    locate_key = fields.octets("locate_key", 16, 16)
    diversified = fields.has("application_key") or fields.has("proof_key")
    suffix = "key" if diversified else "master"
    application, proof = (fields.octets(f"{name}_{suffix}", 16, 16) for name in ("application", "proof"))
    fields.finish()
    if diversified:
        return CardKeys(aid, application, proof, locate_key, generation, number)
    return derive_card_keys(system_id, UseKeys(aid, application, proof, locate_key, generation, number))


def _stolen(fields: Fields) -> list[StolenIdentity]:
    identities = [
        StolenIdentity(keys.aid_as_sent, keys.locate_key, keys.generation, keys.number) for keys in _card_keys(fields)
    ]
    _desfire(fields)
    return identities


def _piv(fields: Fields) -> PivApplet:
    pin, puk = fields.text("pin"), fields.text("puk")
    card_uuid, expires = _card_uuid(fields), _expiry(fields)
    slots = _slots(fields.child("slots"))
    fields.finish()
    return personalise_piv(card_uuid, pin=pin, puk=puk, slots=slots, expires=expires)


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


def _faulty(fields: Fields, card: Card, inner: VirtualCard) -> Card:
    """The card with its fault; ``inner`` is the card itself below what keeps it."""
    builders: dict[str, Callable[[], Card]] = {
        "pulled_after": lambda: PulledAfter(
            card, fields.integer("n_apdus", 1, 1_000_000), carried_out=fields.flag("carried_out")
        ),
        "torn_write": lambda: TornWrite(card, inner, fields.integer("n_bytes", 0, 65_535)),
        "slow": lambda: SlowCard(card, fields.seconds("delay_s", MAX_DELAY_S)),
        "relayed": lambda: RelayedCard(
            card,
            fields.seconds("delay_s", MAX_DELAY_S),
            fields.seconds("jitter_s", MAX_DELAY_S),
            fields.integer("seed", 0, 2**63 - 1),
        ),
        "timed": lambda: TimedCard(card),
        "wrong_mac": lambda: WrongMac(card),
        "garbage": lambda: GarbageCard(card.card_id, card.label, fields.integer("seed", 0, 2**63 - 1)),
        "replay": lambda: Replay(card.card_id, card.label, _recording(fields)),
        "endless": lambda: EndlessCard(card.card_id, card.label),
        "mute": lambda: Mute(card.card_id, card.label),
        "uid_only": lambda: UidOnly(card.card_id, card.label),
    }
    kind = fields.text("kind")
    if kind not in builders:
        allowed = ", ".join(sorted([*builders, "cloned_number"]))
        raise fields.complaint("kind", f"one of {allowed} is expected")
    faulty = builders[kind]()
    fields.finish()
    return faulty


def _recording(fields: Fields) -> Recording:
    answers = tuple(octets_from(answer, where, 0, MAX_ANSWER_LENGTH) for answer, where in fields.items("answers"))
    return Recording(fields.octets("atr", 2, 33), answers)
