# SPDX-License-Identifier: EUPL-1.2
"""Bad cards that are none of the city's: copies of a serial number, other chips, cards that only disturb."""

from cardsim.bad_cards import BadCard, Description, Maker, Town, disturbed, keys_of, number_of, use_with

CLONED_UID = bytes.fromhex("04C1F5A2B3C480")
BIG_ANSWER = bytes(60_000) + b"\x91\x00"


def _fault(kind: str, **members: object) -> Maker:
    """A card with nothing inside but a fault."""

    def describe(_town: Town, _name: str) -> Description:
        return {"fault": {"kind": kind, **members}}

    return describe


def _cloned_uid(_town: Town, _name: str) -> Description:
    return {"desfire": {"factory": "EV2", "uid": CLONED_UID.hex()}}


def _foreign_application(town: Town, name: str) -> Description:
    foreign = use_with(town, number_of(name), aid_as_sent="010203")
    return {"desfire": {"system_id": town.system_id.hex(), "uses": [foreign], "shows_uid": True}}


def _first_generation(town: Town, name: str) -> Description:
    keys = keys_of(town, number_of(name))
    return {
        "desfire": {
            "system_id": town.system_id.hex(),
            "chip": "EV1",
            "one_key_set": True,
            "uses": [use_with(town, keys.number)],
        }
    }


def _pulled(n_apdus: int, where: str) -> BadCard:
    return BadCard(
        f"pulled-{n_apdus}",
        "tearing: a half-finished conversation is taken for a finished one",
        f"a genuine card leaves the field at command {n_apdus} of the tap ({where})",
        "card_gone",
        "card_removed",
        disturbed("pulled_after", n_apdus=n_apdus),
    )


STRANGERS = (
    BadCard(
        "uid-only",
        "a UID is taken for a proof: anybody who stood beside the holder has it",
        "a memory card that tells a UID and answers 6D00 to everything else",
        "card_unsupported",
        "class_not_supported",
        _fault("uid_only"),
        None,
    ),
    BadCard(
        "classic",
        "MIFARE Classic and its clones: keys are broken in minutes, some open to a built-in key",
        "a storage card behind PC/SC that accepts every key and reads every block",
        "card_unsupported",
        "class_not_supported",
        _fault("memory_card", uid="04A1B2C3", block="00" * 16),
        None,
    ),
    BadCard(
        "cloned-uid",
        "a bought blank card is given the UID of an employee's card",
        "a DESFire from the factory with that UID and none of the city's applications",
        "card_unsupported",
        "application_missing",
        _cloned_uid,
        None,
    ),
    BadCard(
        "foreign-application",
        "a DESFire of another system: a hotel's, a bus company's",
        "the right keys and file, but under another AID",
        "card_unsupported",
        "application_missing",
        _foreign_application,
    ),
    BadCard(
        "first-generation",
        "downgrade: an old chip without AuthenticateEV2First drives the reader to weaker messaging",
        "a DESFire EV1 with the right keys; answers 911C to 71",
        "card_unsupported",
        "command_unknown",
        _first_generation,
    ),
    BadCard(
        "mute",
        "a reader that waits for ever is a door out of order",
        "an ATR, then not one byte to any command",
        "card_gone",
        "card_removed",
        _fault("mute"),
        None,
    ),
    BadCard(
        "atr-only",
        "a chip whose operating system does not run",
        "an ATR, then 6F00 to every command",
        "card_garbled",
        "status_unexpected",
        _fault("parrot", answer="6F00"),
        None,
    ),
    BadCard(
        "parrot",
        "an answer that says success is taken for one",
        "9000 without data to every command",
        "card_garbled",
        "status_unexpected",
        _fault("parrot", answer="9000"),
        None,
    ),
    BadCard(
        "yes-man",
        "an answer that says success is taken for one",
        "9100 without data to every command",
        "card_garbled",
        "status_unexpected",
        _fault("parrot", answer="9100"),
        None,
    ),
    BadCard(
        "random-status",
        "an unknown status word drives the reader into a state nobody thought of",
        "two random bytes to every command",
        "card_garbled",
        "status_unexpected",
        _fault("random_status", seed=4711),
        None,
    ),
    BadCard(
        "garbage",
        "random bytes drive the reader into a state nobody thought of",
        "some 200 random bytes with the status of another protocol to every command",
        "card_garbled",
        "status_unexpected",
        _fault("garbage", seed=442),
        None,
    ),
    BadCard(
        "endless-frames",
        "an endless answer fills memory or holds the reader for ever",
        "promises more (91AF) after every frame",
        "card_garbled",
        "status_unexpected",
        _fault("endless"),
        None,
    ),
    BadCard(
        "endless-read",
        "an endless answer fills memory or holds the reader for ever",
        "a genuine card whose answer to ReadData says that more follows (91AF), and again",
        "card_garbled",
        "status_unexpected",
        disturbed("tampered", ins="AD", answer="00" * 32 + "91AF"),
    ),
    BadCard(
        "oversize",
        "an answer longer than any buffer",
        "60,000 bytes and 9100 to every command: PC/SC itself breaks off",
        "card_gone",
        "reader_failed",
        _fault("parrot", answer=BIG_ANSWER.hex()),
        None,
    ),
    BadCard(
        "long-answer",
        "an answer longer than its place",
        "200 bytes and 9100 to every command",
        "card_garbled",
        "answer_length",
        _fault("parrot", answer="00" * 200 + "9100"),
        None,
    ),
    _pulled(1, "SelectApplication"),
    _pulled(2, "the challenge of the locate key"),
    _pulled(3, "the proof of the locate key"),
    _pulled(4, "ReadData"),
    _pulled(5, "the challenge of the proof key"),
    _pulled(6, "the proof of the proof key"),
    BadCard(
        "slow",
        "a card that takes its time holds a door up, or is somewhere else",
        "a genuine card that waits 1.6 s before every answer, at a point that gives a whole tap 3 s",
        "card_gone",
        "card_silent",
        disturbed("slow", delay_s=1.6),
    ),
    BadCard(
        "relayed",
        "relay: the card lies in its holder's pocket, two people with telephones stand in between",
        "a genuine card at the end of a line that takes 1.6 to 1.8 s for each answer",
        "card_gone",
        "card_silent",
        disturbed("relayed", delay_s=1.6, jitter_s=0.2, seed=7),
    ),
)
