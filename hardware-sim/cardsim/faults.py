# SPDX-License-Identifier: EUPL-1.2
"""Cards that misbehave: wrappers and stand-ins with the three methods of a card."""

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cardsim.card import CONTACT_ATR, CONTACTLESS_ATR, VirtualCard
from cardsim.desfire import WRAPPED_CLASS
from cardsim.desfire_crypto import MAC_LENGTH
from cardsim.desfire_data import KEY_LENGTH
from cardsim.desfire_status import Instruction
from cardsim.errors import CardPulled, PersonalisationError
from cardsim.interfaces import Card, Interface
from cardsim.personalise import CardKeys, desfire_with, use_application

MAX_GARBAGE_LENGTH = 300
AUTHENTICATIONS = frozenset(
    {
        Instruction.AUTHENTICATE,
        Instruction.AUTHENTICATE_ISO,
        Instruction.AUTHENTICATE_AES,
        Instruction.AUTHENTICATE_EV2_FIRST,
        Instruction.AUTHENTICATE_EV2_NON_FIRST,
    }
)
# PC/SC part 3 section 3.1.3.2.3.2: a storage card (RID of PC/SC, ISO 14443 A part 3, card name 0001).
STORAGE_CARD_ATR = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")


class FaultyCard:
    """Base of the wrappers: passes everything on to the card inside."""

    def __init__(self, card: Card) -> None:
        self.card = card

    @property
    def card_id(self) -> str:
        """Name of the card inside a deck."""
        return self.card.card_id

    @property
    def label(self) -> str:
        """Text a person would read on the card."""
        return self.card.label

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card inside and return its ATR."""
        return self.card.power_on(interface)

    def power_off(self) -> None:
        """Take the power away."""
        self.card.power_off()

    def transmit(self, apdu: bytes) -> bytes:
        """Let the card inside answer."""
        return self.card.transmit(apdu)


class PulledAfter(FaultyCard):
    """A card that leaves the reader at the n-th command of every activation, counted from 1.

    With ``carried_out`` it does what the n-th command says first, and only the answer is lost.
    """

    def __init__(self, card: Card, n_apdus: int, *, carried_out: bool = False) -> None:
        super().__init__(card)
        self._n_apdus = n_apdus
        self._carried_out = carried_out
        self._seen = 0

    def power_on(self, interface: Interface) -> bytes:
        """Put the card back and count anew."""
        self._seen = 0
        return super().power_on(interface)

    def transmit(self, apdu: bytes) -> bytes:
        """Answer, or leave.

        Raises:
            CardPulled: at the n-th command and all later ones of this activation.
        """
        self._seen += 1
        if self._seen >= self._n_apdus:
            if self._carried_out and self._seen == self._n_apdus:
                super().transmit(apdu)
            self.card.power_off()
            raise CardPulled(f"card {self.card_id} was pulled at command {self._seen}")
        return super().transmit(apdu)


class TornWrite(FaultyCard):
    """A card that leaves while it writes to a data file without backup: in every activation so many bytes arrive."""

    def __init__(self, card: Card, inner: VirtualCard, n_bytes: int) -> None:
        super().__init__(card)
        if inner.desfire is None:
            raise PersonalisationError("a torn write needs a DESFire")
        self._weakness = inner.desfire.memory.weakness
        self._n_bytes = n_bytes

    def power_on(self, interface: Interface) -> bytes:
        """Activate the card; its next write will be torn."""
        self._weakness.tears_after_bytes = self._n_bytes
        return super().power_on(interface)


class SlowCard(FaultyCard):
    """A card that waits before every answer."""

    def __init__(self, card: Card, delay_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(card)
        self._delay_s = delay_s
        self._sleep = sleep

    def transmit(self, apdu: bytes) -> bytes:
        """Wait, then answer."""
        self._sleep(self._delay_s)
        return super().transmit(apdu)


class WrongMac(FaultyCard):
    """Flips one bit of the secure messaging MAC in wrapped DESFire answers.

    It sees frames only: inside a session it changes the last byte of the data, which is the MAC in all modes but plain.
    """

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._authenticated = False
        self._chain_instruction = 0

    def power_on(self, interface: Interface) -> bytes:
        """Forget the session."""
        self._authenticated = False
        self._chain_instruction = 0
        return super().power_on(interface)

    def transmit(self, apdu: bytes) -> bytes:
        """Answer, with a wrong MAC inside a session."""
        answer = super().transmit(apdu)
        if len(apdu) < 2 or apdu[0] != WRAPPED_CLASS:
            return answer
        if apdu[1] != Instruction.ADDITIONAL_FRAME:
            self._chain_instruction = apdu[1]
        status, data = answer[-2:], answer[:-2]
        if status == b"\x91\xaf":
            return answer
        if status != b"\x91\x00" or self._chain_instruction == Instruction.SELECT_APPLICATION:
            self._authenticated = False
            return answer
        if self._chain_instruction in AUTHENTICATIONS:
            self._authenticated = True
            return answer
        if self._authenticated and len(data) >= MAC_LENGTH:
            return data[:-1] + bytes([data[-1] ^ 0x01]) + status
        return answer


@dataclass(frozen=True)
class Recording:
    """What an eavesdropper has of one activation."""

    atr: bytes
    answers: tuple[bytes, ...]


class RecordingCard(FaultyCard):
    """Writes down what the card inside answers since the last activation."""

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self._atr = b""
        self._answers: list[bytes] = []

    @property
    def recording(self) -> Recording:
        """What was heard so far."""
        return Recording(self._atr, tuple(self._answers))

    def power_on(self, interface: Interface) -> bytes:
        """Begin a new recording."""
        self._answers = []
        self._atr = super().power_on(interface)
        return self._atr

    def transmit(self, apdu: bytes) -> bytes:
        """Answer and write down."""
        answer = super().transmit(apdu)
        self._answers.append(answer)
        return answer


@dataclass
class StandIn:
    """Base of the cards that have nothing inside; they always answer nothing."""

    card_id: str
    label: str

    def power_on(self, interface: Interface) -> bytes:
        """Return an inconspicuous ATR."""
        return CONTACT_ATR if interface == "contact" else CONTACTLESS_ATR

    def power_off(self) -> None:
        """Nothing to forget."""

    def transmit(self, apdu: bytes) -> bytes:
        """No answer."""
        return b""


@dataclass
class Mute(StandIn):
    """Answers nothing, as a reader reports a card that left."""


@dataclass
class GarbageCard(StandIn):
    """Random bytes of random length, empty and single bytes included; the same for the same seed."""

    seed: int

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def transmit(self, apdu: bytes) -> bytes:
        """Garbage, sometimes with a status word that looks good."""
        length = self._random.choice((0, 1, 2, self._random.randint(3, MAX_GARBAGE_LENGTH)))
        tail = self._random.choice((b"", b"\x90\x00", b"\x91\x00", b"\x91\xaf", b"\x61\xff"))
        garbage = self._random.randbytes(length)
        return garbage if length < 2 else garbage[: -len(tail) or None] + tail


@dataclass
class EndlessCard(StandIn):
    """Always promises more: 61FF to ISO commands, 91AF to DESFire frames."""

    def transmit(self, apdu: bytes) -> bytes:
        """More and more data."""
        if apdu[:1] == bytes([WRAPPED_CLASS]):
            return bytes(59) + b"\x91\xaf"
        return bytes(255) + b"\x61\xff"


@dataclass
class Replay(StandIn):
    """Plays the recorded answers back in their order, whatever is asked; then 6F00."""

    recording: Recording

    def __post_init__(self) -> None:
        self._position = 0

    def power_on(self, interface: Interface) -> bytes:
        """Begin at the first answer."""
        self._position = 0
        return self.recording.atr

    def transmit(self, apdu: bytes) -> bytes:
        """The next answer of the recording."""
        if self._position >= len(self.recording.answers):
            return b"\x6f\x00"
        self._position += 1
        return self.recording.answers[self._position - 1]


@dataclass
class UidOnly(StandIn):
    """A plain memory card: tells its fixed UID, answers 6D00 to everything else and has no contacts."""

    uid: bytes = field(default=bytes.fromhex("04A1B2C3"))

    def power_on(self, interface: Interface) -> bytes:
        """The ATR of a storage card; no answer at the contacts."""
        return STORAGE_CARD_ATR if interface == "contactless" else b""

    def transmit(self, apdu: bytes) -> bytes:
        """The UID or a refusal."""
        return self.uid + b"\x90\x00" if apdu == bytes.fromhex("FFCA000000") else b"\x6d\x00"


@dataclass(frozen=True)
class StolenIdentity:
    """What a cloner knows: the shared locate key and the victim's file content, but not the proof key."""

    aid_as_sent: bytes
    locate_key: bytes = field(repr=False)
    generation: int
    number: bytes


class ClonedNumber(FaultyCard):
    """A DESFire that shows a victim's numbers; its application and proof keys are guessed."""

    def __init__(self, card_id: str, label: str, stolen: list[StolenIdentity]) -> None:
        applications = [
            use_application(
                CardKeys(
                    aid_as_sent=identity.aid_as_sent,
                    application_key=secrets.token_bytes(KEY_LENGTH),
                    proof_key=secrets.token_bytes(KEY_LENGTH),
                    locate_key=identity.locate_key,
                    generation=identity.generation,
                    number=identity.number,
                )
            )
            for identity in stolen
        ]
        super().__init__(VirtualCard(card_id, label, desfire=desfire_with(applications)))
