# SPDX-License-Identifier: EUPL-1.2
"""Sessions: who is signed in, asked of the store at each request, and ended at once when the person is gone.

A session is opened for a person's row, however they proved who they are. The browser holds a random token in a cookie
that no script reads; the store holds its digest. The token changes when somebody signs in and when they confirm.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from fastapi import Request, Response

from cardservice.clock import Clock
from cardservice.errors import DatabaseUnavailable
from cardservice.web.gate import Person
from cardservice.web.login_paths import ConfirmationNeeded, page_of_form
from cardservice.web.operations import Role
from cardservice.web.reach import Reach
from cardservice.web.session_guard import SAFE_METHODS, form_token, require_form_token, require_same_origin

COOKIE: Final = "__Host-onecard"
MAX_TOKEN: Final = 100
# How often it is written when somebody was last seen.
SEEN_EVERY_MS: Final = 60_000
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts: without being used, altogether, and how long a confirmed password counts."""

    idle_ms: int = 30 * 60_000
    longest_ms: int = 10 * 3_600_000
    confirmed_ms: int = 5 * 60_000


@dataclass(frozen=True, slots=True)
class Holder:
    """The person of a session as the directory's copy has them at this moment; `identity` never changes."""

    identity: str
    login: str | None
    present: bool
    enabled: bool
    valid_from_ms: int | None
    valid_until_ms: int | None
    groups: frozenset[int]

    def trouble(self, at_ms: int) -> str | None:
        """Return why they may not be signed in, None if they may."""
        if not self.present:
            return "left"
        if not self.enabled:
            return "disabled"
        if self.valid_from_ms is not None and at_ms < self.valid_from_ms:
            return "not_yet_valid"
        return "expired" if self.valid_until_ms is not None and at_ms >= self.valid_until_ms else None


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One session; `identity` is whom it was opened for, `how` they proved it, `confirmed_ms` when they last did.

    `subject`: see `Proof`.
    """

    number: int
    person: int
    identity: str
    how: str
    seen_ms: int
    ends_ms: int
    confirmed_ms: int | None
    holder: Holder
    subject: bytes | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """How somebody proved who they are; `confirmed`: just now, and may change something.

    `subject` stands for who they are to the provider that they signed in at.
    """

    how: str
    confirmed: bool = False
    subject: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened at `at_ms`; `replaces` is the digest of the one the browser had before."""

    digest: bytes
    person: int
    how: str
    at_ms: int
    ends_ms: int
    confirmed_ms: int | None
    replaces: bytes | None
    subject: bytes | None = None


class SessionStore(Protocol):
    """Keeps sessions. Everything blocks, and raises `DatabaseUnavailable`."""

    def find(self, digest: bytes) -> StoredSession | None:
        """Return the session of a token with its person, by one query."""
        ...

    def open(self, new: NewSession) -> bool:
        """Open a session; False, and none, if the person may not be signed in now."""
        ...

    def renew(self, number: int, digest: bytes, confirmed_ms: int) -> None:
        """Give a session another token, and note that its person has just confirmed who they are."""
        ...

    def seen(self, number: int, at_ms: int) -> None:
        """Note when a session was last used."""
        ...

    def end(self, digest: bytes) -> bool:
        """Delete the session of a token; tell whether there was one."""
        ...


