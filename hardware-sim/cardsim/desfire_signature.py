# SPDX-License-Identifier: EUPL-1.2
"""The originality signature of the virtual cards: ECDSA on secp224r1 over the UID, 56 bytes r ‖ s.

The key is made from a published text, so everybody can sign: a reader that trusts `demonstration_public_key` outside
a test bench trusts nothing. Real chips are signed by their maker with a key of its own. As there, the 7 bytes of the
UID stand in the place of the message's hash.
"""

import hashlib
from functools import cache
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SEED: Final = b"originality of virtual cards; published; proves nothing"
SIGNATURE_LENGTH: Final = 56
HALF: Final = SIGNATURE_LENGTH // 2


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha224(SEED).digest(), "big") >> 1, ec.SECP224R1())


def demonstration_public_key() -> bytes:
    """The point with which the signatures are checked, 04 ‖ x ‖ y."""
    return _key().public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@cache
def sign_uid(uid: bytes) -> bytes:
    """The signature of one card, always the same, as on a chip."""
    how = ec.ECDSA(utils.Prehashed(hashes.SHA224()), deterministic_signing=True)
    der = _key().sign(uid.rjust(HALF, b"\x00"), how)
    return b"".join(number.to_bytes(HALF, "big") for number in utils.decode_dss_signature(der))


def is_demonstration_signature(signature: bytes, uid: bytes) -> bool:
    """Whether this is the signature of a virtual card with this UID."""
    if len(signature) != SIGNATURE_LENGTH:
        return False
    halves = (int.from_bytes(part, "big") for part in (signature[:HALF], signature[HALF:]))
    try:
        _key().public_key().verify(
            utils.encode_dss_signature(*halves), uid.rjust(HALF, b"\x00"), ec.ECDSA(utils.Prehashed(hashes.SHA224()))
        )
    except InvalidSignature:
        return False
    return True
