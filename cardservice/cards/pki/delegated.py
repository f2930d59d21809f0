# SPDX-License-Identifier: EUPL-1.2
"""Private keys that lie elsewhere, in a card or a token: they sign, and are shown nowhere.

`cryptography` signs certificates with whatever fulfils its interfaces; these do, by asking whoever holds the key.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from cryptography.hazmat.primitives.asymmetric import ec, rsa

# Gets the bytes to be signed (not their digest); returns a DER ECDSA-Sig-Value, or an RSA signature.
Sign = Callable[[bytes], bytes]


def _elsewhere() -> NoReturn:
    raise ValueError("the key lies elsewhere; it signs and does nothing besides")


class DelegatedEcKey(ec.EllipticCurvePrivateKey):
    """An elliptic curve key that lies elsewhere and signs with SHA-256."""

    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: Sign) -> None:
        self._public_key, self._sign = public_key, sign

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return its public half."""
        return self._public_key

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Have it sign; see `Sign`."""
        return self._sign(bytes(data))

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Its size in bits."""
        return self._public_key.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Not done here."""
        _elsewhere()

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Not known here."""
        _elsewhere()

    def private_bytes(self, *_: Any) -> bytes:
        """Not known here."""
        _elsewhere()

    def __copy__(self) -> "DelegatedEcKey":
        return self

    def __deepcopy__(self, _: Any) -> "DelegatedEcKey":
        return self


class DelegatedRsaKey(rsa.RSAPrivateKey):
    """An RSA key that lies elsewhere and signs with PKCS #1 v1.5 and SHA-256."""

    def __init__(self, public_key: rsa.RSAPublicKey, sign: Sign) -> None:
        self._public_key, self._sign = public_key, sign

    def public_key(self) -> rsa.RSAPublicKey:
        """Return its public half."""
        return self._public_key

    def sign(self, data: Any, padding: Any, algorithm: Any) -> bytes:
        """Have it sign; see `Sign`."""
        return self._sign(bytes(data))

    @property
    def key_size(self) -> int:
        """Its size in bits."""
        return self._public_key.key_size

    def decrypt(self, ciphertext: bytes, padding: Any) -> bytes:
        """Not done here."""
        _elsewhere()

    def private_numbers(self) -> rsa.RSAPrivateNumbers:
        """Not known here."""
        _elsewhere()

    def private_bytes(self, *_: Any) -> bytes:
        """Not known here."""
        _elsewhere()

    def __copy__(self) -> "DelegatedRsaKey":
        return self

    def __deepcopy__(self, _: Any) -> "DelegatedRsaKey":
        return self
