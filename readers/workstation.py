# SPDX-License-Identifier: EUPL-1.2
"""A workstation's point: the card in the reader unlocks its holder's own session, taking it away locks it.

             act, the card still there           card_left
    LOCKED ───────────────────────────▶ UNLOCKED ─────────▶ LEAVING ──grace over──▶ LOCKING ──▶ LOCKED
                                           ▲                   │                      │  ▲
                                           └── act, same user ─┘                      └──┘ until it says so

Whatever is not certain ends locked: a card that left while its session was being unlocked, an unlock that was not
answered, a session noted as unlocked by an agent that was killed. Locking needs no centre. It is tried until logind
takes it, or the holder is back; a session that is told so and never says that it is locked is reported.
"""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from cardservice.agents.messages import DecisionMessage, PointCommand, PointSetup, Prompt
from cardservice.doors.ports import DoorOutput, OutputFault, Shown
from cardservice.workstations.ports import SessionFault, Sessions
from cardservice.workstations.rules import (
    SENTENCES,
    AnswerCode,
    WorkstationOptions,
    check_options,
    login_from,
)
from readers.clock import Clock
from readers.logs import is_worth_a_line
from readers.metrics import Metrics
from readers.unlocked import UnlockedNotes

_log = structlog.get_logger("readers.workstation")


@dataclass(frozen=True, slots=True)
class WorkstationTimes:
    """How patient a workstation is.

    `proof_s`: how long after its start the agent waits for the card of the session its predecessor left unlocked.
    `look_s`: between two looks at `LockedHint`. `retry_s` to `longest_retry_s`: between two attempts to lock.
    `attempts`: how often a session is told to lock that never says that it is locked; more would keep out a holder
    whose locker does not set `LockedHint`. `stop_s`: how long an agent that stops waits for what it is still locking.
    """

    proof_s: float = 1.0
    look_s: float = 0.02
    retry_s: float = 0.2
    longest_retry_s: float = 5.0
    attempts: int = 3
    stop_s: float = 3.0


