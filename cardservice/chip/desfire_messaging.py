# SPDX-License-Identifier: EUPL-1.2
"""DESFire EV2 secure messaging with AES: session keys, initial vectors, MACs (NXP AN12343, AN12196).

A `SecureChannel` is a value without state: the command counter is an argument. The card counts one command as two
moments, CmdCtr for the command and CmdCtr + 1 for its response.
"""

import hmac
import zlib
from dataclasses import dataclass
from typing import Final

from cardservice.chip.desfire_messages import CommMode, KeyChange, Message, Sealed
from cardservice.chip.errors import AnswerLengthWrong, MacWrong, ProtocolError
from cardservice.chip.keys import BLOCK_BYTES, ZERO_IV, CardKey, SoftwareAesKey

RANDOM_BYTES: Final = 16
TI_BYTES: Final = 4
MAC_BYTES: Final = 8
CMD_CTR_MAX: Final = 0xFFFF

_ENC_LABEL: Final = b"\xa5\x5a"
_MAC_LABEL: Final = b"\x5a\xa5"
_ONE_KEY_OF_128_BITS: Final = b"\x00\x01\x00\x80"
_RETURN_CODE_OK: Final = b"\x00"


@dataclass(frozen=True, slots=True)
class SecureChannel:
    """The keys and the transaction identifier that authentication has left.

    Attributes:
        ti: transaction identifier, 4 bytes.
        enc: session key for encryption.
        mac: session key for MACs.
    """

    ti: bytes
    enc: CardKey
    mac: CardKey

    @classmethod
    def derive(cls, key: CardKey, rnd_a: bytes, rnd_b: bytes, ti: bytes) -> "SecureChannel":
        """The channel that two random numbers of 16 bytes make under the authentication key."""
        sv1, sv2 = session_vectors(rnd_a, rnd_b)
        return cls(ti, SoftwareAesKey(key.cmac(sv1)), SoftwareAesKey(key.cmac(sv2)))

    def command_iv(self, cmd_ctr: int) -> bytes:
        """Initial vector for command data: E(SesAuthENC, A5 5A ‖ TI ‖ CmdCtr ‖ 0⁸)."""
        return self._iv(_ENC_LABEL, cmd_ctr)

    def response_iv(self, cmd_ctr: int) -> bytes:
        """Initial vector for response data: E(SesAuthENC, 5A A5 ‖ TI ‖ CmdCtr + 1 ‖ 0⁸)."""
        return self._iv(_MAC_LABEL, cmd_ctr + 1)

    def protect(self, message: Message, cmd_ctr: int) -> bytes:
        """What follows the instruction byte: header, data as the mode wants it, and the MAC if the mode has one."""
        if message.mode is CommMode.PLAIN:
            return message.header + message.data
        data = message.data
        if message.mode is CommMode.FULL and data:
            data = self.enc.encrypt_cbc(self.command_iv(cmd_ctr), pad(data))
        payload = message.header + data
        return payload + self._mac(bytes((message.ins,)), cmd_ctr, payload)

    def reveal(self, answer: bytes, mode: CommMode, cmd_ctr: int) -> bytes:
        """The plain data of a successful answer (without status word) to the command sent with `cmd_ctr`.

        Raises:
            MacWrong: the MAC is wrong.
            ProtocolError: the answer is too short for a MAC, or its MAC is right and its padding is not.
        """
        if mode is CommMode.PLAIN:
            return answer
        if len(answer) < MAC_BYTES:
            raise AnswerLengthWrong("secure messaging", f"{len(answer)} bytes, a MAC has {MAC_BYTES}")
        data, mac = answer[:-MAC_BYTES], answer[-MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(_RETURN_CODE_OK, cmd_ctr + 1, data)):
            raise MacWrong("the MAC of the card's answer is wrong")
        if mode is CommMode.MAC or not data:
            return data
        if len(data) % BLOCK_BYTES:
            raise AnswerLengthWrong("secure messaging", f"{len(data)} enciphered bytes, whole blocks are needed")
        return unpad(self.enc.decrypt_cbc(self.response_iv(cmd_ctr), data))

    def _iv(self, label: bytes, cmd_ctr: int) -> bytes:
        block = label + self.ti + cmd_ctr.to_bytes(2, "little") + bytes(8)
        return self.enc.encrypt_cbc(ZERO_IV, block)

    def _mac(self, code: bytes, cmd_ctr: int, payload: bytes) -> bytes:
        """MACt: every second byte of the CMAC, which makes 8 (AN12196, chapter on secure messaging)."""
        return self.mac.cmac(code + cmd_ctr.to_bytes(2, "little") + self.ti + payload)[1::2]


