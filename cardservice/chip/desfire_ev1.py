# SPDX-License-Identifier: EUPL-1.2
"""Secure messaging of DESFire EV1, and that of the first DESFire (D40), which it still speaks after Authenticate 0A.

EV1 (after AuthenticateISO and AuthenticateAES): one initial vector for the whole session, zero at its beginning.
Every command and every answer runs through it, as a CMAC or enciphered; the CMAC that travels is its first 8 bytes. An
enciphered command is data ‖ CRC32(instruction ‖ header ‖ data), an enciphered answer data ‖ CRC32(data ‖ status), both
padded with zeros.

D40 (after Authenticate): the initial vector is zero each time, check sums are CRC16, MACs 4 bytes. The card can only
encipher, so whoever sends to it *deciphers* in CBC.

NXP publishes D40 (MF3ICD40 data sheet §3) and only a short data sheet of EV1 (MF3ICDx21_41_81). What EV1 does is as
libfreefare (`mifare_desfire_crypto.c`), proxmark3 (`desfiresecurechan.c`) and the wire captures of the project
RFDoorLock ("DESFire EV1 Communication Examples") agree; the captures are tests of ours.
"""

import hmac
from collections.abc import Callable
from typing import Final, Protocol

from cardservice.chip.desfire_des import DES_BLOCK_BYTES
from cardservice.chip.desfire_messages import CommMode, Ins, KeyChange, Message, Sealed
from cardservice.chip.desfire_messaging import crc32
from cardservice.chip.errors import CardNotGenuine, ProtocolError

EV1_MAC_BYTES: Final = 8
D40_MAC_BYTES: Final = 4

_STATUS_OK: Final = b"\x00"
_REDUCTIONS: Final = {8: 0x1B, 16: 0x87}

# Commands whose MAC is sent; that of the others is computed, for it moves the initial vector, and stays here.
_SENDS_MAC: Final = frozenset(
    {
        Ins.WRITE_DATA,
        Ins.WRITE_DATA_NATIVE,
        Ins.CREDIT,
        Ins.DEBIT,
        Ins.INITIALIZE_KEY_SET,
        Ins.FINALIZE_KEY_SET,
        Ins.ROLL_KEY_SET,
    }
)
# Commands of D40 whose answer has a MAC; all others are answered in the open.
_ANSWERS_MAC: Final = frozenset({Ins.READ_DATA, Ins.READ_DATA_NATIVE, Ins.GET_VALUE})


class CbcKey(Protocol):
    """A key of either cipher: AES with blocks of 16 bytes, DES with 8."""

    def encrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """CBC without padding."""
        ...

    def decrypt_cbc(self, iv: bytes, data: bytes) -> bytes:
        """The inverse of `encrypt_cbc`."""
        ...


class Ev1Messaging:
    """`Messaging` of EV1; it has state, so a command is sealed only after the answer before it was revealed.

    Args:
        key: the session key.
        block_bytes: 16 for AES, 8 for DES.
    """

    __slots__ = ("_block_bytes", "_iv", "_key", "_subkeys")

    def __init__(self, key: CbcKey, block_bytes: int) -> None:
        self._key = key
        self._block_bytes = block_bytes
        self._iv = bytes(block_bytes)
        k1 = _double(key.encrypt_cbc(self._iv, bytes(block_bytes)))
        self._subkeys = k1, _double(k1)

    def seal(self, message: Message) -> Sealed:
        """See `Messaging.seal`."""
        whole = bytes((message.ins,)) + message.header + message.data
        if message.mode is CommMode.FULL and message.data:
            body = message.header + self._encipher(message.data + crc32(whole))
            return Sealed(body, self._reveal_maced(may_be_bare=message.ends_session))
        mac = self._cmac(whole)[:EV1_MAC_BYTES]
        body = message.header + message.data
        if message.mode is CommMode.MAC and message.ins in _SENDS_MAC:
            body += mac
        if message.mode is CommMode.FULL:
            return Sealed(body, lambda answer: self._decipher(answer, message.answer_bytes))
        return Sealed(body, self._reveal_maced(may_be_bare=message.ends_session))

    def seal_key(self, change: KeyChange) -> Sealed:
        """See `Messaging.seal_key`: key data ‖ CRC32(command ‖ header ‖ key data) [‖ CRC32 of the new key]."""

        def encipher(key_data: bytes, new: bytes) -> bytes:
            of_command = crc32(bytes((change.ins,)) + change.header + key_data)
            of_key = b"" if change.old is None else crc32(new)
            return change.header + self._encipher(key_data + of_command + of_key)

        return Sealed(change.encipher_with(encipher), self._reveal_maced(may_be_bare=change.ends_session))

    def _encipher(self, data: bytes) -> bytes:
        enciphered = self._key.encrypt_cbc(self._iv, _zero_padded(data, self._block_bytes))
        self._iv = enciphered[-self._block_bytes :]
        return enciphered

    def _decipher(self, answer: bytes, length: int) -> bytes:
        if not answer or len(answer) % self._block_bytes:
            raise ProtocolError("secure messaging", f"{len(answer)} enciphered bytes, whole blocks are needed")
        plain = self._key.decrypt_cbc(self._iv, answer)
        self._iv = answer[-self._block_bytes :]
        return _checked(plain, length, lambda data: crc32(data + _STATUS_OK))

    def _reveal_maced(self, *, may_be_bare: bool) -> Callable[[bytes], bytes]:
        def reveal(answer: bytes) -> bytes:
            if may_be_bare and not answer:
                return b""
            if len(answer) < EV1_MAC_BYTES:
                raise ProtocolError("secure messaging", f"{len(answer)} bytes, at least a MAC of 8 is needed")
            data, mac = answer[:-EV1_MAC_BYTES], answer[-EV1_MAC_BYTES:]
            if not hmac.compare_digest(mac, self._cmac(data + _STATUS_OK)[:EV1_MAC_BYTES]):
                raise CardNotGenuine("the MAC of the card's answer is wrong")
            return data

        return reveal

    def _cmac(self, data: bytes) -> bytes:
        """CMAC (NIST SP 800-38B §6.2) that begins with the session's initial vector and leaves the next one."""
        whole = bool(data) and len(data) % self._block_bytes == 0
        padded = data if whole else _zero_padded(data + b"\x80", self._block_bytes)
        subkey = self._subkeys[0] if whole else self._subkeys[1]
        last = bytes(a ^ b for a, b in zip(padded[-self._block_bytes :], subkey, strict=True))
        self._iv = self._key.encrypt_cbc(self._iv, padded[: -self._block_bytes] + last)[-self._block_bytes :]
        return self._iv


