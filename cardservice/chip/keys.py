# SPDX-License-Identifier: EUPL-1.2
"""AES-128 card keys behind Protocols, and AN10922 diversification.

The conversations ask a `CardKey` for operations and never see its bytes, so a PKCS#11 token can stand behind it. The
software keys are for keys that must be at hand: session keys, sealed stores, tests.
"""

from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

BLOCK_BYTES: Final = 16
KEY_BYTES: Final = 16
ZERO_IV: Final = bytes(BLOCK_BYTES)
MAX_DIVERSIFICATION_INPUT_BYTES: Final = 31

_AN10922_AES128: Final = b"\x01"
_AN10922_BLOCKS_BYTES: Final = 2 * BLOCK_BYTES


class CardKey(Protocol):
    """An AES-128 key that is used, never read."""

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """AES-CBC without padding; `iv` is 16 bytes, `data` whole blocks (NIST SP 800-38A §6.2)."""
        ...

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """The inverse of `encrypt_cbc`."""
        ...

    def cmac(self, data: bytes) -> bytes:
        """The 16 bytes of AES-CMAC over data of any length (NIST SP 800-38B, RFC 4493)."""
        ...


class MasterKey(Protocol):
    """A key from which the keys of single cards are derived."""

    def diversify(self, diversification_input: bytes) -> CardKey:
        """The AES-128 key for an input M of 1 to 31 bytes (NXP AN10922 §2.2)."""
        ...


class SoftwareAesKey:
    """A `CardKey` whose 16 bytes are in this process's memory; its repr shows nothing of them."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"an AES-128 key has {KEY_BYTES} bytes, not {len(key)}")
        self._key = algorithms.AES(key)

    def __repr__(self) -> str:
        return "SoftwareAesKey(<hidden>)"

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """See `CardKey.encrypt_cbc`."""
        encryptor = Cipher(self._key, modes.CBC(iv)).encryptor()
        return encryptor.update(data) + encryptor.finalize()

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """See `CardKey.decrypt_cbc`."""
        decryptor = Cipher(self._key, modes.CBC(iv)).decryptor()
        return decryptor.update(data) + decryptor.finalize()

    def cmac(self, data: bytes) -> bytes:
        """See `CardKey.cmac`."""
        mac = CMAC(self._key)
        mac.update(data)
        return mac.finalize()


class SoftwareMasterKey:
    """A `MasterKey` whose 16 bytes are in this process's memory; its repr shows nothing of them."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = SoftwareAesKey(key)

    def __repr__(self) -> str:
        return "SoftwareMasterKey(<hidden>)"

    def diversify(self, diversification_input: bytes) -> CardKey:
        """See `MasterKey.diversify`; raises `ValueError` for an input that is empty or above 31 bytes."""
        return SoftwareAesKey(_an10922_aes128(self._key, diversification_input))


def cmac_subkeys(key: CardKey) -> tuple[bytes, bytes]:
    """The CMAC subkeys K1 and K2, 16 bytes each (NIST SP 800-38B §6.1)."""
    k1 = _double(key.encrypt_cbc(ZERO_IV, bytes(BLOCK_BYTES)))
    return k1, _double(k1)


def _an10922_aes128(master: CardKey, diversification_input: bytes) -> bytes:
    """CMAC over 01 ‖ M, except that M is always padded to two blocks, however short it is (AN10922 §2.2.1).

    A plain CMAC would pad a short input to one block only and give another key.
    """
    if not 1 <= len(diversification_input) <= MAX_DIVERSIFICATION_INPUT_BYTES:
        raise ValueError(f"a diversification input has 1 to 31 bytes, not {len(diversification_input)}")
    k1, k2 = cmac_subkeys(master)
    message = _AN10922_AES128 + diversification_input
    if len(message) == _AN10922_BLOCKS_BYTES:
        padded, subkey = message, k1
    else:
        padded, subkey = (message + b"\x80").ljust(_AN10922_BLOCKS_BYTES, b"\x00"), k2
    first, last = padded[:BLOCK_BYTES], padded[BLOCK_BYTES:]
    return master.encrypt_cbc(ZERO_IV, first + _xor(last, subkey))[BLOCK_BYTES:]


def _double(block: bytes) -> bytes:
    """Multiplication by x in GF(2^128) with the polynomial x^128 + x^7 + x^2 + x + 1."""
    shifted = int.from_bytes(block, "big") << 1
    reduced = shifted ^ (0x87 | 1 << 128) if shifted >> 128 else shifted
    return reduced.to_bytes(BLOCK_BYTES, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
