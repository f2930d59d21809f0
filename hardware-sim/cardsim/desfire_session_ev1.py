# SPDX-License-Identifier: EUPL-1.2
"""Secure messaging after AuthenticateISO and AuthenticateAES (EV1), and after the first DESFire's Authenticate.

EV1: one start value a session, zero after the authentication, and every command and answer runs through it. What is
enciphered carries a CRC32 over command code, header and data (or data and status), what is not has a CMAC of which
8 bytes travel: with every answer, and with commands that bring data in mode MAC.
First DESFire: every operation starts from zero, the checksum is CRC16 over the data alone, the MAC has 4 bytes, and
only file data and keys are protected at all.
"""

import hmac
from dataclasses import dataclass, field

from cardsim.desfire_ciphers import BlockCipher, crc16, crc32, filled
from cardsim.desfire_data import CommunicationMode
from cardsim.desfire_status import DesfireError, DesfireStatus

EV1_MAC = 8
LEGACY_MAC = 4


def _check(expected: bytes, received: bytes) -> None:
    if not hmac.compare_digest(expected, received):
        raise DesfireError(DesfireStatus.INTEGRITY_ERROR)


def _check_filling(rest: bytes, *, marked: bool) -> None:
    if rest.rstrip(b"\x00") not in ((b"\x80",) if marked else (b"",)):
        raise DesfireError(DesfireStatus.INTEGRITY_ERROR)


def _without_mark(plain: bytes, checksum_length: int) -> int:
    """Length of the data before checksum and the padding 80 00 ..."""
    content = plain.rstrip(b"\x00")
    if not content.endswith(b"\x80") or len(content) <= checksum_length:
        raise DesfireError(DesfireStatus.INTEGRITY_ERROR)
    return len(content) - 1 - checksum_length


