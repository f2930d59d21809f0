# SPDX-License-Identifier: EUPL-1.2
"""What certification authorities need of a token that keeps their keys."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec


class CaToken(Protocol):
    """A token with keys of authorities, P-256, by their names.

    Every method may raise KeyStoreError, or Conflict where it will not do what is asked.
    """

    def public_key(self, name: str) -> ec.EllipticCurvePublicKey:
        """Return the public half of an authority's key."""
        ...

    def sign(self, name: str, data: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 of `data`, in DER."""
        ...

    def make(self, name: str) -> ec.EllipticCurvePublicKey:
        """Make an authority's key inside the token; it can never be taken out of it."""
        ...
