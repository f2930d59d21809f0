# SPDX-License-Identifier: EUPL-1.2
"""Who calls the API: facilities, tills, payroll. Each has a token of its own, bound to uses and points."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cardservice.errors import SettingsError
from cardservice.web.problems import ApiProblem

MAX_TOKEN: Final = 200
_bearer: Final = HTTPBearer(auto_error=False, description="The caller's token.")


@dataclass(frozen=True, slots=True)
class Caller:
    """One system that calls the API; `points` empty: every point of its uses."""

    name: str
    token_digest: bytes
    uses: frozenset[str]
    points: frozenset[str] = frozenset()

    def require_point(self, code: str) -> None:
        """Refuse a point that is not this caller's.

        Raises:
            ApiProblem: 403.
        """
        if self.points and code not in self.points:
            raise ApiProblem(403, "foreign_point", f"{self.name} may not use point {code}")


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


class Callers:
    """Every caller of the settings.

    Raises:
        SettingsError: two have the same token, and nobody could tell who calls.
    """

    def __init__(self, callers: Sequence[Caller]) -> None:
        owners: dict[bytes, str] = {}
        for caller in callers:
            other = owners.get(caller.token_digest)
            if other is not None:
                raise SettingsError(
                    f"callers: {other} and {caller.name} have the same token; make a token of its own for each"
                )
            owners[caller.token_digest] = caller.name
        self._callers = tuple(callers)

    def for_use(self, use: str) -> Callable[..., Caller]:
        """Return the dependency of routes of `use`: the caller, or a problem."""

        def caller(
            credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None,
        ) -> Caller:
            found = None if credentials is None else self._find(credentials.credentials)
            if found is None:
                raise ApiProblem(401, "not_authenticated", "a caller's token is needed: Authorization: Bearer TOKEN")
            if use not in found.uses:
                raise ApiProblem(403, "foreign_use", f"{found.name} may not use {use}")
            return found

        return caller

    def _find(self, token: str) -> Caller | None:
        if len(token) > MAX_TOKEN:
            return None
        wanted = digest(token)
        found = None
        # All of them, always: how long it takes tells nothing.
        for caller in self._callers:
            if hmac.compare_digest(caller.token_digest, wanted):
                found = caller
        return found