class Roles(Protocol):
    """Tells what somebody is here."""

    def of(self, groups: frozenset[int]) -> Mapping[Role, tuple[Reach, ...]]:
        """Return the roles of whoever is in these groups (row numbers), and how far each reaches. Blocks."""
        ...


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that is in order; `confirmed`: the password was confirmed a moment ago, changes are allowed.

    `subject`: see `Proof`.
    """

    number: int
    person: Person
    how: str
    confirmed: bool
    subject: bytes | None = None


class SessionDesk:
    """Opens, finds and ends sessions; used from the event loop, the store is asked in threads."""

    def __init__(self, store: SessionStore, roles: Roles, clock: Clock, limits: SessionLimits) -> None:
        self._store = store
        self._roles = roles
        self._clock = clock
        self._limits = limits

    @staticmethod
    def has_token(request: Request) -> bool:
        """Tell whether a request came with a session's token, whatever it is worth."""
        return _token_of(request) is not None

    async def person(self, request: Request, *, changes: bool) -> Person | None:
        """Return who is signed in, None for nobody. What may change something must come from a page of ours.

        Raises:
            ApiProblem: 403, it does not, or the password was confirmed too long ago for a change.
            DatabaseUnavailable: nobody can tell.
        """
        found = await self.signed_in(request)
        if found is None:
            return None
        if changes or request.method not in SAFE_METHODS:
            await self.require_own_page(request)
        if changes and not found.confirmed:
            raise ConfirmationNeeded(page_of_form(request))
        return found.person

    async def signed_in(self, request: Request) -> SignedIn | None:
        """Return the session of a request, None if there is none; also kept as `request.state.signed_in`.

        Raises:
            DatabaseUnavailable: nobody can tell.
        """
        token = _token_of(request)
        found = None if token is None else await asyncio.to_thread(self._look, token)
        request.state.signed_in = found
        return found

    async def still(self, request: Request) -> Person | None:
        """Return who is signed in as of now, None for nobody; asking so does not keep a session from being idle.

        Raises:
            DatabaseUnavailable: nobody can tell.
        """
        token = _token_of(request)
        found = None if token is None else await asyncio.to_thread(self._look, token, used=False)
        return None if found is None else found.person

    async def require_own_page(self, request: Request) -> None:
        """Refuse what another page than one of ours had the browser send in this session.

        Raises:
            ApiProblem: 403.
        """
        require_same_origin(request)
        await require_form_token(request, _token_of(request) or "")

    async def open(self, request: Request, person: int, proof: Proof) -> str | None:
        """Open a session for a person who proved who they are; return its token for `give`.

        None if they may not be signed in. The session that the browser had ends.

        Raises:
            DatabaseUnavailable: it cannot be stored.
        """
        token, now_ms, before = secrets.token_urlsafe(32), self._clock.now_ms(), _token_of(request)
        new = NewSession(
            digest=_digest(token),
            person=person,
            how=proof.how,
            at_ms=now_ms,
            ends_ms=now_ms + self._limits.longest_ms,
            confirmed_ms=now_ms if proof.confirmed else None,
            replaces=None if before is None else _digest(before),
            subject=proof.subject,
        )
        return token if await asyncio.to_thread(self._store.open, new) else None

    async def confirm(self, signed_in: SignedIn) -> str:
        """Note that the person has just proved again who they are; return the session's new token for `give`.

        Raises:
            DatabaseUnavailable: it cannot be stored.
        """
        token = secrets.token_urlsafe(32)
        await asyncio.to_thread(self._store.renew, signed_in.number, _digest(token), self._clock.now_ms())
        return token

    async def end(self, request: Request) -> None:
        """End the session of a request, if there is one.

        Raises:
            DatabaseUnavailable: it cannot be deleted.
        """
        token = _token_of(request)
        if token is not None:
            await asyncio.to_thread(self._store.end, _digest(token))

    def _look(self, token: str, *, used: bool = True) -> SignedIn | None:
        stored = self._store.find(_digest(token))
        if stored is None:
            return None
        now_ms = self._clock.now_ms()
        cause = self._over(stored, now_ms)
        if cause is not None:
            self._store.end(_digest(token))
            _log.info("session.ended", cause=cause)
            return None
        if used and now_ms - stored.seen_ms >= SEEN_EVERY_MS:
            # Whoever reads is not refused because nothing can be written at the moment.
            with contextlib.suppress(DatabaseUnavailable):
                self._store.seen(stored.number, now_ms)
        holder, confirmed_ms = stored.holder, stored.confirmed_ms
        return SignedIn(
            number=stored.number,
            person=Person(
                stored.person, holder.login or holder.identity, self._roles.of(holder.groups), form_token(token)
            ),
            how=stored.how,
            subject=stored.subject,
            confirmed=confirmed_ms is not None and 0 <= now_ms - confirmed_ms < self._limits.confirmed_ms,
        )

    def _over(self, stored: StoredSession, now_ms: int) -> str | None:
        """Return why a session is over, None if it is not."""
        if now_ms >= stored.ends_ms:
            return "too_long"
        if now_ms - stored.seen_ms >= self._limits.idle_ms:
            return "idle"
        if stored.holder.identity != stored.identity:
            return "somebody_else"
        return stored.holder.trouble(now_ms)


def give(response: Response, token: str) -> None:
    """Hand the token of a session to the browser: for this host alone, over TLS or loopback, hidden from scripts."""
    response.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="lax")


def take_back(response: Response) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="lax")


def _token_of(request: Request) -> str | None:
    token = request.cookies.get(COOKIE)
    return token if token and len(token) <= MAX_TOKEN else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
