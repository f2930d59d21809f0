# SPDX-License-Identifier: EUPL-1.2
"""What a plain reader and a card say to each other, command by command, until the card is proved or the reader stops.

The reader is the one of docs/card-layout.md (section "The tap"), for PIV that of SP 800-73-4 part 2 appendix A without
a check of the certificate. It is no judge: where it stops only tells how far a card comes.
"""

import secrets
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cardsim import tlv
from cardsim.bad_cards import DOOR, Town, keys_of
from cardsim.errors import CardPulled
from cardsim.faults import FaultyCard
from cardsim.interfaces import Card
from cardsim.personalise import NUMBER_LENGTH
from cardsim.piv_objects import CERTIFICATES
from cardsim.reader import PROOF_KEY, CardRefused, locate

PROVED = "proved"
LEFT = "the card left"
MAX_STEPS = 40
SELECT_PIV = bytes.fromhex("00A404000BA00000030800001000010000")
GET_CERTIFICATE = bytes.fromhex("00CB3FFF055C03") + CERTIFICATES[0x9E] + b"\x00"
MORE_DATA = 0x61


@dataclass(frozen=True)
class Step:
    """A command and what was answered to it, status word included; empty where the card left."""

    command: bytes
    answer: bytes


@dataclass(frozen=True)
class Script:
    """One conversation; ``stopped`` says where the reader stopped, `PROVED` if it had nothing to object to."""

    atr: bytes
    steps: tuple[Step, ...]
    stopped: str


@dataclass
class _Noted(FaultyCard):
    """The card, with every step written down."""

    card: Card
    steps: list[Step] = field(default_factory=list)

    def transmit(self, apdu: bytes) -> bytes:
        """Let the card answer and write it down.

        Raises:
            CardRefused: after `MAX_STEPS`.
        """
        if len(self.steps) == MAX_STEPS:
            raise CardRefused(f"no end after {MAX_STEPS} commands")
        try:
            answer = self.card.transmit(apdu)
        except CardPulled:
            self.steps.append(Step(apdu, b""))
            raise
        self.steps.append(Step(apdu, answer))
        return answer


def converse(card: Card, town: Town, *, piv: bool) -> Script:
    """Hold a card to the reader."""
    noted = _Noted(card)
    atr = card.power_on("contactless")
    try:
        if piv:
            _prove_piv(noted)
        else:
            _prove_desfire(noted, town)
        stopped = PROVED
    except CardPulled:
        stopped = LEFT
    except CardRefused as refused:
        stopped = refused.what
    except ValueError:
        # What the cipher says of bytes that are no whole blocks.
        stopped = "an answer has the wrong length"
    finally:
        card.power_off()
    return Script(atr, tuple(noted.steps), stopped)


def _prove_desfire(card: Card, town: Town) -> None:
    door = town.uses[DOOR]
    reader, content = locate(card, door.aid_as_sent, locate_key=door.locate_key)
    keys = keys_of(town, content[-NUMBER_LENGTH:])
    reader.authenticate_non_first(PROOF_KEY, keys.proof_key)


def _prove_piv(card: Card) -> None:
    _answer(card, SELECT_PIV)
    try:
        certificate = tlv.decode(tlv.decode(_answer(card, GET_CERTIFICATE))[0x53])[0x70]
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, KeyError, UnsupportedAlgorithm):
        raise CardRefused("the certificate cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CardRefused("the certificate has no P-256 key")
    digest = secrets.token_bytes(32)
    challenge = tlv.encode(b"\x7c", tlv.encode(b"\x82", b"") + tlv.encode(b"\x81", digest))
    answer = _answer(card, bytes.fromhex("0087119E") + bytes([len(challenge)]) + challenge + b"\x00")
    try:
        key.verify(tlv.decode(tlv.decode(answer)[0x7C])[0x82], digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except (ValueError, KeyError, InvalidSignature):
        raise CardRefused("the signature is wrong") from None


def _answer(card: Card, command: bytes) -> bytes:
    """The whole answer, with GET RESPONSE as long as more is promised; `_Noted` ends what has no end."""
    answer = card.transmit(command)
    collected = answer[:-2]
    while answer[-2:-1] == bytes([MORE_DATA]):
        answer = card.transmit(bytes.fromhex("00C00000") + answer[-1:])
        collected += answer[:-2]
    if answer[-2:] != b"\x90\x00":
        raise CardRefused(f"command {command[1]:02X}: status {answer[-2:].hex().upper()}")
    return collected
