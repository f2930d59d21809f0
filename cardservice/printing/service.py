# SPDX-License-Identifier: EUPL-1.2
"""A permitted tap at a printer: the holder's documents leave the queue, nobody else's, and each of them once.

What is to be released is on disk before the spooler is asked. A release whose end nobody saw (the service or the
spooler died) is settled before the next one: what left is recorded as released, what still waits waits on. It is not
released late by itself: its owner may have gone, and paper would lie there for everybody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import structlog
from sqlalchemy.engine import Connection

from cardservice.clock import Clock, SystemClock
from cardservice.errors import CardServiceError
from cardservice.printing import store
from cardservice.printing.ports import Fate, HeldJob, JobGone, PrinterRefuses, PrinterState, Spooler, SpoolerDown
from cardservice.printing.rules import (
    SPOOLER_DOWN,
    Code,
    Outcome,
    is_ready,
    released_by,
    sentence,
    trouble_sentence,
    troubles,
)
from cardservice.printing.store import Asked, Key, ReleaseState

# How many other printers are asked when one does not print.
MAX_OTHERS: Final = 4
# More than this many taps' worth of unsettled rows are left to the next call.
_MAX_ROUNDS: Final = 20
_STATE_OF_FATE: Final[Mapping[Fate, ReleaseState]] = {"waiting": "failed", "released": "released", "gone": "gone"}
# How long a release stays on record. It is also what keeps a spooler that forgot its last minute from printing twice.
KEPT_MS: Final = 7 * 86_400_000
_log = structlog.get_logger()


class Submit(Protocol):
    """The recorder's `submit_here`."""

    def __call__(self, unit: Callable[[Connection], Any], /) -> Awaitable[Any]:
        """Run `unit` on the record store; the answer comes once it is on disk."""
        ...


@dataclass(frozen=True, slots=True)
class PrintAnswer:
    """What came of a tap; `text` is (German, English), `reasons` are IPP keywords, `another` a printer that prints."""

    code: Code
    printer: str
    text: tuple[str, str]
    released: int = 0
    waiting: int = 0
    reasons: tuple[str, ...] = ()
    another: str | None = None


@dataclass(slots=True)
class Recovered:
    """How many releases without an end had happened, still wait, or are gone; and how many strays were held."""

    counts: dict[Fate, int] = field(default_factory=lambda: {"released": 0, "waiting": 0, "gone": 0})
    held: int = 0


