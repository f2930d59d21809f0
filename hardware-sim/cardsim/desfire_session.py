# SPDX-License-Identifier: EUPL-1.2
"""What secure messaging does for a command, and the EV2 kind of it (`desfire_session_ev1` has the older ones)."""

import hmac
from dataclasses import dataclass, field
from typing import Protocol

from cardsim import desfire_crypto as crypto
from cardsim.desfire_ciphers import crc32
from cardsim.desfire_data import CommunicationMode
from cardsim.desfire_status import DesfireError, DesfireStatus

LAST_COUNTER = 0xFFFF


class SecureSession(Protocol):
    """An authenticated session: opens commands and closes responses.

    A ``mode`` of None is the way of commands that touch no file's data: MACed since EV1, bare before.
    """

    @property
    def key_number(self) -> int:
        """The key that opened the session."""

    @property
    def header_mac_length(self) -> int:
        """Bytes of the MAC that travels with a command without data."""

    def open_header(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode | None) -> None:
        """Check a command that carries no data."""

    def open_data(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode, length: int | None) -> bytes:
        """Check and decipher the data of a command; ``length`` is None where only the padding tells it."""

    def open_key(self, ins: int, header: bytes, rest: bytes, length: int, *, of_another: bool) -> tuple[bytes, bytes]:
        """The data of ChangeKey, and the checksum of the new key where it is not the session's own."""

    def key_checksum(self, key: bytes) -> bytes:
        """The checksum that ``open_key`` returns for a key."""

    def sealed_length(self, mode: CommunicationMode, length: int) -> int:
        """Bytes on the air for so many bytes of command data."""

    def close(
        self, data: bytes, mode: CommunicationMode | None, *, status: int = DesfireStatus.OK, marked: bool = False
    ) -> bytes:
        """Protect the data of a successful answer; ``marked`` where the reader does not know its length."""


@dataclass
class Ev2Session:
    """State after AuthenticateEV2First; ``ti`` has 4 bytes."""

    key_number: int
    enc_key: bytes = field(repr=False)
    mac_key: bytes = field(repr=False)
    ti: bytes
    command_counter: int = 0
    header_mac_length: int = crypto.MAC_LENGTH

    def open_header(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode | None) -> None:
        """Check a command that carries no data.

        Raises:
            DesfireError: length error where data follow, and what `open_command` raises.
        """
        if self.open_command(ins, header, rest, CommunicationMode.MAC if mode is None else mode):
            raise DesfireError(DesfireStatus.LENGTH_ERROR)

    def open_data(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode, length: int | None) -> bytes:
        """The plain data of a command.

        Raises:
            DesfireError: length error where another length was announced, and what `open_command` raises.
        """
        data = self.open_command(ins, header, rest, mode)
        if length is not None and len(data) != length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return data

    def open_key(self, ins: int, header: bytes, rest: bytes, length: int, *, of_another: bool) -> tuple[bytes, bytes]:
        """New key, its version, and for another key than the session's own the CRC32 of the new one.

        Raises:
            DesfireError: as `open_data`.
        """
        whole = length + (4 if of_another else 0)
        data = self.open_data(ins, header, rest, CommunicationMode.FULL, whole)
        return data[:length], data[length:]

    def key_checksum(self, key: bytes) -> bytes:
        """CRC32."""
        return crc32(key)

    def sealed_length(self, mode: CommunicationMode, length: int) -> int:
        """Bytes on the air for so many bytes of command data."""
        if mode is CommunicationMode.FULL:
            return (length // crypto.BLOCK + 1) * crypto.BLOCK + crypto.MAC_LENGTH
        return length + (crypto.MAC_LENGTH if mode is CommunicationMode.MAC else 0)

    def open_command(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode) -> bytes:
        """Check and decipher what follows the header of a command; returns the plain command data.

        Raises:
            DesfireError: length error where the MAC or a whole block is missing, integrity error where the MAC or
                the padding is wrong, authentication error where the command counter is used up.
        """
        if self.command_counter >= LAST_COUNTER:
            raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)
        if mode is CommunicationMode.PLAIN:
            return rest
        if len(rest) < crypto.MAC_LENGTH:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        data, received = rest[: -crypto.MAC_LENGTH], rest[-crypto.MAC_LENGTH :]
        if mode is CommunicationMode.FULL and len(data) % crypto.BLOCK:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        if not hmac.compare_digest(self._mac(ins, header + data), received):
            raise DesfireError(DesfireStatus.INTEGRITY_ERROR)
        if mode is CommunicationMode.MAC or not data:
            return data
        iv = crypto.message_iv(self.enc_key, crypto.COMMAND_LABEL, self.ti, self.command_counter)
        try:
            return crypto.unpad(crypto.decrypt_cbc(self.enc_key, data, iv))
        except ValueError as error:
            raise DesfireError(DesfireStatus.INTEGRITY_ERROR) from error

    def close(
        self, data: bytes, mode: CommunicationMode | None, *, status: int = DesfireStatus.OK, marked: bool = False
    ) -> bytes:
        """Count the command and protect the data of its answer; the padding always marks the end."""
        self.command_counter += 1
        if mode is CommunicationMode.PLAIN:
            return data
        if mode is CommunicationMode.FULL and data:
            iv = crypto.message_iv(self.enc_key, crypto.RESPONSE_LABEL, self.ti, self.command_counter)
            data = crypto.encrypt_cbc(self.enc_key, crypto.pad(data), iv)
        return data + self._mac(status, data)

    def _mac(self, code: int, data: bytes) -> bytes:
        counter = self.command_counter.to_bytes(2, "little")
        return crypto.truncated_mac(self.mac_key, bytes([code]) + counter + self.ti + data)
