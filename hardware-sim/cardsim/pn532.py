# SPDX-License-Identifier: EUPL-1.2
"""A PN532 reader chip on a pseudo terminal, with one virtual card on its antenna.

For programs that speak to this chip themselves instead of going through PC/SC: libnfc and what is built on it open the
terminal as `pn532_uart:PATH`. Frames and commands as NXP's PN532 user manual (UM0701-02) chapters 6 and 7 describe
them, as far as such programs use them for ISO/IEC 14443-4 cards of type A.
"""

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cardsim.card import VirtualCard
from cardsim.errors import CardPulled

START = b"\x00\xff"
ACKNOWLEDGEMENT = bytes.fromhex("0000FF00FF00")
TO_CHIP, FROM_CHIP = 0xD4, 0xD5
MAX_FRAME = 65_536
FIRMWARE = bytes.fromhex("32010607")
ANSWER_TO_REQUEST = bytes.fromhex("0344")
IS_14443_4 = b"\x20"
TIMEOUT = b"\x01"
SYNTAX_ERROR = bytes.fromhex("0000FF01FF7F8100")
MORE_FOLLOWS = 0x40
DIAGNOSE, READ_REGISTER, RF_CONFIGURATION, DATA_EXCHANGE, LIST_PASSIVE_TARGET = 0x00, 0x06, 0x32, 0x40, 0x4A
# GetFirmwareVersion; WriteRegister, SetParameters, SAMConfiguration; PowerDown, InDeselect, InRelease, InSelect.
FIXED_ANSWERS = (
    {0x02: FIRMWARE} | dict.fromkeys((0x08, 0x12, 0x14), b"") | dict.fromkeys((0x16, 0x44, 0x52, 0x54), b"\x00")
)


class Pn532:
    """The reader; as a context it is there, and its terminal answers.

    Args:
        card: lies on the antenna; the reader switches it on when it looks for cards.
    """

    def __init__(self, card: VirtualCard) -> None:
        self.card = card
        self._collected = b""
        self._has_power = False
        self._thread = threading.Thread(target=self._serve, name="pn532", daemon=True)

    def __enter__(self) -> Self:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._wake, self._woken = os.pipe()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.write(self._woken, b"x")
        self._thread.join(timeout=10)
        for descriptor in (self._master, self._slave, self._wake, self._woken):
            os.close(descriptor)
        self.card.power_off()

    def _serve(self) -> None:
        buffer = b""
        while True:
            ready, _, _ = select.select([self._master, self._wake], [], [])
            if self._wake in ready:
                return
            with contextlib.suppress(OSError):
                buffer = (buffer + os.read(self._master, 4096))[-MAX_FRAME:]
            buffer = self._answer_all(buffer)

    def _answer_all(self, buffer: bytes) -> bytes:
        """Answer every whole frame; returns what is left."""
        while (at := buffer.find(START)) >= 0:
            frame = buffer[at + 2 :]
            if frame[:2] == b"\x00\xff":
                buffer = frame[2:]
                continue
            header, length = self._length(frame)
            if length is None or len(frame) < header + length + 1:
                return buffer[at:]
            body = frame[header : header + length]
            buffer = frame[header + length + 1 :]
            if (sum(body) + frame[header + length]) & 0xFF == 0 and len(body) >= 2 and body[0] == TO_CHIP:
                os.write(self._master, ACKNOWLEDGEMENT + self._framed(self._run(body[1], body[2:]), body[1]))
        return buffer[-1:]

    @staticmethod
    def _length(frame: bytes) -> tuple[int, int | None]:
        """Bytes before the body and of the body (None: not yet there); normal and extended frames."""
        if len(frame) < 2:
            return 2, None
        if frame[:2] != b"\xff\xff":
            return 2, frame[0]
        return 5, int.from_bytes(frame[2:4], "big") if len(frame) >= 5 else None

    @staticmethod
    def _framed(answer: bytes | None, code: int) -> bytes:
        if answer is None:
            return SYNTAX_ERROR
        body = bytes([FROM_CHIP, code + 1]) + answer
        if len(body) < 256:
            head = bytes([len(body), -len(body) & 0xFF])
        else:
            size = len(body).to_bytes(2, "big")
            head = b"\xff\xff" + size + bytes([-sum(size) & 0xFF])
        return b"\x00" + START + head + body + bytes([-sum(body) & 0xFF, 0])

    def _run(self, code: int, data: bytes) -> bytes | None:
        """The answer to a command; None where the chip does not know it."""
        if code in FIXED_ANSWERS:
            return FIXED_ANSWERS[code]
        answers: dict[int, Callable[[bytes], bytes]] = {
            DIAGNOSE: lambda echoed: echoed,
            READ_REGISTER: lambda addresses: bytes(len(addresses) // 2),
            RF_CONFIGURATION: self._configure,
            LIST_PASSIVE_TARGET: self._list,
            DATA_EXCHANGE: self._exchange,
        }
        return answers[code](data) if code in answers else None

    def _configure(self, data: bytes) -> bytes:
        """RFConfiguration: item 01 switches the field."""
        if data[:1] == b"\x01" and len(data) > 1 and not data[1] & 1:
            self._has_power = False
            self.card.power_off()
        return b""

    def _list(self, data: bytes) -> bytes:
        """InListPassiveTarget: the card, if it is asked for with its kind of modulation and its UID."""
        is_type_a = len(data) >= 2 and data[1] == 0
        if not is_type_a:
            return b"\x00"
        if not self._has_power:
            self.card.power_on("contactless")
            self._has_power = True
        uid = self.card.transmit(bytes.fromhex("FFCA000000"))[:-2]
        desfire = self.card.desfire
        if desfire is None:
            return b"\x00"
        desfire.reset()
        ats = desfire.memory.configuration.ats
        return b"\x01\x01" + ANSWER_TO_REQUEST + IS_14443_4 + bytes([len(uid)]) + uid + ats

    def _exchange(self, data: bytes) -> bytes:
        """InDataExchange; with the bit for more the command goes on in the next one."""
        self._collected = (self._collected + data[1:])[-MAX_FRAME:]
        if data and data[0] & MORE_FOLLOWS:
            return b"\x00"
        whole, self._collected = self._collected, b""
        try:
            answer = self.card.transmit(whole)
        except CardPulled:
            return TIMEOUT
        return b"\x00" + answer if answer else TIMEOUT
