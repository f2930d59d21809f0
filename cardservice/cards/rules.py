# SPDX-License-Identifier: EUPL-1.2
"""Cards and what identifies them. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import Final

NUMBER_BYTES: Final = 12
BUILDING_BYTES: Final = 8
# How an old number begins as the number of a use.
OLD_MARK: Final = b"\x00OLD"
# An old number: its use, its twelve bytes, and where it counts.
OLD_BYTES: Final = 1 + NUMBER_BYTES + BUILDING_BYTES
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


REVOCATION_REASONS: Final = ("lost", "stolen", "damaged", "left", "replaced")
SUSPENSION_REASONS: Final = ("forgotten", "missing", "long_absence", "investigation", "pin_blocked")
# Who helps people with their cards, and who issues them: operations of `web/operations.py`.
HELP: Final = "cards.change"
ISSUE: Final = "cards.issue"


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a card's life.

    One of `reasons` is needed, if there are any; `operation` is the right that makes it. `own`: somebody may make it
    with their own card. `retires`: nothing the card was known by counts afterwards.
    """

    start: CardState
    end: CardState
    operation: str
    reasons: tuple[str, ...] = ()
    own: bool = False
    retires: bool = False


def _steps() -> Iterator[Transition]:
    state = CardState
    # Issuing. A card that is spoilt, or lost on its way, is revoked like any other.
    yield Transition(state.STOCK, state.IN_PRODUCTION, ISSUE)
    yield Transition(state.IN_PRODUCTION, state.PRODUCED, ISSUE)
    yield Transition(state.PRODUCED, state.READY_FOR_PICKUP, ISSUE)
    yield Transition(state.READY_FOR_PICKUP, state.ACTIVE, ISSUE)
    for start in (state.IN_PRODUCTION, state.PRODUCED, state.READY_FOR_PICKUP):
        yield Transition(start, state.REVOKED, ISSUE, REVOCATION_REASONS)
    # In use.
    yield Transition(state.ACTIVE, state.SUSPENDED, HELP, SUSPENSION_REASONS, own=True)
    yield Transition(state.SUSPENDED, state.ACTIVE, HELP)
    yield Transition(state.ACTIVE, state.REVOKED, HELP, REVOCATION_REASONS, own=True)
    yield Transition(state.SUSPENDED, state.REVOKED, HELP, REVOCATION_REASONS, own=True)
    yield Transition(state.ACTIVE, state.EXPIRED, ISSUE, own=True)
    # Taken back.
    yield Transition(state.REVOKED, state.RETURNED, ISSUE)
    yield Transition(state.EXPIRED, state.RETURNED, ISSUE)
    yield Transition(state.RETURNED, state.ERASED, ISSUE, retires=True)
    yield Transition(state.ERASED, state.STOCK, ISSUE, retires=True)
    yield Transition(state.ERASED, state.DESTROYED, ISSUE, retires=True)


# The life cycle: (from, to) -> what that step is. There are no others.
TRANSITIONS: Final[Mapping[tuple[CardState, CardState], Transition]] = MappingProxyType(
    {(one.start, one.end): one for one in _steps()}
)
# Where a card's life is over for whoever holds it.
ENDED: Final = frozenset(
    {CardState.REVOKED, CardState.EXPIRED, CardState.RETURNED, CardState.ERASED, CardState.DESTROYED, CardState.STOCK}
)
# What nobody can take back: whoever asks for it says twice that they mean it.
FOR_GOOD: Final = frozenset({CardState.REVOKED, CardState.EXPIRED, CardState.ERASED, CardState.DESTROYED})

# One byte before the identifier, so that a number of one use can never be mistaken for another's.
_USE_PREFIX: Final = {"door": 0x01, "timeclock": 0x02, "printer": 0x03, "canteen": 0x04}
_PIV_PREFIX: Final = 0x10
_PIV_KEY_PREFIX: Final = 0x11
# A certificate that was revoked while its card is still in use: nobody's credential.
_REVOKED_PREFIX: Final = 0x1F


def suspension_end_ms(state: str, suspended_until_ms: int | None) -> int | None:
    """Return until when a card is suspended, None where it is not or where no end is set."""
    return suspended_until_ms if state == CardState.SUSPENDED else None