class Workstations:
    """What the workstations of one agent share: the PC's sessions, and the note of what is unlocked."""

    def __init__(
        self,
        sessions: Sessions,
        notes: UnlockedNotes,
        *,
        clock: Clock,
        metrics: Metrics,
        times: WorkstationTimes = WorkstationTimes(),  # frozen
    ) -> None:
        self.sessions = sessions
        self.notes = notes
        self.clock = clock
        self.metrics = metrics
        self.times = times
        self._locking: set[asyncio.Task[None]] = set()

    def point(self, setup: PointSetup, output: DoorOutput) -> "WorkstationPoint":
        """Make one point; fulfils `readers.outputs.PointFactory`."""
        return WorkstationPoint(setup, output, shared=self)

    async def close(self) -> None:
        """Wait until what is to be locked is, for a few seconds, then give the sessions back as they are."""
        if self._locking:
            await asyncio.wait(self._locking, timeout=self.times.stop_s)
        for task in self._locking:
            task.cancel()
        await self.sessions.close()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a locking task until it is over."""
        self._locking.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._locking.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("locking_failed", exc_info=task.exception())


class WorkstationPoint:
    """One reader at one PC; fulfils `readers.ports.PointOutput`."""

    def __init__(self, setup: PointSetup, output: DoorOutput, *, shared: Workstations) -> None:
        self._point = setup.point
        self._output = output
        self._shared = shared
        self._options = WorkstationOptions()
        # Whose session this point has unlocked, or tried to, and not locked again.
        self._holder: str | None = None
        self._present = False
        self._undecided = False
        self._overlapped = False
        self._told: AnswerCode | None = None
        self._unlocking = False
        self._locking: asyncio.Task[None] | None = None
        self._only_found = False
        self.set_up(setup)
        if shared.notes.found:
            self._lock_after(shared.times.proof_s, only_found=True)

    def set_up(self, setup: PointSetup) -> None:
        """Take what the centre says of the point; an option that cannot be used counts as the safest."""
        try:
            check_options(setup.options)
        except ValueError as error:
            self._shared.metrics.faults.labels("options").inc()
            _log.error("workstation_options_unusable", point=self._point, reason=str(error))
        self._options = WorkstationOptions.parse(setup.options)

    @property
    def pad(self) -> None:
        """Nothing: a PC's own PIN dialogue is the operating system's."""

    def card_came(self) -> str | None:
        """Take note that a card is there, and whether one before it is still being looked at; nothing is chosen."""
        self._overlapped = self._undecided
        self._undecided = self._present = True
        return None

    async def act(self, decision: DecisionMessage) -> None:
        """Unlock the session of the person the answer names, and nobody else's.

        Raises:
            OutputFault: it is not unlocked, or must not stay so.
        """
        user = login_from(decision.answer.facts) if decision.answer is not None else None
        if user is None:
            raise self._refused(AnswerCode.SESSION_FAULT, "the answer names no user")
        self._must_be_alone()
        try:
            await self._lock_others(user)
            self._must_be_alone()
            await self._unlock(user)
        except BaseException as error:
            if self._holder is not None or self._shared.notes.found:
                self._lock_after(0)
            if isinstance(error, SessionFault):
                raise self._refused(AnswerCode.SESSION_FAULT, str(error)) from error
            raise
        self._told = AnswerCode.UNLOCKED

    def show(self, shown: Shown, decision: DecisionMessage | None = None) -> None:
        """Show `shown`; after an attempt to unlock, what came of it.

        Raises:
            OutputFault: the indicators do not answer.
        """
        self._undecided = False
        told, self._told = self._told, None
        self._output.show(shown if told is None else replace(shown, text=SENTENCES[told]))

    def card_left(self) -> None:
        """Lock when the grace time is over: the session this card unlocked, or else whatever is open at this PC."""
        self._present = False
        # A grace time that runs is not begun anew by whatever else comes and goes at the reader.
        if self._options.removal == "lock" and (self._locking is None or self._only_found):
            self._lock_after(self._options.grace_ms / 1_000)

    def command(self, command: PointCommand) -> None:
        """Refuse: nothing is unlocked without a card.

        Raises:
            OutputFault: always.
        """
        raise OutputFault("a workstation is unlocked by a card only")

    def people_ended(self, is_one: Callable[[str], bool]) -> None:
        """Lock what this point unlocked for one of them, as if the card had been taken away."""
        if self._holder is not None and is_one(self._holder):
            self._present = False
            self._lock_after(0)

    def prompt(self, prompt: Prompt) -> None:
        """Nothing: lights cannot ask."""

    def centre(self, *, connected: bool) -> None:
        """Nothing: what is open stays so, and taking the card away locks it either way."""

    def close(self) -> None:
        """Leave the session as it is while its card is there; what waits for a grace time is locked now."""
        if self._locking is not None:
            self._lock_after(0)

    def _must_be_alone(self) -> None:
        """Refuse unless the card that was asked about is still there, and was alone all the time."""
        if self._overlapped:
            raise self._refused(AnswerCode.TWO_CARDS, "two cards at once")
        if not self._present:
            raise self._refused(AnswerCode.CARD_GONE, "the card left before its session could be unlocked")

    async def _lock_others(self, user: str) -> None:
        """Lock first what belongs to somebody else, or to nobody knows whom.

        Raises:
            SessionFault, OutputFault: it does not say that it is locked.
        """
        notes = self._shared.notes
        if not notes.found and self._holder in (None, user):
            return
        if notes.is_found_of(user) and self._holder in (None, user):
            return
        self._stop_locking()
        everything = None if notes.found else self._holder
        await self._shared.sessions.lock(everything)
        if not await self._says_locked(everything):
            raise self._refused(AnswerCode.NOT_LOCKED, "the session of somebody else does not lock")
        self._settled()

    async def _unlock(self, user: str) -> None:
        """Unlock, having noted it first.

        Raises:
            SessionFault, OutputFault: it is not unlocked, or must not stay so.
        """
        self._stop_locking()
        sessions, notes = self._shared.sessions, self._shared.notes
        if self._options.removal == "lock":
            notes.note(self._point, user)
            self._holder = user
        self._unlocking = True
        try:
            result = await sessions.unlock(user)
        finally:
            self._unlocking = False
        if not self._present:
            raise self._refused(AnswerCode.CARD_GONE, "the card left while its session was being unlocked")
        if result == "no_session":
            self._settled()
            somebody = await sessions.locked(None) is not None
            raise self._refused(AnswerCode.OTHER_USER if somebody else AnswerCode.NO_SESSION, "no session of theirs")
        if notes.found:
            notes.settle_found()

    def _refused(self, code: AnswerCode, reason: str) -> OutputFault:
        self._told = code
        return OutputFault(f"{code.value}: {reason}")

    def _settled(self) -> None:
        """Nothing this point has unlocked, and nothing that was found, is open any more."""
        self._holder = None
        self._shared.notes.settle(self._point)

    def _lock_after(self, seconds: float, *, only_found: bool = False) -> None:
        self._stop_locking()
        self._only_found = only_found
        work = self._lock(seconds, only_found=only_found)
        self._locking = asyncio.create_task(work, name=f"lock {self._point}")
        self._shared.keep(self._locking)

    def _stop_locking(self) -> None:
        task, self._locking = self._locking, None
        if task is not None:
            task.cancel()

    async def _lock(self, after_s: float, *, only_found: bool) -> None:
        """Lock after `after_s` seconds and see to it that it is done; `only_found` if nobody has come for it."""
        if after_s:
            await asyncio.sleep(after_s)
        if only_found and not self._shared.notes.found:
            return
        began_us = self._shared.clock.monotonic_us()
        if not await self._lock_for_certain():
            _log.critical("session_stays_open", point=self._point)
        # While it is still being unlocked nothing is certain; `act` locks again when that is over.
        elif not self._unlocking:
            self._settled()
            _log.info("locked", point=self._point, took_us=self._shared.clock.monotonic_us() - began_us)
        self._locking = None

    async def _lock_for_certain(self) -> bool:
        """Lock until the session says that it is locked; return False when it never does."""
        times, pause_s = self._shared.times, self._shared.times.retry_s
        unconfirmed = 0
        for attempt in itertools.count(1):
            outcome = await self._try_to_lock(None if self._shared.notes.found else self._holder)
            if outcome == "locked":
                return True
            self._escalate(attempt)
            outcome = await self._try_to_lock(None)
            if outcome == "locked":
                return True
            unconfirmed += outcome == "unconfirmed"
            if unconfirmed >= times.attempts:
                return False
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, times.longest_retry_s)
        raise AssertionError("counting has no end")

    def _escalate(self, attempt: int) -> None:
        """Say that it did not lock; from now on all of the seat is told to."""
        self._shared.metrics.faults.labels("session_not_locked").inc()
        # A bus that is away for long does not fill the log.
        if is_worth_a_line(attempt):
            _log.error("session_not_locked", point=self._point, attempt=attempt)
            self._tell_not_locked()

    async def _try_to_lock(self, user: str | None) -> Literal["locked", "unconfirmed", "fault"]:
        try:
            await self._shared.sessions.lock(user)
            return "locked" if await self._says_locked(user) else "unconfirmed"
        except SessionFault as fault:
            _log.debug("lock_failed", point=self._point, reason=str(fault))
            return "fault"

    async def _says_locked(self, user: str | None) -> bool:
        """Wait for the session's own word; where there is no session there is nothing to lock."""
        deadline_us = self._shared.clock.monotonic_us() + self._options.lock_confirm_ms * 1_000
        while await self._shared.sessions.locked(user) is False:
            if self._shared.clock.monotonic_us() >= deadline_us:
                return False
            await asyncio.sleep(self._shared.times.look_s)
        return True

    def _tell_not_locked(self) -> None:
        try:
            self._output.show(Shown("red", "refused", SENTENCES[AnswerCode.NOT_LOCKED]))
        except OutputFault as fault:
            _log.error("indicator_failed", point=self._point, reason=str(fault))
