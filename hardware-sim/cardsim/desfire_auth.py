# SPDX-License-Identifier: EUPL-1.2
"""The halves of the authentications: EV2 First and NonFirst (NXP AN12343 section 4), ISO, AES, and the oldest one."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cardsim import desfire_crypto as crypto
from cardsim.desfire_ciphers import BlockCipher, KeyKind
from cardsim.desfire_data import CardKey
from cardsim.desfire_session import Ev2Session, SecureSession
from cardsim.desfire_session_ev1 import Ev1Session, LegacySession
from cardsim.desfire_status import DesfireError, DesfireStatus
from cardsim.interfaces import RandomBytes

CAPABILITIES_LENGTH = 6
SECOND_FRAME_LENGTH = 32
PICC_CAPABILITIES = bytes(CAPABILITIES_LENGTH)


class PendingAuthentication(Protocol):
    """The card has sent E(RndB) and waits for E(RndA ‖ RndB')."""

    def finish(self, frame: bytes, random_bytes: RandomBytes) -> tuple[SecureSession, bytes]:
        """Check the reader's answer; returns the session and the last answer of the card."""


def _check_proof(returned: bytes, rnd_b: bytes) -> None:
    if not hmac.compare_digest(returned, crypto.rotate_left(rnd_b)):
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)


@dataclass
class PendingEv2:
    """AuthenticateEV2First, or NonFirst where ``continued`` is the session it continues."""

    key_number: int
    key: bytes = field(repr=False)
    rnd_b: bytes = field(repr=False)
    reader_capabilities: bytes = bytes(CAPABILITIES_LENGTH)
    continued: Ev2Session | None = None

    def challenge(self) -> bytes:
        """E(key, RndB), 16 bytes."""
        return crypto.encrypt_cbc(self.key, self.rnd_b)

    def finish(self, frame: bytes, random_bytes: RandomBytes) -> tuple[SecureSession, bytes]:
        """Check the reader's answer; returns the session and the last answer of the card.

        Raises:
            DesfireError: length error or authentication error.
        """
        if len(frame) != SECOND_FRAME_LENGTH:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        plain = crypto.decrypt_cbc(self.key, frame)
        rnd_a, returned = plain[:16], plain[16:]
        _check_proof(returned, self.rnd_b)
        enc_key, mac_key = crypto.session_keys(key=self.key, rnd_a=rnd_a, rnd_b=self.rnd_b)
        proof = crypto.rotate_left(rnd_a)
        if self.continued is not None:
            session = Ev2Session(self.key_number, enc_key, mac_key, self.continued.ti, self.continued.command_counter)
        else:
            session = Ev2Session(self.key_number, enc_key, mac_key, random_bytes(4))
            proof = session.ti + proof + PICC_CAPABILITIES + self.reader_capabilities
        return session, crypto.encrypt_cbc(self.key, proof)


@dataclass
class PendingEv1:
    """AuthenticateISO or AuthenticateAES: one CBC chain runs through all three messages."""

    key_number: int
    key: CardKey
    rnd_b: bytes = field(repr=False)

    def __post_init__(self) -> None:
        self._cipher = BlockCipher(self.key.kind, self.key.value)
        self._challenge = self._cipher.encrypt(self.rnd_b)

    def challenge(self) -> bytes:
        """E(key, RndB), 16 bytes, 8 for keys of 8 or 16 bytes of DES."""
        return self._challenge

    def finish(self, frame: bytes, random_bytes: RandomBytes) -> tuple[SecureSession, bytes]:
        """Check the reader's answer; returns the session and the last answer of the card.

        Raises:
            DesfireError: length error or authentication error.
        """
        size, block = len(self.rnd_b), self._cipher.block
        if len(frame) != 2 * size:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        plain = self._cipher.decrypt(frame, self._challenge[-block:])
        rnd_a, returned = plain[:size], plain[size:]
        _check_proof(returned, self.rnd_b)
        cipher = BlockCipher(self.key.kind, session_key(self.key, rnd_a, self.rnd_b))
        answer = self._cipher.encrypt(crypto.rotate_left(rnd_a), frame[-block:])
        return Ev1Session(self.key_number, cipher, cipher.zero), answer


@dataclass
class PendingLegacy:
    """The first DESFire's Authenticate: the card enciphers in both directions, always from zero."""

    key_number: int
    key: CardKey
    rnd_b: bytes = field(repr=False)

    def challenge(self) -> bytes:
        """E(key, RndB), 8 bytes."""
        return BlockCipher(self.key.kind, self.key.value).encrypt(self.rnd_b)

    def finish(self, frame: bytes, random_bytes: RandomBytes) -> tuple[SecureSession, bytes]:
        """Check the reader's answer; returns the session and the last answer of the card.

        Raises:
            DesfireError: length error or authentication error.
        """
        if len(frame) != 16:
            raise DesfireError(DesfireStatus.LENGTH_ERROR)
        cipher = BlockCipher(self.key.kind, self.key.value)
        plain = cipher.open_legacy(frame)
        rnd_a, returned = plain[:8], plain[8:]
        _check_proof(returned, self.rnd_b)
        opened = BlockCipher(self.key.kind, session_key(self.key, rnd_a, self.rnd_b))
        return LegacySession(self.key_number, opened), cipher.encrypt(crypto.rotate_left(rnd_a))


def session_key(key: CardKey, rnd_a: bytes, rnd_b: bytes) -> bytes:
    """The session key before EV2: parts of both random numbers, as many as the cipher needs."""
    parts = rnd_a[:4] + rnd_b[:4]
    if key.kind is KeyKind.AES:
        return parts + rnd_a[12:16] + rnd_b[12:16]
    if key.kind is KeyKind.THREE_KEY_DES:
        return parts + rnd_a[6:10] + rnd_b[6:10] + rnd_a[12:16] + rnd_b[12:16]
    return parts if key.is_single_des else parts + rnd_a[4:8] + rnd_b[4:8]


def begin_legacy(number: int, key: CardKey, random_bytes: RandomBytes) -> PendingLegacy:
    """Authenticate (0A): DES and two-key DES.

    Raises:
        DesfireError: authentication error for another kind of key.
    """
    _require(key, KeyKind.DES)
    return PendingLegacy(number, key, random_bytes(8))


def begin_iso(number: int, key: CardKey, random_bytes: RandomBytes) -> PendingEv1:
    """AuthenticateISO (1A): all kinds of DES.

    Raises:
        DesfireError: authentication error for an AES key.
    """
    _require(key, KeyKind.DES, KeyKind.THREE_KEY_DES)
    return PendingEv1(number, key, random_bytes(8 if key.kind is KeyKind.DES else 16))


def begin_aes(number: int, key: CardKey, random_bytes: RandomBytes) -> PendingEv1:
    """AuthenticateAES (AA).

    Raises:
        DesfireError: authentication error for a DES key.
    """
    _require(key, KeyKind.AES)
    return PendingEv1(number, key, random_bytes(16))


def _require(key: CardKey, *kinds: KeyKind) -> None:
    if key.kind not in kinds:
        raise DesfireError(DesfireStatus.AUTHENTICATION_ERROR)


Beginning = Callable[[int, CardKey, RandomBytes], PendingLegacy | PendingEv1]
