# SPDX-License-Identifier: EUPL-1.2
"""The originality signature: the maker of a chip has signed its UID, so a blank card can be told from an imitation.

ECDSA on secp224r1; the signature is r ‖ s of 28 bytes each, and the 7 bytes of the UID stand in the place of the
message's hash (AN12343 §8, AN12196 §7.2). It says nothing about who holds the card, and a copy of UID and signature
passes: it supports what the chip claims to be while it is personalised, and no more.
"""

from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

NXP_PUBLIC_POINTS: Final = tuple(
    bytes.fromhex(point)
    for point in (
        # DESFire Light (AN12343 §8)
        "040E98E117AAA36457F43173DC920A8757267F44CE4EC5ADD3C54075571AEBBF7B942A9774A1D94AD02572427E5AE0A2DD36591B1FB34FCF3D",
        # DESFire EV2 and NTAG 424 DNA (AN12196 §7.2)
        "048A9B380AF2EE1B98DC417FECC263F8449C7625CECE82D9B916C992DA209D68422B81EC20B65A66B5102A61596AF3379200599316A00A1410",
        # DESFire EV2, EV2 XL and EV3, as proxmark3 lists them (`originality.c`)
        "04B304DC4C615F5326FE9383DDEC9AA892DF3A57FA7FFB3276192BC0EAA252ED45A865E3B093A3D0DCE5BE29E92F1392CE7DE321E3E5C52B3A",
        "04CD5D45E50B1502F0BA4656FF37669597E7E183251150F9574CC8DA56BF01C7ABE019E29FEA48F9CE22C3EA4029A765E1BC95A89543BAD1BC",
        "041DB46C145D0A36539C6544BD6D9B0AA62FF91EC48CBC6ABAE36E0089A46F0D08C8A715EA40A63313B92E90DDC1730230E0458A33276FB743",
    )
)
"""The points with which NXP's signatures of the chips that our layout runs on are checked."""

_SCALAR_BYTES: Final = 28
_SIGNATURE_BYTES: Final = 2 * _SCALAR_BYTES


def is_original(uid: bytes, signature: bytes, makers: Iterable[bytes] = NXP_PUBLIC_POINTS) -> bool:
    """Whether one of the makers has signed this UID.

    Args:
        uid: the chip's real identifier.
        signature: what Read_Sig gave, 56 bytes; any other length is no signature.
        makers: the makers' public points, 04 ‖ x ‖ y, 57 bytes each.

    Raises:
        ValueError: a public point is none of the curve; a configuration error.
    """
    if len(signature) != _SIGNATURE_BYTES or not 0 < len(uid) <= _SCALAR_BYTES:
        return False
    r, s = (int.from_bytes(part, "big") for part in (signature[:_SCALAR_BYTES], signature[_SCALAR_BYTES:]))
    encoded = encode_dss_signature(r, s)
    digest = uid.rjust(_SCALAR_BYTES, b"\x00")
    return any(_has_signed(maker, encoded, digest) for maker in makers)


def _has_signed(maker: bytes, signature: bytes, digest: bytes) -> bool:
    public_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP224R1(), maker)
    try:
        public_key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA224())))
    except InvalidSignature:
        return False
    return True
