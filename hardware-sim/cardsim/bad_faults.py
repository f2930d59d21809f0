# SPDX-License-Identifier: EUPL-1.2
"""Ways to misbehave that the deck of bad cards needs beside those of `faults`: lies at one place of a conversation."""

import random
from dataclasses import dataclass, field

from cardsim import desfire_crypto as crypto
from cardsim.desfire import WRAPPED_CLASS
from cardsim.desfire_data import KEY_LENGTH
from cardsim.desfire_status import Instruction
from cardsim.faults import STORAGE_CARD_ATR, FaultyCard, StandIn
from cardsim.interfaces import Card, Interface

OK = b"\x91\x00"
MORE = b"\x91\xaf"
LOAD_KEY, AUTHENTICATE_BLOCK, READ_BLOCK = 0x82, 0x86, 0xB0
# Where the data of a wrapped frame begin and what follows them: 90 INS 00 00 Lc ... 00.
_DATA = slice(5, -1)
_TI_LENGTH = 4


@dataclass(frozen=True)
class Tampering:
    """What happens to the answers to some instructions; of the four changes one is made.

    Args:
        ins: the instructions, each the second byte of its command.
        nth: to which of their answers in one activation, counted from 1; 0: to each.
        answer: given in place of the card's own, with its status word.
        append: follows the data, before the status word.
        cut_to: so many bytes of the data are left.
        flip: the lowest bit of the data's byte with this index is turned over, where there is one.
    """

    ins: bytes
    nth: int = 0
    answer: bytes | None = None
    append: bytes = b""
    cut_to: int | None = None
    flip: int | None = None

    def changed(self, answer: bytes) -> bytes:
        """The answer as it leaves the card."""
        if self.answer is not None:
            return self.answer
        data, status = bytearray(answer[:-2]), answer[-2:]
        if self.cut_to is not None:
            del data[self.cut_to :]
        if self.flip is not None and self.flip < len(data):
            data[self.flip] ^= 0x01
        return bytes(data) + self.append + status


class Tampered(FaultyCard):
    """A card whose answers to some instructions are changed on their way, as by a shim between chip and antenna."""

    def __init__(self, card: Card, tampering: Tampering) -> None:
        super().__init__(card)
        self._tampering = tampering
        self._seen = 0

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card and count anew."""
        self._seen = 0
        return super().power_on(interface)

    def transmit(self, apdu: bytes) -> bytes:
        """Answer, changed where it is the turn of this answer."""
        answer = super().transmit(apdu)
        if len(apdu) < 2 or apdu[1] not in self._tampering.ins:
            return answer
        self._seen += 1
        return self._tampering.changed(answer) if self._tampering.nth in (0, self._seen) else answer


class Reflecting(FaultyCard):
    """Holds no key for one authentication: draws a challenge, then sends back what the reader sent (a reflection)."""

    def __init__(self, card: Card, ins: int) -> None:
        super().__init__(card)
        self._ins = ins
        self._begun = False

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card."""
        self._begun = False
        return super().power_on(interface)

    def transmit(self, apdu: bytes) -> bytes:
        """The reader's own cryptogram as the proof: all of it after 71, its first block after 77."""
        begun, self._begun = self._begun, False
        if begun and apdu[:2] == bytes([WRAPPED_CLASS, Instruction.ADDITIONAL_FRAME]):
            sent = apdu[_DATA]
            return (sent if self._ins == Instruction.AUTHENTICATE_EV2_FIRST else sent[:KEY_LENGTH]) + OK
        answer = super().transmit(apdu)
        self._begun = apdu[:2] == bytes([WRAPPED_CLASS, self._ins]) and answer[-2:] == MORE
        return answer


class Unrotated(FaultyCard):
    """Knows the key of AuthenticateEV2First and returns RndA as it came instead of moved by one byte."""

    def __init__(self, card: Card, key: bytes) -> None:
        super().__init__(card)
        self._key = key
        self._begun = False

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card."""
        self._begun = False
        return super().power_on(interface)

    def transmit(self, apdu: bytes) -> bytes:
        """Answer; TI and capabilities are those of the card inside."""
        begun, self._begun = self._begun, False
        answer = super().transmit(apdu)
        if begun and answer[-2:] == OK:
            rnd_a = crypto.decrypt_cbc(self._key, apdu[_DATA])[:KEY_LENGTH]
            plain = bytearray(crypto.decrypt_cbc(self._key, answer[:-2]))
            plain[_TI_LENGTH : _TI_LENGTH + KEY_LENGTH] = rnd_a
            return crypto.encrypt_cbc(self._key, bytes(plain)) + OK
        first = bytes([WRAPPED_CLASS, Instruction.AUTHENTICATE_EV2_FIRST])
        self._begun = apdu[:2] == first and answer[-2:] == MORE
        return answer


@dataclass
class MemoryCard(StandIn):
    """A card like MIFARE Classic behind a PC/SC reader: UID, key, authentication and blocks by pseudo-APDUs alone.

    PC/SC part 3 sections 3.2.2.1.3 to 3.2.2.1.8. Every key opens it and every block reads the same, as with the clones
    that have a key for the back door.
    """

    uid: bytes
    block: bytes = field(repr=False)

    def power_on(self, interface: Interface) -> bytes:
        """The ATR of a storage card; no answer at the contacts."""
        return STORAGE_CARD_ATR if interface == "contactless" else b""

    def transmit(self, apdu: bytes) -> bytes:
        """What the reader makes of the pseudo-APDU; 6D00 for everything a processor card would know."""
        if apdu == bytes.fromhex("FFCA000000"):
            return self.uid + b"\x90\x00"
        if apdu[:1] != b"\xff" or len(apdu) < 2:
            return b"\x6d\x00"
        if apdu[1] in (LOAD_KEY, AUTHENTICATE_BLOCK):
            return b"\x90\x00"
        return self.block + b"\x90\x00" if apdu[1] == READ_BLOCK else b"\x6d\x00"


@dataclass
class Parrot(StandIn):
    """Has one answer to everything."""

    answer: bytes

    def transmit(self, apdu: bytes) -> bytes:
        """That answer."""
        return self.answer


@dataclass
class RandomStatus(StandIn):
    """Status words without data, drawn anew for each command; the same for the same seed."""

    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def transmit(self, apdu: bytes) -> bytes:
        """Two random bytes, none of them a success."""
        status = self._random.randbytes(2)
        return b"\x6f\x00" if status in (b"\x90\x00", OK, MORE) or status[:1] == b"\x61" else status
