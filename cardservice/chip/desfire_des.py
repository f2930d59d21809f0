# SPDX-License-Identifier: EUPL-1.2
"""DES keys of DESFire cards: what a card has when it comes from the factory, and what older cards may still have.

New keys are AES; these exist to be replaced. Triple DES keys of 16 bytes are K1 ‖ K2, of 24 bytes K1 ‖ K2 ‖ K3; a
key of 8 bytes, or one whose halves are equal, is single DES. Bit 0 of each byte is no part of the key: the card keeps
the key's version there (MF3ICD40 data sheet §2.5).
"""

from collections.abc import Callable
from typing import Final

# Triple DES is obsolete, and it is what these cards speak before they have been personalised.
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

DES_BLOCK_BYTES: Final = 8

_LENGTHS: Final = frozenset({8, 16, 24})


class DesKey:
    """A DES, 2K3DES or 3K3DES key; its repr shows nothing of it.

    Args:
        key: 8, 16 or 24 bytes.
    """

    __slots__ = ("_bytes", "_key")

    def __init__(self, key: bytes) -> None:
        if len(key) not in _LENGTHS:
            raise ValueError(f"a DES key has 8, 16 or 24 bytes, not {len(key)}")
        self._bytes = key * 2 if len(key) == DES_BLOCK_BYTES else key
        self._key = TripleDES((self._bytes + self._bytes[:DES_BLOCK_BYTES])[:24])

    def __repr__(self) -> str:
        return "DesKey(<hidden>)"

    @property
    def random_bytes(self) -> int:
        """How long the random numbers of an authentication with this key are: 8, or 16 for 3K3DES."""
        return 16 if len(self._bytes) == 24 else 8

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """Triple DES in CBC mode without padding; `iv` is 8 bytes, `data` whole blocks."""
        encryptor = Cipher(self._key, modes.CBC(iv)).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """The inverse of `encrypt_cbc`."""
        decryptor = Cipher(self._key, modes.CBC(iv)).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    def wrap_for_change(self, encipher: Callable[[bytes], bytes]) -> bytes:
        """See `keys.KeyToWrite`: 16 bytes, or 24 for 3K3DES."""
        return encipher(self._bytes)

    def session_key(self, rnd_a: bytes, rnd_b: bytes) -> "DesKey":
        """The session key that two random numbers make (MF3ICD40 data sheet §3.2; AN0945 for 3K3DES)."""
        parts: tuple[bytes, ...]
        if self.random_bytes == 16:
            parts = (rnd_a[:4], rnd_b[:4], rnd_a[6:10], rnd_b[6:10], rnd_a[12:], rnd_b[12:])
        elif self._is_single():
            parts = (rnd_a[:4], rnd_b[:4])
        else:
            parts = (rnd_a[:4], rnd_b[:4], rnd_a[4:], rnd_b[4:])
        return DesKey(b"".join(parts))

    def _is_single(self) -> bool:
        first, second = self._bytes[:DES_BLOCK_BYTES], self._bytes[DES_BLOCK_BYTES:]
        return all(a & 0xFE == b & 0xFE for a, b in zip(first, second, strict=True))


FACTORY_DES_KEY: Final = DesKey(bytes(16))
"""The PICC key of every card as it leaves the factory."""
