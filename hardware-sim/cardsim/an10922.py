# SPDX-License-Identifier: EUPL-1.2
"""AES-128 key diversification (NXP AN10922 section 2.2)."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

BLOCK = 16
CONSTANT = b"\x01"
MAX_INPUT_LENGTH = 31


def _doubled(block: bytes) -> bytes:
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number = (number & ((1 << 128) - 1)) ^ 0x87
    return number.to_bytes(BLOCK, "big")


def subkeys(key: bytes) -> tuple[bytes, bytes]:
    """The CMAC subkeys K1 and K2 of a 16-byte key (NIST SP 800-38B section 6.1)."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - one block, as SP 800-38B asks
    first = _doubled(encryptor.update(bytes(BLOCK)) + encryptor.finalize())
    return first, _doubled(first)


def diversify(*, master: bytes, diversification_input: bytes) -> bytes:
    """The 16-byte card key of a 16-byte master key for an input M of 1 to 31 bytes.

    The message is always two blocks long; this differs from a plain CMAC for short inputs.

    Raises:
        ValueError: if the master key or the input has another length.
    """
    if len(master) != BLOCK:
        raise ValueError(f"the master key has 16 bytes, got {len(master)}")
    if not 1 <= len(diversification_input) <= MAX_INPUT_LENGTH:
        raise ValueError(f"the diversification input has 1 to 31 bytes, got {len(diversification_input)}")
    message = CONSTANT + diversification_input
    full_subkey, padded_subkey = subkeys(master)
    subkey = full_subkey
    if len(message) < 2 * BLOCK:
        message = (message + b"\x80").ljust(2 * BLOCK, b"\x00")
        subkey = padded_subkey
    last = bytes(a ^ b for a, b in zip(message[BLOCK:], subkey, strict=True))
    encryptor = Cipher(algorithms.AES(master), modes.CBC(bytes(BLOCK))).encryptor()
    return (encryptor.update(message[:BLOCK] + last) + encryptor.finalize())[BLOCK:]
