# SPDX-License-Identifier: EUPL-1.2
"""Bad conversations of DESFires: replays, reflections, answers changed on their way."""

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
)
from cardsim.card import VirtualCard
from cardsim.faults import RecordingCard
from cardsim.personalise import LAYOUT, desfire_with, use_application
from cardsim.reader import tap


def _reflecting(ins: str) -> Maker:
    def describe(town: Town, _name: str) -> Description:
        return {**_leaked_locate_key(town), "fault": {"kind": "reflecting", "ins": ins}}

    return describe


def _leaked_locate_key(town: Town) -> Description:
    guessed = UNKNOWN_KEY.hex()
    keys = keys_of(town, number_of(VICTIM))
    return desfire_with_uses(town, held_keys(keys, application_key=guessed, proof_key=guessed))


def _unrotated(town: Town, name: str) -> Description:
    key = town.uses[DOOR].locate_key.hex()
    return {**issued(town, name), "fault": {"kind": "unrotated", "key": key}}


def _replay(town: Town, _name: str) -> Description:
    """A tap of the victim's card, written down by an ear beside the reader."""
    keys = keys_of(town, number_of(VICTIM))
    recorder = RecordingCard(VirtualCard(VICTIM, VICTIM, desfire=desfire_with([use_application(keys)])))
    atr = recorder.power_on("contactless")
    tap(recorder, keys.aid_as_sent, locate_key=keys.locate_key, proof_key=keys.proof_key)
    answers = [answer.hex() for answer in recorder.recording.answers]
    return {"fault": {"kind": "replay", "atr": atr.hex(), "answers": answers}}


CONVERSATIONS = (
    BadCard(
        "replay",
        "replay: a conversation of the victim was recorded in the corridor",
        "the answers of a whole tap, played back in their order",
        "card_not_genuine",
        "locate_wrong",
        _replay,
        None,
    ),
    BadCard(
        "reflected-locate",
        "reflection: the reader's own cryptogram is given back as proof",
        "answers AuthenticateEV2First with what the reader sent",
        "card_not_genuine",
        "locate_wrong",
        _reflecting("71"),
        None,
    ),
    BadCard(
        "reflected-proof",
        "reflection by somebody who has the leaked locate key and the victim's number",
        "answers AuthenticateEV2NonFirst with the first block the reader sent",
        "card_not_genuine",
        "proof_wrong",
        _reflecting("77"),
        None,
    ),
    BadCard(
        "unrotated",
        "a reader that does not compare RndA' byte by byte",
        "RndA is returned as it came, not moved by one byte",
        "card_not_genuine",
        "locate_wrong",
        _unrotated,
    ),
    BadCard(
        "flipped-locate",
        "a shim between chip and antenna that tries single bits",
        "one bit of the answer of the locate authentication is turned over",
        "card_not_genuine",
        "locate_wrong",
        disturbed("tampered", ins="AF", nth=1, flip=4),
    ),
    BadCard(
        "flipped-proof",
        "a shim between chip and antenna that tries single bits",
        "one bit of the answer of the proof is turned over",
        "card_not_genuine",
        "proof_wrong",
        disturbed("tampered", ins="AF", nth=2, flip=0),
    ),
    BadCard(
        "bare-success",
        "a reader that looks at the status word alone",
        "9100 without any data as the proof",
        "card_garbled",
        "answer_length",
        disturbed("tampered", ins="AF", nth=2, answer="9100"),
    ),
    BadCard(
        "short-challenge",
        "a challenge of fewer bytes is weaker and can run over a buffer's end",
        "8 bytes of RndB instead of 16",
        "card_garbled",
        "answer_length",
        disturbed("tampered", ins="71", cut_to=8),
    ),
    BadCard(
        "long-challenge",
        "an answer longer than its place",
        "16 bytes of RndB and 16 more",
        "card_garbled",
        "answer_length",
        disturbed("tampered", ins="71", append="00" * 16),
    ),
    BadCard(
        "wrong-mac",
        "the number is changed on its way",
        "one bit of the MAC of ReadData is turned over",
        "card_not_genuine",
        "mac_wrong",
        disturbed("wrong_mac"),
    ),
    BadCard(
        "flipped-number",
        "the number is changed on its way",
        "one bit of the enciphered number is turned over",
        "card_not_genuine",
        "mac_wrong",
        disturbed("tampered", ins="AD", flip=3),
    ),
    BadCard(
        "truncated-read",
        "a MAC of fewer bytes is guessed sooner",
        "half of the answer of ReadData is missing",
        "card_not_genuine",
        "mac_wrong",
        disturbed("tampered", ins="AD", cut_to=12),
    ),
    BadCard(
        "unprotected-read",
        "downgrade: a number in plain, as if the file were free",
        "14 plain bytes with the victim's number instead of the enciphered answer",
        "card_not_genuine",
        "mac_wrong",
        disturbed("tampered", ins="AD", answer=(bytes([LAYOUT, 1]) + number_of(VICTIM)).hex() + "9100"),
    ),
)
