# SPDX-License-Identifier: EUPL-1.2
"""DESFire commands in ISO 7816-4 wrapping, and the session after AuthenticateEV2First (NXP AN12343, AN12196).

A `Command` is the APDU to send together with the way to read its answer. It can therefore be sent before the answer
of an earlier command is known, which is what lets commands share an exchange:

    select, begin = select_application(aid), authenticate_ev2_first(key_no=2)
    selected, begun = yield from exchange(select.apdu, begin.apdu)
    select.decode(selected)
    reply = answer_ev2_first(key, begin.decode(begun), random_bytes=random_bytes)
    (proved,) = yield from exchange(reply.apdu)
    session = reply.decode(proved)

On the card any error, and SelectApplication, end the session; after an error a `Session` is of no further use.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from cardservice.chip.apdu import CommandApdu, ResponseApdu
from cardservice.chip.conversation import Conversation, RandomBytes, exchange
from cardservice.chip.desfire_messages import CommMode, Ins, Message
from cardservice.chip.desfire_messaging import RANDOM_BYTES, TI_BYTES, Ev2Messaging, SecureChannel
from cardservice.chip.errors import (
    AnswerLengthWrong,
    AnswerTooLong,
    ApplicationNotFound,
    CardNotGenuine,
    StatusUnexpected,
)
from cardservice.chip.keys import ZERO_IV, CardKey
from cardservice.chip.status import DESFIRE_ADDITIONAL_FRAME, DESFIRE_OK, desfire_refusal

T = TypeVar("T")

MAX_FRAMES: Final = 64
MAX_COLLECTED_BYTES: Final = 65_536

_AID_BYTES: Final = 3
_NO_PCD_CAPABILITIES: Final = 0x00
_EV2_FIRST_ANSWER_BYTES: Final = 32
_UID_BYTES: Final = 7
_NO_DESFIRE_ON_THIS_CARD: Final = frozenset({0x6881, 0x6A81, 0x6A82, 0x6D00, 0x6E00})


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """A command ready to send.

    Attributes:
        apdu: the wrapped command APDU.
        decode: takes the complete answer, status word included, and returns what it means; raises `ChipError`.
    """

    apdu: bytes = field(repr=False)
    decode: Callable[[bytes], T] = field(repr=False)


def wrap(ins: Ins, body: bytes = b"") -> bytes:
    """The native command as `90 INS 00 00 [Lc body] 00`; the body has at most 255 bytes."""
    if len(body) > 0xFF:
        raise ValueError(f"a wrapped command of {len(body)} bytes, at most 255 are allowed")
    return bytes(CommandApdu(0x90, ins, 0x00, 0x00, body, le=256))


def perform(command: Command[T]) -> Conversation[T]:
    """Sends one command, collects additional frames while the card says 91AF, and decodes the whole.

    Not for the first pass of an authentication, which itself ends with 91AF.

    Raises:
        ProtocolError: the answer exceeds 64 frames or 65,536 bytes.
        ChipError: what decoding the answer raises.
    """
    return command.decode((yield from collect(command.apdu)))


def collect(apdu: bytes) -> Conversation[bytes]:
    """Sends one APDU and returns the answer of all its frames, with the status word of the last.

    Raises:
        ProtocolError: the answer exceeds 64 frames or 65,536 bytes.
        CardGone: an answer has no status word.
    """
    collected = bytearray()
    for _ in range(MAX_FRAMES):
        (raw,) = yield from exchange(apdu)
        frame = ResponseApdu.from_bytes(raw)
        collected += frame.data
        if len(collected) > MAX_COLLECTED_BYTES:
            raise AnswerTooLong("DESFire", f"the answer exceeds {MAX_COLLECTED_BYTES} bytes")
        if frame.sw != DESFIRE_ADDITIONAL_FRAME:
            return bytes(ResponseApdu(bytes(collected), frame.sw))
        apdu = wrap(Ins.ADDITIONAL_FRAME)
    raise AnswerTooLong("DESFire", f"the answer is not complete after {MAX_FRAMES} frames")


def select_application(aid: bytes) -> Command[None]:
    """SelectApplication; `aid` is 3 bytes as sent, least significant first.

    Decoding raises `ApplicationNotFound` for 91A0, and also for what a card answers that knows no DESFire at all.
    """
    if len(aid) != _AID_BYTES:
        raise ValueError(f"an application identifier has {_AID_BYTES} bytes, not {len(aid)}")

    def decode(raw: bytes) -> None:
        response = ResponseApdu.from_bytes(raw)
        if response.sw in _NO_DESFIRE_ON_THIS_CARD:
            raise ApplicationNotFound(Ins.SELECT_APPLICATION.name, response.sw, "this card answers no DESFire command")
        expect_length(Ins.SELECT_APPLICATION, accept(Ins.SELECT_APPLICATION, raw), 0)

    return Command(wrap(Ins.SELECT_APPLICATION, aid), decode)


def authenticate_ev2_first(key_no: int) -> Command[bytes]:
    """First pass of AuthenticateEV2First without PCD capabilities; decodes to E(key, RndB), 16 bytes."""
    ins = Ins.AUTHENTICATE_EV2_FIRST
    return Command(wrap(ins, bytes((key_no, _NO_PCD_CAPABILITIES))), lambda raw: _enciphered_rnd_b(ins, raw))


def answer_ev2_first(key: CardKey, enciphered_rnd_b: bytes, *, random_bytes: RandomBytes) -> Command["Session"]:
    """Second pass of AuthenticateEV2First; decodes to the open session with CmdCtr 0.

    Decoding raises `AuthenticationRefused` when the card does not accept the key, `CardNotGenuine` when RndA' is wrong.
    """
    handshake = _Handshake.begin(key, enciphered_rnd_b, random_bytes)

    def decode(raw: bytes) -> Session:
        answer = expect_length(
            Ins.AUTHENTICATE_EV2_FIRST, accept(Ins.AUTHENTICATE_EV2_FIRST, raw), _EV2_FIRST_ANSWER_BYTES
        )
        plain = key.decrypt_cbc(ZERO_IV, answer)
        ti = plain[:TI_BYTES]
        return Session(handshake.conclude(plain[TI_BYTES : TI_BYTES + RANDOM_BYTES], ti))

    return Command(wrap(Ins.ADDITIONAL_FRAME, handshake.token()), decode)


class Session:
    """An authenticated session; every command it makes advances the command counter.

    Commands must be sent in the order in which they were made, for the card counts as well.

    Args:
        channel: keys and transaction identifier.
        cmd_ctr: the number of commands so far, 0 after AuthenticateEV2First.
    """

    def __init__(self, channel: SecureChannel, cmd_ctr: int = 0) -> None:
        self.messaging = Ev2Messaging(channel, cmd_ctr)

    def read_data(self, file_no: int, offset: int, length: int, *, mode: CommMode) -> Command[bytes]:
        """ReadData from a standard or backup file; decodes to exactly `length` bytes (1 or more)."""
        header = bytes((file_no,)) + offset.to_bytes(3, "little") + length.to_bytes(3, "little")
        command = self.secured(Message(Ins.READ_DATA, mode, header))
        return Command(command.apdu, lambda raw: expect_length(Ins.READ_DATA, command.decode(raw), length))

    def write_data(self, file_no: int, offset: int, data: bytes, *, mode: CommMode) -> Command[None]:
        """WriteData to a standard or backup file, as much as one frame holds."""
        header = bytes((file_no,)) + offset.to_bytes(3, "little") + len(data).to_bytes(3, "little")
        command = self.secured(Message(Ins.WRITE_DATA, mode, header, data))

        def decode(raw: bytes) -> None:
            expect_length(Ins.WRITE_DATA, command.decode(raw), 0)

        return Command(command.apdu, decode)

    def get_file_settings(self, file_no: int) -> Command[bytes]:
        """GetFileSettings; decodes to the settings as the card encodes them."""
        return self.secured(Message(Ins.GET_FILE_SETTINGS, CommMode.MAC, bytes((file_no,))))

    def get_card_uid(self) -> Command[bytes]:
        """GetCardUID: the real identifier of a card with random UID, 7 bytes."""
        command = self.secured(Message(Ins.GET_CARD_UID, CommMode.FULL))
        return Command(command.apdu, lambda raw: expect_length(Ins.GET_CARD_UID, command.decode(raw), _UID_BYTES))

    def authenticate_ev2_non_first(self, key_no: int) -> Command[bytes]:
        """First pass of AuthenticateEV2NonFirst; decodes to E(key, RndB), 16 bytes. It is not counted."""
        ins = Ins.AUTHENTICATE_EV2_NON_FIRST
        return Command(wrap(ins, bytes((key_no,))), lambda raw: _enciphered_rnd_b(ins, raw))

    def answer_ev2_non_first(
        self, key: CardKey, enciphered_rnd_b: bytes, *, random_bytes: RandomBytes
    ) -> Command["Session"]:
        """Second pass of AuthenticateEV2NonFirst; decodes to a session with new keys, the same TI and counter.

        Decoding raises as that of `answer_ev2_first` does.
        """
        handshake = _Handshake.begin(key, enciphered_rnd_b, random_bytes)
        ti, cmd_ctr = self.messaging.channel.ti, self.messaging.cmd_ctr

        def decode(raw: bytes) -> Session:
            ins = Ins.AUTHENTICATE_EV2_NON_FIRST
            answer = expect_length(ins, accept(ins, raw), RANDOM_BYTES)
            return Session(handshake.conclude(key.decrypt_cbc(ZERO_IV, answer), ti), cmd_ctr)

        return Command(wrap(Ins.ADDITIONAL_FRAME, handshake.token()), decode)

    def prove(self, key: CardKey, enciphered_rnd_b: bytes, *, random_bytes: RandomBytes) -> Command[None]:
        """Second pass of AuthenticateEV2NonFirst for whoever wants the proof alone: no session keys are derived.

        Decoding raises as that of `answer_ev2_first` does. Nothing more can be said to the card afterwards.
        """
        handshake = _Handshake.begin(key, enciphered_rnd_b, random_bytes)

        def decode(raw: bytes) -> None:
            ins = Ins.AUTHENTICATE_EV2_NON_FIRST
            answer = expect_length(ins, accept(ins, raw), RANDOM_BYTES)
            handshake.verify(key.decrypt_cbc(ZERO_IV, answer))

        return Command(wrap(Ins.ADDITIONAL_FRAME, handshake.token()), decode)

    def secured(self, message: Message) -> Command[bytes]:
        """Any command under secure messaging; decodes to the plain answer.

        Decoding raises `StatusError`, `CardNotGenuine` for a wrong MAC, `ProtocolError` for a malformed answer.
        """
        sealed = self.messaging.seal(message)
        return Command(wrap(message.ins, sealed.body), lambda raw: sealed.reveal(accept(message.ins, raw)))


@dataclass(frozen=True, slots=True)
class _Handshake:
    """Our side of the three-pass mutual authentication: what we know between the two passes."""

    key: CardKey
    rnd_a: bytes = field(repr=False)
    rnd_b: bytes = field(repr=False)

    @classmethod
    def begin(cls, key: CardKey, enciphered_rnd_b: bytes, random_bytes: RandomBytes) -> "_Handshake":
        rnd_a = random_bytes(RANDOM_BYTES)
        if len(rnd_a) != RANDOM_BYTES:
            raise ValueError(f"the random source gave {len(rnd_a)} bytes, {RANDOM_BYTES} were asked for")
        return cls(key, rnd_a, key.decrypt_cbc(ZERO_IV, enciphered_rnd_b))

    def token(self) -> bytes:
        """E(key, RndA ‖ RndB'): it shows the card that we hold the key."""
        return self.key.encrypt_cbc(ZERO_IV, self.rnd_a + rotate_left(self.rnd_b))

    def verify(self, rnd_a_rotated: bytes) -> None:
        """Raises `CardNotGenuine` unless the card returned RndA': only then it holds the key as well."""
        if not hmac.compare_digest(rnd_a_rotated, rotate_left(self.rnd_a)):
            raise CardNotGenuine("the card did not return our random number: it does not hold the key")

    def conclude(self, rnd_a_rotated: bytes, ti: bytes) -> SecureChannel:
        """The channel of a card that is genuine."""
        self.verify(rnd_a_rotated)
        return SecureChannel.derive(self.key, self.rnd_a, self.rnd_b, ti)


def rotate_left(random_number: bytes) -> bytes:
    """RndA' or RndB': turned left by one byte."""
    return random_number[1:] + random_number[:1]


def _enciphered_rnd_b(ins: Ins, raw: bytes) -> bytes:
    return expect_length(ins, accept(ins, raw, expected_sw=DESFIRE_ADDITIONAL_FRAME), RANDOM_BYTES)


def accept(ins: Ins, raw: bytes, *, expected_sw: int = DESFIRE_OK) -> bytes:
    """The data of an answer with the expected status word; raises `StatusError` or `ProtocolError` for another."""
    response = ResponseApdu.from_bytes(raw)
    if response.sw == expected_sw:
        return response.data
    if response.sw in {DESFIRE_OK, DESFIRE_ADDITIONAL_FRAME}:
        raise StatusUnexpected(ins.name, f"status word {response.sw:04X} where {expected_sw:04X} is expected")
    raise desfire_refusal(ins.name, response.sw)


def expect_length(ins: Ins, data: bytes, length: int) -> bytes:
    """The data, if there are `length` bytes of it; raises `ProtocolError` if not."""
    if len(data) != length:
        raise AnswerLengthWrong(ins.name, f"the answer has {len(data)} bytes, {length} are expected")
    return data
