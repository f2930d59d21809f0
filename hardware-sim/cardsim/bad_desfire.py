# SPDX-License-Identifier: EUPL-1.2
"""Bad DESFires: copies, guessed and default keys, keys of another place, wrong files."""

from cardsim.bad_cards import (
    DOOR,
    UNKNOWN_KEY,
    VICTIM,
    BadCard,
    Description,
    Maker,
    Town,
    desfire_with_uses,
    disturbed,
    held_keys,
    issued,
    keys_of,
    number_of,
    use_with,
)
from cardsim.desfire_data import KEY_LENGTH
from cardsim.personalise import LAYOUT

OTHER_USE = "timeclock"
OTHER_SYSTEM_ID = b"ELSEWHERE"
UNUSED_GENERATION = 0xEE


def _with_keys(**keys: bytes) -> Maker:
    """The city's application under the card's own number, with other keys than it should have."""

    def describe(town: Town, name: str) -> Description:
        changed = {key: value.hex() for key, value in keys.items()}
        return desfire_with_uses(town, held_keys(keys_of(town, number_of(name)), **changed))

    return describe


def _with_file(content: bytes, *, number_follows: bool = False) -> Maker:
    """A genuine card with something else in file 1."""

    def describe(town: Town, name: str) -> Description:
        number = number_of(name)
        return desfire_with_uses(town, use_with(town, number, file=(content + number * number_follows).hex()))

    return describe


def _with_read_key(key_number: int) -> Maker:
    def describe(town: Town, name: str) -> Description:
        return desfire_with_uses(town, use_with(town, number_of(name), read_key=key_number))

    return describe


def _clone(town: Town, _name: str) -> Description:
    return {**desfire_with_uses(town, use_with(town, number_of(VICTIM))), "fault": {"kind": "cloned_number"}}


def _copied_file(town: Town, name: str) -> Description:
    """The victim's number in the file, the card's own keys beside it."""
    copied = bytes([LAYOUT, 1]) + number_of(VICTIM)
    return desfire_with_uses(town, use_with(town, number_of(name), file=copied.hex()))


def _other_city(town: Town, name: str) -> Description:
    """Another installation with the same masters by mistake: only the system id differs."""
    masters = use_with(town, number_of(name))
    return {"desfire": {"system_id": OTHER_SYSTEM_ID.hex(), "uses": [masters]}}


def _other_application(town: Town, name: str) -> Description:
    """Keys and number of the time clock's application under the AID of the doors."""
    keys = keys_of(town, number_of(name, OTHER_USE), OTHER_USE)
    door = town.uses[DOOR]
    return desfire_with_uses(
        town, held_keys(keys, aid_as_sent=door.aid_as_sent.hex(), locate_key=door.locate_key.hex())
    )


def _other_number(town: Town, name: str) -> Description:
    """The time clock's number where the door's belongs, with keys that fit it: a mistake of the encoder."""
    return desfire_with_uses(town, use_with(town, number_of(name, OTHER_USE)))


