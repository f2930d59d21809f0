# SPDX-License-Identifier: EUPL-1.2
"""The journal's entries and the chain that holds them together. Pure.

One stream per use, one chain per stream and writer epoch. An entry's hash covers the hash before it, its place, its
payload and the hash of its sealed personal part: the personal part can be erased and the chain still verifies.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

GENESIS: Final = bytes(32)
MAX_PAYLOAD_BYTES: Final = 16 * 1024
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">qqq")

Scalar = str | int | bool | None


class Place(NamedTuple):
    """Where an entry stands: stream, writer epoch, sequence from 1 without gaps."""

    stream: str
    epoch: int
    sequence: int


def canonical(payload: Mapping[str, Scalar]) -> str:
    """Return the one text of `payload`: JSON, keys sorted, no spaces (in the manner of RFC 8785 for flat objects).

    Raises:
        ValueError: longer than 16 KiB.
    """
    text = _encode(payload)
    if len(text) * 4 > MAX_PAYLOAD_BYTES and (size := len(text.encode())) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a journal payload of {size}; at most {MAX_PAYLOAD_BYTES} bytes are kept")
    return text


def sealed_digest(sealed: bytes | None) -> bytes:
    """Return what the chain keeps of the sealed personal part: its SHA-256, all zeros for none."""
    return GENESIS if sealed is None else hashlib.sha256(sealed).digest()


def chain_hash(previous: bytes, place: Place, at_ms: int, payload: str, personal: bytes) -> bytes:
    """Return the SHA-256 that links an entry to the one before it; `personal` is a `sealed_digest`."""
    digest = hashlib.sha256(b"cardservice journal v1\0")
    digest.update(previous)
    stream, text = place.stream.encode(), payload.encode()
    digest.update(_LENGTH.pack(len(stream)) + stream + _LENGTH.pack(len(text)) + text)
    digest.update(_NUMBERS.pack(place.epoch, place.sequence, at_ms) + personal)
    return digest.digest()
