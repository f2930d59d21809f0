# SPDX-License-Identifier: EUPL-1.2
"""Signing in to one's own pages with name and password of the directory (HTTP Basic, RFC 7617), over TLS or loopback.

The first thin form of it: each request carries the password, the directory is asked once a few minutes, and nothing is
kept but a salted digest in memory. Sessions follow with the pages' own log-in.
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import Depends
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from cardservice.web.problems import ApiProblem

REMEMBER_S: Final = 300.0
MAX_REMEMBERED: Final = 5_000
ATTEMPTS: Final = 5
ATTEMPTS_WITHIN_S: Final = 60.0
_basic: Final = HTTPBasic(auto_error=False, realm="OneCard")

# Returns the row number of whoever name and password are of, None if they are nobody's; blocks, may raise OSError.
CheckPassword = Callable[[str, str], int | None]


class SignIn:
    """Who asks for a page. Used from one event loop."""

    def __init__(self, check: CheckPassword) -> None:
        self._check = check
        self._salt = secrets.token_bytes(16)
        self._remembered: dict[bytes, tuple[int, float]] = {}
        self._failures: dict[str, list[float]] = {}

    async def __call__(self, credentials: Annotated[HTTPBasicCredentials | None, Depends(_basic)] = None) -> int:
        """Return the row number of the person who signed in.

        Raises:
            ApiProblem: 401 not signed in, 429 too many attempts, 503 the directory cannot be asked.
        """
        if credentials is None or not credentials.username:
            raise _refused("sign in with your name and password of the directory")
        name, password = credentials.username[:200], credentials.password
        known = self._remembered.get(self._digest(name, password))
        now_s = time.monotonic()
        if known is not None and now_s < known[1]:
            return known[0]
        recent = [at_s for at_s in self._failures.get(name, ()) if now_s - at_s < ATTEMPTS_WITHIN_S]
        if len(recent) >= ATTEMPTS:
            raise ApiProblem(429, "too_many", "too many attempts; wait a minute")
        try:
            person = await asyncio.to_thread(self._check, name, password)
        except OSError as error:
            raise ApiProblem(503, "directory_away", "the directory cannot be asked at the moment") from error
        if person is None:
            self._failed(name, [*recent, now_s])
            # The same words whether the name or the password is wrong.
            raise _refused("name or password is wrong")
        self._remember(self._digest(name, password), person, now_s)
        return person

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.new(self._salt, f"{name}\0{password}".encode(), hashlib.sha256).digest()

    def _remember(self, digest: bytes, person: int, now_s: float) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[digest] = (person, now_s + REMEMBER_S)

    def _failed(self, name: str, times_s: list[float]) -> None:
        if len(self._failures) >= MAX_REMEMBERED:
            self._failures.clear()
        self._failures[name] = times_s


def _refused(detail: str) -> ApiProblem:
    return ApiProblem(401, "not_signed_in", detail)
