# SPDX-License-Identifier: EUPL-1.2
"""Who calls the API: facilities, tills, payroll. Each has a token of its own, bound to uses, to a reach and to a pace.

An account may be bound to certificates besides: one of them alone proves it, unless it asks for both.

All are kept in memory: to know who calls costs a request no look into the store.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cardservice.client_certificates import UNREADABLE, UNTRUSTED, ClientCertificate, Shown
from cardservice.clock import Clock, SystemClock
from cardservice.errors import SettingsError
from cardservice.web.problems import ApiProblem
from cardservice.web.reach import Reach

MAX_TOKEN: Final = 200
_NS: Final = 1_000_000_000


class Allowance:
    """Lets `per_s` requests through on average and `burst` at once; used by one thread."""

    def __init__(self, per_s: int, burst: int, clock: Clock) -> None:
        self._per_s, self._burst, self._clock = per_s, burst, clock
        self._left = float(burst)
        self._filled_ns = clock.monotonic_ns()

    def wait_s(self) -> int:
        """Take one and return 0, or return after how many whole seconds there will be one."""
        now_ns = self._clock.monotonic_ns()
        self._left = min(self._burst, self._left + (now_ns - self._filled_ns) * self._per_s / _NS)
        self._filled_ns = now_ns
        if self._left < 1:
            return math.ceil((1 - self._left) / self._per_s)
        self._left -= 1
        return 0


@dataclass(frozen=True, slots=True)
class Caller:
    """One system that calls the API, by one of its tokens; `points` empty: every point of its uses.

    At its `attested_points` what it reports counts as attested by a reader. `bounds` is how far it goes instead, where
    that is about more than points. Of an account of the database, `key` names the token, which is worth something from
    `begins_ms` until `expires_ms` (Unix milliseconds), and `allowance` is what its tokens share. With
    `needs_both` a certificate is needed besides.
    """

    name: str
    token_digest: bytes = field(repr=False)
    uses: frozenset[str]
    points: frozenset[str] = frozenset()
    attested_points: frozenset[str] = frozenset()
    bounds: Reach | None = None
    key: str | None = None
    begins_ms: int | None = None
    expires_ms: int | None = None
    allowance: Allowance | None = None
    needs_both: bool = False

    @property
    def reach(self) -> Reach:
        """How far it may go."""
        return Reach(points=self.points or None) if self.bounds is None else self.bounds

    def valid_at(self, now_ms: int) -> bool:
        """Tell whether the token is worth something."""
        begun = self.begins_ms is None or self.begins_ms <= now_ms
        return begun and (self.expires_ms is None or now_ms < self.expires_ms)


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True, slots=True)
class Bound:
    """A certificate that an account is bound to, by SHA-256 of its public key; `account` None: it was revoked."""

    key_digest: bytes
    certificate: str
    account: Caller | None


# Is told which key was used when.
NoteUse = Callable[[str, int], None]
# Is told which of the certificates by name was used when, and until when it holds.
NoteCertificate = Callable[[str, ClientCertificate, int], None]


def _unnoted(_key: str, _now_ms: int) -> None:
    """Nobody wants to know when a token was used."""


def _not_noted(_name: str, _certificate: ClientCertificate, _now_ms: int) -> None:
    """Nobody wants to know when a certificate was used."""


class Callers:
    """Every caller: those of the settings, and those of the database as `replace` was told last.

    `note_use` and `note_certificate` must not block. With `certificates_required` no token is worth anything alone.

    Raises:
        SettingsError: two of the settings have the same token, and nobody could tell who calls.
    """

    def __init__(
        self,
        callers: Sequence[Caller],
        clock: Clock | None = None,
        note_use: NoteUse = _unnoted,
        note_certificate: NoteCertificate = _not_noted,
        *,
        certificates_required: bool = False,
    ) -> None:
        settled: dict[bytes, Caller] = {}
        for caller in callers:
            other = settled.get(caller.token_digest)
            if other is not None:
                raise SettingsError(
                    f"callers: {other.name} and {caller.name} have the same token; make a token of its own for each"
                )
            settled[caller.token_digest] = caller
        self.settled: tuple[Caller, ...] = tuple(callers)
        self._clock, self._note_use, self._note_certificate = clock or SystemClock(), note_use, note_certificate
        self._certificates_required = certificates_required
        self._bound: Mapping[bytes, Bound] = MappingProxyType({})
        self._known: Mapping[bytes, Caller] = MappingProxyType(settled)

    def replace(self, accounts: Sequence[Caller], bound: Sequence[Bound] = ()) -> None:
        """Let these be the callers of the database and their certificates, at once; from any thread."""
        self._bound = MappingProxyType({one.key_digest: one for one in bound})
        known = {caller.token_digest: caller for caller in accounts}
        known |= {caller.token_digest: caller for caller in self.settled}
        self._known = MappingProxyType(known)

    def find(self, token: str) -> Caller | None:
        """Return whose token it is, None for nobody's."""
        if len(token) > MAX_TOKEN:
            return None
        # How long the look-up takes tells something of digests, and from those no token can be made.
        caller = self._known.get(digest(token))
        return caller if caller is not None and caller.valid_at(self._clock.now_ms()) else None

    def admit(self, token: str | None, shown: Shown | None = None) -> Caller | None:
        """Return who asks, by the token a request came with or by the certificate shown; None: the token is nobody's.

        Raises:
            ApiProblem: 401, the certificate counts for nothing here, or it takes both; 429, its account asks faster
                than it may.
        """
        caller = self._by_certificate(shown) if token is None else self._by_token(token, shown)
        if caller is None:
            return None
        wait_s = 0 if caller.allowance is None else caller.allowance.wait_s()
        if wait_s:
            raise ApiProblem(429, "too_many", f"{caller.name} asks faster than it may", retry_after_s=wait_s)
        return caller

    def _by_token(self, token: str, shown: Shown | None) -> Caller | None:
        caller = self.find(token)
        if caller is None:
            return None
        if caller.needs_both or self._certificates_required:
            self._require_bound(caller, shown)
        if caller.key is not None:
            self._note_use(caller.key, self._clock.now_ms())
        return caller

    def _by_certificate(self, shown: Shown | None) -> Caller:
        caller = self._holder_of(shown)
        if caller.needs_both:
            raise ApiProblem(401, "key_needed", "this account asks for a key besides the certificate")
        return caller

    def _require_bound(self, caller: Caller, shown: Shown | None) -> None:
        if self._holder_of(shown).name != caller.name:
            raise ApiProblem(
                401, "certificate_unknown", f"the certificate is bound to another account than {caller.name}"
            )

    def _holder_of(self, shown: Shown | None) -> Caller:
        """Return the account that the certificate of a request is bound to."""
        if shown is None:
            raise _refused("certificate_needed")
        if shown.certificate is None:
            raise _refused(shown.trouble or UNREADABLE)
        certificate, now_ms = shown.certificate, self._clock.now_ms()
        bound = self._bound.get(certificate.key_digest)
        if bound is None:
            raise _refused("certificate_unknown")
        if bound.account is None:
            raise _refused("certificate_revoked")
        if now_ms < certificate.begins_ms:
            raise _refused("certificate_not_yet_valid")
        if now_ms >= certificate.expires_ms:
            raise _refused("certificate_expired")
        self._note_certificate(bound.certificate, certificate, now_ms)
        return bound.account


def _refused(code: str) -> ApiProblem:
    return ApiProblem(401, code, _CERTIFICATE_REFUSED[code])


_CERTIFICATE_REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "certificate_needed": "show the client certificate that the account is bound to",
        UNREADABLE: "the client certificate cannot be read",
        UNTRUSTED: "the client certificate leads to no authority that counts here, or is not for clients",
        "certificate_unknown": "the client certificate is bound to no account; an administrator binds it",
        "certificate_revoked": "the client certificate was revoked here",
        "certificate_not_yet_valid": "the client certificate does not hold yet",
        "certificate_expired": "the client certificate has expired",
    }
)
