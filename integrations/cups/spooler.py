# SPDX-License-Identifier: EUPL-1.2
"""A `Spooler` over IPP, on a kept connection to cupsd's unix socket.

The waiting queue is stopped, so a job in it can be printed in one way only: by being moved to a printer's queue. A
release therefore takes the hold away first and moves then. Whenever the service or cupsd dies between the two, the job
is still where its owner finds it again, and never at a printer without being asked for.

The moving is not repeated blindly: CUPS would begin a job that prints already once more. A lost answer is followed by
a look at the job.
"""

import asyncio
import os
import pwd
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from cardservice.printing.ports import (
    MAX_HELD,
    Fate,
    HeldJob,
    JobGone,
    PrinterRefuses,
    PrinterState,
    SpoolerDown,
)
from integrations.cups import ipp
from integrations.cups.connection import Address, Connection, NoAnswer, Refused, decoded
from integrations.cups.devices import Devices, state_of
from integrations.cups.ipp import Attribute, Group, Operation, Response, Status, Tag

_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,127}")
_PENDING, _HELD, _PROCESSING, _STOPPED, _COMPLETED = 3, 4, 5, 6, 9
_WAITING: Final = frozenset({_PENDING, _HELD})
_LEFT: Final = frozenset({_PENDING, _PROCESSING, _STOPPED, _COMPLETED})
HELD_FIELDS: Final = (
    "job-id",
    "job-name",
    "job-originating-user-name",
    "job-state",
    "time-at-creation",
)
FATE_FIELDS: Final = ("job-state", "job-originating-user-name", "job-printer-uri", "time-at-creation")
PRINTER_FIELDS: Final = (
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "device-uri",
)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class CupsSettings:
    """Where cupsd is and who the service is there.

    `user` (default: whoever runs this process) must own this process and be in cupsd's SystemGroup. `realm`: users of
    that Kerberos realm own jobs as `name@REALM`. `ask_devices`: a printer with an ipp or ipps address is asked itself.
    `limit_s` bounds each call, however many wait for their turn.
    """

    socket: Path = Path("/run/cups/cups.sock")
    queue: str = "followme"
    user: str | None = None
    realm: str | None = None
    limit_s: float = 5.0
    ask_devices: bool = True
    device_limit_s: float = 2.0


class _Lost(Exception):
    """An answer did not arrive, so nobody knows whether what was asked has been done."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A job as cupsd knows it now."""

    state: int
    owner: str = field(repr=False)
    queue: str
    since_ms: int


