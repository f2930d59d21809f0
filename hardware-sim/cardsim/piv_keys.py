# SPDX-License-Identifier: EUPL-1.2
"""Private keys of PIV slots and GENERAL AUTHENTICATE's operations (SP 800-73-4 part 2 section 3.2.4, SP 800-78)."""

from dataclasses import dataclass, field
from enum import Enum

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as encodings
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from cardsim import tlv
from cardsim.apdu import ApduError, StatusWord

SlotKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

PIV_AUTHENTICATION = 0x9A
DIGITAL_SIGNATURE = 0x9C
KEY_MANAGEMENT = 0x9D
CARD_AUTHENTICATION = 0x9E
RETIRED_KEY_MANAGEMENT = range(0x82, 0x96)

RSA_ALGORITHMS = {2048: 0x07, 3072: 0x05}
CURVES: dict[str, tuple[int, hashes.HashAlgorithm]] = {
    "secp256r1": (0x11, hashes.SHA256()),
    "secp384r1": (0x14, hashes.SHA384()),
}

RSA_EXPONENT = 65_537

DYNAMIC_TEMPLATE = 0x7C
CHALLENGE = 0x81
RESPONSE = 0x82
EXPONENTIATION = 0x85


class PinPolicy(Enum):
    """What a key wants before it is used (SP 800-73-4 part 1 table 4b: Always, PIN, PIN Always)."""

    NEVER = 1
    ONCE = 2
    ALWAYS = 3


@dataclass(frozen=True)
class KeyUse:
    """What a key may do beside RSA: sign digests, agree on secrets, take digests of another length than the curve's."""

    signs: bool
    agrees: bool
    any_digest: bool = False


@dataclass(frozen=True)
class PivSlot:
    """A private key and the certificate (DER) beside it, which is empty where there is none.

    ``pin_policy`` is None where the slot's own rule holds; ``imported`` says that the key was not made on the card.
    """

    private_key: SlotKey = field(repr=False)
    certificate: bytes = field(repr=False)
    pin_policy: PinPolicy | None = None
    imported: bool = False

    def __post_init__(self) -> None:
        algorithm_of(self.private_key)


def pin_policy_of(slot_number: int) -> PinPolicy:
    """The standard's rule for a slot."""
    special = {CARD_AUTHENTICATION: PinPolicy.NEVER, DIGITAL_SIGNATURE: PinPolicy.ALWAYS}
    return special.get(slot_number, PinPolicy.ONCE)


def standard_use(slot_number: int) -> KeyUse:
    """Key management keys agree and sign nothing, all others sign and agree on nothing."""
    manages = slot_number == KEY_MANAGEMENT or slot_number in RETIRED_KEY_MANAGEMENT
    return KeyUse(signs=not manages, agrees=manages)


def generate_key(algorithm: int) -> SlotKey:
    """A new key.

    Raises:
        KeyError: for an algorithm identifier of no key pair.
    """
    if algorithm in RSA_ALGORITHMS.values():
        size = next(size for size, identifier in RSA_ALGORITHMS.items() if identifier == algorithm)
        return rsa.generate_private_key(RSA_EXPONENT, size)
    return ec.generate_private_key({0x11: ec.SECP256R1(), 0x14: ec.SECP384R1()}[algorithm])


def public_key_objects(key: SlotKey) -> bytes:
    """The data objects of a public key inside 7F49 (part 2 table "data objects in the template")."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        modulus = numbers.n.to_bytes(key.key_size // 8, "big")
        return tlv.encode(b"\x81", modulus) + tlv.encode(b"\x82", numbers.e.to_bytes(3, "big"))
    form = (encodings.Encoding.X962, encodings.PublicFormat.UncompressedPoint)
    return tlv.encode(b"\x86", key.public_key().public_bytes(*form))


def algorithm_of(key: SlotKey) -> int:
    """Algorithm identifier (SP 800-78-4 table 6-2).

    Raises:
        ValueError: for a key no PIV card holds.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size not in RSA_ALGORITHMS:
            raise ValueError(f"RSA-2048 and RSA-3072 are allowed, got RSA-{key.key_size}")
        return RSA_ALGORITHMS[key.key_size]
    if key.curve.name not in CURVES:
        raise ValueError(f"P-256 and P-384 are allowed, got {key.curve.name}")
    return CURVES[key.curve.name][0]


def general_authenticate(use: KeyUse, key: SlotKey, data: bytes) -> bytes:
    """The answer template to a request template.

    Raises:
        ApduError: 6A80 where the template or its content does not fit the key.
    """
    request = _request(data)
    if EXPONENTIATION in request:
        if not use.agrees or not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ApduError(StatusWord.WRONG_DATA)
        result = _agree(key, request[EXPONENTIATION])
    elif isinstance(key, rsa.RSAPrivateKey):
        result = _rsa_private(key, request[CHALLENGE])
    elif not use.signs:
        raise ApduError(StatusWord.WRONG_DATA)
    else:
        result = _sign_digest(key, request[CHALLENGE], any_length=use.any_digest)
    return tlv.encode(bytes([DYNAMIC_TEMPLATE]), tlv.encode(bytes([RESPONSE]), result))


def _request(data: bytes) -> dict[int, bytes]:
    try:
        outer = tlv.decode(data)
        inner = tlv.decode(outer.get(DYNAMIC_TEMPLATE, b""))
    except ValueError as error:
        raise ApduError(StatusWord.WRONG_DATA) from error
    shapes = ({RESPONSE, CHALLENGE}, {RESPONSE, EXPONENTIATION})
    if set(outer) != {DYNAMIC_TEMPLATE} or set(inner) not in shapes or inner[RESPONSE]:
        raise ApduError(StatusWord.WRONG_DATA)
    return inner


def _rsa_private(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """The bare private operation by the Chinese remainder theorem; the client has padded the block."""
    numbers = key.private_numbers()
    size = key.key_size // 8
    message = int.from_bytes(block, "big")
    if len(block) != size or message >= numbers.public_numbers.n:
        raise ApduError(StatusWord.WRONG_DATA)
    by_p = pow(message, numbers.dmp1, numbers.p)
    by_q = pow(message, numbers.dmq1, numbers.q)
    factor = (by_p - by_q) * numbers.iqmp % numbers.p
    return (by_q + factor * numbers.q).to_bytes(size, "big")


def _sign_digest(key: ec.EllipticCurvePrivateKey, digest: bytes, *, any_length: bool) -> bytes:
    algorithm = CURVES[key.curve.name][1]
    if any_length:
        digest = digest[: algorithm.digest_size].rjust(algorithm.digest_size, b"\0")
    if len(digest) != algorithm.digest_size:
        raise ApduError(StatusWord.WRONG_DATA)
    return key.sign(digest, ec.ECDSA(Prehashed(algorithm)))


def _agree(key: ec.EllipticCurvePrivateKey, point: bytes) -> bytes:
    if point[:1] != b"\x04":
        raise ApduError(StatusWord.WRONG_DATA)
    try:
        peer = ec.EllipticCurvePublicKey.from_encoded_point(key.curve, point)
    except ValueError as error:
        raise ApduError(StatusWord.WRONG_DATA) from error
    return key.exchange(ec.ECDH(), peer)
