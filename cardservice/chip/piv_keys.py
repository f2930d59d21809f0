# SPDX-License-Identifier: EUPL-1.2
"""Key pairs of PIV cards: algorithm identifiers, public keys in their template, signatures (SP 800-78-5, table 9)."""

import hashlib
from enum import IntEnum, unique
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cardservice.chip.errors import ProtocolError, SignatureWrong
from cardservice.chip.tlv import descend, only, parse

RSA_EXPONENT: Final = 65_537

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_DIGEST_INFO_SHA256: Final = bytes.fromhex("3031300D060960864801650304020105000420")
_WHERE: Final = "public key template"


@unique
class Algorithm(IntEnum):
    """Algorithm identifiers of key pairs (SP 800-78-5, table 9)."""

    RSA_3072 = 0x05
    RSA_2048 = 0x07
    ECC_P256 = 0x11
    ECC_P384 = 0x14


_RSA_BITS: Final = {Algorithm.RSA_2048: 2048, Algorithm.RSA_3072: 3072}
_CURVES: Final[dict[Algorithm, ec.EllipticCurve]] = {
    Algorithm.ECC_P256: ec.SECP256R1(),
    Algorithm.ECC_P384: ec.SECP384R1(),
}


def algorithm_of(key: PublicKey) -> Algorithm:
    """The identifier of a public key's algorithm; raises `ValueError` for one that PIV does not have."""
    if isinstance(key, rsa.RSAPublicKey):
        found = next((algorithm for algorithm, bits in _RSA_BITS.items() if bits == key.key_size), None)
    else:
        found = next((algorithm for algorithm, curve in _CURVES.items() if curve.name == key.curve.name), None)
    if found is None:
        raise ValueError("a PIV key is RSA with 2048 or 3072 bits, P-256 or P-384")
    return found


def public_key_from(answer: bytes, algorithm: Algorithm) -> PublicKey:
    """The public key out of `7F49 …`, the answer of GENERATE ASYMMETRIC KEY PAIR (SP 800-73-4 Part 2 §3.3.2).

    Raises:
        ProtocolError: the template is malformed, or its key is not one of this algorithm.
    """
    return public_key_of(descend(answer, 0x7F49), algorithm)


def public_key_of(members: bytes, algorithm: Algorithm) -> PublicKey:
    """The public key out of what is inside `7F49`; raises as `public_key_from` does."""
    objects = parse(members)
    if algorithm in _CURVES:
        return _ec_key(only(objects, 0x86), _CURVES[algorithm])
    return _rsa_key(only(objects, 0x81), only(objects, 0x82), _RSA_BITS[algorithm])


def encoded_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A point uncompressed, `04 ‖ X ‖ Y`, as PIV cards take it (SP 800-73-4 Part 2 §3.3.2)."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def digest_for(key: PublicKey, data: bytes) -> bytes:
    """What a signature of this key is made over: SHA-384 for P-384, SHA-256 for all others (SP 800-78-5, table 3)."""
    return hashlib.new(_hash_of(key).name, data).digest()


def challenge_for(key: PublicKey, digest: bytes) -> bytes:
    """What the card is given to sign: the digest for ECC, its EMSA-PKCS1-v1_5 encoding (RFC 8017 §9.2) for RSA."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return digest
    digest_info = _DIGEST_INFO_SHA256 + digest
    filler = b"\xff" * (key.key_size // 8 - 3 - len(digest_info))
    return b"\x00\x01" + filler + b"\x00" + digest_info


def verify_signature(key: PublicKey, signature: bytes, digest: bytes, *, failure: str) -> None:
    """Checks a card's signature over a digest of `digest_for`; raises `SignatureWrong(failure)` if it is wrong."""
    prehashed = Prehashed(_hash_of(key))
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(prehashed))
        else:
            key.verify(signature, digest, padding.PKCS1v15(), prehashed)
    except InvalidSignature as error:
        raise SignatureWrong(failure) from error


def _hash_of(key: PublicKey) -> hashes.HashAlgorithm:
    is_p384 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
    return hashes.SHA384() if is_p384 else hashes.SHA256()


def _ec_key(point: bytes, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    if point[:1] != b"\x04":
        raise ProtocolError(_WHERE, "the point is not uncompressed")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError as error:
        raise ProtocolError(_WHERE, f"no point of {curve.name}") from error


def _rsa_key(modulus: bytes, exponent: bytes, bits: int) -> rsa.RSAPublicKey:
    number = int.from_bytes(modulus, "big")
    # The length is asked first: nothing is computed with a number of 65,536 bytes.
    if len(modulus) > bits // 8 + 1 or number.bit_length() != bits:
        raise ProtocolError(_WHERE, f"the modulus has not {bits} bits")
    if len(exponent) > 8 or int.from_bytes(exponent, "big") != RSA_EXPONENT:
        raise ProtocolError(_WHERE, f"the exponent is not {RSA_EXPONENT}")
    try:
        return rsa.RSAPublicNumbers(RSA_EXPONENT, number).public_key()
    except ValueError as error:
        raise ProtocolError(_WHERE, "no RSA modulus") from error
