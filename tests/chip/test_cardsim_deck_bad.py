# SPDX-License-Identifier: EUPL-1.2
"""The deck of bad cards: each card lies as its catalogue says, and the whole can be handed to somebody else."""

import json
import re
import stat
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from cardsim import bad_cards
from cardsim.bad_cards import DOOR, VICTIM, good_card, keys_of, number_of, unique
from cardsim.bad_deck import BAD_CARDS
from cardsim.bad_faults import MemoryCard, RandomStatus, Reflecting, Tampered, Tampering, Unrotated
from cardsim.bad_standing import STANDINGS
from cardsim.deck import build_cards, load_deck, save_deck
from cardsim.deck_export import GOOD_CARDS, export, load_export, new_town, read_export
from cardsim.deck_script import LEFT, MAX_STEPS, PROVED, converse
from cardsim.errors import DeckError, PersonalisationError
from cardsim.faults import EndlessCard, FaultyCard
from cardsim.reader import CardRefused, DesfireReader, tap

ROOT = Path(__file__).parent.parent.parent
CATALOGUE = ROOT / "docs" / "bad-cards.md"
GET_UID = bytes.fromhex("FFCA000000")


@pytest.fixture(scope="module")
def town():
    return new_town()


@pytest.fixture(scope="module")
def exported(town):
    return json.loads(json.dumps(export(town)))


@pytest.fixture
def genuine(town):
    (card,) = build_cards([(good_card(town, "good"), "good")], None).values()
    return card


def test_there_are_enough_of_them_and_details_tell_causes_apart():
    """At least forty cards and forty details; a detail belongs to one reason, so it says more than the reason does."""
    reasons = defaultdict(set)
    for card in BAD_CARDS:
        reasons[card.detail].add(card.reason)
    assert len(BAD_CARDS) >= 40
    assert len(reasons) >= 40
    assert {detail: found for detail, found in reasons.items() if len(found) > 1} == {}


def test_two_cards_with_one_name_are_refused():
    with pytest.raises(PersonalisationError, match="two bad cards are named uid-only"):
        unique((BAD_CARDS[0], BAD_CARDS[0]))


def test_the_document_lists_exactly_these_cards():
    """Name, reason and detail of each line are those of the catalogue, in its order."""
    rows = re.findall(
        r"^\| `([a-z0-9-]+)` \|.*\| `([a-z_]+)` \| `([a-z0-9_]+)` \|$", CATALOGUE.read_text(), re.MULTILINE
    )
    assert rows == [(card.name, card.reason, card.detail) for card in BAD_CARDS]


def test_every_card_survives_being_a_deck(tmp_path, town):
    path = tmp_path / "deck.json"
    save_deck([card.description(town) for card in BAD_CARDS], path)
    assert list(load_deck(path)) == [card.name for card in BAD_CARDS]


def test_where_the_reader_stops_says_what_is_wrong(exported):
    """A card proves itself if its chip is in order, or if all that is wrong is for the centre to see."""
    stopped = {card["name"]: card["script"]["stopped"] for card in exported["cards"]}
    assert {stopped[card.name] for card in GOOD_CARDS} == {PROVED}
    assert {stopped[card.name] for card in BAD_CARDS if card.on_record and card.on_record.state != "active"} == {PROVED}
    assert {stopped[card.name] for card in BAD_CARDS if card.detail == "proof_refused"} == {"command AF: status 91AE"}
    assert {stopped[card.name] for card in BAD_CARDS if card.name.startswith("pulled-")} == {LEFT}
    assert stopped["endless-response"] == f"no end after {MAX_STEPS} commands"
    for_the_centre = re.compile("card_unknown|certificate_.*|layout_unknown|generation_unknown|card_silent")
    proved = {card.detail for card in BAD_CARDS if stopped[card.name] == PROVED} - {card.detail for card in STANDINGS}
    assert [detail for detail in proved if not for_the_centre.fullmatch(detail)] == []


