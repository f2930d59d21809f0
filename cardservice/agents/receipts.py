# SPDX-License-Identifier: EUPL-1.2
"""Receipts: the centre's own note of a decision, sealed, which the agent hands back with what came of it.

So the centre recognises its decisions and knows whose they were without keeping anything, over restarts too. To the
agent a receipt is opaque: it can neither invent one nor learn from it who was there.
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardservice.agents.messages import EventId
from cardservice.randomness import random_bytes

_NONCE_BYTES: Final = 12
# Permit, level, centre time (ms), holder and card (row numbers).
_FACTS: Final = struct.Struct(">?Bqqq")


class Decided(NamedTuple):
    """What a receipt keeps of a decision; `holder` and `card` are row numbers, 0 for none."""

    permit: bool
    level: int
    at_ms: int
    holder: int = 0
    card: int = 0


def seal_receipt(secret: bytes, event: EventId, *, point: str, decision: str, decided: Decided) -> str:
    """Return `decided` sealed with AES-256-GCM for exactly this event, point and decision id, hexadecimal."""
    nonce = random_bytes(_NONCE_BYTES)
    facts = _FACTS.pack(*decided)
    return (nonce + _cipher(secret).encrypt(nonce, facts, _bound_to(event, point, decision))).hex()


def open_receipt(
    receipt: str | None, secret: bytes, event: EventId, *, point: str, decision: str | None
) -> Decided | None:
    """Return what the receipt says, None if this centre did not seal it for exactly this event, point and decision."""
    if receipt is None or decision is None:
        return None
    try:
        sealed = bytes.fromhex(receipt)
        bound_to = _bound_to(event, point, decision)
        facts = _cipher(secret).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        return None
    return Decided(*_FACTS.unpack(facts))


def _bound_to(event: EventId, point: str, decision: str) -> bytes:
    # None of the parts can hold the separator: see their patterns in `messages`.
    return f"receipt 2\0{event.agent}\0{event.epoch}\0{event.sequence}\0{point}\0{decision}".encode()


@lru_cache(maxsize=4)
def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(secret)
