# SPDX-License-Identifier: EUPL-1.2
"""Keys of certification authorities in a token: P-256, made inside it, never to be taken out."""

import hashlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11 import exceptions as p11
from pkcs11.util.ec import encode_named_curve_parameters

from cardservice.cards.ports import KeyRefused, TokenTrouble
from integrations.pkcs11.token import Token

Answer = TypeVar("Answer")
_LABEL: Final = "cardservice authority "
_COORDINATE_BYTES: Final = 32
_POINT_BYTES: Final = 1 + 2 * _COORDINATE_BYTES


class TokenAuthorities:
    """The authorities' keys in a token (`cards.pki.ports.CaToken`). Every method may raise KeyStoreError."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def public_key(self, name: str) -> ec.EllipticCurvePublicKey:
        """Return the public half of an authority's key."""
        return self._run(lambda session, _: _public(session, name))

    def sign(self, name: str, data: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 of `data`, in DER."""
        digest = hashlib.sha256(data).digest()

        def signed(session: pkcs11.Session, _: int) -> bytes:
            key = _found(session, ObjectClass.PRIVATE_KEY, name)
            if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
                raise KeyRefused(f"the key of authority {name} can be taken out of the token; it is not used")
            return bytes(key.sign(digest, mechanism=Mechanism.ECDSA))

        raw = self._run(signed)
        first, second = raw[:_COORDINATE_BYTES], raw[_COORDINATE_BYTES:]
        return encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))

    def make(self, name: str) -> ec.EllipticCurvePublicKey:
        """Make an authority's key inside the token.

        Raises:
            KeyRefused: there is one already.
        """

        def made(session: pkcs11.Session, _: int) -> ec.EllipticCurvePublicKey:
            if any(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: _LABEL + name})):
                raise KeyRefused(f"the token holds a key of authority {name} already; it is never overwritten")
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
            domain = session.create_domain_parameters(KeyType.EC, curve, local=True)
            private = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.DERIVE: False}
            domain.generate_keypair(label=_LABEL + name, store=True, private_template=private)
            return _public(session, name)

        return self._token.run(made)

    def _run(self, operation: Callable[[pkcs11.Session, int], Answer]) -> Answer:
        """Run it; a session that does not find the key may be one from before the token went away."""
        try:
            return self._token.run(operation)
        except TokenTrouble:
            self._token.close()
            raise


def _public(session: pkcs11.Session, name: str) -> ec.EllipticCurvePublicKey:
    point = bytes(_found(session, ObjectClass.PUBLIC_KEY, name)[Attribute.EC_POINT])
    # An octet string around the point (PKCS #11 v2.40, 2.3.3).
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point[-_POINT_BYTES:])
    except ValueError:
        raise KeyRefused(f"the key of authority {name} is not P-256") from None


def _found(session: pkcs11.Session, kind: ObjectClass, name: str) -> Any:
    try:
        return session.get_key(kind, KeyType.EC, label=_LABEL + name)
    except p11.NoSuchKey:
        raise TokenTrouble(f"the token holds no key of authority {name}") from None
    except p11.MultipleObjectsReturned:
        raise TokenTrouble(f"the token holds more than one key of authority {name}") from None
