# SPDX-License-Identifier: EUPL-1.2
"""The three-pass authentications before EV2: Authenticate 0A, AuthenticateISO 1A, AuthenticateAES AA.

    card    E(key, RndB)
    we      E(key, RndA ‖ RndB')         RndB' is RndB turned left by one byte
    card    E(key, RndA')

1A and AA chain the cipher through all three passes; 0A begins each anew, and we decipher where the others encipher
(MF3ICD40 data sheet §3.2; for 1A and AA libfreefare `mifare_desfire.c`, proxmark3 `desfirecore.c`).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cardservice.chip.conversation import Conversation, RandomBytes, exchange
from cardservice.chip.desfire import accept, expect_length, rotate_left, wrap
from cardservice.chip.desfire_des import DES_BLOCK_BYTES, DesKey
from cardservice.chip.desfire_ev1 import CbcKey, D40Messaging, Ev1Messaging, decipher_to_send
from cardservice.chip.desfire_messages import Ins
from cardservice.chip.errors import CardNotGenuine
from cardservice.chip.keys import BLOCK_BYTES, CardKey, SoftwareAesKey
from cardservice.chip.status import DESFIRE_ADDITIONAL_FRAME

_AES_RANDOM_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class _Passes:
    """What differs between the authentications: the instruction and the three uses of the key."""

    ins: Ins
    random_count: int
    open_rnd_b: Callable[[bytes], bytes]
    make_token: Callable[[bytes, bytes], bytes]
    open_rnd_a: Callable[[bytes, bytes], bytes]


def authenticate_aes(key_no: int, key: CardKey, *, random_bytes: RandomBytes) -> Conversation[Ev1Messaging]:
    """AuthenticateAES with one of the application's AES keys; leads to EV1 messaging.

    Raises:
        AuthenticationRefused: the card does not accept the key.
        CardNotGenuine: the card does not hold it.
        CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
    """
    passes = _chained(Ins.AUTHENTICATE_AES, _AES_RANDOM_BYTES, key, BLOCK_BYTES)
    rnd_a, rnd_b = yield from _three_passes(passes, key_no, random_bytes)
    session_key = SoftwareAesKey(rnd_a[:4] + rnd_b[:4] + rnd_a[12:] + rnd_b[12:])
    return Ev1Messaging(session_key, BLOCK_BYTES)


def authenticate_iso(key_no: int, key: DesKey, *, random_bytes: RandomBytes) -> Conversation[Ev1Messaging]:
    """AuthenticateISO with a DES, 2K3DES or 3K3DES key; leads to EV1 messaging. Raises as `authenticate_aes` does."""
    passes = _chained(Ins.AUTHENTICATE_ISO, key.random_bytes, key, DES_BLOCK_BYTES)
    rnd_a, rnd_b = yield from _three_passes(passes, key_no, random_bytes)
    return Ev1Messaging(key.session_key(rnd_a, rnd_b), DES_BLOCK_BYTES)


def authenticate_legacy(key_no: int, key: DesKey, *, random_bytes: RandomBytes) -> Conversation[D40Messaging]:
    """Authenticate with a DES or 2K3DES key; leads to D40 messaging. Raises as `authenticate_aes` does."""
    zero = bytes(DES_BLOCK_BYTES)
    passes = _Passes(
        Ins.AUTHENTICATE,
        DES_BLOCK_BYTES,
        open_rnd_b=lambda enciphered: key.decrypt_cbc(zero, enciphered),
        make_token=lambda _, plain: decipher_to_send(key, plain),
        open_rnd_a=lambda _, enciphered: key.decrypt_cbc(zero, enciphered),
    )
    rnd_a, rnd_b = yield from _three_passes(passes, key_no, random_bytes)
    return D40Messaging(key.session_key(rnd_a, rnd_b))


def _chained(ins: Ins, random_count: int, key: CbcKey, block_bytes: int) -> _Passes:
    """The passes of 1A and AA: each begins with the last block that travelled before it."""
    return _Passes(
        ins,
        random_count,
        open_rnd_b=lambda enciphered: key.decrypt_cbc(bytes(block_bytes), enciphered),
        make_token=lambda before, plain: key.encrypt_cbc(before[-block_bytes:], plain),
        open_rnd_a=lambda before, enciphered: key.decrypt_cbc(before[-block_bytes:], enciphered),
    )


def _three_passes(passes: _Passes, key_no: int, random_bytes: RandomBytes) -> Conversation[tuple[bytes, bytes]]:
    """RndA and RndB, once each side has shown that it holds the key."""
    ins, count = passes.ins, passes.random_count
    (begun,) = yield from exchange(wrap(ins, bytes((key_no,))))
    enciphered_rnd_b = expect_length(ins, accept(ins, begun, expected_sw=DESFIRE_ADDITIONAL_FRAME), count)
    rnd_b = passes.open_rnd_b(enciphered_rnd_b)
    rnd_a = random_bytes(count)
    if len(rnd_a) != count:
        raise ValueError(f"the random source gave {len(rnd_a)} bytes, {count} were asked for")

    token = passes.make_token(enciphered_rnd_b, rnd_a + rotate_left(rnd_b))
    (finished,) = yield from exchange(wrap(Ins.ADDITIONAL_FRAME, token))
    answer = passes.open_rnd_a(token, expect_length(ins, accept(ins, finished), count))
    if not hmac.compare_digest(answer, rotate_left(rnd_a)):
        raise CardNotGenuine("the card did not return our random number: it does not hold the key")
    return rnd_a, rnd_b
