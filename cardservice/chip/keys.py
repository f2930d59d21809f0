# SPDX-License-Identifier: EUPL-1.2
"""AES-128 card keys behind Protocols, and AN10922 diversification.

The conversations ask a `CardKey` for operations and never see its bytes, so a PKCS#11 token can stand behind it. The
software keys are for keys that must be at hand: session keys, sealed stores, tests.
"""

from collections.abc import Callable
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


class KeyToWrite(Protocol):
    """A key whose bytes can be enciphered on their way to a card."""

    def wrap_for_change(self, encipher: Callable[[bytes], bytes]) -> bytes:
        """Returns what `encipher` makes of the key's bytes: the enciphered ChangeKey message, and nothing else of them.

        ChangeKey carries the new key under the card's session key, beside a check sum of its own and, for most keys,
        mixed with the old key. No PKCS#11 mechanism does that inside a token, and a token's wrapping keys do not know
        the card's session key. So for the time of this call the bytes of this one card's key are in the memory of this
        process, whatever keeps the master: an HSM protects the masters from which every card's key is made, not the
        single key that is being written. A token needs masters whose derived keys may be extracted for it.
        """
        ...


class WritableKey(CardKey, KeyToWrite, Protocol):
    """One card's key that authenticates, and that can be written to the card."""


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


class SoftwareWritableKey(SoftwareAesKey):
    """A card's key whose bytes are in this process's memory, on its way to the card."""

    __slots__ = ("_bytes",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._bytes = key

    def wrap_for_change(self, encipher: Callable[[bytes], bytes]) -> bytes:
        """Return what `encipher` makes of the 16 bytes: the enciphered ChangeKey message, and nothing else of them."""
        return encipher(self._bytes)


class SoftwareMasterKey:
    """A `MasterKey` whose 16 bytes are in this process's memory; its repr shows nothing of them."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = SoftwareAesKey(key)

    def __repr__(self) -> str:
        return "SoftwareMasterKey(<hidden>)"

    def diversify(self, diversification_input: bytes) -> CardKey:
        """See `MasterKey.diversify`; raises `ValueError` for an input that is empty or above 31 bytes."""
        return SoftwareAesKey(an10922_aes128(self._key, diversification_input))


def cmac_subkeys(key: CardKey) -> tuple[bytes, bytes]:
    """The CMAC subkeys K1 and K2, 16 bytes each (NIST SP 800-38B §6.1)."""
    return cmac_subkeys_of(key.encrypt_cbc(ZERO_IV, bytes(BLOCK_BYTES)))


def cmac_subkeys_of(zeros_enciphered: bytes) -> tuple[bytes, bytes]:
    """The same from the one block that the key makes of zeros."""
    k1 = _double(zeros_enciphered)
    return k1, _double(k1)


def an10922_aes128(master: CardKey, diversification_input: bytes) -> bytes:
    """The bytes of the key that `master` gives for an input M of 1 to 31 bytes (AN10922 §2.2.1).

    Raises:
        ValueError: an input of another length.
    """
    first, last = an10922_blocks(cmac_subkeys(master), diversification_input)
    return master.encrypt_cbc(ZERO_IV, first + last)[BLOCK_BYTES:]


def an10922_blocks(subkeys: tuple[bytes, bytes], diversification_input: bytes) -> tuple[bytes, bytes]:
    """The two blocks of which CBC under the master makes a key; `subkeys` are the master's own K1 and K2.

    CMAC over 01 ‖ M, except that M is always padded to two blocks, however short it is (AN10922 §2.2.1). A plain CMAC
    would pad a short input to one block only and give another key.

    Raises:
        ValueError: an input of another length than 1 to 31 bytes.
    """
    if not 1 <= len(diversification_input) <= MAX_DIVERSIFICATION_INPUT_BYTES:
        raise ValueError(f"a diversification input has 1 to 31 bytes, not {len(diversification_input)}")
    k1, k2 = subkeys
    message = _AN10922_AES128 + diversification_input
    if len(message) == _AN10922_BLOCKS_BYTES:
        padded, subkey = message, k1
    else:
        padded, subkey = (message + b"\x80").ljust(_AN10922_BLOCKS_BYTES, b"\x00"), k2
    return padded[:BLOCK_BYTES], _xor(padded[BLOCK_BYTES:], subkey)


def _double(block: bytes) -> bytes:
    """Multiplication by x in GF(2^128) with the polynomial x^128 + x^7 + x^2 + x + 1."""
    shifted = int.from_bytes(block, "big") << 1
    reduced = shifted ^ (0x87 | 1 << 128) if shifted >> 128 else shifted
    return reduced.to_bytes(BLOCK_BYTES, "big")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
