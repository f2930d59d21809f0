# SPDX-License-Identifier: EUPL-1.2
"""Everything of the demonstration city that must never appear in a log or on a metrics page."""

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cardservice.cards.keys import sealing
from cardservice.cards.ports import KeyName
from cardservice.parts import key_file
from city import deck, people, seed

if TYPE_CHECKING:
    from support.service import CityFiles

# "Ute" is a name, and the end of "minute".
SHORT = 10


def personal() -> set[str]:
    """Names, logins and addresses of everybody."""
    found = set()
    for citizen in people.CITIZENS:
        found |= {citizen.login, citizen.given, citizen.surname, f"{citizen.login}@stadt.example"}
    return found


def identifiers() -> set[str]:
    """Numbers and UUIDs of every card, in every spelling a program might print."""
    numbers = {seed.number(card.card_id, use) for card in deck.CARDS for use in seed.USES}
    uuids = [deck.card_uuid(card.card_id) for card in deck.CARDS]
    return spellings(numbers | {uuid.bytes for uuid in uuids}) | {str(uuid) for uuid in uuids}


def secrets(deck_file: Path) -> set[str]:
    """Master keys, PINs and the private keys of the deck."""
    masters = {seed.master(use, purpose) for use in seed.USES for purpose in seed.PURPOSES}
    found = spellings(masters)
    for card in json.loads(deck_file.read_text())["cards"]:
        piv = card.get("piv")
        if piv is not None:
            found |= {piv["pin"], piv["puk"]}
            found |= {line for slot in piv["slots"].values() for line in slot["key"].splitlines()[1:-1]}
    return found


def keys_of(files: "CityFiles") -> set[str]:
    """Every key that the key store of a city holds or makes of Anna's numbers, and what the service derives for itself.

    Of a token, what can be had of it: the keys of her card.
    """
    keys = files.settings().keys
    opened = sealing.open_file(keys.store, keys.passphrase_file.read_bytes().strip())
    content = opened.content
    found = {opened.file_key, bytes.fromhex(content["root"])}
    found |= {bytes.fromhex(one["key"]) for one in content["masters"]}
    store = key_file(files.settings()).load()
    for one in store.generations:
        if one.closed_ms is None and one.use != "card":
            number = seed.number("anna", one.use)
            names = [KeyName(one.use, purpose, one.number) for purpose in seed.PURPOSES]
            found |= {store.application_key(name, number).wrap_for_change(lambda key: key) for name in names}
    found.add(store.picc_key(store.newest("card"), bytes(12)).wrap_for_change(lambda key: key))
    found |= {store.secret(purpose) for purpose in ("", "receipts", "sign-in devices", "canteen pseudonym")}
    return spellings(found)


def found_in(text: str, canaries: set[str]) -> set[str]:
    """Return the canaries that appear in `text`, whatever their case: short ones as words, long ones anywhere."""
    lower = text.lower()
    words = set(re.findall(r"[^\W_]+", lower))
    short = {canary for canary in canaries if len(canary) < SHORT and canary.isalnum()}
    found = {canary for canary in short if canary.lower() in words}
    return found | {canary for canary in canaries - short if canary.lower() in lower}


def spellings(values: set[bytes]) -> set[str]:
    """Return values as a program might print them: hexadecimal, as Python shows bytes, base64."""
    spelled = {value.hex() for value in values} | {repr(value)[2:-1] for value in values}
    return spelled | {base64.b64encode(value).decode().rstrip("=") for value in values}
