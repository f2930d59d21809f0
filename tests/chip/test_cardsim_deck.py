# SPDX-License-Identifier: EUPL-1.2
"""Decks: what is saved comes back as working cards; what breaks the schema is named and refused."""

import copy
import json
import stat
import uuid
from datetime import UTC, datetime

import pytest

from cardsim import certificates, faults
from cardsim.card import VirtualCard
from cardsim.deck import load_deck, save_deck
from cardsim.errors import DeckError
from cardsim.personalise import UseKeys, derive_card_keys
from cardsim.reader import CardRefused, locate, tap

DOOR = UseKeys(bytes.fromhex("01C1F5"), b"A" * 16, b"P" * 16, b"L" * 16, 3, b"door-number!")
KEYS = derive_card_keys(b"STADT", DOOR)
SECRETS = {"locate_key": KEYS.locate_key, "proof_key": KEYS.proof_key}
CARD_UUID = uuid.UUID("0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0")
USE = {
    "aid_as_sent": "01C1F5",
    "application_master": (b"A" * 16).hex(),
    "proof_master": (b"P" * 16).hex(),
    "locate_key": (b"L" * 16).hex(),
    "generation": 3,
    "number": DOOR.number.hex(),
}
DESFIRE = {"system_id": b"STADT".hex(), "uses": [USE]}


@pytest.fixture(scope="module")
def piv():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    order = certificates.Order(certificates.make_issuer("Test CA", now), now)
    slot = certificates.card_authentication_slot(order, CARD_UUID)
    material = {"key": certificates.key_pem(slot), "certificate": certificates.certificate_pem(slot)}
    return {
        "card_uuid": str(CARD_UUID),
        "pin": "123456",
        "puk": "12345678",
        "expires": "2031-05-04",
        "slots": {"9E": material},
    }


def description(card_id: str = "card-1", **more: object) -> dict[str, object]:
    return {"card_id": card_id, "label": "Erika", "desfire": copy.deepcopy(DESFIRE), **more}


def saved(tmp_path, *cards):
    path = tmp_path / "deck.json"
    save_deck(list(cards), path)
    return load_deck(path)


def test_a_saved_card_taps_and_answers_piv(tmp_path, piv):
    deck = saved(tmp_path, description(piv=piv, piv_contactless=True))
    card = deck["card-1"]
    assert isinstance(card, VirtualCard)
    card.power_on("contactless")
    assert tap(card, DOOR.aid_as_sent, **SECRETS) == b"\x01\x03" + DOOR.number
    assert card.transmit(bytes.fromhex("00A4040009A0000003080000100000"))[-2:] == b"\x90\x00"
    chuid = card.transmit(bytes.fromhex("00CB3FFF055C035FC10200"))
    assert CARD_UUID.bytes in chuid
    assert b"20310504" in chuid


