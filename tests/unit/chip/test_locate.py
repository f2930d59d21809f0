# SPDX-License-Identifier: EUPL-1.2
"""The tap: four exchanges, one proof, and every way in which it must not succeed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.chip.card_double import DesfireDouble, Wire, aes, cmac
from unit.chip.hostile import Script, scripts

from cardservice.chip.conversation import drive
from cardservice.chip.errors import (
    ApplicationNotFound,
    AuthenticationRefused,
    CardGone,
    CardNotGenuine,
    ChipError,
    ProofKeyUnknown,
    ProtocolError,
)
from cardservice.chip.keys import CardKey, MasterKey, SoftwareAesKey, SoftwareMasterKey
from cardservice.chip.layout import CardUse
from cardservice.chip.locate import identify

NUMBER = bytes.fromhex("0102030405060708090A0B0C")
SYSTEM_ID = b"STADT"
LOCATE_NEW, LOCATE_OLD, LOCATE_FOREIGN = bytes([1] * 16), bytes([2] * 16), bytes([3] * 16)
PROOF_MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
PROOF_KEY = cmac(PROOF_MASTER, b"\x01" + NUMBER + bytes.fromhex("01C1F5") + SYSTEM_ID)


@dataclass
class Keys:
    locate: Sequence[CardKey]
    proofs: dict[int, MasterKey]

    def proof(self, generation: int) -> MasterKey | None:
        return self.proofs.get(generation)


def keys(*locate: bytes) -> Keys:
    return Keys(
        [SoftwareAesKey(key) for key in locate or (LOCATE_NEW, LOCATE_OLD)], {1: SoftwareMasterKey(PROOF_MASTER)}
    )


def card(**changes: bytes) -> DesfireDouble:
    genuine = {
        "aid": bytes.fromhex("01C1F5"),
        "locate": LOCATE_NEW,
        "proof": PROOF_KEY,
        "content": b"\x01\x01" + NUMBER,
    }
    return DesfireDouble(**{**genuine, **changes})


def tap(use: CardUse = CardUse.DOOR, known: Keys | None = None):
    return identify(use, known or keys(), system_id=SYSTEM_ID)


def test_a_genuine_card_is_proved_in_four_exchanges():
    wire = Wire(card())
    proven = wire.run(tap())
    assert (proven.use, proven.number, proven.generation) == (CardUse.DOOR, NUMBER, 1)
    assert [[command[2:4] for command in batch] for batch in wire.sent] == [["5A", "71"], ["AF"], ["AD", "77"], ["AF"]]
    assert wire.sent[0] == ["905A00000301C1F500", "9071000002020000"]
    assert wire.sent[2][0].startswith("90AD00000F" + "01" + "000000" + "0E0000")
    assert wire.sent[2][1] == "90770000010100"


def test_the_evidence_is_the_hash_of_the_whole_conversation():
    wire = Wire(card())
    proven = wire.run(tap())
    expected = hashlib.sha256()
    for command, answer in (pair for batch in wire.batches for pair in batch):
        for message in (command, answer):
            expected.update(len(message).to_bytes(4, "big") + message)
    assert proven.evidence == expected.digest()


def test_the_number_is_not_shown():
    shown = repr(drive(tap(), card()))
    assert NUMBER.hex() not in shown
    assert str(NUMBER) not in shown


def test_an_older_locate_key_costs_two_exchanges():
    wire = Wire(card(locate=LOCATE_OLD))
    assert wire.run(tap()).number == NUMBER
    assert [len(batch) for batch in wire.batches] == [2, 1, 2, 1, 2, 1]


def test_a_foreign_locate_key_is_refused_after_both_generations():
    wire = Wire(card(locate=LOCATE_FOREIGN))
    with pytest.raises(AuthenticationRefused):
        wire.run(tap())
    assert [len(batch) for batch in wire.batches] == [2, 1, 2, 1]


def test_a_withdrawn_locate_key_is_not_tried():
    with pytest.raises(AuthenticationRefused):
        drive(tap(known=keys(LOCATE_NEW)), card(locate=LOCATE_OLD))


@pytest.mark.parametrize("count", [0, 3])
def test_one_or_two_locate_keys_are_allowed(count):
    known = Keys([SoftwareAesKey(LOCATE_NEW)] * count, {})
    with pytest.raises(ValueError, match="1 to 2"):
        drive(tap(known=known), card())


def test_a_card_without_this_use_is_unknown():
    with pytest.raises(ApplicationNotFound):
        drive(tap(CardUse.CANTEEN), card())


def test_a_card_of_another_kind_is_unknown():
    with pytest.raises(ApplicationNotFound):
        drive(tap(), Script([b"\x6e\x00"]))


def test_a_stolen_locate_key_does_not_make_a_card():
    """The clone reads like the original up to exchange 3 and fails the proof."""
    with pytest.raises(CardNotGenuine, match="proof key") as refused:
        drive(tap(), card(proof=LOCATE_NEW))
    assert isinstance(refused.value.__cause__, AuthenticationRefused)


def test_a_genuine_card_cannot_claim_another_number():
    other = bytes(12)
    with pytest.raises(CardNotGenuine):
        drive(tap(), card(content=b"\x01\x01" + other))


def test_a_key_of_another_use_does_not_prove():
    proof = cmac(PROOF_MASTER, b"\x01" + NUMBER + bytes.fromhex("04C1F5") + SYSTEM_ID)
    with pytest.raises(CardNotGenuine):
        drive(tap(), card(proof=proof))


def test_a_card_that_only_pretends_the_proof_is_not_genuine():
    """It answers exchange 4 with success but cannot know RndA'."""
    pretender = card()
    finish = pretender.finish

    def answer(ins: int, body: bytes) -> bytes:
        if pretender.pending and pretender.pending[0] == 0x77:
            return aes(PROOF_KEY, bytes(16)) + b"\x91\x00"
        return finish(ins, body)

    pretender.finish = answer
    with pytest.raises(CardNotGenuine, match="random number"):
        drive(tap(), pretender)


