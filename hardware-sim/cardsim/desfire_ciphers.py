# SPDX-License-Identifier: EUPL-1.2
"""The block ciphers of DESFire keys, their CMAC with a start value, the checksums, and the mode of the first DESFire.

The CMAC differs from the standard in one point: it starts from the session's start value instead of zero, and its
result is the next one. `an10922` and `desfire_crypto` hold what needs AES only.
"""

import zlib
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import BlockCipherAlgorithm, Cipher, algorithms, modes

AES_BLOCK = 16
DES_BLOCK = 8


class KeyKind(IntEnum):
    """The cipher of a key, as CreateApplication and InitializeKeySet count it."""

    DES = 0
    THREE_KEY_DES = 1
    AES = 2

    @property
    def key_length(self) -> int:
        """Bytes of a key; a single DES key is stored twice."""
        return 24 if self is KeyKind.THREE_KEY_DES else 16


@dataclass(frozen=True)
class BlockCipher:
    """One key at work.

    Args:
        kind: decides the block, 8 or 16 bytes.
        key: 16 or 24 bytes; for DES also 8 (the session key of a single DES key).
    """

    kind: KeyKind
    key: bytes = field(repr=False)

    @property
    def block(self) -> int:
        """Bytes of a block."""
        return AES_BLOCK if self.kind is KeyKind.AES else DES_BLOCK

    @property
    def zero(self) -> bytes:
        """The start value of a new session."""
        return bytes(self.block)

    def encrypt(self, data: bytes, start: bytes | None = None) -> bytes:
        """CBC without padding, from zero where no start value is given."""
        encryptor = Cipher(self._algorithm(), modes.CBC(start or self.zero)).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    def decrypt(self, data: bytes, start: bytes | None = None) -> bytes:
        """CBC without padding, from zero where no start value is given."""
        decryptor = Cipher(self._algorithm(), modes.CBC(start or self.zero)).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    def open_legacy(self, data: bytes) -> bytes:
        """What a reader 'deciphered' for a card that only enciphers (MF3ICD40): P = E(C) xor C before."""
        encryptor = Cipher(self._algorithm(), modes.ECB()).encryptor()  # noqa: S305 - chained by hand below
        blocks = encryptor.update(data) + encryptor.finalize()
        return bytes(a ^ b for a, b in zip(blocks, self.zero + data, strict=False))

    def cmac(self, message: bytes, start: bytes) -> bytes:
        """A whole block of CMAC (SP 800-38B) whose chain begins with ``start``."""
        first, second = self._subkeys()
        body, last = message, second
        if message and len(message) % self.block == 0:
            last = first
        else:
            body = (message + b"\x80").ljust(-(-(len(message) + 1) // self.block) * self.block, b"\x00")
        tail = bytes(a ^ b for a, b in zip(body[-self.block :], last, strict=True))
        return self.encrypt(body[: -self.block] + tail, start)[-self.block :]

    def _subkeys(self) -> tuple[bytes, bytes]:
        first = self._doubled(self.encrypt(self.zero))
        return first, self._doubled(first)

    def _doubled(self, block: bytes) -> bytes:
        bits = 8 * self.block
        number = int.from_bytes(block, "big") << 1
        if number >> bits:
            number = (number & ((1 << bits) - 1)) ^ (0x87 if self.kind is KeyKind.AES else 0x1B)
        return number.to_bytes(self.block, "big")

    def _algorithm(self) -> BlockCipherAlgorithm:
        if self.kind is KeyKind.AES:
            return algorithms.AES(self.key)
        return TripleDES((self.key * 3)[:24])


def crc16(data: bytes) -> bytes:
    """CRC_A of ISO/IEC 14443-3 annex B, low byte first; the first DESFire's checksum."""
    register = 0x6363
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = (register >> 1) ^ (0x8408 if register & 1 else 0)
    return register.to_bytes(2, "little")


def crc32(data: bytes) -> bytes:
    """The CRC32 without the last inversion (JAMCRC), low byte first; the checksum since EV1."""
    return (zlib.crc32(data) ^ 0xFFFFFFFF).to_bytes(4, "little")


def filled(data: bytes, block: int) -> bytes:
    """Data with zeros up to whole blocks; none where they are whole already."""
    return data + bytes(-len(data) % block)
