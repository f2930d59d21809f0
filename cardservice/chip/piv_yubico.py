# SPDX-License-Identifier: EUPL-1.2
"""What Yubico's PIV cards do beside the standard (Yubico, "PIV extensions": firmware 5.3 and later for all of it).

A family of its own beside the generic session: nothing there asks whose card it is. Keys are made on the card, so there
is no import.
"""

from dataclasses import dataclass
from typing import Final

from cardservice.chip.apdu import CommandApdu, accept, transceive
from cardservice.chip.conversation import Conversation
from cardservice.chip.errors import AnswerLengthWrong, ProtocolError
from cardservice.chip.piv_formats import Slot
from cardservice.chip.piv_keys import Algorithm, PublicKey, public_key_of
from cardservice.chip.piv_management import ManagementKey
from cardservice.chip.piv_session import PivSession
from cardservice.chip.tlv import Tlv, descend, only, parse

MAX_TRIES: Final = 15

_ALGORITHM, _POLICY, _ORIGIN, _PUBLIC_KEY, _IS_DEFAULT, _TRIES = range(1, 7)
_NO_ALGORITHM: Final = 0xFF
_MADE_ON_CARD: Final = 1
_NO_TOUCH: Final = 0xFF
_DER_SEQUENCE: Final = 0x30
_MAX_MEMBERS: Final = 32


@dataclass(frozen=True, slots=True)
class Metadata:
    """What GET METADATA tells of a key or secret; None for what it does not tell.

    Attributes:
        algorithm: the algorithm identifier of a key.
        pin_policy: 1 never, 2 once, 3 always; 0 where the slot's own rule holds.
        touch_policy: 1 never, 2 always, 3 cached.
        made_on_card: whether the key was generated there and not imported.
        public_key: the public half of a key pair of the standard's algorithms.
        is_default: whether PIN, PUK or management key are still the factory's.
        attempts: how many attempts there are.
        attempts_remaining: how many of them remain.
    """

    algorithm: int | None
    pin_policy: int | None
    touch_policy: int | None
    made_on_card: bool | None
    public_key: PublicKey | None
    is_default: bool | None
    attempts: int | None
    attempts_remaining: int | None

    @classmethod
    def from_bytes(cls, answer: bytes) -> "Metadata":
        """Reads the answer; members that are not known are passed over.

        Raises:
            ProtocolError: it is malformed, a member has another length, or the public key is none.
        """
        members = parse(answer)
        if len(members) > _MAX_MEMBERS:
            raise ProtocolError("GET METADATA", f"{len(members)} members, at most {_MAX_MEMBERS} are allowed")
        (algorithm,) = _bytes_of(members, _ALGORITHM, 1)
        pin_policy, touch_policy = _bytes_of(members, _POLICY, 2)
        (origin,) = _bytes_of(members, _ORIGIN, 1)
        (is_default,) = _bytes_of(members, _IS_DEFAULT, 1)
        attempts, remaining = _bytes_of(members, _TRIES, 2)
        return cls(
            None if algorithm == _NO_ALGORITHM else algorithm,
            pin_policy,
            touch_policy,
            None if origin is None else origin == _MADE_ON_CARD,
            _public_key(members, algorithm),
            None if is_default is None else bool(is_default),
            attempts,
            remaining,
        )


class YubicoExtensions:
    """Yubico's own commands in a session."""

    def __init__(self, session: PivSession) -> None:
        self.session = session

    def get_version(self) -> Conversation[tuple[int, int, int]]:
        """GET VERSION (FD): the firmware's version."""
        answer = yield from _transact("GET VERSION", 0xFD)
        major, minor, patch = _exactly("GET VERSION", answer, 3)
        return major, minor, patch

    def get_serial(self) -> Conversation[int]:
        """GET SERIAL (F8): the number on the case (firmware 5.0)."""
        return int.from_bytes(_exactly("GET SERIAL", (yield from _transact("GET SERIAL", 0xF8)), 4), "big")

    def get_metadata(self, reference: int) -> Conversation[Metadata]:
        """GET METADATA (F7) of a slot, the management key, the PIN or the PUK (firmware 5.3).

        Raises:
            ObjectNotFound: the slot is empty.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        return Metadata.from_bytes((yield from _transact("GET METADATA", 0xF7, 0x00, reference)))

    def set_management_key(self, key: ManagementKey) -> Conversation[None]:
        """SET MANAGEMENT KEY (FF), after the one in force; AES needs firmware 5.4. A touch is not asked for.

        Raises:
            SecurityStatusNotSatisfied: the management key in force was not proved.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        head = bytes((key.algorithm, Slot.MANAGEMENT, key.algorithm.key_bytes))
        data = key.wrap_for_change(lambda value: head + value)
        yield from _transact("SET MANAGEMENT KEY", 0xFF, 0xFF, _NO_TOUCH, data)

    def set_pin_retries(self, pin_attempts: int, puk_attempts: int) -> Conversation[None]:
        """SET PIN RETRIES (FA), 1 to 15 each, after management key and PIN; both secrets are the factory's again."""
        if not (1 <= pin_attempts <= MAX_TRIES and 1 <= puk_attempts <= MAX_TRIES):
            raise ValueError(f"1 to {MAX_TRIES} attempts are allowed")
        yield from _transact("SET PIN RETRIES", 0xFA, pin_attempts, puk_attempts)

    def attest(self, slot: Slot) -> Conversation[bytes]:
        """ATTEST (F9): a certificate (DER) of the card's maker that the slot's key was made on the card.

        Nothing in it is checked here but that it is one DER object.

        Raises:
            ProtocolError: the answer is none.
            CardGone, StatusError: the card left, or refused: no key, or one that was imported.
        """
        answer = yield from _transact("ATTEST", 0xF9, slot)
        descend(answer, _DER_SEQUENCE)
        return answer

    def reset(self) -> Conversation[None]:
        """RESET (FB): everything is the factory's again; only when PIN and PUK are both blocked."""
        yield from _transact("RESET", 0xFB)


class YubicoFamily:
    """The `piv_plan.CardFamily` of Yubico's cards."""

    def set_management_key(self, session: PivSession, key: ManagementKey) -> Conversation[None]:
        """See `CardFamily.set_management_key`."""
        return YubicoExtensions(session).set_management_key(key)


def _transact(name: str, ins: int, p1: int = 0, p2: int = 0, data: bytes = b"") -> Conversation[bytes]:
    command = CommandApdu(0x00, ins, p1, p2, data, le=None if data else 256)
    return accept(name, (yield from transceive(name, command)))


def _exactly(name: str, answer: bytes, length: int) -> bytes:
    if len(answer) != length:
        raise AnswerLengthWrong(name, f"the answer has {len(answer)} bytes, {length} are expected")
    return answer


def _bytes_of(members: tuple[Tlv, ...], tag: int, length: int) -> tuple[int | None, ...]:
    if all(member.tag != tag for member in members):
        return (None,) * length
    return tuple(_exactly("GET METADATA", only(members, tag), length))


def _public_key(members: tuple[Tlv, ...], algorithm: int | None) -> PublicKey | None:
    if algorithm not in set(Algorithm) or all(member.tag != _PUBLIC_KEY for member in members):
        return None
    return public_key_of(only(members, _PUBLIC_KEY), Algorithm(algorithm))
