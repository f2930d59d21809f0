# SPDX-License-Identifier: EUPL-1.2
"""Signing in to one's own pages with name and password of the directory (HTTP Basic, RFC 7617), over TLS or loopback.

The first thin form of it: each request carries the password, the directory is asked once a few minutes, and nothing is
kept but a salted digest in memory. Sessions follow with the pages' own log-in.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, TypeVar

from fastapi import Depends
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Overloaded
from cardservice.web.problems import ApiProblem

REMEMBER_S: Final = 300
MAX_REMEMBERED: Final = 5_000
ATTEMPTS: Final = 5
ATTEMPTS_WITHIN_S: Final = 60
# More names than can be tried here in that time: nobody's attempts are forgotten for others'.
MAX_COUNTED: Final = 50_000
# Threads of its own: a directory that hangs holds up whoever signs in, and nobody else.
THREADS: Final = 4
MAX_ASKING: Final = 32
_NS: Final = 1_000_000_000
_basic: Final = HTTPBasic(auto_error=False, realm="OneCard")

# Returns the row number of whoever name and password are of, None if they are nobody's; blocks, may raise OSError.
CheckPassword = Callable[[str, str], int | None]
Key = TypeVar("Key")
Value = TypeVar("Value")


class SignIn:
    """Who asks for a page. Used from one event loop; `close` ends its threads."""

    def __init__(self, check: CheckPassword, clock: Clock) -> None:
        self._check = check
        self._clock = clock
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sign-in")
        self._asking = 0
        self._salt = secrets.token_bytes(16)
        # Both by age, the oldest first.
        self._remembered: dict[bytes, tuple[int, int]] = {}
        self._attempts: dict[str, list[int]] = {}

    async def __call__(self, credentials: Annotated[HTTPBasicCredentials | None, Depends(_basic)] = None) -> int:
        """Return the row number of the person who signed in.

        Raises:
            ApiProblem: 401 not signed in, 429 too many attempts, 503 the directory cannot be asked.
            Overloaded: too many sign in at once.
        """
        if credentials is None or not credentials.username:
            raise _refused("sign in with your name and password of the directory")
        name, password = credentials.username[:200], credentials.password
        digest, now_ns = self._digest(name, password), self._clock.monotonic_ns()
        known = self._remembered.get(digest)
        if known is not None and now_ns < known[1]:
            return known[0]
        if self._asking >= MAX_ASKING:
            raise Overloaded("too many people sign in at once; try again in a moment")
        self._count(name, now_ns)
        try:
            person = await self._ask(name, password)
        except (OSError, CardServiceError) as error:
            self._forgive(name, now_ns)
            if isinstance(error, CardServiceError):
                raise
            raise ApiProblem(503, "directory_away", "the directory cannot be asked at the moment") from error
        if person is None:
            # The same words whether the name or the password is wrong.
            raise _refused("name or password is wrong")
        self._forgive(name, now_ns)
        _put_last(self._remembered, digest, (person, now_ns + REMEMBER_S * _NS), MAX_REMEMBERED)
        return person

    def close(self) -> None:
        """Take nobody in any more. Whoever is being asked about is not waited for: a directory may hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, name: str, password: str) -> int | None:
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._check, name, password)
        finally:
            self._asking -= 1

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.new(self._salt, f"{name}\0{password}".encode(), hashlib.sha256).digest()

    def _count(self, name: str, now_ns: int) -> None:
        """Count an attempt before it is made: of many at once no more get through than one after the other."""
        recent = [at_ns for at_ns in self._attempts.get(name, ()) if now_ns - at_ns < ATTEMPTS_WITHIN_S * _NS]
        if len(recent) >= ATTEMPTS:
            raise ApiProblem(429, "too_many", "too many attempts; wait a minute")
        _put_last(self._attempts, name, [*recent, now_ns], MAX_COUNTED)

    def _forgive(self, name: str, at_ns: int) -> None:
        """Take back the attempt of `at_ns`: it was right, or nobody said whether it was."""
        counted = self._attempts.get(name, [])
        if at_ns in counted:
            counted.remove(at_ns)
        if not counted:
            self._attempts.pop(name, None)


def _put_last(table: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Put `value` last; the first goes when there are more than `most`."""
    table.pop(key, None)
    if len(table) >= most:
        del table[next(iter(table))]
    table[key] = value


def _refused(detail: str) -> ApiProblem:
    return ApiProblem(401, "not_signed_in", detail)
