# SPDX-License-Identifier: EUPL-1.2
"""What an account and its keys are, how long keys live, and who may manage which account. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from cardservice.web.operations import Scope
from cardservice.web.reach import Reach

DAY_MS: Final = 86_400_000
USUAL_DAYS: Final = 365
MAX_DAYS: Final = 2 * 365
# The one in use and the one that replaces it.
MAX_KEYS: Final = 2
MAX_CERTIFICATES: Final = 2
# With those that have ended, which are never forgotten: what was revoked is not bound again.
MAX_EVER_BOUND: Final = 200
REMIND_MS: Final = 14 * DAY_MS
MAX_ACCOUNTS: Final = 1_000
MAX_PER_S: Final = 100_000
# What a scanner of repositories and logs knows a lost key by.
PREFIX: Final = "oc"
NAME_PATTERN: Final = r"^[a-z0-9-]{1,40}$"
KEY_PATTERN: Final = r"^[0-9a-f]{8}$"
CERTIFICATE_PATTERN: Final = r"^[0-9a-f]{16}$"


@dataclass(frozen=True, slots=True)
class Pace:
    """How many requests a second an account may send on average, and how many at once."""

    per_s: int = 100
    burst: int = 200


@dataclass(frozen=True, slots=True)
class Terms:
    """What an account may do, how far, and how fast; at which points its readers attest the number of a card.

    `needs_both`: neither a key nor a certificate is worth anything without the other.
    """

    scopes: frozenset[Scope]
    reach: Reach
    pace: Pace = Pace()
    attested_points: frozenset[str] = frozenset()
    needs_both: bool = False

    def document(self) -> dict[str, Any]:
        """Return it as JSON shows it; None: no bounds."""
        organisations = self.reach.organisations
        return {
            "scopes": sorted(self.scopes),
            "organisation": None if organisations is None else next(iter(organisations), None),
            "points": _listed(self.reach.points),
            "zones": _listed(self.reach.zones),
            "units": _listed(self.reach.units),
            "attested_points": sorted(self.attested_points),
            "requests_per_s": self.pace.per_s,
            "burst": self.pace.burst,
            "needs_both": self.needs_both,
        }


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an account as lists show it: never the key itself."""

    key: str
    begins_ms: int
    expires_ms: int
    created_by: str
    last_used_ms: int | None = None
    revoked_ms: int | None = None
    revoked_by: str | None = None

    def ended(self, now_ms: int) -> bool:
        """Tell whether it is worth nothing any more."""
        return self.revoked_ms is not None or now_ms >= self.expires_ms

    def document(self, now_ms: int) -> dict[str, Any]:
        """Return it as JSON shows it."""
        state = "revoked" if self.revoked_ms is not None else "expired" if self.ended(now_ms) else "waiting"
        return {
            "key": self.key,
            "state": "valid" if state == "waiting" and self.begins_ms <= now_ms else state,
            "begins_ms": self.begins_ms,
            "expires_ms": self.expires_ms,
            "last_used_ms": self.last_used_ms,
            "created_by": self.created_by,
            "revoked_ms": self.revoked_ms,
            "revoked_by": self.revoked_by,
        }


@dataclass(frozen=True, slots=True)
class Binding:
    """A certificate that an account is bound to: by its public key, so that no authority can make another one for it.

    `certificate` is what lists call it; what it says of itself is of the newest one that was seen with this key.
    """

    certificate: str
    key_digest: bytes
    subject: str
    begins_ms: int
    expires_ms: int
    created_by: str
    created_ms: int
    last_used_ms: int | None = None
    revoked_ms: int | None = None
    revoked_by: str | None = None

    def ended(self, now_ms: int) -> bool:
        """Tell whether it is worth nothing any more."""
        return self.revoked_ms is not None or now_ms >= self.expires_ms

    def document(self, now_ms: int) -> dict[str, Any]:
        """Return it as JSON shows it."""
        begun = "valid" if self.begins_ms <= now_ms else "waiting"
        return {
            "certificate": self.certificate,
            "state": "revoked" if self.revoked_ms is not None else "expired" if self.ended(now_ms) else begun,
            "public_key_sha256": self.key_digest.hex(),
            "subject": self.subject,
            "begins_ms": self.begins_ms,
            "expires_ms": self.expires_ms,
            "last_used_ms": self.last_used_ms,
            "created_by": self.created_by,
            "created_ms": self.created_ms,
            "revoked_ms": self.revoked_ms,
            "revoked_by": self.revoked_by,
        }


