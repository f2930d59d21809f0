# SPDX-License-Identifier: EUPL-1.2
"""Doors at the centre: how they are now, open once from the desk, lockdown, alarms and events.

Opening once, each step on disk before the next:

    claim (caller, request id) ─▶ journal "open_once" ─▶ command to the agent ─▶ journal "open_once_done" ─▶ answer

A service that dies in between opens nothing twice: a claimed request is never sent again. What nobody knows the end of
is journalled as `unknown` at the next start.
"""

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.access.rules import PointRecord, Use
from cardservice.access.service import City
from cardservice.agents.hub import COMMAND_TIMEOUT_S, AgentHub
from cardservice.agents.messages import DoorState, PointCommand
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.doors import store
from cardservice.doors.ports import ContactState, StrikeState
from cardservice.doors.rules import Alarm
from cardservice.errors import AgentAway, AgentSilent, CardServiceError, Conflict, NotFound, Overloaded
from cardservice.journal.rules import Scalar
from cardservice.journal.service import Entry, Journal
from cardservice.recorder import Recorder

Outcome = Literal["opened", "failed", "unknown"]

MAX_TEXT: Final = 200
MAX_UNDER_WAY: Final = 64
MAX_EVENTS: Final = 500
RECORD_TIMEOUT_S: Final = 5.0
KEPT_REQUESTS_MS: Final = 7 * 86_400_000
# How many alarms of the journal are read at the start, for those that still last, and how many answers to the desk, for
# those that were not handed on.
REMEMBERED_LINES: Final = 2_000
# How many changes of a door's alarm are known again: an agent whose connection broke tells its last ones twice.
REMEMBERED_CHANGES: Final = 64
# What is asked for at the desk is to happen within this, or not at all.
OPEN_WITHIN_MS: Final = int(COMMAND_TIMEOUT_S * 1_000)
_ALARM_KINDS: Final = frozenset({"alarm_begun", "alarm_ended"})
# Whoever works at the desk is sealed under one number of the stream: the journal's open part names nobody.
DESK: Final = 0
# What an event tells; everything else of a line stays in the journal.
_TOLD: Final = ("permit", "reason", "level", "event", "outcome", "alarm", "zone")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DoorView:
    """One door's point as it is now; `since_ms` is from when contact and alarm are as they are, None if unknown."""

    code: str
    name: str
    zone: str
    locked_down: bool
    online: bool
    strike: StrikeState | Literal["unknown"]
    contact: ContactState
    alarm: Alarm
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class Opening:
    """What became of one request to open; `repeated` if it had been made before. `unknown`: it may have opened."""

    point: str
    outcome: Outcome
    message: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Lockdown:
    """A zone in which no door opens from outside."""

    zone: str
    since_ms: int
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class DoorEvent:
    """Something that happened at a door; `cursor` is where to go on from. Names nobody."""

    cursor: str
    at_ms: int
    kind: str
    point: str | None
    facts: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class DoorServices:
    """What doors use; put together once."""

    city: City
    hub: AgentHub
    recorder: Recorder
    journal: Journal
    clock: Clock
    state: Engine


@dataclass(frozen=True, slots=True)
class _Request:
    """One request to open, as it is carried out."""

    key: str
    point: PointRecord
    caller: str
    reason: str

    def line(self, kind: str, **more: Scalar) -> dict[str, Scalar]:
        return {"kind": kind, "point": self.point.code, "request": self.key, **more}