class D40Messaging:
    """`Messaging` of the first DESFire, after Authenticate (0A) with a DES or 2K3DES key."""

    __slots__ = ("_key",)

    def __init__(self, key: CbcKey) -> None:
        self._key = key

    def seal(self, message: Message) -> Sealed:
        """See `Messaging.seal` (MF3ICD40 data sheet §3.3)."""
        if message.mode is CommMode.FULL:
            if message.data:
                body = message.header + self._send(message.data + crc16(message.data))
                return Sealed(body, lambda answer: answer)
            return Sealed(message.header, lambda answer: self._receive(answer, message.answer_bytes))
        body = message.header + message.data
        if message.mode is CommMode.MAC and message.ins in _SENDS_MAC:
            body += self._mac(message.data)
        if message.mode is CommMode.MAC and message.ins in _ANSWERS_MAC:
            return Sealed(body, self._reveal_maced)
        return Sealed(body, lambda answer: answer)

    def seal_key(self, change: KeyChange) -> Sealed:
        """See `Messaging.seal_key`: key data ‖ CRC16 of them [‖ CRC16 of the new key] (MF3ICD40 data sheet §4.3.5)."""

        def encipher(key_data: bytes, new: bytes) -> bytes:
            of_key = b"" if change.old is None else crc16(new)
            return change.header + self._send(key_data + crc16(key_data) + of_key)

        return Sealed(change.encipher_with(encipher), lambda answer: answer)

    def _send(self, data: bytes) -> bytes:
        return decipher_to_send(self._key, _zero_padded(data, DES_BLOCK_BYTES))

    def _receive(self, answer: bytes, length: int) -> bytes:
        if not answer or len(answer) % DES_BLOCK_BYTES:
            raise ProtocolError("secure messaging", f"{len(answer)} enciphered bytes, whole blocks are needed")
        return _checked(self._key.decrypt_cbc(bytes(DES_BLOCK_BYTES), answer), length, crc16)

    def _mac(self, data: bytes) -> bytes:
        padded = _zero_padded(data, DES_BLOCK_BYTES) or bytes(DES_BLOCK_BYTES)
        return self._key.encrypt_cbc(bytes(DES_BLOCK_BYTES), padded)[-DES_BLOCK_BYTES:][:D40_MAC_BYTES]

    def _reveal_maced(self, answer: bytes) -> bytes:
        if len(answer) < D40_MAC_BYTES:
            raise ProtocolError("secure messaging", f"{len(answer)} bytes, at least a MAC of 4 is needed")
        data, mac = answer[:-D40_MAC_BYTES], answer[-D40_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(data)):
            raise CardNotGenuine("the MAC of the card's answer is wrong")
        return data


def decipher_to_send(key: CbcKey, data: bytes) -> bytes:
    """CBC in which each block is deciphered: what a D40 card turns into `data` by enciphering."""
    sent, before = bytearray(), bytes(DES_BLOCK_BYTES)
    for start in range(0, len(data), DES_BLOCK_BYTES):
        block = data[start : start + DES_BLOCK_BYTES]
        mixed = bytes(a ^ b for a, b in zip(block, before, strict=True))
        before = key.decrypt_cbc(bytes(DES_BLOCK_BYTES), mixed)
        sent += before
    return bytes(sent)


def crc16(data: bytes) -> bytes:
    """CRC_A of ISO/IEC 14443-3 §6.2.4, least significant byte first."""
    register = 0x6363
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x8408 if register & 1 else 0)
    return register.to_bytes(2, "little")


def _checked(plain: bytes, length: int, check_sum_of: Callable[[bytes], bytes]) -> bytes:
    """The first `length` bytes, if their check sum follows and then nothing but padding."""
    data = plain[:length]
    expected = check_sum_of(data)
    check_sum, padding = plain[length : length + len(expected)], plain[length + len(expected) :]
    if not hmac.compare_digest(check_sum, expected):
        raise CardNotGenuine("the check sum of the card's enciphered answer is wrong")
    if padding.strip(b"\x00") not in {b"", b"\x80"} or padding.find(b"\x80") > 0:
        raise ProtocolError("secure messaging", "the padding of the answer is neither zeros nor 80 and zeros")
    return data


def _zero_padded(data: bytes, block_bytes: int) -> bytes:
    return data.ljust(-(-len(data) // block_bytes) * block_bytes, b"\x00")


def _double(block: bytes) -> bytes:
    """Multiplication by x in GF(2^64) or GF(2^128) (NIST SP 800-38B §5.3 and §6.1)."""
    bits = 8 * len(block)
    shifted = int.from_bytes(block, "big") << 1
    reduced = shifted ^ (_REDUCTIONS[len(block)] | 1 << bits) if shifted >> bits else shifted
    return reduced.to_bytes(len(block), "big")
