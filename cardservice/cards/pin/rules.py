# SPDX-License-Identifier: EUPL-1.2
"""What may be a PIN, and how often a wrong one may be tried. Pure; no PIN is kept or repeated here."""

from enum import Enum, auto, unique
from itertools import pairwise
from typing import Final, NamedTuple

from cardservice.cards.rules import CardState

MIN_DIGITS: Final = 4
MAX_DIGITS: Final = 12
# So many wrong ones in a row with one card, and it is refused for a while whatever is typed.
TRIES: Final = 3
LOCKED_MS: Final = 300_000
# A card that never comes back. Whoever has none but such cards needs no PIN: what is kept of it goes.
ENDED: Final = (CardState.REVOKED, CardState.RETURNED, CardState.ERASED, CardState.DESTROYED)
# Each digit the same as the one before, one more, or one less: 0000, 7890, 3210.
_TRIVIAL_STEPS: Final = (0, 1, 9)


@unique
class Verdict(Enum):
    """What became of one try."""

    RIGHT = auto()
    WRONG = auto()
    LOCKED = auto()


class Tries(NamedTuple):
    """The wrong PINs of one card since the last right one, and until when none is taken (0: one is)."""

    wrong: int = 0
    locked_until_ms: int = 0


def fault_of(pin: str) -> str | None:
    """Return why this cannot be anybody's PIN, in words that do not repeat it; None if it can."""
    if not (pin.isascii() and pin.isdigit() and MIN_DIGITS <= len(pin) <= MAX_DIGITS):
        return f"a PIN has {MIN_DIGITS} to {MAX_DIGITS} digits and nothing else"
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    if len(steps) == 1 and steps.issubset(_TRIVIAL_STEPS):
        return "a PIN is not one digit again and again, nor digits that follow each other"
    return None


def still(tries: Tries, now_ms: int) -> Tries:
    """Return what is left of `tries` at `now_ms`: a lock heals by itself, and a clock set back cannot prolong it."""
    if now_ms < tries.locked_until_ms:
        return tries._replace(locked_until_ms=min(tries.locked_until_ms, now_ms + LOCKED_MS))
    return Tries() if tries.locked_until_ms else tries


def one_more(tries: Tries, now_ms: int) -> Tries | None:
    """Return the count with one more try, which counts as wrong until it proves right; None while none is taken."""
    left = still(tries, now_ms)
    if left.locked_until_ms:
        return None
    wrong = left.wrong + 1
    return Tries(wrong, now_ms + LOCKED_MS if wrong >= TRIES else 0)
