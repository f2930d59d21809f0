# SPDX-License-Identifier: EUPL-1.2
"""The journal's entries and the chain that holds them together. Pure.

One stream per use, one chain per stream and writer epoch. An entry's hash covers the hash before it, its place, its
payload and the hash of its sealed personal part: the personal part can be erased and the chain still verifies.
"""

import hashlib
import struct
from typing import Final, NamedTuple

GENESIS: Final = bytes(32)
_DOMAIN: Final = b"cardservice journal v1\0"
_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">qqq")

Scalar = str | int | bool | None


class Place(NamedTuple):
    """Where an entry stands: stream, writer epoch, sequence from 1 without gaps."""

    stream: str
    epoch: int
    sequence: int


def sealed_digest(sealed: bytes | None) -> bytes:
    """Return what the chain keeps of the sealed personal part: its SHA-256, all zeros for none."""
    return GENESIS if sealed is None else hashlib.sha256(sealed).digest()


def chain_hash(previous: bytes, place: Place, at_ms: int, payload: str, personal: bytes) -> bytes:
    """Return the SHA-256 that links an entry to the one before it; `personal` is a `sealed_digest`."""
    stream, text = place.stream.encode(), payload.encode()
    placed = _LENGTH.pack(len(stream)), stream, _LENGTH.pack(len(text)), text
    numbers = _NUMBERS.pack(place.epoch, place.sequence, at_ms)
    return hashlib.sha256(b"".join((_DOMAIN, previous, *placed, numbers, personal))).digest()
