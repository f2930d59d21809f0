# SPDX-License-Identifier: EUPL-1.2
"""The deck of bad cards as one JSON file, for a tender: what each card is, what it says, and what has to be answered.

``python -m cardsim.deck export [FILE]`` writes it, with keys drawn for this file alone::

    {"bad_cards": 1, "today": instant, "system_id": hex, "authority": PEM of the issuer of the PIV certificates,
     "uses": {use: {"aid_as_sent", "application_master", "proof_master", "locate_key": hex}},
     "cards": [{"name", "threat", "made": text, "piv": true where the door has to accept PIV cards,
                "reason": code for the holder, "detail": code for the administrator,
                "on_record": null or {"state", "state_reason": or null, "holder", "valid",
                                      "revoked_serial": of a certificate, or null,
                                      "numbers": {use: hex}, "card_uuid": UUID},
                "card": the virtual card, as an element of a deck (`cardsim.deck`),
                "script": {"atr": hex, "stopped": text, "steps": [{"command", "answer": hex}]}}]}

The first cards are good ones (reason ``granted``): a door that refuses everything passes no test. One of them is the
victim whose number others have copied.
"""

import argparse
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from cardsim.apdu import MAX_APDU_LENGTH
from cardsim.bad_cards import (
    DOOR,
    VICTIM,
    BadCard,
    OnRecord,
    Town,
    UseMasters,
    issued,
    issued_piv,
    number_of,
    uuid_of,
)
from cardsim.bad_deck import BAD_CARDS
from cardsim.certificates import make_issuer
from cardsim.deck import build_cards
from cardsim.deck_fields import Fields
from cardsim.deck_script import Script, Step, converse
from cardsim.errors import DeckError
from cardsim.interfaces import Card

VERSION = 1
MAX_FILE_BYTES = 64 * 1024 * 1024
AIDS = {DOOR: "01C1F5", "timeclock": "02C1F5"}
WAITING = ("slow", "relayed")
"""Faults that only wait: a script has no use for the time."""
_GOOD = "nothing: it has to open"

GOOD_CARDS = (
    BadCard("good", _GOOD, "a card as the city issues it", "granted", "granted", issued),
    BadCard(VICTIM, _GOOD, "the card whose number others have copied", "granted", "granted", issued),
    BadCard("good-piv", _GOOD, "a PIV card as the city issues it", "granted", "granted", issued_piv, piv=True),
)


@dataclass(frozen=True)
class ExportedCard:
    """One card as the file has it; ``card`` is ready to be held to a reader."""

    name: str
    reason: str
    detail: str
    piv: bool
    card: Card
    script: Script


def new_town() -> Town:
    """A town whose keys nobody has used before."""
    now = datetime.now(UTC).replace(microsecond=0)
    uses = {
        use: UseMasters(bytes.fromhex(aid), *(secrets.token_bytes(16) for _ in range(3))) for use, aid in AIDS.items()
    }
    return Town(b"TENDER", uses, make_issuer("Deck of bad cards", now - timedelta(days=30)), now - timedelta(days=1))


def export(town: Town) -> dict[str, Any]:
    """The whole file as a JSON document."""
    return {
        "bad_cards": VERSION,
        "today": town.today.isoformat(),
        "system_id": town.system_id.hex(),
        "authority": town.authority.certificate.public_bytes(Encoding.PEM).decode("ascii"),
        "uses": {
            use: {
                "aid_as_sent": masters.aid_as_sent.hex(),
                "application_master": masters.application_master.hex(),
                "proof_master": masters.proof_master.hex(),
                "locate_key": masters.locate_key.hex(),
            }
            for use, masters in town.uses.items()
        },
        "cards": [_exported(card, town) for card in GOOD_CARDS + BAD_CARDS],
    }


def read_export(document: object) -> list[ExportedCard]:
    """The cards of a document that `export` made.

    Raises:
        DeckError: if it is something else; the message names the place.
    """
    fields = Fields(document, "export")
    fields.integer("bad_cards", VERSION, VERSION)
    for name in ("today", "authority", "system_id"):
        fields.text(name)
    fields.child("uses")
    cards = [_read(card, where) for card, where in fields.items("cards")]
    fields.finish()
    return cards


def load_export(path: Path) -> list[ExportedCard]:
    """The cards of a file that `save_export` wrote.

    Raises:
        DeckError: if it cannot be read or is something else.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
        if len(raw) > MAX_FILE_BYTES:
            raise DeckError(f"{path}: an export has at most {MAX_FILE_BYTES} bytes")
        return read_export(json.loads(raw))
    except OSError as error:
        raise DeckError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DeckError(f"{path}: is not JSON") from error


def save_export(document: dict[str, Any], path: Path) -> None:
    """Write a document; it holds keys, if only of virtual cards: mode 0600.

    Raises:
        DeckError: if the file cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(_text(document))
    except OSError as error:
        raise DeckError(f"{path}: cannot be written: {error.strerror}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m cardsim.deck export [FILE]``; without a file it goes to standard output."""
    parser = argparse.ArgumentParser(prog="python -m cardsim.deck", description="The deck of bad cards.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("export", help="write all cards, their conversations and what has to be answered")
    command.add_argument("file", nargs="?", type=Path, help="a JSON file; it is replaced")
    chosen = parser.parse_args(arguments)
    document = export(new_town())
    if chosen.file is None:
        sys.stdout.write(_text(document))
        return 0
    try:
        save_export(document, chosen.file)
    except DeckError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"


def _exported(card: BadCard, town: Town) -> dict[str, Any]:
    description = card.description(town)
    script = converse(_without_waiting(description), town, piv=card.piv)
    return {
        "name": card.name,
        "threat": card.threat,
        "made": card.made,
        "piv": card.piv,
        "reason": card.reason,
        "detail": card.detail,
        "on_record": None if card.on_record is None else _on_record(card.name, card.on_record, town),
        "card": description,
        "script": {
            "atr": script.atr.hex(),
            "stopped": script.stopped,
            "steps": [{"command": step.command.hex(), "answer": step.answer.hex()} for step in script.steps],
        },
    }


def _without_waiting(description: dict[str, Any]) -> Card:
    """The card of a description; one that only waits does not."""
    waits = description.get("fault", {}).get("kind") in WAITING
    told = {name: value for name, value in description.items() if not (waits and name == "fault")}
    (card,) = build_cards([(told, "card")], None).values()
    return card


def _on_record(name: str, record: OnRecord, town: Town) -> dict[str, Any]:
    return {
        **asdict(record),
        "numbers": {use: number_of(name, use).hex() for use in town.uses},
        "card_uuid": str(uuid_of(name)),
    }


def _read(content: object, where: str) -> ExportedCard:
    fields = Fields(content, where)
    name, reason, detail = (fields.text(member) for member in ("name", "reason", "detail"))
    for told in ("threat", "made"):
        fields.text(told)
    if fields.has("on_record"):
        fields.given("on_record")
    (card,) = build_cards([(fields.given("card"), f"{where}.card")], None).values()
    read = ExportedCard(name, reason, detail, fields.flag("piv"), card, _script(fields.child("script")))
    fields.finish()
    return read


def _script(fields: Fields) -> Script:
    steps = []
    for content, where in fields.items("steps"):
        step = Fields(content, where)
        steps.append(Step(step.octets("command", 1, MAX_APDU_LENGTH), step.octets("answer", 0, MAX_APDU_LENGTH)))
        step.finish()
    script = Script(fields.octets("atr", 2, 33), tuple(steps), fields.text("stopped"))
    fields.finish()
    return script