def test_the_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "deck.json"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o644)
    save_deck([description()], path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keys_as_the_card_holds_them(tmp_path):
    """A deck can do without the masters and without the system id."""
    card = description()
    use = {k: v for k, v in USE.items() if not k.endswith("master")}
    use |= {"application_key": KEYS.application_key.hex(), "proof_key": KEYS.proof_key.hex()}
    card["desfire"] = {"uses": [use], "uid": "04010203040506", "picc_master": "00" * 16}
    loaded = saved(tmp_path, card)["card-1"]
    loaded.power_on("contactless")
    assert tap(loaded, DOOR.aid_as_sent, **SECRETS)[2:] == DOOR.number


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ({"kind": "pulled_after", "n_apdus": 2}, faults.PulledAfter),
        ({"kind": "slow", "delay_s": 0.25}, faults.SlowCard),
        ({"kind": "wrong_mac"}, faults.WrongMac),
        ({"kind": "garbage", "seed": 5}, faults.GarbageCard),
        ({"kind": "cloned_number"}, faults.ClonedNumber),
        ({"kind": "replay", "atr": "3B8180018080", "answers": ["9100", ""]}, faults.Replay),
        ({"kind": "endless"}, faults.EndlessCard),
        ({"kind": "mute"}, faults.Mute),
        ({"kind": "uid_only"}, faults.UidOnly),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_fault_wishes(tmp_path, fault, kind):
    card = saved(tmp_path, description(fault=fault))["card-1"]
    assert type(card) is kind
    assert (card.card_id, card.label) == ("card-1", "Erika")


def test_a_cloned_number_from_a_deck_fails_the_proof(tmp_path):
    card = saved(tmp_path, description(fault={"kind": "cloned_number"}))["card-1"]
    card.power_on("contactless")
    reader, content = locate(card, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    assert content[2:] == DOOR.number
    with pytest.raises(CardRefused, match="91AE"):
        reader.authenticate_non_first(1, KEYS.proof_key)


def change(path: str, value: object) -> dict[str, object]:
    """A description with one member set (or removed, by the value ``...``)."""
    card = description(fault={"kind": "mute"})
    place: object = card
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name)] if name.isdigit() else place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return card


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("card_id", ..., r"deck\.cards\[0\]\.card_id: this member is missing"),
        ("card_id", "", r"cards\[0\]\.card_id: a text"),
        ("label", 5, r"cards\[0\]\.label: a text"),
        ("colour", "red", r"cards\[0\]: unknown member 'colour'; allowed are .*card_id"),
        ("piv_contactless", 1, r"piv_contactless: true or false"),
        ("desfire", [], r"cards\[0\]\.desfire: an object"),
        ("desfire.uses", {}, r"desfire\.uses: a list"),
        ("desfire.uses.0.number", "00", r"desfire\.uses\[0\]\.number: 12 bytes in hex"),
        ("desfire.uses.0.number", "zz" * 12, r"number: 12 bytes in hex"),
        ("desfire.uses.0.number", "00 " * 8, r"number: 12 bytes in hex"),
        ("desfire.uses.0.generation", 0, r"generation: a whole number from 1 to 255"),
        ("desfire.uses.0.generation", True, r"generation: a whole number"),
        ("desfire.uses.0.proof_master", ..., r"proof_master: this member is missing"),
        ("desfire.uses.0.proof_key", "00" * 16, r"application_key: this member is missing"),
        ("desfire.uses.0.aid_as_sent", "000000", r"cards\[0\]: an AID has 3 bytes and is not 000000"),
        ("desfire.system_id", ..., r"cards\[0\]: the system id has 1 to 16 bytes"),
        ("desfire.uid", "04", r"desfire\.uid: 7 bytes"),
        ("fault.kind", "unlucky", r"fault\.kind: one of cloned_number, endless, "),
        ("fault.seed", 5, r"fault: unknown member 'seed'; allowed are kind"),
        ("fault", {"kind": "slow", "delay_s": 61}, r"delay_s: a number of seconds from 0 to 60"),
        ("fault", {"kind": "pulled_after", "n_apdus": 0}, r"n_apdus: a whole number from 1"),
        ("fault", {"kind": "replay", "atr": "3B00", "answers": ["9"]}, r"answers\[0\]: 0 to 65538 bytes"),
    ],
)
def test_breaches_of_the_schema_are_named(tmp_path, path, value, message):
    deck = tmp_path / "deck.json"
    card = change(path, value)
    with pytest.raises(DeckError, match=message):
        save_deck([card], deck)
    assert not deck.exists()
    deck.write_text(json.dumps({"deck": 1, "cards": [card]}), encoding="utf-8")
    with pytest.raises(DeckError, match=message):
        load_deck(deck)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("card_uuid", "1", "a UUID is expected"),
        ("expires", "tomorrow", "a date YYYY-MM-DD"),
        ("pin", "99", "6 to 8 decimal digits"),
        ("puk", "4711", "8 ASCII"),
        ("slots", {"9B": {}}, "unknown member '9B'; allowed are 9A, 9C, 9D, 9E"),
        ("slots", {"9E": {"key": "SECRETPEM", "certificate": "x"}}, "the PEM of a key or certificate"),
    ],
)
def test_breaches_inside_piv_are_named_without_repeating_secrets(tmp_path, piv, name, value, message):
    with pytest.raises(DeckError, match=message) as refused:
        save_deck([description(piv={**piv, name: value})], tmp_path / "deck.json")
    assert "SECRETPEM" not in str(refused.value)
    if name in ("pin", "puk"):
        assert value not in str(refused.value)


def test_card_ids_are_unique(tmp_path):
    with pytest.raises(DeckError, match=r"cards\[1\]\.card_id: another card"):
        save_deck([description(), description()], tmp_path / "deck.json")


def test_a_cloned_number_needs_uses(tmp_path):
    card = {"card_id": "c", "label": "c", "fault": {"kind": "cloned_number"}}
    with pytest.raises(DeckError, match="needs the uses it shows"):
        save_deck([card], tmp_path / "deck.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "deck: an object"),
        ('{"deck": 2, "cards": []}', r"deck\.deck: a whole number from 1 to 1"),
        ('{"deck": 1}', r"deck\.cards: this member is missing"),
        ('{"deck": 1, "cards": [], "more": 1}', "unknown member 'more'"),
    ],
    ids=["empty", "deep", "not UTF-8", "list", "version", "no cards", "more"],
)
def test_files_that_are_no_deck(tmp_path, content, message):
    path = tmp_path / "deck.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DeckError, match=message):
        load_deck(path)


def test_a_missing_file_and_a_missing_directory(tmp_path):
    with pytest.raises(DeckError, match="cannot be read"):
        load_deck(tmp_path / "none.json")
    with pytest.raises(DeckError, match="cannot be written"):
        save_deck([], tmp_path / "none" / "deck.json")
