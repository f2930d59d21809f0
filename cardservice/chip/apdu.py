# SPDX-License-Identifier: EUPL-1.2
"""Command and response APDUs, command chaining and GET RESPONSE (ISO 7816-4 §5.1)."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cardservice.chip.conversation import MAX_RESPONSE_BYTES, Conversation, exchange
from cardservice.chip.errors import AnswerTooLong, CardGone, ProtocolError
from cardservice.chip.status import SUCCESS, iso_refusal

MAX_ROUNDS: Final = 64
MAX_COLLECTED_BYTES: Final = 65_536
# What is fetched beside the card: more than any object has that a tap reads.
MAX_FETCHED_PARTS: Final = 16
MAX_FETCHED_BYTES: Final = 4_096

_SHORT_LC_MAX: Final = 255
_SHORT_LE_MAX: Final = 256
_EXTENDED_LC_MAX: Final = 65_535
_EXTENDED_LE_MAX: Final = 65_536
_CHAINING_BIT: Final = 0x10
_PROPRIETARY_BIT: Final = 0x80
_INS_GET_RESPONSE: Final = 0xC0
_SW1_MORE: Final = 0x61
_SW1_WRONG_LE: Final = 0x6C


@dataclass(frozen=True, slots=True)
class CommandApdu:
    """A command APDU; `bytes(apdu)` gives the short form where it fits and the extended form otherwise.

    Attributes:
        cla: class byte.
        ins: instruction byte.
        p1: first parameter byte.
        p2: second parameter byte.
        data: command data, at most 65,535 bytes; not in the repr, for it may be a PIN.
        le: the number of response bytes expected, 1 to 65,536 (256 and 65,536 mean "all there is"), or None for none.
    """

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    le: int | None = None

    def __post_init__(self) -> None:
        if not all(0 <= byte <= 0xFF for byte in (self.cla, self.ins, self.p1, self.p2)):
            raise ValueError("CLA, INS, P1 and P2 are one byte each")
        if len(self.data) > _EXTENDED_LC_MAX:
            raise ValueError(f"command data of {len(self.data)} bytes, at most {_EXTENDED_LC_MAX} are allowed")
        if self.le is not None and not 1 <= self.le <= _EXTENDED_LE_MAX:
            raise ValueError(f"Le {self.le}, allowed are 1 to {_EXTENDED_LE_MAX}")

    def __bytes__(self) -> bytes:
        header = bytes((self.cla, self.ins, self.p1, self.p2))
        if len(self.data) <= _SHORT_LC_MAX and (self.le or 0) <= _SHORT_LE_MAX:
            return header + self._short_body()
        return header + self._extended_body()

    def _short_body(self) -> bytes:
        lc = bytes((len(self.data),)) if self.data else b""
        le = b"" if self.le is None else bytes((self.le % 0x100,))
        return lc + self.data + le

    def _extended_body(self) -> bytes:
        lc = len(self.data).to_bytes(2, "big") if self.data else b""
        le = b"" if self.le is None else (self.le % 0x1_0000).to_bytes(2, "big")
        return b"\x00" + lc + self.data + le

    @classmethod
    def from_bytes(cls, raw: bytes) -> "CommandApdu":
        """Reads either form; raises `ProtocolError` when the lengths do not add up."""
        if len(raw) < 4:
            raise ProtocolError("command APDU", f"{len(raw)} bytes, at least 4 are needed")
        data, le = _read_body(raw[4:])
        return cls(raw[0], raw[1], raw[2], raw[3], data, le)


def _read_body(body: bytes) -> tuple[bytes, int | None]:
    if not body:
        return b"", None
    if len(body) == 1:
        return b"", body[0] or _SHORT_LE_MAX
    if body[0] != 0:
        return _split_data_and_le(body[1:], lc=body[0], le_bytes=1)
    if len(body) == 3:
        return b"", int.from_bytes(body[1:], "big") or _EXTENDED_LE_MAX
    return _split_data_and_le(body[3:], lc=int.from_bytes(body[1:3], "big"), le_bytes=2)


def _split_data_and_le(rest: bytes, *, lc: int, le_bytes: int) -> tuple[bytes, int | None]:
    data, le = rest[:lc], rest[lc:]
    if lc == 0 or len(data) != lc or len(le) not in {0, le_bytes}:
        raise ProtocolError("command APDU", f"Lc {lc} does not fit the {len(rest)} bytes that follow")
    if not le:
        return data, None
    return data, int.from_bytes(le, "big") or 0x100**le_bytes


@dataclass(frozen=True, slots=True)
class ResponseApdu:
    """A response APDU.

    Attributes:
        data: response data, at most 65,536 bytes.
        sw: the status word SW1 SW2.
    """

    data: bytes = field(repr=False)
    sw: int

    def __bytes__(self) -> bytes:
        return self.data + self.sw.to_bytes(2, "big")

    @classmethod
    def from_bytes(cls, raw: bytes) -> "ResponseApdu":
        """Splits off the status word; raises `CardGone` below 2 bytes and `ProtocolError` above 65,538."""
        if len(raw) < 2:
            raise CardGone("the card answered without a status word")
        if len(raw) > MAX_RESPONSE_BYTES:
            raise AnswerTooLong("response APDU", f"{len(raw)} bytes, at most {MAX_RESPONSE_BYTES} are allowed")
        return cls(raw[:-2], int.from_bytes(raw[-2:], "big"))


def chain(command: CommandApdu) -> tuple[CommandApdu, ...]:
    """Splits command data above 255 bytes into chained commands (ISO 7816-4 §5.1.1.1); only the last carries Le."""
    blocks = [command.data[i : i + _SHORT_LC_MAX] for i in range(0, len(command.data), _SHORT_LC_MAX)] or [b""]
    chained = [replace(command, cla=command.cla | _CHAINING_BIT, data=block, le=None) for block in blocks[:-1]]
    return (*chained, replace(command, data=blocks[-1]))


def transceive(name: str, command: CommandApdu) -> Conversation[ResponseApdu]:
    """Sends one logical command and collects its whole response.

    Long command data is chained, and the chain travels as one batch. `61xx` is followed by GET RESPONSE, `6Cxx` by the
    same command with the length the card named. At most 64 rounds and 65,536 bytes of response.

    Args:
        name: the standard's name of the command, for error messages.
        command: the command as a whole.

    Returns:
        The collected data with the last status word, which may be a refusal: see `accept`.

    Raises:
        CardGone: a response has no status word.
        StatusError: the card refused a part of a chained command.
        ProtocolError: a bound was exceeded.
    """
    blocks = chain(command)
    answers = yield from exchange(*(bytes(block) for block in blocks))
    for raw in answers[:-1]:
        accept(name, ResponseApdu.from_bytes(raw))
    return (yield from collect(name, blocks[-1], answers[-1]))


def collect(name: str, command: CommandApdu, answer: bytes) -> Conversation[ResponseApdu]:
    """Collects the whole response of a command that was sent, from the first `answer` on; see `transceive`."""
    sent, response = command, ResponseApdu.from_bytes(answer)
    collected = bytearray()
    for _ in range(MAX_ROUNDS):
        sw1, sw2 = divmod(response.sw, 0x100)
        if sw1 == _SW1_WRONG_LE:
            sent = replace(sent, le=sw2 or _SHORT_LE_MAX)
        else:
            collected += response.data
            if len(collected) > MAX_COLLECTED_BYTES:
                raise AnswerTooLong(name, f"the response exceeds {MAX_COLLECTED_BYTES} bytes")
            if sw1 != _SW1_MORE:
                return ResponseApdu(bytes(collected), response.sw)
            sent = CommandApdu(command.cla, _INS_GET_RESPONSE, 0, 0, le=sw2 or _SHORT_LE_MAX)
        (raw,) = yield from exchange(bytes(sent))
        response = ResponseApdu.from_bytes(raw)
    raise AnswerTooLong(name, f"the response is not complete after {MAX_ROUNDS} rounds")


def transmit_whole(command: bytes, transmit: Callable[[bytes], bytes]) -> bytes:
    """Transmits a command beside the card and fetches what the card holds back of its answer (`61xx`, ISO 7816-4 §7.6).

    Over a network each part would cost a round trip. After 16 parts or 4,096 bytes the answer is handed on as it is,
    with the card's `61xx`: whoever wants more asks for it. Commands of a proprietary class, and all but the last of a
    chain, are left alone.

    Args:
        command: one command APDU.
        transmit: sends one command APDU and returns the response APDU, never without a status word; what it raises
            is raised here.
    """
    answer = transmit(command)
    if command[0] & (_PROPRIETARY_BIT | _CHAINING_BIT):
        return answer
    for _ in range(MAX_FETCHED_PARTS):
        if len(answer) > MAX_FETCHED_BYTES or answer[-2] != _SW1_MORE:
            break
        part = transmit(bytes((command[0], _INS_GET_RESPONSE, 0, 0, answer[-1])))
        if part[-2] == _SW1_WRONG_LE:
            # Nothing was lost: whoever asks again is told the length again.
            break
        answer = answer[:-2] + part
    return answer


def accept(name: str, response: ResponseApdu) -> bytes:
    """The response data of a successful command; raises the `StatusError` of any status word but 9000."""
    if response.sw != SUCCESS:
        raise iso_refusal(name, response.sw)
    return response.data