def state_at(state: CardState, suspended_until_ms: int | None, at_ms: int) -> CardState:
    """Return what a card is at an instant: from the end of its suspension on it is active, without anybody acting."""
    end_ms = suspension_end_ms(state, suspended_until_ms)
    return CardState.ACTIVE if end_ms is not None and at_ms >= end_ms else state


def next_states(state: CardState) -> dict[CardState, tuple[str, ...]]:
    """Return what a card in this state can become, and the reasons of which one is needed for it; none: no reason."""
    return {end: step.reasons for (start, end), step in sorted(TRANSITIONS.items()) if start is state}


def use_of(credential: bytes) -> str:
    """Return the use that knows a card by this credential, "piv" for its certificate."""
    if is_piv(credential):
        return "piv"
    return next(use for use, prefix in _USE_PREFIX.items() if credential[0] == prefix)


def uses_among(credentials: Iterable[bytes]) -> tuple[str, ...]:
    """Return the uses, and "piv", that know a card by these credentials; one that begins otherwise is of none."""
    known = {_PIV_PREFIX, _PIV_KEY_PREFIX, *_USE_PREFIX.values()}
    return tuple(sorted({use_of(one) for one in credentials if one[0] in known}))


def first_bytes(use: str) -> tuple[int, ...]:
    """Return how the credentials begin that count at points of `use`: its own numbers', and those of all PIV cards."""
    piv = (_PIV_PREFIX, _PIV_KEY_PREFIX)
    return (_USE_PREFIX[use], *piv) if use in _USE_PREFIX else piv


def is_piv(credential: bytes) -> bool:
    """Tell whether a credential is a PIV card, which has no number of its own for each use."""
    return credential[:1] == bytes((_PIV_PREFIX,)) or is_pinned(credential)


def is_pinned(credential: bytes) -> bool:
    """Tell whether a credential is the key of a PIV card itself, whoever made its certificate."""
    return credential[:1] == bytes((_PIV_KEY_PREFIX,))


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


def old_credential(use: str, number: bytes, building: int) -> bytes:
    """Return the key under which an old number (12 bytes) is known in one building alone: a zone, by its row number.

    The building is part of it: at every other point the number is nobody's.

    Raises:
        ValueError: as `desfire_credential`.
    """
    return desfire_credential(use, number) + building.to_bytes(BUILDING_BYTES)


def is_old_number(number: bytes) -> bool:
    """Tell whether a number was one before there were ours; none that the service makes begins so."""
    return number.startswith(OLD_MARK)


def is_old(credential: bytes) -> bool:
    """Tell whether a credential is an old number of one building."""
    return not is_piv(credential) and len(credential) == OLD_BYTES


def piv_credential(issuer_key: bytes, card_uuid: bytes) -> bytes:
    """Return the key under which a PIV card is known: its issuer's key (SHA-256, 32 bytes) and its UUID (16 bytes).

    The issuer is part of it: a trusted CA of another authority must not be able to issue a card with our UUID.

    Raises:
        ValueError: a part of another length.
    """
    if len(issuer_key) != ISSUER_KEY_BYTES or len(card_uuid) != UUID_BYTES:
        raise ValueError(f"an issuer's key has {ISSUER_KEY_BYTES} bytes and a card UUID {UUID_BYTES}")
    return bytes((_PIV_PREFIX,)) + issuer_key[:16] + card_uuid


def pinned_credential(key: bytes) -> bytes:
    """Return the key under which a PIV card is known by its own public key: SHA-256 of it, 32 bytes.

    Raises:
        ValueError: of another length.
    """
    if len(key) != ISSUER_KEY_BYTES:
        raise ValueError(f"the digest of a key has {ISSUER_KEY_BYTES} bytes")
    return bytes((_PIV_KEY_PREFIX,)) + key


def revoked_certificate(issuer_key: bytes, serial: bytes) -> bytes:
    """Return the key under which it is known that a certificate is revoked: who issued it, and its serial number."""
    return bytes((_REVOKED_PREFIX,)) + issuer_key[:16] + serial
