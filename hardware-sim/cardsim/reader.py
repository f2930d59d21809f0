# SPDX-License-Identifier: EUPL-1.2
"""A small reader for trying a virtual card alone: the EV2 side of the tap in docs/card-layout.md."""

import hmac
import secrets
from dataclasses import dataclass, field

from cardsim import desfire_crypto as crypto
from cardsim.desfire_ciphers import crc32
from cardsim.desfire_data import CommunicationMode
from cardsim.desfire_status import Instruction
from cardsim.errors import CardSimError
from cardsim.interfaces import Card

OK = b"\x91\x00"
MORE = b"\x91\xaf"
FILE_NUMBER = 1
FILE_LENGTH = 14
PROOF_KEY = 1
LOCATE_KEY = 2


class CardRefused(CardSimError):
    """The card answered with an error, or its answer is not authentic.

    Args:
        what: the step and the status, without secrets.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass
class DesfireReader:
    """The reader's end of one activation."""

    card: Card
    enc_key: bytes = field(default=b"", repr=False)
    mac_key: bytes = field(default=b"", repr=False)
    ti: bytes = b""
    command_counter: int = 0

    def send(self, ins: int, body: bytes = b"") -> tuple[bytes, bytes]:
        """Send one wrapped frame; returns data and SW1 SW2."""
        length = bytes([len(body)]) if body else b""
        answer = self.card.transmit(bytes([0x90, ins, 0, 0]) + length + body + b"\x00")
        return answer[:-2], answer[-2:]

    def select(self, aid_as_sent: bytes) -> None:
        """SelectApplication."""
        self._expect(OK, Instruction.SELECT_APPLICATION, aid_as_sent)

    def authenticate_first(self, key_number: int, key: bytes) -> None:
        """AuthenticateEV2First without capabilities; opens a session."""
        plain, rnd_a, rnd_b = self._authenticate(Instruction.AUTHENTICATE_EV2_FIRST, bytes([key_number, 0]), key)
        self._check_proof(plain[4:20], rnd_a)
        self.enc_key, self.mac_key = crypto.session_keys(key=key, rnd_a=rnd_a, rnd_b=rnd_b)
        self.ti, self.command_counter = plain[:4], 0

    def authenticate_non_first(self, key_number: int, key: bytes) -> None:
        """AuthenticateEV2NonFirst; keeps TI and command counter."""
        plain, rnd_a, rnd_b = self._authenticate(Instruction.AUTHENTICATE_EV2_NON_FIRST, bytes([key_number]), key)
        self._check_proof(plain, rnd_a)
        self.enc_key, self.mac_key = crypto.session_keys(key=key, rnd_a=rnd_a, rnd_b=rnd_b)

    def read_full(self, file_number: int, offset: int, length: int) -> bytes:
        """ReadData in communication mode full."""
        header = bytes([file_number]) + offset.to_bytes(3, "little") + length.to_bytes(3, "little")
        return self.command(Instruction.READ_DATA, header, b"")

    def write_full(self, file_number: int, offset: int, data: bytes) -> None:
        """WriteData in communication mode full."""
        header = bytes([file_number]) + offset.to_bytes(3, "little") + len(data).to_bytes(3, "little")
        self.command(Instruction.WRITE_DATA, header, data)

    def command(self, ins: int, header: bytes, data: bytes) -> bytes:
        """One command in communication mode full; returns the plain answer."""
        iv = crypto.message_iv(self.enc_key, crypto.COMMAND_LABEL, self.ti, self.command_counter)
        sealed = crypto.encrypt_cbc(self.enc_key, crypto.pad(data), iv) if data else b""
        body = header + sealed + self.mac(ins, header + sealed)
        answer = self._expect(OK, ins, body)
        self.command_counter += 1
        cryptogram, mac = answer[: -crypto.MAC_LENGTH], answer[-crypto.MAC_LENGTH :]
        if not hmac.compare_digest(self.mac(0x00, cryptogram), mac):
            raise CardRefused(f"command {ins:02X}: the MAC of the answer is wrong")
        if not cryptogram:
            return b""
        iv = crypto.message_iv(self.enc_key, crypto.RESPONSE_LABEL, self.ti, self.command_counter)
        return crypto.unpad(crypto.decrypt_cbc(self.enc_key, cryptogram, iv))

    def managed(self, ins: int, header: bytes = b"") -> bytes:
        """One command that touches no file's data: MACed, and so is the answer; returns it plain."""
        return self.in_mode(ins, header, b"", CommunicationMode.MAC)

    def in_mode(self, ins: int, header: bytes, data: bytes, mode: CommunicationMode) -> bytes:
        """One command in the communication mode of a file; returns the plain answer."""
        if mode is CommunicationMode.FULL:
            return self.command(ins, header, data)
        body = header + data
        if mode is CommunicationMode.MAC:
            body += self.mac(ins, body)
        answer, status = self.send(ins, body)
        while status == MORE:
            more, status = self.send(Instruction.ADDITIONAL_FRAME)
            answer += more
        if status != OK:
            raise CardRefused(f"command {ins:02X}: status {status.hex().upper()}")
        self.command_counter += 1
        if mode is CommunicationMode.PLAIN:
            return answer
        content, mac = answer[: -crypto.MAC_LENGTH], answer[-crypto.MAC_LENGTH :]
        if not hmac.compare_digest(self.mac(0x00, content), mac):
            raise CardRefused(f"command {ins:02X}: the MAC of the answer is wrong")
        return content

    def change_own_key(self, header: bytes, new_key: bytes, version: int = 0) -> None:
        """ChangeKey of the key that opened the session; ``header`` is its number. The session is over."""
        self._last_command(Instruction.CHANGE_KEY, header, new_key + bytes([version]))

    def change_other_key(self, header: bytes, old_key: bytes, new_key: bytes, version: int = 0) -> None:
        """Change another key: ``header`` is its number, or set and number for ChangeKeyEV2."""
        ins = Instruction.CHANGE_KEY if len(header) == 1 else Instruction.CHANGE_KEY_EV2
        mixed = bytes(a ^ b for a, b in zip(new_key, old_key, strict=True))
        self.command(ins, header, mixed + bytes([version]) + crc32(new_key))

    def roll_key_set(self, number: int) -> None:
        """RollKeySet; the session is over."""
        body = bytes([number])
        self._expect(OK, Instruction.ROLL_KEY_SET, body + self.mac(Instruction.ROLL_KEY_SET, body))

    def _last_command(self, ins: int, header: bytes, data: bytes) -> None:
        """A command whose answer is bare, because the session's key is gone."""
        iv = crypto.message_iv(self.enc_key, crypto.COMMAND_LABEL, self.ti, self.command_counter)
        sealed = crypto.encrypt_cbc(self.enc_key, crypto.pad(data), iv)
        if self._expect(OK, ins, header + sealed + self.mac(ins, header + sealed)):
            raise CardRefused(f"command {ins:02X}: an answer without session carries data")

    def mac(self, code: int, data: bytes) -> bytes:
        """MACt over code, counter, TI and data."""
        counter = self.command_counter.to_bytes(2, "little")
        return crypto.truncated_mac(self.mac_key, bytes([code]) + counter + self.ti + data)

    def _authenticate(self, ins: int, body: bytes, key: bytes) -> tuple[bytes, bytes, bytes]:
        rnd_b = crypto.decrypt_cbc(key, self._expect(MORE, ins, body))
        rnd_a = secrets.token_bytes(16)
        request = crypto.encrypt_cbc(key, rnd_a + crypto.rotate_left(rnd_b))
        answer = self._expect(OK, Instruction.ADDITIONAL_FRAME, request)
        return crypto.decrypt_cbc(key, answer), rnd_a, rnd_b

    def _expect(self, status: bytes, ins: int, body: bytes) -> bytes:
        data, received = self.send(ins, body)
        if received != status:
            raise CardRefused(f"command {ins:02X}: status {received.hex().upper()}")
        return data

    @staticmethod
    def _check_proof(returned: bytes, rnd_a: bytes) -> None:
        if not hmac.compare_digest(returned, crypto.rotate_left(rnd_a)):
            raise CardRefused("authentication: the card does not hold the key")


def locate(card: Card, aid_as_sent: bytes, *, locate_key: bytes) -> tuple[DesfireReader, bytes]:
    """Exchanges 1 to 3 of the tap: the open reader and the 14 bytes of file 1, still a claim.

    Raises:
        CardRefused: if the card answers with an error or without the locate key.
    """
    reader = DesfireReader(card)
    reader.select(aid_as_sent)
    reader.authenticate_first(LOCATE_KEY, locate_key)
    return reader, reader.read_full(FILE_NUMBER, 0, FILE_LENGTH)


def tap(card: Card, aid_as_sent: bytes, *, locate_key: bytes, proof_key: bytes) -> bytes:
    """The whole tap: the 14 bytes of file 1 of a card that has proved to be genuine.

    Raises:
        CardRefused: if the card fails in any step.
    """
    reader, content = locate(card, aid_as_sent, locate_key=locate_key)
    reader.authenticate_non_first(PROOF_KEY, proof_key)
    return content
