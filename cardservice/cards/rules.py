# SPDX-License-Identifier: EUPL-1.2
"""Cards and what identifies them. Pure."""

from enum import StrEnum, unique
from typing import Final

NUMBER_BYTES: Final = 12
UUID_BYTES: Final = 16
ISSUER_KEY_BYTES: Final = 32


@unique
class CardState(StrEnum):
    """Where a card is in its life."""

    STOCK = "stock"
    IN_PRODUCTION = "in_production"
    PRODUCED = "produced"
    READY_FOR_PICKUP = "ready_for_pickup"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"
    RETURNED = "returned"
    ERASED = "erased"
    DESTROYED = "destroyed"


# What an administrator may do by hand in this version; the whole table of the life cycle comes with issuing.
ALLOWED: Final = frozenset(
    {
        (CardState.ACTIVE, CardState.SUSPENDED),
        (CardState.SUSPENDED, CardState.ACTIVE),
        (CardState.ACTIVE, CardState.REVOKED),
        (CardState.SUSPENDED, CardState.REVOKED),
    }
)
REVOCATION_REASONS: Final = ("lost", "stolen", "damaged", "left", "replaced")
SUSPENSION_REASONS: Final = ("forgotten", "missing", "long_absence", "investigation", "pin_blocked")

# One byte before the identifier, so that a number of one use can never be mistaken for another's.
_USE_PREFIX: Final = {"door": 0x01, "timeclock": 0x02, "printer": 0x03, "canteen": 0x04}
_PIV_PREFIX: Final = 0x10


def first_bytes(use: str) -> tuple[int, ...]:
    """Return how the credentials begin that count at points of `use`: its own numbers', and those of all PIV cards."""
    return (_USE_PREFIX[use], _PIV_PREFIX) if use in _USE_PREFIX else (_PIV_PREFIX,)


def is_piv(credential: bytes) -> bool:
    """Tell whether a credential is a PIV card, which has no number of its own for each use."""
    return credential[:1] == bytes((_PIV_PREFIX,))


def desfire_credential(use: str, number: bytes) -> bytes:
    """Return the key under which the number of one use (12 bytes) is known.

    Raises:
        ValueError: a use without a DESFire application, or a number of another length.
    """
    if use not in _USE_PREFIX:
        raise ValueError(f"{use!r} has no application on the card; allowed are {', '.join(_USE_PREFIX)}")
    if len(number) != NUMBER_BYTES:
        raise ValueError(f"a number of {len(number)} bytes; it has {NUMBER_BYTES}")
    return bytes((_USE_PREFIX[use],)) + number


def piv_credential(issuer_key: bytes, card_uuid: bytes) -> bytes:
    """Return the key under which a PIV card is known: its issuer's key (SHA-256, 32 bytes) and its UUID (16 bytes).

    The issuer is part of it: a trusted CA of another authority must not be able to issue a card with our UUID.

    Raises:
        ValueError: a part of another length.
    """
    if len(issuer_key) != ISSUER_KEY_BYTES or len(card_uuid) != UUID_BYTES:
        raise ValueError(f"an issuer's key has {ISSUER_KEY_BYTES} bytes and a card UUID {UUID_BYTES}")
    return bytes((_PIV_PREFIX,)) + issuer_key[:16] + card_uuid
