# SPDX-License-Identifier: EUPL-1.2
"""Cryptography of EV2 secure messaging (NXP AN12343 and AN12196, sections on AuthenticateEV2First and messaging)."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

BLOCK = 16
MAC_LENGTH = 8
COMMAND_LABEL = b"\xa5\x5a"
RESPONSE_LABEL = b"\x5a\xa5"


def encrypt_cbc(key: bytes, data: bytes, iv: bytes = bytes(BLOCK)) -> bytes:
    """AES-128-CBC without padding."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def decrypt_cbc(key: bytes, data: bytes, iv: bytes = bytes(BLOCK)) -> bytes:
    """AES-128-CBC without padding."""
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes (NIST SP 800-38B)."""
    mac = CMAC(algorithms.AES(key))
    mac.update(message)
    return mac.finalize()


def truncated_mac(key: bytes, message: bytes) -> bytes:
    """MACt: the 8 bytes with odd index of the CMAC."""
    return cmac(key, message)[1::2]


def rotate_left(data: bytes) -> bytes:
    """The bytes moved one place to the left."""
    return data[1:] + data[:1]


def session_keys(*, key: bytes, rnd_a: bytes, rnd_b: bytes) -> tuple[bytes, bytes]:
    """SesAuthENCKey and SesAuthMACKey from SV1 and SV2."""
    mixed = bytes(a ^ b for a, b in zip(rnd_a[2:8], rnd_b[0:6], strict=True))
    context = rnd_a[0:2] + mixed + rnd_b[6:16] + rnd_a[8:16]
    counter_and_length = b"\x00\x01\x00\x80"
    return (
        cmac(key, COMMAND_LABEL + counter_and_length + context),
        cmac(key, RESPONSE_LABEL + counter_and_length + context),
    )


def message_iv(enc_key: bytes, label: bytes, ti: bytes, command_counter: int) -> bytes:
    """The CBC start value of one command or response; ``ti`` has 4 bytes."""
    return encrypt_cbc(enc_key, label + ti + command_counter.to_bytes(2, "little") + bytes(8))


def pad(data: bytes) -> bytes:
    """Padding 80 00 ..., always added (ISO/IEC 9797-1 method 2)."""
    return data + b"\x80" + bytes(-(len(data) + 1) % BLOCK)


def unpad(data: bytes) -> bytes:
    """Take the padding 80 00 ... away.

    Raises:
        ValueError: if it is not there.
    """
    content = data.rstrip(b"\x00")
    if len(data) - len(content) >= BLOCK or not content.endswith(b"\x80"):
        raise ValueError("the padding 80 00 ... is missing")
    return content[:-1]
