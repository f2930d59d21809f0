# SPDX-License-Identifier: EUPL-1.2
"""Doors opened once from the desk.

Each step is on disk before the next:

    claim (caller, request id) ─▶ journal "open_once" ─▶ command to the agent ─▶ journal "open_once_done" ─▶ answer

A service that dies in between opens nothing twice: a claimed request is never sent again. What nobody knows the end of
is journalled as `unknown` at the next start.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from sqlalchemy.engine import Engine

from cardservice.access.rules import PointRecord, Use
from cardservice.access.service import City
from cardservice.agents.hub import COMMAND_TIMEOUT_S, AgentHub
from cardservice.agents.messages import PointCommand
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.record import MAX_TEXT, DoorJournal, require_text
from cardservice.errors import AgentAway, AgentSilent, CardServiceError, Conflict, NotFound, Overloaded
from cardservice.journal.rules import Scalar

Outcome = Literal["opened", "failed", "unknown"]

MAX_UNDER_WAY: Final = 64
KEPT_REQUESTS_MS: Final = 7 * 86_400_000
# What is asked for at the desk is to happen within this, or not at all.
OPEN_WITHIN_MS: Final = int(COMMAND_TIMEOUT_S * 1_000)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of one request to open; `repeated` if it had been made before. `unknown`: it may have opened."""

    point: str
    outcome: Outcome
    message: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class _Request:
    """One request to open, as it is carried out."""

    key: str
    point: PointRecord
    caller: str
    reason: str

    def line(self, kind: str, **more: Scalar) -> dict[str, Scalar]:
        return {"kind": kind, "point": self.point.code, "request": self.key, **more}