def name_of(key_digest: bytes) -> str:
    """Return what lists call the certificate of a public key."""
    return key_digest[:8].hex()


@dataclass(frozen=True, slots=True)
class Account:
    """One account. `reason` is why it is there, or why it was changed last."""

    row: int
    name: str
    terms: Terms
    disabled: bool
    reason: str
    created_by: str
    created_ms: int
    changed_by: str
    changed_ms: int
    keys: tuple[Key, ...] = ()
    certificates: tuple[Binding, ...] = ()

    def head(self) -> dict[str, Any]:
        """Return it without its keys and certificates: what a change of it rests on."""
        return {
            "name": self.name,
            "source": "database",
            **self.terms.document(),
            "disabled": self.disabled,
            "reason": self.reason,
            "created_by": self.created_by,
            "created_ms": self.created_ms,
            "changed_by": self.changed_by,
            "changed_ms": self.changed_ms,
        }

    def document(self, now_ms: int) -> dict[str, Any]:
        """Return it as JSON shows it, the newest key and the newest certificate first."""
        certificates = [one.document(now_ms) for one in self.certificates]
        return self.head() | {"keys": [key.document(now_ms) for key in self.keys], "certificates": certificates}

    def last_end_ms(self) -> int | None:
        """Return when its last key ends, None if it has none that was not revoked."""
        return max((key.expires_ms for key in self.keys if key.revoked_ms is None), default=None)

    def last_certificate_end_ms(self) -> int | None:
        """Return when its last certificate expires, None if it has none that was not revoked."""
        return max((one.expires_ms for one in self.certificates if one.revoked_ms is None), default=None)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that has just been made; `token` is shown once and kept nowhere."""

    key: str
    token: str = field(repr=False)


def new_key(random: bytes) -> NewKey:
    """Return a key of 36 random bytes: 4 for its name in lists, 32 that are the secret."""
    if len(random) != 36:
        raise ValueError(f"a key is made of 36 bytes, not of {len(random)}")
    public, secret = random[:4].hex(), random[4:].hex()
    return NewKey(public, f"{PREFIX}_{public}_{secret}")


def manages(reaches: Iterable[Reach], account: Reach) -> bool:
    """Tell whether somebody whose right goes so far may manage an account: it reaches nothing beyond that."""
    return any(_within(account, reach) for reach in reaches)


def _within(inner: Reach, outer: Reach) -> bool:
    pairs = (
        (inner.organisations, outer.organisations),
        (inner.zones, outer.zones),
        (inner.units, outer.units),
        (inner.points, outer.points),
    )
    return all(most is None or (its is not None and its <= most) for its, most in pairs)


def _listed(values: frozenset[str] | None) -> list[str] | None:
    return None if values is None else sorted(values)


def reminders(account: Account, now_ms: int) -> list[str]:
    """Return the sentences about an account whose last key or certificate ends soon or has ended; none: all is well."""
    if account.disabled:
        return []
    ends = [
        (account.last_end_ms(), "key", "make another"),
        (account.last_certificate_end_ms(), "certificate", "bind the one that replaces it"),
    ]
    found = [_reminder(account.name, end_ms, now_ms, words) for end_ms, *words in ends if end_ms is not None]
    return [sentence for sentence in found if sentence is not None]


def _reminder(name: str, end_ms: int, now_ms: int, words: list[str]) -> str | None:
    what, remedy = words
    if end_ms - now_ms > REMIND_MS:
        return None
    if end_ms <= now_ms:
        return f"account {name}: its last {what} has ended; {remedy}, or disable the account"
    days = -(-(end_ms - now_ms) // DAY_MS)
    return f"account {name}: its last {what} ends in {days} {'day' if days == 1 else 'days'}; {remedy}"