class Ev2Messaging:
    """`Messaging` of EV2 (NXP AN12343 §5, AN12196 §4): the command counter and its channel.

    Args:
        channel: keys and transaction identifier.
        cmd_ctr: the number of commands so far, 0 after AuthenticateEV2First.
    """

    __slots__ = ("channel", "cmd_ctr")

    def __init__(self, channel: SecureChannel, cmd_ctr: int = 0) -> None:
        self.channel = channel
        self.cmd_ctr = cmd_ctr

    def seal(self, message: Message) -> Sealed:
        """See `Messaging.seal`; raises `ProtocolError` when the counter is used up."""
        channel, cmd_ctr = self.channel, self._count()

        def reveal(answer: bytes) -> bytes:
            if message.ends_session and not answer:
                return b""
            return channel.reveal(answer, message.mode, cmd_ctr)

        return Sealed(channel.protect(message, cmd_ctr), reveal)

    def seal_key(self, change: KeyChange) -> Sealed:
        """See `Messaging.seal_key`: key data [‖ CRC32 of the new key], mode full (AN12196 §5.16.1 and §5.16.2)."""
        channel, cmd_ctr = self.channel, self._count()

        def encipher(key_data: bytes, new: bytes) -> bytes:
            check_sum = b"" if change.old is None else crc32(new)
            return channel.protect(Message(change.ins, CommMode.FULL, change.header, key_data + check_sum), cmd_ctr)

        def reveal(answer: bytes) -> bytes:
            return b"" if change.ends_session and not answer else channel.reveal(answer, CommMode.MAC, cmd_ctr)

        return Sealed(change.encipher_with(encipher), reveal)

    def _count(self) -> int:
        cmd_ctr = self.cmd_ctr
        if cmd_ctr >= CMD_CTR_MAX:
            raise ProtocolError("DESFire session", f"the command counter has reached {CMD_CTR_MAX}, authenticate again")
        self.cmd_ctr = cmd_ctr + 1
        return cmd_ctr


def session_vectors(rnd_a: bytes, rnd_b: bytes) -> tuple[bytes, bytes]:
    """SV1 and SV2, 32 bytes each, whose CMACs are SesAuthENC and SesAuthMAC.

    SV = label ‖ 00 01 00 80 ‖ RndA[15..14] ‖ (RndA[13..8] ⊕ RndB[15..10]) ‖ RndB[9..0] ‖ RndA[7..0], byte 15 first.
    """
    mixed = bytes(a ^ b for a, b in zip(rnd_a[2:8], rnd_b[0:6], strict=True))
    context = rnd_a[0:2] + mixed + rnd_b[6:16] + rnd_a[8:16]
    return _ENC_LABEL + _ONE_KEY_OF_128_BITS + context, _MAC_LABEL + _ONE_KEY_OF_128_BITS + context


def pad(data: bytes) -> bytes:
    """Padding method 2 of ISO/IEC 9797-1: always 80, then zeros to whole blocks."""
    padded_bytes = (len(data) // BLOCK_BYTES + 1) * BLOCK_BYTES
    return (data + b"\x80").ljust(padded_bytes, b"\x00")


def unpad(padded: bytes) -> bytes:
    """Removes what `pad` has added; raises `ProtocolError` when it is not there."""
    stripped = padded.rstrip(b"\x00")
    if not stripped.endswith(b"\x80") or len(padded) - len(stripped) >= BLOCK_BYTES:
        raise ProtocolError("secure messaging", "the padding is not 80 followed by fewer than 16 zeros")
    return stripped[:-1]


def crc32(data: bytes) -> bytes:
    """The CRC of ISO/IEC 13239 without its last complement (JAMCRC), least significant byte first."""
    return (zlib.crc32(data) ^ 0xFFFF_FFFF).to_bytes(4, "little")
