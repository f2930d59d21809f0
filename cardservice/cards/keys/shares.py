# SPDX-License-Identifier: EUPL-1.2
"""A secret in shares: any k of n people can make it again, fewer learn nothing (Shamir 1979, over GF(2^128)).

A share is typed by hand. It carries its number, the set it belongs to and a check sum, so that a slip, a share of
another set and the same share twice are told apart and named.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from Crypto.Protocol.SecretSharing import Shamir

from cardservice.cards.keys.sealing import ShareScheme
from cardservice.errors import KeyStoreError

SECRET_BYTES: Final = 16
MAX_SHARES: Final = 16
# Crockford's alphabet: no I, L, O, U; whoever reads one of the first three means 1 or 0.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MEANT: Final = str.maketrans({"I": "1", "L": "1", "O": "0"})
_VERSION: Final = 1
_CHECK_BYTES: Final = 4
_BYTES: Final = 1 + 2 + 3 + SECRET_BYTES + _CHECK_BYTES
_LETTERS: Final = -(-_BYTES * 8 // 5)
_GROUP: Final = 6


class ShareRefused(KeyStoreError):
    """What was typed is no share, or does not go with the others."""


@dataclass(frozen=True, slots=True)
class Share:
    """One share: its number (1..count) in a set. Its bytes are in no repr."""

    scheme: ShareScheme
    number: int
    value: bytes = field(repr=False)

    def text(self) -> str:
        """Return what is written down: seven groups of six letters and digits."""
        said = bytes((_VERSION, *bytes.fromhex(self.scheme.set_id), self.scheme.needed, self.scheme.count, self.number))
        whole = said + self.value
        bits = int.from_bytes(whole + _check(whole), "big") << (_LETTERS * 5 - _BYTES * 8)
        letters = "".join(_ALPHABET[bits >> 5 * place & 31] for place in reversed(range(_LETTERS)))
        return "-".join(letters[start : start + _GROUP] for start in range(0, _LETTERS, _GROUP))


def new_secret() -> bytes:
    """Return a fresh secret to be shared."""
    return secrets.token_bytes(SECRET_BYTES)


def new_scheme(needed: int, count: int) -> ShareScheme:
    """Return how a fresh set is shared.

    Raises:
        ShareRefused: fewer than two are needed, or more than there are.
    """
    if not 2 <= needed <= count <= MAX_SHARES:
        raise ShareRefused(f"{needed} of {count} shares; at least 2 are needed, and there are at most {MAX_SHARES}")
    return ShareScheme(needed, count, secrets.token_hex(2))


def split(secret: bytes, scheme: ShareScheme) -> list[Share]:
    """Return the shares of a secret of 16 bytes."""
    return [Share(scheme, number, value) for number, value in Shamir.split(scheme.needed, scheme.count, secret)]


def read(text: str) -> Share:
    """Return the share that somebody typed; spaces, dashes and small letters do not matter.

    Raises:
        ShareRefused: it is none, or a letter of it is wrong.
    """
    letters = "".join(text.upper().split()).replace("-", "").translate(_MEANT)
    if len(letters) != _LETTERS:
        raise ShareRefused(f"a share has {_LETTERS} letters and digits, this has {len(letters)}")
    if not set(letters) <= set(_ALPHABET):
        raise ShareRefused("a share has digits and the letters A to Z without U; something else is in this one")
    bits = 0
    for letter in letters:
        bits = bits << 5 | _ALPHABET.index(letter)
    spare = _LETTERS * 5 - _BYTES * 8
    if bits & (1 << spare) - 1:
        raise ShareRefused("the check sum of this share does not fit: a letter is wrong")
    whole = (bits >> spare).to_bytes(_BYTES, "big")
    said, check = whole[:-_CHECK_BYTES], whole[-_CHECK_BYTES:]
    if not secrets.compare_digest(_check(said), check):
        raise ShareRefused("the check sum of this share does not fit: a letter is wrong")
    version, needed, count, number = said[0], said[3], said[4], said[5]
    if version != _VERSION or not 2 <= needed <= count <= MAX_SHARES or not 1 <= number <= count:
        raise ShareRefused("this share was made by another program")
    return Share(ShareScheme(needed, count, said[1:3].hex()), number, said[6:])


def require_fit(share: Share, others: Sequence[Share], scheme: ShareScheme) -> None:
    """Refuse a share that does not go with a file or with the shares typed before.

    Raises:
        ShareRefused: it is of another set, or was typed already.
    """
    if share.scheme != scheme:
        ours, theirs = scheme.set_id.upper(), share.scheme.set_id.upper()
        raise ShareRefused(f"share {share.number} is of set {theirs}; this key store is opened by set {ours}")
    if share.number in {other.number for other in others}:
        raise ShareRefused(f"share {share.number} was typed already; another person's is needed")


def combine(shares: Sequence[Share]) -> bytes:
    """Return the secret of shares that fit together; whether it is the right one, the file tells.

    Raises:
        ShareRefused: too few.
    """
    needed = shares[0].scheme.needed if shares else 2
    if len(shares) < needed:
        raise ShareRefused(f"{len(shares)} shares; {needed} are needed")
    return bytes(Shamir.combine([(share.number, share.value) for share in shares[:needed]]))


def _check(said: bytes) -> bytes:
    return hashlib.sha256(b"cardservice share" + said).digest()[:_CHECK_BYTES]
