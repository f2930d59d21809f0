# SPDX-License-Identifier: EUPL-1.2
"""Cards that misbehave do so exactly as promised."""

import pytest

from cardsim.card import VirtualCard
from cardsim.errors import CardPulled
from cardsim.faults import (
    ClonedNumber,
    EndlessCard,
    GarbageCard,
    Mute,
    PulledAfter,
    RecordingCard,
    Replay,
    SlowCard,
    StolenIdentity,
    UidOnly,
    WrongMac,
)
from cardsim.personalise import UseKeys, derive_card_keys, personalise_desfire
from cardsim.reader import CardRefused, DesfireReader, locate, tap

DOOR = UseKeys(bytes.fromhex("01C1F5"), b"A" * 16, b"P" * 16, b"L" * 16, 3, b"door-number!")
KEYS = derive_card_keys(b"STADT", DOOR)
SECRETS = {"locate_key": KEYS.locate_key, "proof_key": KEYS.proof_key}
GET_UID = bytes.fromhex("FFCA000000")
GET_VERSION = bytes.fromhex("9060000000")


@pytest.fixture
def card():
    return VirtualCard("card-1", "Erika", desfire=personalise_desfire(b"STADT", [DOOR]))


@pytest.mark.parametrize("n_apdus", [1, 2, 6])
def test_a_pulled_card_leaves_at_the_nth_command_and_may_come_back(card, n_apdus):
    pulled = PulledAfter(card, n_apdus)
    for _ in range(2):
        pulled.power_on("contactless")
        for _ in range(n_apdus - 1):
            assert pulled.transmit(GET_UID)[-2:] == b"\x90\x00"
        for _ in range(2):
            with pytest.raises(CardPulled, match="card-1"):
                pulled.transmit(GET_UID)
        assert card.transmit(GET_UID) == b""


def test_a_slow_card_waits_before_each_answer(card):
    waits: list[float] = []
    slow = SlowCard(card, 1.5, waits.append)
    slow.power_on("contactless")
    assert tap(slow, DOOR.aid_as_sent, **SECRETS)[2:] == DOOR.number
    assert waits == [1.5] * 6


def test_a_wrong_mac_is_wrong_by_one_bit_and_only_inside_a_session(card):
    liar = WrongMac(card)
    liar.power_on("contactless")
    assert liar.transmit(GET_VERSION)[-2:] == b"\x91\xaf"
    liar.power_on("contactless")
    with pytest.raises(CardRefused, match="MAC of the answer"):
        locate(liar, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    reader = DesfireReader(liar)
    reader.select(DOOR.aid_as_sent)
    reader.authenticate_first(2, KEYS.locate_key)
    header = bytes.fromhex("01000000000000")
    answer, ended = reader.send(0xAD, header + reader.mac(0xAD, header))
    reader.command_counter += 1
    right = reader.mac(0, answer[:-8])
    assert (answer[-8:], ended) == (right[:-1] + bytes([right[-1] ^ 1]), b"\x91\x00")
    reader.authenticate_non_first(1, KEYS.proof_key)


def test_a_clone_shows_the_number_but_cannot_prove_itself():
    stolen = StolenIdentity(DOOR.aid_as_sent, DOOR.locate_key, DOOR.generation, DOOR.number)
    clone = ClonedNumber("clone", "clone", [stolen])
    clone.power_on("contactless")
    reader, content = locate(clone, DOOR.aid_as_sent, locate_key=KEYS.locate_key)
    assert content == b"\x01\x03" + DOOR.number
    with pytest.raises(CardRefused, match="91AE"):
        reader.authenticate_non_first(1, KEYS.proof_key)


def test_a_replayed_tap_fails_against_fresh_randomness(card):
    recorder = RecordingCard(card)
    atr = recorder.power_on("contactless")
    tap(recorder, DOOR.aid_as_sent, **SECRETS)
    assert len(recorder.recording.answers) == 6
    replay = Replay("replay", "replay", recorder.recording)
    assert replay.power_on("contactless") == atr
    with pytest.raises(CardRefused, match="does not hold the key"):
        tap(replay, DOOR.aid_as_sent, **SECRETS)
    replay.power_on("contactless")
    heard = [replay.transmit(GET_UID) for _ in range(7)]
    assert tuple(heard) == (*recorder.recording.answers, b"\x6f\x00")


def test_a_new_activation_begins_a_new_recording(card):
    recorder = RecordingCard(card)
    recorder.power_on("contactless")
    recorder.transmit(GET_UID)
    recorder.power_on("contactless")
    assert recorder.recording.answers == ()


def test_garbage_is_reproducible_and_covers_the_short_lengths():
    first, second, other = (GarbageCard("g", "g", seed) for seed in (7, 7, 8))
    answers = [first.transmit(GET_UID) for _ in range(200)]
    assert answers == [second.transmit(GET_UID) for _ in range(200)]
    assert answers != [other.transmit(GET_UID) for _ in range(200)]
    assert {0, 1, 2} <= {len(answer) for answer in answers}
    assert max(len(answer) for answer in answers) > 100


def test_an_endless_card_always_promises_more():
    endless = EndlessCard("e", "e")
    assert {endless.transmit(GET_VERSION)[-2:] for _ in range(50)} == {b"\x91\xaf"}
    assert {endless.transmit(bytes.fromhex("00C00000FF"))[-2:] for _ in range(50)} == {b"\x61\xff"}


def test_a_mute_card_has_an_atr_and_no_answers():
    mute = Mute("m", "m")
    assert mute.power_on("contactless")[0] == 0x3B
    assert mute.transmit(GET_UID) == b""
    mute.power_off()


def test_a_memory_card_tells_its_uid_and_nothing_else():
    memory = UidOnly("u", "u")
    atr = memory.power_on("contactless")
    check = 0
    for octet in atr[1:]:
        check ^= octet
    assert (check, memory.power_on("contact")) == (0, b"")
    assert memory.transmit(GET_UID) == memory.uid + b"\x90\x00"
    assert memory.transmit(GET_VERSION) == b"\x6d\x00"


def test_wrappers_keep_the_identity_of_the_card(card):
    wrapped = WrongMac(PulledAfter(card, 3))
    assert (wrapped.card_id, wrapped.label) == ("card-1", "Erika")
    wrapped.power_on("contactless")
    wrapped.power_off()
    assert card.transmit(GET_UID) == b""