class PrintRelease:
    """Releases what waits. One per spooler, used from one event loop; many taps at once.

    Args:
        spooler: where the documents wait.
        printers: queue of each point (by code), those a person may be sent to first.
        queue: the name of the waiting queue, for the record.
    """

    def __init__(
        self, spooler: Spooler, printers: Mapping[str, str], *, queue: str = "followme", clock: Clock | None = None
    ) -> None:
        self._spooler = spooler
        self._printers = printers
        self._queue = queue
        self._clock = clock or SystemClock()
        self._under_way: set[Key] = set()
        # Whether something may have been begun whose end is not on record; a former life may have left some.
        self._unsettled = True
        self._settling = asyncio.Lock()

    async def release(self, event: str, owner: str, pseudonym: str, printer: str, submit: Submit) -> PrintAnswer:
        """Release all that waits for `owner` to the printer of the point `printer`.

        Args:
            event: the tap.
            owner: whom the spooler knows as the owner of the documents.
            pseudonym: the same person for the record, 32 hexadecimal digits.
            printer: the point's code.
            submit: the recorder's `submit_here`.

        Raises:
            CardServiceError: it could not be put on record; nothing was released.
        """
        queue = self._printers.get(printer)
        if queue is None:
            return _in_trouble(PrinterState(printer, "stopped", accepting=False, reasons=("not-configured",)), None, 0)
        try:
            if self._unsettled:
                await self.recover(submit)
            jobs, state = await asyncio.gather(self._spooler.held(owner), self._state(queue))
            if not jobs:
                return _answer(Outcome(), queue)
            if not is_ready(state):
                return _in_trouble(state, await self._another(queue), len(jobs))
        except SpoolerDown as error:
            _log.error("printing.spooler_down", trouble=str(error))
            return PrintAnswer(Code.SPOOLER_DOWN, queue, SPOOLER_DOWN)
        asked = Asked(event, queue, pseudonym, self._clock.now_ms())
        return _answer(await self._release(released_by(jobs, owner), owner, asked, submit), queue)

    async def recover(self, submit: Submit) -> Recovered:
        """Settle what was begun and whose end nobody saw, and hold what its sender did not want held.

        Called at the start and now and then; a tap calls it when something is unsettled.

        Raises:
            SpoolerDown: what is unsettled stays so.
            CardServiceError: the record cannot be read or written.
        """
        found = Recovered()
        async with self._settling:
            self._unsettled, complete = False, False
            try:
                for _ in range(_MAX_ROUNDS):
                    if not await self._settle_some(found, submit):
                        break
                # While strays are being held no job may be on its way: it would be held at the printer.
                if not self._under_way:
                    found.held = await self._spooler.hold_strays()
                complete = True
            finally:
                self._unsettled |= not complete
        if any(found.counts.values()) or found.held:
            _log.warning("printing.settled", held=found.held, **found.counts)
        return found

    async def _settle_some(self, found: Recovered, submit: Submit) -> bool:
        """Settle some of what nobody is about to settle; tell whether there was anything."""
        rows = await submit(lambda connection: store.unsettled(connection, self._queue))
        ends: list[tuple[Key, ReleaseState]] = []
        for key, printer in rows:
            if key not in self._under_way:
                fate = await self._spooler.settle(key.job, key.made_ms, printer)
                found.counts[fate] += 1
                ends.append((key, _STATE_OF_FATE[fate]))
        if ends:
            await submit(lambda connection: store.settle(connection, ends))
        return bool(ends)

    async def forget(self, submit: Submit) -> None:
        """Delete the record of releases older than KEPT_MS, but for those whose end nobody has seen.

        Raises:
            CardServiceError: the record cannot be written.
        """
        before_ms = self._clock.now_ms() - KEPT_MS
        await submit(lambda connection: store.forget(connection, before_ms))

    async def _release(self, jobs: Sequence[HeldJob], owner: str, asked: Asked, submit: Submit) -> Outcome:
        keys = [Key(self._queue, job.number, job.since_ms) for job in jobs]
        async with self._settling:
            self._under_way.update(keys)
        settled = False
        try:
            claimed: list[Key] = await submit(lambda connection: store.claim(connection, keys, asked))
            outcome, ends, known = await self._ask_for(claimed, owner, asked.printer)
            settled = await self._write_down(ends, submit) and known
        finally:
            self._under_way.difference_update(keys)
            self._unsettled |= not settled
        return outcome

    async def _ask_for(
        self, keys: Sequence[Key], owner: str, printer: str
    ) -> tuple[Outcome, list[tuple[Key, ReleaseState]], bool]:
        """Release one after the other; stop at the first trouble. Return also whether every end is known."""
        ends: list[tuple[Key, ReleaseState]] = []
        released = 0
        for at, key in enumerate(keys):
            try:
                await self._spooler.release(key.job, owner, printer)
            except JobGone:
                ends.append((key, "gone"))
            except PrinterRefuses as error:
                _log.warning("printing.refused", printer=printer, trouble=str(error))
                ends += [(left, "failed") for left in keys[at:]]
                return Outcome(released, len(keys) - at, printer_refused=True), ends, True
            except SpoolerDown as error:
                _log.error("printing.spooler_down", trouble=str(error))
                ends += [(left, "failed") for left in keys[at + 1 :]]
                return Outcome(released, len(keys) - at), ends, False
            else:
                released += 1
                ends.append((key, "released"))
        return Outcome(released), ends, True

    async def _write_down(self, ends: Sequence[tuple[Key, ReleaseState]], submit: Submit) -> bool:
        """Record the ends; what cannot be recorded now is found again when it is settled."""
        try:
            await submit(lambda connection: store.settle(connection, ends))
        except CardServiceError as error:
            _log.error("printing.not_recorded", jobs=len(ends), trouble=str(error))
            return False
        return True

    async def _state(self, queue: str) -> PrinterState:
        try:
            return await self._spooler.printer(queue)
        except PrinterRefuses:
            return PrinterState(queue, "stopped", accepting=False, reasons=("not-configured",))

    async def _another(self, queue: str) -> str | None:
        """Return another printer that is ready, the first of the next few."""
        others = [name for name in dict.fromkeys(self._printers.values()) if name != queue][:MAX_OTHERS]
        states = await asyncio.gather(*map(self._state, others))
        return next((state.name for state in states if is_ready(state)), None)


def _answer(outcome: Outcome, printer: str) -> PrintAnswer:
    return PrintAnswer(outcome.code, printer, sentence(outcome, printer), outcome.released, outcome.waiting)


def _in_trouble(state: PrinterState, another: str | None, waiting: int) -> PrintAnswer:
    return PrintAnswer(
        Code.PRINTER_ERROR,
        state.name,
        trouble_sentence(state, another),
        waiting=waiting,
        reasons=troubles(state) or state.reasons,
        another=another,
    )
