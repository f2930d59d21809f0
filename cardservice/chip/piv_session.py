# SPDX-License-Identifier: EUPL-1.2
"""The selected PIV application: every card command of SP 800-73-4 Part 2 but secure messaging, by its own name.

A card refuses at the contactless interface what Table 2 of Part 2 keeps from it (VERIFY, PUT DATA, keys behind the PIN)
with 6982 or 6A81; both are typed, and neither costs a try.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from cardservice.chip.apdu import CommandApdu, ResponseApdu, accept, collect, transceive
from cardservice.chip.conversation import Conversation, RandomBytes, exchange
from cardservice.chip.errors import (
    ApplicationNotFound,
    AuthenticationRefused,
    CardNotGenuine,
    ObjectNotFound,
    PinRefused,
    ProtocolError,
    ReferenceDataBlocked,
    StatusError,
)
from cardservice.chip.piv_formats import (
    PIV_AID,
    ApplicationProperties,
    Reference,
    ReferenceData,
    Slot,
    container_tag,
)
from cardservice.chip.piv_keys import (
    Algorithm,
    PublicKey,
    algorithm_of,
    challenge_for,
    encoded_point,
    public_key_from,
)
from cardservice.chip.piv_management import ManagementKey
from cardservice.chip.tlv import build, descend

_WITNESS, _CHALLENGE, _RESPONSE, _EXPONENTIATION = 0x80, 0x81, 0x82, 0x85
_AUTHENTICATE: Final = "GENERAL AUTHENTICATE"
_READ: Final = "GET DATA"
_SELECT: Final = CommandApdu(0x00, 0xA4, 0x04, 0x00, PIV_AID, le=256)
# A first answer that wants GET RESPONSE, or the command again with another length.
_UNFINISHED: Final = frozenset({0x61, 0x6C})
# How a card says that a management key is not its own: by the proof (6982, 6300), or by its kind (6A80, 6A86, 6A88).
_WRONG_PROOF: Final = frozenset({0x6982, 0x6300})
_WRONG_KIND: Final = frozenset({0x6A80, 0x6A86, 0x6A88})


@dataclass(frozen=True, slots=True)
class PinStatus:
    """What VERIFY without data tells (Part 2 §3.2.1).

    Attributes:
        verified: the PIN has been verified since SELECT.
        attempts_remaining: 0 to 15; None where it is verified, for then the card does not say.
    """

    verified: bool
    attempts_remaining: int | None


class PivSession:
    """The selected PIV application; `select` is the way to get one."""

    def __init__(self, properties: ApplicationProperties | None = None) -> None:
        self.properties = properties or ApplicationProperties()

    @classmethod
    def select(cls) -> Conversation["PivSession"]:
        """SELECT by the full application identifier (SP 800-73-4 Part 2 §3.1.1).

        Raises:
            ApplicationNotFound: the card holds no PIV application.
            ProtocolError: the answer is not the application property template of PIV.
            CardGone, StatusError: the card left, or refused.
        """
        return cls._selected((yield from transceive("SELECT", _SELECT)))

    @classmethod
    def select_and_read(cls, object_id: int) -> Conversation[tuple["PivSession", bytes]]:
        """SELECT and GET DATA in one batch, for where every exchange is a round trip.

        Raises:
            ChipError: as `select` and `get_data`; a card without PIV refuses both, and the first counts.
        """
        read = _get_data(object_id)
        selected, first = yield from exchange(bytes(_SELECT), bytes(read))
        answer = ResponseApdu.from_bytes(selected)
        if answer.sw >> 8 in _UNFINISHED:
            # What it held back of its answer is gone since the command that followed.
            session = yield from cls.select()
            return session, (yield from session.get_data(object_id))
        session = cls._selected(answer)
        return session, _contained((yield from collect(_READ, read, first)), object_id)

    @classmethod
    def _selected(cls, response: ResponseApdu) -> "PivSession":
        try:
            template = accept("SELECT", response)
        except ObjectNotFound as missing:
            raise ApplicationNotFound(missing.command, missing.sw, "the card holds no PIV application") from missing
        return cls(ApplicationProperties.from_bytes(template))

    def get_data(self, object_id: int) -> Conversation[bytes]:
        """GET DATA: the content of a data object, out of its container (SP 800-73-4 Part 2 §3.1.2).

        Args:
            object_id: an `ObjectId`, or the tag of another object.

        Raises:
            ObjectNotFound: the object is absent.
            SecurityStatusNotSatisfied: the object wants a PIN first, or the contacts.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        return _contained((yield from transceive(_READ, _get_data(object_id))), object_id)

    def put_data(self, object_id: int, content: bytes) -> Conversation[None]:
        """PUT DATA: replaces the content of a data object, after the management key (Part 2 §3.3.1).

        Raises:
            SecurityStatusNotSatisfied: the management key was not proved.
            FunctionNotSupported: the card has no such object, or the interface is contactless.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused (6A84: no memory).
        """
        container = container_tag(object_id)
        named = b"" if container == object_id else _tag_list(object_id)
        data = named + bytes(build(container, content))
        yield from _transact("PUT DATA", CommandApdu(0x00, 0xDB, 0x3F, 0xFF, data))

    def verify(self, pin: ReferenceData) -> Conversation[None]:
        """VERIFY the PIN (Part 2 §3.2.1).

        Raises:
            PinRefused: it is wrong; carries the attempts that remain.
            ReferenceDataBlocked: none remain.
            SecurityStatusNotSatisfied: the interface is contactless; costs no try.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        yield from _transact("VERIFY", CommandApdu(0x00, 0x20, 0x00, Reference.PIN, pin.value))

    def verify_status(self) -> Conversation[PinStatus]:
        """VERIFY without data: whether the PIN is verified, and how many attempts remain; costs none."""
        try:
            yield from _transact("VERIFY", CommandApdu(0x00, 0x20, 0x00, Reference.PIN))
        except PinRefused as refused:
            return PinStatus(verified=False, attempts_remaining=refused.attempts_remaining)
        except ReferenceDataBlocked:
            return PinStatus(verified=False, attempts_remaining=0)
        return PinStatus(verified=True, attempts_remaining=None)

    def verify_reset(self) -> Conversation[None]:
        """VERIFY with P1 = FF: the PIN counts as not verified any more (Part 2 §3.2.1)."""
        yield from _transact("VERIFY", CommandApdu(0x00, 0x20, 0xFF, Reference.PIN))

    def change_reference_data(self, reference: Reference, old: ReferenceData, new: ReferenceData) -> Conversation[None]:
        """CHANGE REFERENCE DATA: a new PIN or PUK for the one in force (Part 2 §3.2.2). Raises as `verify` does."""
        data = old.value + new.value
        yield from _transact("CHANGE REFERENCE DATA", CommandApdu(0x00, 0x24, 0x00, reference, data))

    def reset_retry_counter(self, puk: ReferenceData, new_pin: ReferenceData) -> Conversation[None]:
        """RESET RETRY COUNTER: a new PIN by the PUK (Part 2 §3.2.3). Raises as `verify` does, about the PUK."""
        data = puk.value + new_pin.value
        yield from _transact("RESET RETRY COUNTER", CommandApdu(0x00, 0x2C, 0x00, Reference.PIN, data))

    def generate_asymmetric_key_pair(self, slot: Slot, algorithm: Algorithm) -> Conversation[PublicKey]:
        """GENERATE ASYMMETRIC KEY PAIR: a new key in a slot; its public half (Part 2 §3.3.2).

        Raises:
            SecurityStatusNotSatisfied: the management key was not proved.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        name = "GENERATE ASYMMETRIC KEY PAIR"
        data = bytes(build(0xAC, build(0x80, bytes((algorithm,)))))
        answer = yield from _transact(name, CommandApdu(0x00, 0x47, 0x00, slot, data, le=256))
        return public_key_from(answer, algorithm)

    def general_authenticate(self, algorithm: Algorithm, slot: Slot, challenge: bytes) -> Conversation[bytes]:
        """GENERAL AUTHENTICATE: the card's response to a challenge (SP 800-73-4 Part 2 §3.2.4).

        Args:
            algorithm: must be that of the slot's key.
            slot: the key to use.
            challenge: a digest for ECC, a padded block of the modulus' length for RSA.

        Raises:
            SecurityStatusNotSatisfied: the key wants a PIN first.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        return (yield from self._respond(algorithm, slot, _CHALLENGE, challenge))

    def sign(self, slot: Slot, key: PublicKey, digest: bytes) -> Conversation[bytes]:
        """GENERAL AUTHENTICATE as a signature over a digest; not verified yet (`piv_keys.verify_signature`).

        Raises as `general_authenticate` does.
        """
        return (yield from self.general_authenticate(algorithm_of(key), slot, challenge_for(key, digest)))

    def agree(self, slot: Slot, peer: ec.EllipticCurvePublicKey) -> Conversation[bytes]:
        """GENERAL AUTHENTICATE as key agreement (ECDH): the secret shared with `peer` (Part 2 appendix A.5).

        Raises:
            ProtocolError: the secret has not the length of the curve's field; and as `general_authenticate` does.
        """
        secret = yield from self._respond(algorithm_of(peer), slot, _EXPONENTIATION, encoded_point(peer))
        if len(secret) != (peer.curve.key_size + 7) // 8:
            raise ProtocolError(_AUTHENTICATE, "the shared secret has not the length of the curve's field")
        return secret

    def external_authenticate(self, key: ManagementKey) -> Conversation[None]:
        """GENERAL AUTHENTICATE with key 9B: we prove to hold the management key (Part 2 appendix A.1).

        Raises:
            AuthenticationRefused: the card's key is another one, or of another kind.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        challenge = yield from self._begin(key, _CHALLENGE)
        yield from self._prove(key, bytes(build(_RESPONSE, key.encrypt_block(challenge))))

    def mutual_authenticate(
        self, key: ManagementKey, *, random_bytes: RandomBytes = secrets.token_bytes
    ) -> Conversation[None]:
        """GENERAL AUTHENTICATE with key 9B: both sides prove to hold the management key (Part 2 appendix A.2).

        Raises:
            AuthenticationRefused: the card's key is another one, or of another kind.
            CardNotGenuine: the card accepted our proof and does not hold the key itself.
            CardGone, ProtocolError, StatusError: the card left, talked nonsense, or refused.
        """
        witness = key.decrypt_block((yield from self._begin(key, _WITNESS)))
        challenge = random_bytes(key.algorithm.block_bytes)
        proof = bytes(build(_WITNESS, witness)) + bytes(build(_CHALLENGE, challenge))
        answer = descend((yield from self._prove(key, proof)), 0x7C, _RESPONSE)
        if not hmac.compare_digest(answer, key.encrypt_block(challenge)):
            raise CardNotGenuine("the card does not hold the management key that it accepted")

    def _respond(self, algorithm: Algorithm, slot: Slot, tag: int, value: bytes) -> Conversation[bytes]:
        template = bytes(build(0x7C, build(_RESPONSE), build(tag, value)))
        answer = yield from _transact(_AUTHENTICATE, CommandApdu(0x00, 0x87, algorithm, slot, template, le=256))
        return descend(answer, 0x7C, _RESPONSE)

    def _begin(self, key: ManagementKey, tag: int) -> Conversation[bytes]:
        """The first step: asks for a witness or a challenge of the card's."""
        try:
            answer = yield from _transact(_AUTHENTICATE, _with_management_key(key, bytes(build(tag))))
        except StatusError as refused:
            _raise_if_key_refused(refused, _WRONG_KIND)
            raise
        block = descend(answer, 0x7C, tag)
        if len(block) != key.algorithm.block_bytes:
            expected = key.algorithm.block_bytes
            raise ProtocolError(_AUTHENTICATE, f"the card gave {len(block)} bytes, {expected} are expected")
        return block

    def _prove(self, key: ManagementKey, members: bytes) -> Conversation[bytes]:
        try:
            return (yield from _transact(_AUTHENTICATE, _with_management_key(key, members)))
        except StatusError as refused:
            _raise_if_key_refused(refused, _WRONG_PROOF)
            raise


def _with_management_key(key: ManagementKey, members: bytes) -> CommandApdu:
    return CommandApdu(0x00, 0x87, key.algorithm, Slot.MANAGEMENT, bytes(build(0x7C, members)), le=256)


def _raise_if_key_refused(refused: StatusError, meant: frozenset[int]) -> None:
    if refused.sw in meant:
        meaning = "the card's management key is another one"
        raise AuthenticationRefused(refused.command, refused.sw, meaning) from refused


def _get_data(object_id: int) -> CommandApdu:
    return CommandApdu(0x00, 0xCB, 0x3F, 0xFF, _tag_list(object_id), le=256)


def _contained(response: ResponseApdu, object_id: int) -> bytes:
    return descend(accept(_READ, response), container_tag(object_id))


def _tag_list(object_id: int) -> bytes:
    return bytes(build(0x5C, object_id.to_bytes((object_id.bit_length() + 7) // 8, "big")))


def _transact(name: str, command: CommandApdu) -> Conversation[bytes]:
    return accept(name, (yield from transceive(name, command)))