class CupsSpooler:
    """One cupsd. The first call connects.

    Raises:
        ValueError: the queue's name is none that CUPS allows.
    """

    def __init__(self, settings: CupsSettings) -> None:
        if not _QUEUE_NAME.fullmatch(settings.queue):
            raise ValueError(f"{settings.queue!r} is no name of a CUPS queue")
        user = settings.user or pwd.getpwuid(os.geteuid()).pw_name
        self._settings = settings
        self._user = user
        self._connection = Connection(Address(socket=settings.socket), settings.limit_s, f"PeerCred {user}")
        self._devices = Devices(settings.device_limit_s)
        self._number = 0

    async def held(self, owner: str) -> tuple[HeldJob, ...]:
        """Return what waits for `owner`, oldest first; at most MAX_HELD."""
        waiting = await self._waiting(HELD_FIELDS)
        mine = [self._held_job(group) for group in waiting if owner and self._owner(group) == owner]
        return tuple(sorted(mine, key=lambda job: job.number)[:MAX_HELD])

    async def release(self, job: int, owner: str, printer: str) -> None:
        """Print `job` at `printer`; repeated for a job already released to the same printer it changes nothing.

        Raises:
            JobGone: it does not wait any more, or is not `owner`'s.
            PrinterRefuses: the job still waits.
            SpoolerDown: nobody knows; `settle` finds out.
        """
        _require_name(printer)
        await self._twice(lambda: self._release(job, owner, printer))

    async def settle(self, job: int, since_ms: int, printer: str) -> Fate:
        """Find out what became of a release to `printer` that nobody saw the end of; a job still here waits again."""
        return await self._twice(lambda: self._settle(job, since_ms, printer))

    async def printer(self, name: str) -> PrinterState:
        """Return what `name` does now: its queue, and the device itself where it can be asked.

        Raises:
            PrinterRefuses: there is no such queue.
            SpoolerDown: no usable answer.
        """
        _require_name(name)
        known = self._devices.begin(name) if self._settings.ask_devices else None
        try:
            return await self._twice(lambda: self._printer(name, known))
        finally:
            if known is not None:
                known.cancel()

    async def hold_strays(self) -> int:
        """Hold every waiting job whose sender asked for no hold, so that it is deleted in time; return how many."""
        waiting = await self._waiting(("job-id", "job-state"))
        strays = [number for group in waiting if _state(group) == _PENDING and (number := ipp.number(group, "job-id"))]
        for number in strays:
            await self._twice(lambda number=number: self._hold(number))  # type: ignore[misc]  # bound, not closed over
        return len(strays)

    async def close(self) -> None:
        """Disconnect."""
        await self._devices.close()
        await self._connection.close()

    async def _waiting(self, fields: Sequence[str]) -> list[Group]:
        asked = [
            (Tag.KEYWORD, "which-jobs", ["not-completed"]),
            (Tag.KEYWORD, "requested-attributes", list(fields)),
        ]
        response = await self._twice(lambda: self._ask(Operation.GET_JOBS, asked))
        if response.status == Status.NOT_FOUND:
            raise SpoolerDown(f"CUPS has no queue {self._settings.queue!r}")
        _require_success(response, "listing the waiting jobs")
        return [group for group in response.jobs if _state(group) in _WAITING and ipp.number(group, "job-id")]

    async def _release(self, number: int, owner: str, printer: str) -> None:
        job = await self._look(number)
        if job is None or not owner or job.owner != owner:
            raise JobGone(f"job {number} is not there")
        if job.queue == printer and job.state in _LEFT:
            return
        if job.queue != self._settings.queue or job.state not in _WAITING:
            raise JobGone(f"job {number} does not wait any more")
        if job.state == _HELD:
            freed = await self._ask(Operation.RELEASE_JOB, [_job_id(number)])
            if freed.status == Status.NOT_FOUND:
                raise JobGone(f"job {number} is not there")
            _require_success(freed, "releasing a job")
        target = (Tag.URI, "job-printer-uri", [_uri(printer)])
        moved = await self._ask(Operation.MOVE_JOB, [_job_id(number)], target)
        if not moved.successful:
            await self._refused(number, printer, moved)

    async def _refused(self, number: int, printer: str, answer: Response) -> None:
        """Tell why a job could not be moved; one that is still here waits again."""
        job = await self._look(number)
        if job is None or job.queue != self._settings.queue or job.state not in _WAITING:
            raise JobGone(f"job {number} is not there")
        await self._hold(number)
        if answer.status in (Status.NOT_FOUND, Status.NOT_ACCEPTING_JOBS, Status.NOT_POSSIBLE):
            raise PrinterRefuses(f"CUPS has no queue {printer!r} that takes jobs")
        _require_success(answer, "moving a job")

    async def _settle(self, number: int, since_ms: int, printer: str) -> Fate:
        job = await self._look(number)
        if job is None or job.since_ms != since_ms:
            return "gone"
        if job.queue == self._settings.queue and job.state in _WAITING:
            if job.state == _PENDING:
                await self._hold(number)
            return "waiting"
        return "released" if job.queue == printer and job.state != _HELD else "gone"

    async def _hold(self, number: int) -> None:
        until = (Tag.KEYWORD, "job-hold-until", ["indefinite"])
        answer = await self._ask(Operation.HOLD_JOB, [_job_id(number), until])
        if answer.status not in (Status.NOT_FOUND, Status.NOT_POSSIBLE):
            _require_success(answer, "holding a job")

    async def _look(self, number: int) -> _Job | None:
        fields = (Tag.KEYWORD, "requested-attributes", list(FATE_FIELDS))
        answer = await self._ask(Operation.GET_JOB_ATTRIBUTES, [_job_id(number), fields])
        if answer.status == Status.NOT_FOUND:
            return None
        _require_success(answer, "looking at a job")
        if len(answer.jobs) != 1:
            raise SpoolerDown("CUPS answered with another number of jobs than was asked for")
        group = answer.jobs[0]
        queue = ipp.text(group, "job-printer-uri").rpartition("/")[2]
        return _Job(_state(group), self._owner(group), queue, _since_ms(group))

    async def _printer(self, name: str, known: "Devices.Asked | None") -> PrinterState:
        asked: list[Attribute] = [(Tag.KEYWORD, "requested-attributes", list(PRINTER_FIELDS))]
        answer = await self._ask(Operation.GET_PRINTER_ATTRIBUTES, asked, queue=name)
        if answer.status == Status.NOT_FOUND:
            raise PrinterRefuses(f"CUPS has no queue {name!r}")
        _require_success(answer, "asking for a printer")
        if len(answer.printers) != 1:
            raise SpoolerDown("CUPS answered with another number of printers than was asked for")
        queue = state_of(name, answer.printers[0])
        if not self._settings.ask_devices:
            return queue
        return await self._devices.complete(queue, ipp.text(answer.printers[0], "device-uri"), known)

    async def _ask(
        self, operation: Operation, asked: Sequence[Attribute], job_group: Attribute | None = None, queue: str = ""
    ) -> Response:
        number = self._number = self._number % 0x7FFF_FFFF + 1
        target: list[Attribute] = [
            (Tag.URI, "printer-uri", [_uri(queue or self._settings.queue)]),
            *asked[:1],
            (Tag.NAME, "requesting-user-name", [self._user]),
            *asked[1:],
        ]
        request = ipp.encode(operation, number, target, job_group)
        try:
            response = await decoded(await self._connection.ask("/", request))
        except NoAnswer as error:
            raise _Lost(f"CUPS does not answer at {self._settings.socket} ({error})") from None
        except Refused as error:
            raise SpoolerDown(
                f"CUPS refuses this service ({error}): user {self._user!r} must run it and be in cupsd's SystemGroup"
            ) from None
        except ipp.MalformedIpp as error:
            raise SpoolerDown(f"CUPS answered what is not IPP: {error}") from None
        if response.number != number:
            raise SpoolerDown("CUPS answered another request than the one it was asked")
        return response

    async def _twice(self, what: Callable[[], Awaitable[Result]]) -> Result:
        """Do it, and once more when an answer was lost: cupsd closes idle connections, and may have restarted."""
        limit_s = self._settings.limit_s
        try:
            async with asyncio.timeout(limit_s):
                try:
                    return await what()
                except _Lost:
                    return await what()
        except _Lost as error:
            raise SpoolerDown(str(error)) from None
        except TimeoutError:
            raise SpoolerDown(f"CUPS at {self._settings.socket} did not answer within {limit_s} s") from None

    def _owner(self, group: Group) -> str:
        """Return whom CUPS names as the owner, without our own realm."""
        found = ipp.text(group, "job-originating-user-name")
        return found if self._settings.realm is None else found.removesuffix(f"@{self._settings.realm}")

    def _held_job(self, group: Group) -> HeldJob:
        return HeldJob(
            number=ipp.number(group, "job-id") or 0,
            title=ipp.text(group, "job-name"),
            owner=self._owner(group),
            since_ms=_since_ms(group),
        )


def _state(group: Group) -> int:
    return ipp.number(group, "job-state") or 0


def _since_ms(group: Group) -> int:
    return (ipp.number(group, "time-at-creation") or 0) * 1_000


def _job_id(number: int) -> Attribute:
    return (Tag.INTEGER, "job-id", [number])


def _uri(queue: str) -> str:
    return f"ipp://localhost/printers/{queue}"


def _require_name(printer: str) -> None:
    if not _QUEUE_NAME.fullmatch(printer):
        raise PrinterRefuses("that is no name of a CUPS queue")


def _require_success(response: Response, doing: str) -> None:
    if not response.successful:
        raise SpoolerDown(f"CUPS refused {doing} with status {response.status:#06x}")
