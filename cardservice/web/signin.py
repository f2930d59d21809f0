# SPDX-License-Identifier: EUPL-1.2
"""Asking the directory whether a password is right: in threads of its own, and no more often than the limits allow."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from cardservice.clock import Clock
from cardservice.errors import CardServiceError, Overloaded
from cardservice.web.login_limits import Guesses, LoginLimits
from cardservice.web.problems import ApiProblem

# Threads of its own: a directory that hangs holds up whoever signs in, and nobody else.
THREADS: Final = 4
MAX_ASKING: Final = 32


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, the address they came from, and whether the name signed in on that device before."""

    name: str
    password: str = field(repr=False)
    address: str
    known_device: bool = False


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a password: whose name it is (row number, None if nobody's), and whether they may come in."""

    person: int | None
    fits: bool


# Tells whether a password is somebody's; blocks, may raise OSError.
CheckPassword = Callable[[str, str], Checked]


class TooManyAttempts(ApiProblem):
    """429: nobody was asked, whether the password is right or not."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(429, "too_many", "too many attempts; try again later")
        self.wait_s = wait_s


class SignIn:
    """Checks passwords. Used from one event loop; `close` ends its threads."""

    def __init__(self, check: CheckPassword, clock: Clock, limits: LoginLimits | None = None) -> None:
        self._check = check
        self._guesses = Guesses(clock, limits or LoginLimits())
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sign-in")
        self._asking = 0

    async def check(self, credentials: Credentials) -> Checked:
        """Return whose name it is and whether the password is theirs.

        Raises:
            ApiProblem: 429 too many wrong ones, 503 the directory cannot be asked.
            Overloaded: too many sign in at once.
        """
        if self._asking >= MAX_ASKING:
            raise Overloaded("too many people sign in at once; try again in a moment")
        attempt = self._guesses.begin(credentials.name, credentials.address, known_device=credentials.known_device)
        if isinstance(attempt, int):
            raise TooManyAttempts(attempt)
        try:
            checked = await self._ask(credentials)
        except (OSError, CardServiceError) as error:
            attempt.take_back()
            if isinstance(error, CardServiceError):
                raise
            raise ApiProblem(503, "directory_away", "the directory cannot be asked at the moment") from error
        if checked.fits:
            attempt.take_back()
        return checked

    def close(self) -> None:
        """Take nobody in any more. Whoever is being asked about is not waited for: a directory may hang."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, credentials: Credentials) -> Checked:
        self._asking += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._check, credentials.name, credentials.password
            )
        finally:
            self._asking -= 1