class Doors:
    """The use "door". `start` once, after the recorder and before the first agent connects."""

    def __init__(self, services: DoorServices) -> None:
        self._services = services
        self._under_way: dict[str, tuple[str, asyncio.Task[Opening]]] = {}
        self._alarms: dict[str, Alarm] = {}
        # (when by the door's clock, which alarm from then on) of what is written down.
        self._changes: dict[str, deque[tuple[int, Alarm]]] = {}
        self._zones: tuple[int, Mapping[str, str]] = (-1, {})
        services.hub.states.listeners.append(self._door_told)

    def start(self) -> None:
        """Read which alarms last, and note what became of requests that were under way when the service ended.

        Raises:
            CardServiceError: a store cannot be read or written.
        """
        for payload in self._remembered(_ALARM_KINDS):
            point = payload["point"]
            now: Alarm = payload["alarm"] if payload["kind"] == "alarm_begun" else "none"
            self._alarms[point] = now
            self._note_change(point, payload["door_ms"], now)
        self._settle()

    def _remembered(self, kinds: frozenset[str]) -> list[dict[str, Any]]:
        """Return the newest lines of these kinds in order: however many taps came between."""
        with read(self._services.recorder.engine) as connection:
            newest = store.lines(connection, after=None, limit=REMEMBERED_LINES, wanted=store.Wanted(kinds=kinds))
        return [line.payload for line in newest]

    def _settle(self) -> None:
        """Give every request of an earlier life its end."""
        with read(self._services.state) as connection:
            unanswered = store.unanswered_requests(connection)
        if not unanswered:
            return
        done = self._remembered(frozenset({"open_once_done"}))
        answers: dict[str, Outcome] = {payload["request"]: payload["outcome"] for payload in done}
        for row in unanswered:
            outcome = answers.get(row.key)
            if outcome is None:
                outcome = "unknown"
                facts = {"kind": "open_once_done", "point": row.point, "request": row.key, "outcome": outcome}
                self._record(facts)
            with write(self._services.state) as connection:
                store.finish_request(connection, row.key, outcome, "the service was restarted meanwhile")

    def list(self) -> tuple[DoorView, ...]:
        """Return every point of the use, by code; may be called from any thread.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        snapshot, online, zones = self._services.city.snapshot, self._services.hub.online, self._zones_now()
        doors = sorted((p for p in snapshot.points.values() if p.use is Use.DOOR), key=lambda point: point.code)
        return tuple(self._view(point, zones.get(point.code, ""), online=point.agent in online) for point in doors)

    def _view(self, point: PointRecord, zone: str, *, online: bool) -> DoorView:
        states = self._services.hub.states
        output, door = states.outputs.get(point.code), states.doors.get(point.code)
        return DoorView(
            code=point.code,
            name=point.name,
            zone=zone,
            locked_down=point.locked_down,
            online=online,
            strike="unknown" if output is None else output.state,
            contact="unknown" if door is None else door.contact,
            # Nobody has said that it ended.
            alarm=self._alarms.get(point.code, "none") if door is None else door.alarm,
            since_ms=None if door is None else door.at_ms,
        )

    def _zones_now(self) -> Mapping[str, str]:
        """Return point -> zone, read again when the city has changed."""
        revision, zones = self._zones
        now = self._services.city.snapshot.revision
        if now != revision:
            with read(self._services.state) as connection:
                zones = store.zones_of_points(connection)
            self._zones = now, zones
        return zones

    async def open_once(self, point: str, *, caller: str, reason: str, request_id: str) -> Opening:
        """Open a door once, asked for at the desk; the same caller's request id opens it once however often it comes.

        Raises:
            NotFound: there is no such point.
            Conflict: it is no door, it is locked down, or the request id was used for another door.
            AgentAway: the agent of the door is not connected; nothing was asked of it.
            Overloaded: too many openings are under way.
            DatabaseUnavailable: nothing was opened, or what was opened could not be written down: ask again.
        """
        _require_text(caller=caller, reason=reason, request_id=request_id)
        record = self._services.city.snapshot.point(point)
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
        try:
            await self._record_here(request.line("open_once"), {"caller": request.caller, "reason": request.reason})
        except CardServiceError:
            # Nothing has left: the same request may come again.
            await asyncio.to_thread(self._withdraw, request)
            raise
        outcome, message = await self._command(request)
        await self._record_here(request.line("open_once_done", outcome=outcome))
        await asyncio.to_thread(self._finish, request, outcome, message)
        return Opening(request.point.code, outcome, message)

    def _require_openable(self, code: str) -> PointRecord:
        """Return the point as it is now.

        Raises:
            NotFound: it is gone.
            Conflict: it is locked down.
            AgentAway: its agent is not connected.
        """
        point = self._services.city.snapshot.point(code)
        if point is None:
            raise NotFound(f"there is no point {code!r} any more")
        if point.locked_down:
            raise Conflict(f"point {code!r} is locked down")
        if point.agent is None or point.agent not in self._services.hub.online:
            raise AgentAway(f"the agent of point {code!r} is not connected")
        return point

    def _find(self, request: _Request) -> Opening | None:
        with read(self._services.state) as connection:
            return _as_before(request, store.find_request(connection, request.key))

    def _claim(self, request: _Request) -> Opening | None:
        """Note the request; return what became of it if it was noted before."""
        now_ms = self._services.clock.now_ms()
        with write(self._services.state) as connection:
            store.forget_requests(connection, now_ms - KEPT_REQUESTS_MS)
            if store.claim_request(connection, request.key, request.point.code, now_ms):
                return None
            return _as_before(request, store.find_request(connection, request.key))

    def _withdraw(self, request: _Request) -> None:
        with write(self._services.state) as connection:
            store.withdraw_request(connection, request.key)

    def _finish(self, request: _Request, outcome: Outcome, message: str) -> None:
        with write(self._services.state) as connection:
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
                by_ms=self._services.clock.now_ms() + OPEN_WITHIN_MS,
            )
            answer = await self._services.hub.command(point.agent or "", command)
        except AgentSilent as error:
            return "unknown", str(error)
        except CardServiceError as error:
            return "failed", str(error)
        return ("opened", "") if answer.done else ("failed", answer.message)

    def lock_down(self, zone: str, *, by: str, reason: str) -> bool:
        """Lock down every door in `zone` and the zones inside it; False if it already was. Blocks: not in the loop.

        Doors of escape routes are left out. The lockdown stands even if it cannot be journalled.

        Raises:
            NotFound: there is no such zone.
            DatabaseUnavailable: the state store cannot be written, or the journal cannot.
            Overloaded: the journal is too busy.
        """
        _require_text(by=by, reason=reason)
        since_ms = self._services.clock.now_ms()
        with write(self._services.state) as connection:
            number = _zone(connection, zone)
            row = {"zone_id": number, "since_ms": since_ms, "by": by, "reason": reason}
            if not store.begin_lockdown(connection, row):
                return False
            changes.append(connection, "access", [0])
        self._publish()
        self._record({"kind": "lockdown_begun", "zone": zone}, {"by": by, "reason": reason})
        return True

    def end_lock_down(self, zone: str, *, by: str) -> bool:
        """End the lockdown of `zone`; False if there is none. A zone around it stays as it is. Blocks: not in the loop.

        Raises:
            NotFound: there is no such zone.
            DatabaseUnavailable: the journal or the state store cannot be written; the lockdown stands.
            Overloaded: the journal is too busy; the lockdown stands.
        """
        _require_text(by=by)
        with read(self._services.state) as connection:
            number = _zone(connection, zone)
            standing = [row for row in store.lockdowns(connection) if row.zone_id == number]
        if not standing:
            return False
        # First written down, then done: no door may become free without a line that says by whom.
        began = standing[0]
        personal = {"by": by, "begun_by": began.by, "reason": began.reason}
        self._record({"kind": "lockdown_ended", "zone": zone, "since_ms": began.since_ms}, personal)
        with write(self._services.state) as connection:
            ended = store.end_lockdown(connection, number)
            changes.append(connection, "access", [0])
        self._publish()
        return ended

    def lockdowns(self) -> tuple[Lockdown, ...]:
        """Return the zones that are locked down now, oldest first. Reads the store: not in the loop.

        Raises:
            DatabaseUnavailable: the state store cannot be read.
        """
        with read(self._services.state) as connection:
            rows = store.lockdowns(connection)
        return tuple(Lockdown(row.code, row.since_ms, row.by, row.reason) for row in rows)

    def events(
        self, after_cursor: str | None = None, limit: int = 100, points: frozenset[str] = frozenset()
    ) -> tuple[DoorEvent, ...]:
        """Return what happened after `after_cursor` in order, without it the newest. Reads the store: not in the loop.

        With `points` only what happened at these.

        Raises:
            Conflict: the cursor is none of ours.
            DatabaseUnavailable: the record store cannot be read.
        """
        after = None if after_cursor is None else _place(after_cursor)
        with read(self._services.recorder.engine) as connection:
            found = store.lines(
                connection, after=after, limit=max(1, min(limit, MAX_EVENTS)), wanted=store.Wanted(points)
            )
        return tuple(_event(line) for line in found)

    def _publish(self) -> None:
        """Let the city know now; if it cannot, it finds out by itself."""
        try:
            self._services.city.catch_up()
        except CardServiceError as error:
            _log.error("doors.not_published", error=str(error))

    def _door_told(self, _: str, state: DoorState) -> None:
        """Journal an alarm that began or ended; called in the loop."""
        before, now = self._alarms.get(state.point, "none"), state.alarm
        if before == now or (state.at_ms, now) in self._changes.get(state.point, ()):
            # As it was, or told a second time by an agent that could not know whether the first one arrived.
            return
        changed: Mapping[str, Alarm] = {"alarm_ended": before, "alarm_begun": now}
        facts: Sequence[Mapping[str, Scalar]] = [
            {"kind": kind, "point": state.point, "alarm": alarm, "door_ms": state.at_ms}
            for kind, alarm in changed.items()
            if alarm != "none"
        ]
        self._alarms[state.point] = now
        self._note_change(state.point, state.at_ms, now)
        try:
            kept = self._services.recorder.submit_here(self._unit(facts, None))
        except Overloaded as error:
            self._not_kept(state, before, error)
            return

        def done(future: "asyncio.Future[None]") -> None:
            if not future.cancelled() and (error := future.exception()) is not None:
                self._not_kept(state, before, error)

        kept.add_done_callback(done)

    def _note_change(self, point: str, door_ms: int, now: Alarm) -> None:
        self._changes.setdefault(point, deque(maxlen=REMEMBERED_CHANGES)).append((door_ms, now))

    def _not_kept(self, state: DoorState, before: Alarm, error: BaseException) -> None:
        # As if it had not been told: what the door says next is compared with what is written down.
        self._alarms[state.point] = before
        with contextlib.suppress(ValueError):
            self._changes[state.point].remove((state.at_ms, state.alarm))
        _log.error("door.alarm_not_recorded", point=state.point, error=type(error).__name__)

    def _unit(
        self, lines: Sequence[Mapping[str, Scalar]], personal: Mapping[str, Scalar] | None
    ) -> Callable[[Connection], None]:
        journal, at_ms = self._services.journal, self._services.clock.now_ms()
        person = None if personal is None else DESK
        entries = [Entry(store.STREAM, at_ms, facts, person, personal) for facts in lines]

        def append(connection: Connection) -> None:
            for entry in entries:
                journal.append(connection, entry)

        return append

    async def _record_here(self, facts: Mapping[str, Scalar], personal: Mapping[str, Scalar] | None = None) -> None:
        """Have one line on disk, waited for in the loop."""
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                await self._services.recorder.submit_here(self._unit([facts], personal))
        except TimeoutError:
            raise _journal_busy() from None

    def _record(self, facts: Mapping[str, Scalar], personal: Mapping[str, Scalar] | None = None) -> None:
        """Have one line on disk, waited for in any other thread."""
        kept = self._services.recorder.submit(self._unit([facts], personal))
        try:
            kept.result(RECORD_TIMEOUT_S)
        except TimeoutError:
            kept.cancel()
            raise _journal_busy() from None


def _require_text(**texts: str) -> None:
    for name, text in texts.items():
        if not len(text.strip()) > 0 or len(text) > MAX_TEXT or not text.isprintable():
            raise Conflict(f"{name}: allowed are 1 to {MAX_TEXT} printable characters")


def _zone(connection: Connection, code: str) -> int:
    number = store.zone_number(connection, code)
    if number is None:
        raise NotFound(f"there is no zone {code!r}")
    return number


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


def _journal_busy() -> Overloaded:
    return Overloaded(f"the journal did not take the line within {RECORD_TIMEOUT_S:.0f} s")


def _place(cursor: str) -> tuple[int, int]:
    epoch, dot, sequence = cursor.partition(".")
    if not (dot and epoch.isdecimal() and sequence.isdecimal() and len(cursor) <= 40):
        raise Conflict("cursor: allowed is the cursor of an event, as it was given")
    return min(int(epoch), 2**62), min(int(sequence), 2**62)


def _event(line: store.Line) -> DoorEvent:
    payload = line.payload
    facts: dict[str, Scalar] = {name: payload[name] for name in _TOLD if name in payload}
    cursor = f"{line.epoch}.{line.sequence}"
    return DoorEvent(cursor, line.at_ms, str(payload.get("kind", "")), payload.get("point"), facts)
