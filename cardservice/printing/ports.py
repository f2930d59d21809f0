# SPDX-License-Identifier: EUPL-1.2
"""The print spooler, as the service sees it. Adapters live below `integrations/`.

SpoolerError
+-- SpoolerDown      no answer, or none that can be used; what was asked may or may not have been done
+-- JobGone          no such waiting job of this owner (any more)
+-- PrinterRefuses   the spooler takes nothing for this printer
"""

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

MAX_HELD: Final = 200

Condition = Literal["idle", "printing", "stopped"]
Fate = Literal["waiting", "released", "gone"]


class SpoolerError(Exception):
    """Root of the tree; the message is for the administrator and names neither a person nor a document."""


class SpoolerDown(SpoolerError):
    """The spooler does not answer, refuses this service, or answers what cannot be understood."""


class JobGone(SpoolerError):
    """There is no such job, it is somebody else's, or it does not wait any more."""


class PrinterRefuses(SpoolerError):
    """There is no such printer, or it takes no jobs."""


@dataclass(frozen=True, slots=True)
class HeldJob:
    """One document that waits for its owner; `since_ms` (Unix milliseconds) tells jobs with the same number apart."""

    number: int
    title: str = field(repr=False)
    owner: str = field(repr=False)
    since_ms: int


@dataclass(frozen=True, slots=True)
class PrinterState:
    """What a printer says of itself; `reasons` are its IPP keywords (RFC 8011 section 5.4.12), `none` left out."""

    name: str
    condition: Condition
    accepting: bool
    reasons: tuple[str, ...] = ()


class Spooler(Protocol):
    """A spooler with one queue in which documents wait. Every call ends within a limit of time.

    Raises:
        SpoolerDown: from every method; what was asked may or may not have been done.
    """

    async def held(self, owner: str) -> tuple[HeldJob, ...]:
        """Return what waits for `owner`, oldest first; at most MAX_HELD."""
        ...

    async def release(self, job: int, owner: str, printer: str) -> None:
        """Print `job` at `printer`; repeated for a job already released to the same printer it changes nothing.

        Raises:
            JobGone: it does not wait any more, or is not `owner`'s.
            PrinterRefuses: the job still waits.
        """
        ...

    async def settle(self, job: int, since_ms: int, printer: str) -> Fate:
        """Find out what became of a release to `printer` that nobody saw the end of; a job still here waits again."""
        ...

    async def printer(self, name: str) -> PrinterState:
        """Return what `name` does now.

        Raises:
            PrinterRefuses: there is no such printer.
        """
        ...

    async def hold_strays(self) -> int:
        """Hold every waiting job whose sender asked for no hold, so that it is deleted in time; return how many."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
