# SPDX-License-Identifier: EUPL-1.2
"""The ISO side of the card: class byte, command chaining, Le and GET RESPONSE (ISO/IEC 7816-4 sections 5.3 and 5.4)."""

from dataclasses import replace
from typing import Protocol

from cardsim.apdu import ApduError, CommandApdu, StatusWord, status_bytes

CHAINING = 0x10
SECURE_MESSAGING = 0x0C
GET_RESPONSE = 0xC0
MAX_CHAINED_DATA = 16_384
"""More than the largest object of SP 800-73-4 part 1 (a facial image of 12,710 bytes)."""


class IsoApplet(Protocol):
    """An applet behind the channel."""

    @property
    def unasked_length(self) -> int:
        """Bytes of an answer that are given to a command without Le: none, as the standard says, on most cards."""

    def handle(self, command: CommandApdu) -> bytes:
        """The answer's data, ended with 9000 by the channel; ApduError for any other status word."""

    def chains(self, ins: int) -> bool:
        """Whether the data of an instruction may come in parts."""


class IsoChannel:
    """The basic logical channel.

    Args:
        applet: the applet that answers.
    """

    def __init__(self, applet: IsoApplet) -> None:
        self._applet = applet
        self.reset()

    def reset(self) -> None:
        """Forget unfinished chains and unread answers."""
        self._chained: CommandApdu | None = None
        self._unread = b""

    def transmit(self, command: CommandApdu) -> bytes:
        """Answer one command.

        Raises:
            ApduError: for every status word but 9000 and 61xx.
        """
        _check_class(command.cla)
        unread, self._unread = self._unread, b""
        if command.ins == GET_RESPONSE:
            self._chained = None
            return self._get_response(command, unread)
        whole = self._with_chain(command)
        if command.cla & CHAINING:
            if not self._applet.chains(command.ins):
                raise ApduError(StatusWord.COMMAND_CHAINING_NOT_SUPPORTED)
            self._chained = whole
            return status_bytes(StatusWord.OK)
        return self._deliver(self._applet.handle(whole), command.expected_length)

    def _with_chain(self, command: CommandApdu) -> CommandApdu:
        chained, self._chained = self._chained, None
        if chained is None or (chained.ins, chained.p1, chained.p2) != (command.ins, command.p1, command.p2):
            return command
        data = chained.data + command.data
        if len(data) > MAX_CHAINED_DATA:
            raise ApduError(StatusWord.WRONG_LENGTH)
        return replace(command, data=data)

    def _get_response(self, command: CommandApdu, unread: bytes) -> bytes:
        if command.p1 or command.p2:
            raise ApduError(StatusWord.INCORRECT_P1_P2)
        if not unread:
            raise ApduError(StatusWord.CONDITIONS_NOT_SATISFIED)
        return self._deliver(unread, command.expected_length)

    def _deliver(self, data: bytes, expected_length: int | None) -> bytes:
        granted = self._applet.unasked_length if expected_length is None else expected_length
        self._unread = data[granted:]
        if not self._unread:
            return data + status_bytes(StatusWord.OK)
        left = len(self._unread)
        return data[:granted] + status_bytes(StatusWord.MORE_DATA | (left if left < 256 else 0))


def _check_class(cla: int) -> None:
    if cla & 0xE0:
        raise ApduError(StatusWord.CLASS_NOT_SUPPORTED)
    if cla & SECURE_MESSAGING:
        raise ApduError(StatusWord.SECURE_MESSAGING_NOT_SUPPORTED)
    if cla & 0x03:
        raise ApduError(StatusWord.LOGICAL_CHANNEL_NOT_SUPPORTED)
