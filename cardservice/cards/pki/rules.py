# SPDX-License-Identifier: EUPL-1.2
"""Slots, states and reasons of card certificates, when they are renewed, and who may believe them how long. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from hashlib import sha256
from types import MappingProxyType
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SERIAL_BYTES: Final = 20
# Clocks of others may be behind ours by so much; what was just made is valid for them too.
CLOCK_SLACK_MS: Final = 5 * 60_000
# How long after its end a certificate's own bytes are kept; that it was issued is known for good.
KEPT_AFTER_END_MS: Final = 30 * DAY_MS


@unique
class Slot(StrEnum):
    """Where on a PIV card (SP 800-73-4 Part 1, 3.1) a key and its certificate are."""

    LOGON = "9A"
    SIGNATURE = "9C"
    KEY_MANAGEMENT = "9D"
    CARD = "9E"


@unique
class AuthorityKind(StrEnum):
    """What a certification authority is for. What signs logons signs nothing else."""

    CARD = "card"
    LOGON = "logon"


# Who signed what the city's own PKI issued.
OUTSIDE: Final = "outside"


def kind_for(slot: Slot) -> AuthorityKind:
    """Return which kind of authority signs for a slot."""
    return AuthorityKind.LOGON if slot is Slot.LOGON else AuthorityKind.CARD


@unique
class CertificateState(StrEnum):
    """What a certificate is worth, apart from its dates."""

    GOOD = "good"
    HELD = "held"
    REVOKED = "revoked"


@unique
class Reason(StrEnum):
    """Why a certificate is on a revocation list (RFC 5280, 5.3.1)."""

    KEY_COMPROMISE = "keyCompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION = "cessationOfOperation"
    HOLD = "certificateHold"


# A card's reason -> what the list says. Whoever has a card in their hands may get at its keys.
REVOCATIONS: Final[Mapping[str, Reason]] = MappingProxyType(
    {
        "lost": Reason.KEY_COMPROMISE,
        "stolen": Reason.KEY_COMPROMISE,
        "damaged": Reason.CESSATION,
        "left": Reason.AFFILIATION_CHANGED,
        "replaced": Reason.SUPERSEDED,
    }
)
# Suspensions that put certificates on hold. Not a card that was forgotten at home: caches would keep the hold longer
# than it lasts. Not a blocked PIN: the card refuses by itself.
HOLDS: Final = frozenset({"missing", "long_absence", "investigation"})


def revocation_for(card_reason: str | None) -> Reason:
    """Return what the list says for a card that ended for `card_reason`."""
    return REVOCATIONS.get(card_reason or "", Reason.CESSATION)


@dataclass(frozen=True, slots=True, kw_only=True)
class PkiRules:
    """What the settings say. `url` is where others find lists and OCSP, without a slash at its end; None: nowhere.

    `logon_outside`: requests for logon certificates wait for the city's own PKI.
    """

    url: str | None = None
    organisation: str = "Stadtverwaltung"
    logon_outside: bool = True
    card_days: int = 1_095
    logon_days: int = 365
    logon_rsa_bits: int = 3_072
    pkinit_eku: bool = False
    realm: str | None = None
    crl_hours: int = 24
    crl_every_hours: int = 6
    ocsp_minutes: int = 60
    renew_days: int = 30
    ticket_hours: int = 10

    def days_for(self, slot: Slot) -> int:
        """Return how long a new certificate is valid."""
        return self.logon_days if slot is Slot.LOGON else self.card_days


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a revocation list; `serial` is hexadecimal."""

    serial: str
    reason: Reason
    since_ms: int


def digest_of(entries: Iterable[Entry]) -> bytes:
    """Return 32 bytes that differ between lists that say something else."""
    lines = sorted(f"{one.serial} {one.reason} {one.since_ms}" for one in entries)
    return sha256("\n".join(lines).encode()).digest()


def next_number(last: int | None, now_ms: int) -> int:
    """Return the number of the next list: greater than the last.

    Seconds, where they are greater: after a backup was put back, the lists that were made since are forgotten here, but
    not by those who have read them.
    """
    return max(now_ms // 1000, 1 if last is None else last + 1)


@dataclass(frozen=True, slots=True)
class Published:
    """A revocation list that is out, and the digest of what it says."""

    number: int
    made_ms: int
    next_ms: int
    digest: bytes


def is_list_due(current: Published | None, digest: bytes, rules: PkiRules, now_ms: int) -> bool:
    """Tell whether a new list has to be made: it would say something else, it is time, or the clock went back."""
    if current is None or current.digest != digest:
        return True
    return not current.made_ms - CLOCK_SLACK_MS <= now_ms < current.made_ms + rules.crl_every_hours * HOUR_MS


@dataclass(frozen=True, slots=True)
class Window:
    """Until when others may still believe a certificate that is revoked or held here; None: not at all.

    `list_ms`: a revocation list from before. `ocsp_ms`: an OCSP answer from before. `tickets_ms`: Kerberos tickets that
    were issued before. Points and agents of ours ask the service at each tap: for them the window is the time it takes
    to apply a change, and an agent that is away decides nothing.
    """

    list_ms: int | None
    ocsp_ms: int | None
    tickets_ms: int | None

    def ends_ms(self) -> int | None:
        """Return when nobody may believe it any more."""
        return max((end for end in (self.list_ms, self.ocsp_ms, self.tickets_ms) if end is not None), default=None)


def window_of(slot: Slot, changed_ms: int, list_ms: int | None, rules: PkiRules, *, ours: bool) -> Window:
    """Return the window of a certificate that was revoked or held at an instant; `ours`: our own authority signed it.

    Whoever got a ticket on the last believed answer keeps it: the tickets' time begins when the list's ends.
    """
    ocsp_ms = changed_ms + rules.ocsp_minutes * 60_000 if ours else None
    if slot is not Slot.LOGON:
        return Window(list_ms, ocsp_ms, None)
    latest = max(changed_ms, list_ms or 0, ocsp_ms or 0)
    return Window(list_ms, ocsp_ms, latest + rules.ticket_hours * HOUR_MS)


class Bucket:
    """Lets `burst` pass at once and `per_s` a second on average, by a monotonic clock the caller reads."""

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s, self._burst, self._left, self._at_s = per_s, burst, burst, now_s

    def take(self, now_s: float) -> bool:
        """Tell whether one more may pass now."""
        self._left = min(self._burst, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True