def test_each_pulled_card_leaves_at_another_command(exported):
    steps = {card["name"]: card["script"]["steps"] for card in exported["cards"]}
    assert [len(steps[f"pulled-{n}"]) for n in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert {steps[f"pulled-{n}"][-1]["answer"] for n in range(1, 7)} == {""}


def test_what_was_exported_comes_back_and_behaves_as_its_script_says(town, exported):
    """Every card, held to the reader again: the same ATR, the same first command, the same end."""
    waits = {"slow", "relayed"}
    found = {card.name: card for card in read_export(exported)}
    assert [*found] == [card.name for card in GOOD_CARDS + BAD_CARDS]
    for card in GOOD_CARDS + BAD_CARDS:
        if card.name in waits:
            continue
        read = found[card.name]
        again = converse(read.card, town, piv=read.piv)
        assert (again.atr, again.stopped) == (read.script.atr, read.script.stopped), card.name
        assert again.steps[0] == read.script.steps[0], card.name
        assert len(again.steps) == len(read.script.steps), card.name
        assert (read.reason, read.detail, read.piv) == (card.reason, card.detail, card.piv)


def test_the_command_writes_a_file_that_can_be_read_back(tmp_path):
    file = tmp_path / "tender.json"
    command = [sys.executable, "-m", "cardsim.deck", "export", str(file)]
    environment = {"PYTHONPATH": str(ROOT / "hardware-sim")}
    subprocess.run(command, check=True, env=environment, timeout=60)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [card.name for card in load_export(file)] == [card.name for card in GOOD_CARDS + BAD_CARDS]
    refused = subprocess.run(
        [*command[:-1], str(tmp_path / "none" / "x.json")],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "cannot be written" in refused.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bad_cards": 2}, r"export\.bad_cards: a whole number from 1 to 1"),
        ({"more": 1}, "unknown member 'more'"),
        ({"cards": [{}]}, r"export\.cards\[0\]\.name: this member is missing"),
        ({"authority": 7}, r"export\.authority: a text"),
    ],
)
def test_something_else_is_no_export(exported, change, message):
    with pytest.raises(DeckError, match=message):
        read_export({**exported, **change})


@pytest.mark.parametrize("content", [b"{", b"[" * 200_000])
def test_a_file_that_is_no_json_is_no_export(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(DeckError, match="is not JSON"):
        load_export(file)
    with pytest.raises(DeckError, match="cannot be read"):
        load_export(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "tampered", "ins": "AD"}, "exactly one of answer, append, cut_to, flip"),
        ({"kind": "tampered", "ins": "AD", "flip": 1, "cut_to": 2}, "exactly one of answer, append, cut_to, flip"),
        ({"kind": "tampered", "ins": "", "flip": 1}, r"fault\.ins: 1 to 8 bytes"),
        ({"kind": "reflecting", "ins": "AA"}, r"fault\.ins: 71 or 77"),
        ({"kind": "unrotated", "key": "00"}, r"fault\.key: 16 bytes"),
        ({"kind": "memory_card", "uid": "00" * 7, "block": "00" * 16}, r"fault\.uid: 4 bytes"),
        ({"kind": "parrot", "answer": "00"}, r"fault\.answer: 2 to 65538 bytes"),
        ({"kind": "random_status", "seed": -1}, r"fault\.seed: a whole number from 0"),
    ],
)
def test_faults_that_break_the_schema_are_named(town, fault, message):
    with pytest.raises(DeckError, match=message):
        build_cards([({**good_card(town, "good"), "fault": fault}, "card")], None)


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("chip", "EV9", r"desfire\.chip: one of EV1, EV2, EV3"),
        ("shows_uid", 1, r"desfire\.shows_uid: true or false"),
    ],
)
def test_wrong_members_of_a_desfire_are_named(town, member, value, message):
    description = good_card(town, "good")
    with pytest.raises(DeckError, match=message):
        build_cards([({**description, "desfire": {**description["desfire"], member: value}}, "card")], None)


def test_objects_of_a_piv_card_must_be_objects_of_the_standard(town):
    description = bad_cards.good_piv_card(town, "good")
    with pytest.raises(DeckError, match="unknown member 'FFFFFF'"):
        build_cards([({**description, "piv": {**description["piv"], "objects": {"FFFFFF": "00"}}}, "card")], None)