class Openings:
    """Opens doors from the desk. `settle` once, before the first `open_once`."""

    def __init__(self, city: City, hub: AgentHub, journal: DoorJournal, clock: Clock, state: Engine) -> None:
        self._city, self._hub, self._journal, self._clock, self._state = city, hub, journal, clock, state
        self._under_way: dict[str, tuple[str, asyncio.Task[Opening]]] = {}

    def settle(self) -> None:
        """Give every request of an earlier life its end.

        Raises:
            CardServiceError: a store cannot be read or written.
        """
        with read(self._state) as connection:
            unanswered = store.unanswered_requests(connection)
        if not unanswered:
            return
        done = self._journal.newest(frozenset({"open_once_done"}))
        answers: dict[str, Outcome] = {payload["request"]: payload["outcome"] for payload in done}
        for row in unanswered:
            outcome = answers.get(row.key)
            if outcome is None:
                outcome = "unknown"
                facts = {"kind": "open_once_done", "point": row.point, "request": row.key, "outcome": outcome}
                self._journal.keep(facts)
            with write(self._state) as connection:
                store.finish_request(connection, row.key, outcome, "the service was restarted meanwhile")

    async def open_once(self, point: str, *, caller: str, reason: str, request_id: str) -> Opening:
        """Open a door once, asked for at the desk; the same caller's request id opens it once however often it comes.

        Raises:
            NotFound: there is no such point.
            Conflict: it is no door, it is locked down, or the request id was used for another door.
            AgentAway: the agent of the door is not connected; nothing was asked of it.
            Overloaded: too many openings are under way.
            DatabaseUnavailable: nothing was opened, or what was opened could not be written down: ask again.
        """
        require_text(caller=caller, reason=reason, request_id=request_id)
        record = self._city.snapshot.point(point)
        if record is None:
            raise NotFound(f"there is no point {point!r}")
        if record.use is not Use.DOOR:
            raise Conflict(f"point {point!r} is no door")
        key = hashlib.sha256(f"{caller}\0{request_id}".encode()).hexdigest()
        running = self._under_way.get(key)
        if running is None:
            if len(self._under_way) >= MAX_UNDER_WAY:
                raise Overloaded(f"{MAX_UNDER_WAY} openings are under way")
            running = point, asyncio.create_task(self._open(_Request(key, record, caller, reason)))
            self._under_way[key] = running
            running[1].add_done_callback(lambda task: self._ended(key, task))
        if running[0] != point:
            raise _used_for_another(running[0])
        # Whoever asked may go away in the middle; what was begun is carried through.
        return await asyncio.shield(running[1])

    def _ended(self, key: str, task: "asyncio.Task[Opening]") -> None:
        del self._under_way[key]
        # Looked at here too: whoever asked may be gone.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("door.not_opened", error=type(error).__name__)

    async def _open(self, request: _Request) -> Opening:
        try:
            self._require_openable(request.point.code)
        except CardServiceError:
            found = await asyncio.to_thread(self._find, request)
            if found is None:
                raise
            return found
        found = await asyncio.to_thread(self._claim, request)
        if found is not None:
            return found
        personal = {"caller": request.caller, "reason": request.reason}
        try:
            await self._journal.keep_here(request.line("open_once"), personal)
        except CardServiceError:
            # Nothing has left: the same request may come again.
            await asyncio.to_thread(self._withdraw, request)
            raise
        outcome, message = await self._command(request)
        await self._journal.keep_here(request.line("open_once_done", outcome=outcome))
        await asyncio.to_thread(self._finish, request, outcome, message)
        return Opening(request.point.code, outcome, message)

    def _require_openable(self, code: str) -> PointRecord:
        """Return the point as it is now.

        Raises:
            NotFound: it is gone.
            Conflict: it is locked down.
            AgentAway: its agent is not connected.
        """
        point = self._city.snapshot.point(code)
        if point is None:
            raise NotFound(f"there is no point {code!r} any more")
        if point.locked_down:
            raise Conflict(f"point {code!r} is locked down")
        if point.agent is None or point.agent not in self._hub.online:
            raise AgentAway(f"the agent of point {code!r} is not connected")
        return point

    def _find(self, request: _Request) -> Opening | None:
        with read(self._state) as connection:
            return _as_before(request, store.find_request(connection, request.key))

    def _claim(self, request: _Request) -> Opening | None:
        """Note the request; return what became of it if it was noted before."""
        now_ms = self._clock.now_ms()
        with write(self._state) as connection:
            store.forget_requests(connection, now_ms - KEPT_REQUESTS_MS)
            if store.claim_request(connection, request.key, request.point.code, now_ms):
                return None
            return _as_before(request, store.find_request(connection, request.key))

    def _withdraw(self, request: _Request) -> None:
        with write(self._state) as connection:
            store.withdraw_request(connection, request.key)

    def _finish(self, request: _Request, outcome: Outcome, message: str) -> None:
        with write(self._state) as connection:
            store.finish_request(connection, request.key, outcome, message[:MAX_TEXT])

    async def _command(self, request: _Request) -> tuple[Outcome, str]:
        """Have the agent open the door; return what became of it."""
        try:
            # As the city is now: it may have been locked down while the journal was written.
            point = self._require_openable(request.point.code)
            command = PointCommand(
                id=request.key[:32],
                point=point.code,
                action="open_once",
                open_ms=point.granted.open_ms,
                by_ms=self._clock.now_ms() + OPEN_WITHIN_MS,
            )
            answer = await self._hub.command(point.agent or "", command)
        except AgentSilent as error:
            return "unknown", str(error)
        except CardServiceError as error:
            return "failed", str(error)
        return ("opened", "") if answer.done else ("failed", answer.message)


def _as_before(request: _Request, row: Any) -> Opening | None:
    if row is None:
        return None
    if row.point != request.point.code:
        raise _used_for_another(row.point)
    if row.outcome is None:
        return Opening(row.point, "unknown", "the first attempt was not finished", repeated=True)
    return Opening(row.point, row.outcome, row.message, repeated=True)


def _used_for_another(point: str) -> Conflict:
    return Conflict(f"this request id was used for point {point!r}; use a new one")
