# SPDX-License-Identifier: EUPL-1.2
"""The published demonstration seed: master keys, numbers and PINs everybody can compute. Never for real cards.

The service knows these keys by their SHA-256 and refuses them outside the demonstration.
"""

import hashlib
from typing import Final

SEED: Final = b"one-card demonstration city; published; never for real cards"
SYSTEM_ID: Final = b"STADTDEMO"
USES: Final = ("door", "timeclock", "printer", "canteen")
PURPOSES: Final = ("locate", "proof", "application_master")
PICC: Final = ("card", "picc")
"""Use and purpose of the one master key that belongs to the card itself."""


def derive(label: str, length: int = 16) -> bytes:
    """Return `length` (at most 32) bytes for `label`, the same on every machine."""
    return hashlib.sha256(SEED + b"\0" + label.encode()).digest()[:length]


def master(use: str, purpose: str, generation: int = 1) -> bytes:
    """Return the 16-byte master key of `purpose` (locate, proof, application_master) in one use, or of `PICC`."""
    return derive(f"master {use} {purpose} {generation}")


def number(card: str, use: str) -> bytes:
    """Return the 12-byte number of `card` in one use."""
    return derive(f"number {card} {use}", 12)


def badge_number(card: str) -> bytes:
    """Return the 12-byte number that is printed on `card` and found nowhere on its chip."""
    return derive(f"badge {card}", 12)