def test_an_unknown_generation_is_refused_with_its_number():
    with pytest.raises(ProofKeyUnknown) as refused:
        drive(tap(), card(content=b"\x01\x09" + NUMBER))
    assert refused.value.generation == 9
    assert isinstance(refused.value, CardNotGenuine)


@pytest.mark.parametrize("content", [b"\x02\x01" + NUMBER, b"\x01\x00" + NUMBER, b"\x01\x01" + NUMBER + b"\x00", b""])
def test_another_layout_is_a_protocol_error(content):
    with pytest.raises(ProtocolError):
        drive(tap(), card(content=content))


@pytest.mark.parametrize("pulled_at", range(6))
def test_a_pulled_card_is_gone_at_any_command(pulled_at):
    genuine, count = card(), iter(range(100))
    with pytest.raises(CardGone):
        drive(tap(), lambda apdu: b"" if next(count) == pulled_at else genuine(apdu))


def test_a_replayed_conversation_proves_nothing():
    """Everything a genuine card has said once is worth nothing the second time: our random numbers are new."""
    wire = Wire(card())
    wire.run(tap())
    recorded = [answer for batch in wire.batches for _, answer in batch]
    with pytest.raises(ChipError):
        drive(tap(), Script(recorded))


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 5), bit=st.integers(0, 42 * 8 - 1))
def test_a_changed_bit_is_never_accepted(position, bit):
    """Whatever single bit a relay changes in a genuine card's answers, the tap is refused."""
    genuine, count = card(), iter(range(100))

    def relay(apdu: bytes) -> bytes:
        answer = bytearray(genuine(apdu))
        if next(count) == position:
            answer[bit // 8 % len(answer)] ^= 1 << bit % 8
        return bytes(answer)

    with pytest.raises(ChipError):
        drive(tap(), relay)


@settings(max_examples=200, deadline=None)
@given(scripts)
def test_arbitrary_answers_never_prove_a_card(script):
    wire = Wire(Script(script))
    with pytest.raises(ChipError):
        wire.run(tap())
    assert len(wire.batches) <= 6


@settings(max_examples=100, deadline=None)
@given(good=st.integers(0, 5), script=scripts)
def test_arbitrary_answers_after_a_good_beginning_never_prove_a_card(good, script):
    genuine, hostile, count = card(), Script(script), iter(range(100))
    with pytest.raises(ChipError):
        drive(tap(), lambda apdu: genuine(apdu) if next(count) < good else hostile(apdu))