def test_a_shim_changes_the_answers_it_is_told_to_and_no_others(genuine):
    """The nth answer alone, and anew after each activation."""
    twice = Tampered(genuine, Tampering(b"\xca", nth=2, answer=b"\x6f\x00"))
    for _ in range(2):
        twice.power_on("contactless")
        answers = [twice.transmit(GET_UID)[-2:] for _ in range(3)]
        assert answers == [b"\x90\x00", b"\x6f\x00", b"\x90\x00"]
    genuine.power_on("contactless")
    uid = genuine.transmit(GET_UID)[:-2]
    assert Tampered(genuine, Tampering(b"\xca", cut_to=1)).transmit(GET_UID) == uid[:1] + b"\x90\x00"
    assert Tampered(genuine, Tampering(b"\xca", append=b"!")).transmit(GET_UID) == uid + b"!\x90\x00"
    assert Tampered(genuine, Tampering(b"\xca", flip=99)).transmit(GET_UID) == uid + b"\x90\x00"
    flipped = Tampered(genuine, Tampering(b"\xca", flip=0)).transmit(GET_UID)
    assert flipped == bytes([uid[0] ^ 1]) + uid[1:] + b"\x90\x00"


def refused_by(card: FaultyCard, town) -> str:
    """Where the reader stops with the good card's proof key."""
    card.power_on("contactless")
    keys = keys_of(town, number_of("good"))
    with pytest.raises(CardRefused) as refused:
        tap(card, keys.aid_as_sent, locate_key=keys.locate_key, proof_key=keys.proof_key)
    return refused.value.what


def test_reflections_and_an_unrotated_number_fail_at_their_own_step(town, genuine):
    steps = []

    class Counting(FaultyCard):
        def transmit(self, apdu: bytes) -> bytes:
            steps.append(apdu[1])
            return super().transmit(apdu)

    for card, where in (
        (Reflecting(genuine, 0x71), [0x5A, 0x71, 0xAF]),
        (Reflecting(genuine, 0x77), [0x5A, 0x71, 0xAF, 0xAD, 0x77, 0xAF]),
        (Unrotated(genuine, town.uses[DOOR].locate_key), [0x5A, 0x71, 0xAF]),
    ):
        steps.clear()
        assert "does not hold the key" in refused_by(Counting(card), town)
        assert steps == where


def test_a_memory_card_opens_every_block_to_every_key():
    card = MemoryCard("c", "c", bytes.fromhex("04A1B2C3"), b"B" * 16)
    assert (card.power_on("contactless")[:1], card.power_on("contact")) == (b"\x3b", b"")
    assert card.transmit(GET_UID) == bytes.fromhex("04A1B2C39000")
    assert card.transmit(bytes.fromhex("FF82000006FFFFFFFFFFFF")) == b"\x90\x00"
    assert card.transmit(bytes.fromhex("FFB0000410")) == b"B" * 16 + b"\x90\x00"
    for strange in (b"", b"\xff", bytes.fromhex("905A00000301C1F500"), bytes.fromhex("FFD6000400")):
        assert card.transmit(strange) == b"\x6d\x00"


def test_random_status_words_are_reproducible_and_never_a_success():
    first, second = (RandomStatus("r", "r", 7) for _ in range(2))
    answers = [first.transmit(GET_UID) for _ in range(5_000)]
    assert answers == [second.transmit(GET_UID) for _ in range(5_000)]
    assert not {b"\x90\x00", b"\x91\x00", b"\x91\xaf"} & set(answers)
    assert not [answer for answer in answers if answer[0] == 0x61 or len(answer) != 2]
    assert len(set(answers)) > 4_000


def test_an_endless_card_cannot_hold_the_reader(town):
    script = converse(EndlessCard("e", "e"), town, piv=True)
    assert len(script.steps) == MAX_STEPS


def test_an_old_chip_and_a_card_with_its_real_uid(town):
    """EV1 knows no AuthenticateEV2First; where no random UID is drawn the same one is told each time."""
    description = good_card(town, VICTIM)
    old = {**description, "desfire": {**description["desfire"], "chip": "EV1", "shows_uid": True, "uid": "04" * 7}}
    (card,) = build_cards([(old, "card")], None).values()
    for _ in range(2):
        card.power_on("contactless")
        assert card.transmit(GET_UID) == b"\x04" * 7 + b"\x90\x00"
    reader = DesfireReader(card)
    reader.select(town.uses[DOOR].aid_as_sent)
    assert reader.send(0x71, b"\x02\x00") == (b"", b"\x91\x1c")
