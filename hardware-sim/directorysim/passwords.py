# SPDX-License-Identifier: EUPL-1.2
"""Passwords of directory users, kept as scrypt hashes only.

The cost is low on purpose: the content is made up, and ten thousand users have to load within a second.
"""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Final

_COST: Final = 16
_BLOCK_SIZE: Final = 8
_SALT_BYTES: Final = 16
_DIGEST_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """A salted hash of one password."""

    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    def matches(self, password: bytes) -> bool:
        """Tell whether `password` is the one that was hashed."""
        return hmac.compare_digest(_scrypt(password, self.salt), self.digest)


def _scrypt(password: bytes, salt: bytes) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=_COST, r=_BLOCK_SIZE, p=1, dklen=_DIGEST_BYTES)


def hash_password(password: bytes) -> PasswordHash:
    """Hash a password with a fresh salt."""
    salt = os.urandom(_SALT_BYTES)
    return PasswordHash(salt, _scrypt(password, salt))