KEYS = (
    BadCard(
        "cloned-number",
        "cloning: the number of an employee, read with a leaked locate key, on a bought card",
        "the victim's number and the shared locate key, guessed proof and master keys",
        "card_not_genuine",
        "proof_refused",
        _clone,
        None,
    ),
    BadCard(
        "copied-file",
        "a member of staff copies a colleague's number onto a card of the city",
        "a genuine card with the victim's number in its file; its proof key is that of its own number",
        "card_not_genuine",
        "proof_refused",
        _copied_file,
    ),
    BadCard(
        "guessed-proof-key",
        "counterfeit of one's own card after it was taken away",
        "number and locate key of a card on record, another proof key",
        "card_not_genuine",
        "proof_refused",
        _with_keys(proof_key=UNKNOWN_KEY),
    ),
    BadCard(
        "default-proof-key",
        "an encoder that stopped half-way left default keys behind",
        "a card on record whose proof key is still all zeros",
        "card_not_genuine",
        "proof_refused",
        _with_keys(proof_key=bytes(KEY_LENGTH)),
    ),
    BadCard(
        "undiversified",
        "one master key in every card: whoever opens one chip has them all",
        "the proof key is the master itself",
        "card_not_genuine",
        "proof_refused",
        lambda town, name: _with_keys(proof_key=town.uses[DOOR].proof_master)(town, name),
    ),
    BadCard(
        "other-city",
        "a card of another city that was set up from the same masters",
        "proof key diversified with another system id",
        "card_not_genuine",
        "proof_refused",
        _other_city,
    ),
    BadCard(
        "other-application",
        "the keys of a weaker use (the time clock's) open doors",
        "number and keys of the time clock under the AID of the doors",
        "card_not_genuine",
        "proof_refused",
        _other_application,
    ),
    BadCard(
        "other-number",
        "the number of one use counts in another: whoever reads time clocks can follow people through doors",
        "the time clock's number in the doors' application, proof key to match",
        "card_unknown",
        "card_unknown",
        _other_number,
    ),
    BadCard(
        "wrong-locate-key",
        "a counterfeit without any key of the city",
        "application and file as they should be, another locate key",
        "card_not_genuine",
        "locate_refused",
        _with_keys(locate_key=UNKNOWN_KEY),
    ),
    BadCard(
        "default-keys",
        "a card that was never personalised, or with an application somebody made at home",
        "the city's AID and a number on record, all keys zero",
        "card_not_genuine",
        "locate_refused",
        _with_keys(application_key=bytes(KEY_LENGTH), proof_key=bytes(KEY_LENGTH), locate_key=bytes(KEY_LENGTH)),
    ),
    BadCard(
        "two-keys-only",
        "an application of the same AID, but of another make",
        "answers 9140 (no such key) where the locate key is asked for",
        "card_not_genuine",
        "key_missing",
        disturbed("tampered", ins="71", answer="9140"),
    ),
    BadCard(
        "unregistered",
        "a card of the city that was never recorded: stolen blank stock, personalised with stolen keys",
        "genuine in every way, its number is on no record",
        "card_unknown",
        "card_unknown",
        issued,
        None,
    ),
)


FILES = (
    BadCard(
        "no-file",
        "an unfinished card",
        "the application and its keys, without file 1",
        "card_garbled",
        "file_missing",
        _with_file(b""),
    ),
    BadCard(
        "locked-file",
        "an unfinished card, or one of another layout",
        "file 1 may be read with key 0 only (919D or 91AE)",
        "card_not_genuine",
        "file_refused",
        _with_read_key(0),
    ),
    BadCard(
        "short-file",
        "a number of fewer bytes is guessed sooner",
        "file 1 has 8 bytes",
        "card_garbled",
        "file_length",
        _with_file(bytes([LAYOUT, 1]) + bytes(6)),
    ),
    BadCard(
        "unknown-layout",
        "fields are taken for what they are not",
        "layout 02 before a number on record",
        "card_garbled",
        "layout_unknown",
        _with_file(b"\x02\x01", number_follows=True),
    ),
    BadCard(
        "empty-file",
        "an unfinished card: nothing was written yet",
        "file 1 holds 14 zeros",
        "card_garbled",
        "layout_unknown",
        _with_file(bytes(14)),
    ),
    BadCard(
        "generation-zero",
        "a generation that never was makes the reader take some other key",
        "generation 00 before a number on record",
        "card_garbled",
        "layout_unknown",
        _with_file(bytes([LAYOUT, 0]), number_follows=True),
    ),
    BadCard(
        "unknown-generation",
        "keys that were withdrawn long ago, or are still to come",
        "a generation of which the city has no keys before a number on record",
        "card_not_genuine",
        "generation_unknown",
        _with_file(bytes([LAYOUT, UNUSED_GENERATION]), number_follows=True),
    ),
)

DESFIRES = KEYS + FILES
