# SPDX-License-Identifier: EUPL-1.2
"""Command APDUs and status words (ISO/IEC 7816-4 sections 5.1 and 5.6)."""

from dataclasses import dataclass, field
from enum import IntEnum

from cardsim.errors import CardSimError

MAX_APDU_LENGTH = 65_544
"""Header 4, extended Lc 3, data 65,535, extended Le 2."""


class StatusWord(IntEnum):
    """Status words used by the virtual cards (ISO/IEC 7816-4 table 6; SP 800-73-4 part 2)."""

    OK = 0x9000
    MORE_DATA = 0x6100
    END_OF_DATA = 0x6282
    VERIFICATION_FAILED = 0x63C0
    WRONG_LENGTH = 0x6700
    LOGICAL_CHANNEL_NOT_SUPPORTED = 0x6881
    SECURE_MESSAGING_NOT_SUPPORTED = 0x6882
    COMMAND_CHAINING_NOT_SUPPORTED = 0x6884
    SECURITY_STATUS_NOT_SATISFIED = 0x6982
    AUTHENTICATION_METHOD_BLOCKED = 0x6983
    CONDITIONS_NOT_SATISFIED = 0x6985
    WRONG_DATA = 0x6A80
    FUNCTION_NOT_SUPPORTED = 0x6A81
    NOT_FOUND = 0x6A82
    NOT_ENOUGH_MEMORY = 0x6A84
    INCORRECT_P1_P2 = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    WRONG_LE = 0x6C00
    INSTRUCTION_NOT_SUPPORTED = 0x6D00
    CLASS_NOT_SUPPORTED = 0x6E00


class ApduError(CardSimError):
    """Ends a command with a status word.

    Args:
        status_word: the two bytes of the answer as a number.
    """

    def __init__(self, status_word: int) -> None:
        super().__init__(f"status word {status_word:04X}")
        self.status_word = status_word


@dataclass(frozen=True)
class CommandApdu:
    """A parsed command; ``expected_length`` (Ne) is None where Le is absent."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)
    expected_length: int | None = None
    extended: bool = False


def status_bytes(status_word: int) -> bytes:
    """The two bytes SW1 SW2."""
    return status_word.to_bytes(2, "big")


def parse_command(raw: bytes) -> CommandApdu:
    """Parse a short or extended command (ISO/IEC 7816-4 section 5.1).

    Raises:
        ApduError: with 6700 where the lengths contradict each other.
    """
    if len(raw) < 4 or len(raw) > MAX_APDU_LENGTH:
        raise ApduError(StatusWord.WRONG_LENGTH)
    body = raw[4:]
    if len(body) == 0:
        data, expected_length, extended = b"", None, False
    elif len(body) == 1:
        data, expected_length, extended = b"", body[0] or 256, False
    elif body[0] != 0:
        data, expected_length, extended = *_split_short(body), False
    else:
        data, expected_length, extended = *_split_extended(body), True
    return CommandApdu(raw[0], raw[1], raw[2], raw[3], data, expected_length, extended)


def _split_short(body: bytes) -> tuple[bytes, int | None]:
    end = 1 + body[0]
    if len(body) == end:
        return body[1:end], None
    if len(body) == end + 1:
        return body[1:end], body[end] or 256
    raise ApduError(StatusWord.WRONG_LENGTH)


def _split_extended(body: bytes) -> tuple[bytes, int | None]:
    if len(body) < 3:
        raise ApduError(StatusWord.WRONG_LENGTH)
    number = int.from_bytes(body[1:3], "big")
    if len(body) == 3:
        return b"", number or 65_536
    end = 3 + number
    if number and len(body) == end:
        return body[3:end], None
    if number and len(body) == end + 2:
        return body[3:end], int.from_bytes(body[end:], "big") or 65_536
    raise ApduError(StatusWord.WRONG_LENGTH)