@dataclass
class Ev1Session:
    """State after AuthenticateISO or AuthenticateAES."""

    key_number: int
    cipher: BlockCipher
    start: bytes = field(repr=False)
    header_mac_length: int = 0

    def open_header(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode | None) -> None:
        """Run a command without data through the start value.

        Raises:
            DesfireError: length error where something follows.
        """
        if rest:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        self._mac(bytes([ins]) + header)

    def open_data(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode, length: int | None) -> bytes:
        """The plain data of a command.

        Raises:
            DesfireError: length error or integrity error.
        """
        if mode is CommunicationMode.FULL:
            plain = self._decipher(rest)
            size = _without_mark(plain, 4) if length is None else length
            self._check_crc(bytes([ins]) + header, plain, size)
            _check_filling(plain[size + 4 :], marked=length is None)
            return plain[:size]
        data, received = rest, b""
        if mode is CommunicationMode.MAC:
            data, received = rest[:-EV1_MAC], rest[-EV1_MAC:]
        if length is not None and len(data) != length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        expected = self._mac(bytes([ins]) + header + data)
        if mode is CommunicationMode.MAC:
            _check(expected, received)
        return data

    def open_key(self, ins: int, header: bytes, rest: bytes, length: int, *, of_another: bool) -> tuple[bytes, bytes]:
        """New key and version with their CRC32, and for another key than the session's own the new key's CRC32.

        Raises:
            DesfireError: length error or integrity error.
        """
        plain = self._decipher(rest)
        self._check_crc(bytes([ins]) + header, plain, length)
        end = length + (8 if of_another else 4)
        if len(plain) < end:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        _check_filling(plain[end:], marked=False)
        return plain[:length], plain[length + 4 : end]

    def key_checksum(self, key: bytes) -> bytes:
        """CRC32."""
        return crc32(key)

    def sealed_length(self, mode: CommunicationMode, length: int) -> int:
        """Bytes on the air for so many bytes of command data."""
        if mode is CommunicationMode.FULL:
            return -(-(length + 4) // self.cipher.block) * self.cipher.block
        return length + (EV1_MAC if mode is CommunicationMode.MAC else 0)

    def close(
        self, data: bytes, mode: CommunicationMode | None, *, status: int = DesfireStatus.OK, marked: bool = False
    ) -> bytes:
        """Protect the data of an answer; the CMAC goes with plain data too."""
        if mode is CommunicationMode.FULL and data:
            plain = data + crc32(data + bytes([status])) + (b"\x80" if marked else b"")
            sealed = self.cipher.encrypt(filled(plain, self.cipher.block), self.start)
            self.start = sealed[-self.cipher.block :]
            return sealed
        return data + self._mac(data + bytes([status]))

    def _mac(self, message: bytes) -> bytes:
        self.start = self.cipher.cmac(message, self.start)
        return self.start[:EV1_MAC]

    def _decipher(self, sealed: bytes) -> bytes:
        if not sealed or len(sealed) % self.cipher.block:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        plain = self.cipher.decrypt(sealed, self.start)
        self.start = sealed[-self.cipher.block :]
        return plain

    @staticmethod
    def _check_crc(before: bytes, plain: bytes, length: int) -> None:
        if len(plain) < length + 4:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        _check(crc32(before + plain[:length]), plain[length : length + 4])


@dataclass
class LegacySession:
    """State after the first DESFire's Authenticate."""

    key_number: int
    cipher: BlockCipher
    header_mac_length: int = 0

    def open_header(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode | None) -> None:
        """Commands without data are not protected.

        Raises:
            DesfireError: length error where something follows.
        """
        if rest:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)

    def open_data(self, ins: int, header: bytes, rest: bytes, mode: CommunicationMode, length: int | None) -> bytes:
        """The plain data of a command.

        Raises:
            DesfireError: length error or integrity error.
        """
        if mode is CommunicationMode.FULL:
            plain = self._decipher(rest)
            size = _without_mark(plain, 2) if length is None else length
            self._check_crc(plain, size)
            _check_filling(plain[size + 2 :], marked=length is None)
            return plain[:size]
        data, received = rest, b""
        if mode is CommunicationMode.MAC:
            data, received = rest[:-LEGACY_MAC], rest[-LEGACY_MAC:]
            _check(self._mac(data), received)
        if length is not None and len(data) != length:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return data

    def open_key(self, ins: int, header: bytes, rest: bytes, length: int, *, of_another: bool) -> tuple[bytes, bytes]:
        """New key and version with their CRC16, and for another key than the session's own the new key's CRC16.

        Raises:
            DesfireError: length error or integrity error.
        """
        plain = self._decipher(rest)
        self._check_crc(plain, length)
        end = length + (4 if of_another else 2)
        if len(plain) < end:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        _check_filling(plain[end:], marked=False)
        return plain[:length], plain[length + 2 : end]

    def key_checksum(self, key: bytes) -> bytes:
        """CRC16."""
        return crc16(key)

    def sealed_length(self, mode: CommunicationMode, length: int) -> int:
        """Bytes on the air for so many bytes of command data."""
        if mode is CommunicationMode.FULL:
            return -(-(length + 2) // self.cipher.block) * self.cipher.block
        return length + (LEGACY_MAC if mode is CommunicationMode.MAC else 0)

    def close(
        self, data: bytes, mode: CommunicationMode | None, *, status: int = DesfireStatus.OK, marked: bool = False
    ) -> bytes:
        """Protect data of a file; everything else stays bare."""
        if mode is CommunicationMode.MAC and data:
            return data + self._mac(data)
        if mode is CommunicationMode.FULL and data:
            plain = data + crc16(data) + (b"\x80" if marked else b"")
            return self.cipher.encrypt(filled(plain, self.cipher.block))
        return data

    def _mac(self, data: bytes) -> bytes:
        if not data:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return self.cipher.encrypt(filled(data, self.cipher.block))[-self.cipher.block :][:LEGACY_MAC]

    def _decipher(self, sealed: bytes) -> bytes:
        if not sealed or len(sealed) % self.cipher.block:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        return self.cipher.open_legacy(sealed)

    @staticmethod
    def _check_crc(plain: bytes, length: int) -> None:
        if len(plain) < length + 2:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        _check(crc16(plain[:length]), plain[length : length + 2])
