# SPDX-License-Identifier: EUPL-1.2
"""The directory copy: takes what a source learns, stores it, publishes it, and knows how old it is.

One object per directory, called from its source's thread. When `apply` returns, the change is on disk and the next tap
sees it.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import structlog
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.clock import UNKNOWN_AGE_MS, Clock
from cardservice.database import read, write
from cardservice.errors import DatabaseUnavailable
from cardservice.people import store
from cardservice.people.census import Census, Followed, Step
from cardservice.people.holds import store as hold_store
from cardservice.people.holds.rules import HoldState, Loss, StandingHold, Weighed, weigh
from cardservice.people.movers import store as mover_store
from cardservice.people.ports import DirectoryChange, Proof, SourceState
from cardservice.people.rules import DirectoryPerson, RemovalGuard
from cardservice.people.status import DirectoryStatus

_KEEP_PROOF_MS: Final = 5_000
_log = structlog.get_logger()


class DirectoryCopy:
    """The durable copy of one directory; a `DirectorySink`.

    `publish` is called after each stored change and must bring the snapshot up to date before it returns.
    """

    def __init__(
        self,
        engine: Engine,
        followed: Followed,
        *,
        organisation: tuple[str, str],
        clock: Clock,
        publish: Callable[[], None],
    ) -> None:
        self.name = followed.name
        self._followed = followed
        self._engine = engine
        self._clock = clock
        self._publish = publish
        self._guard = RemovalGuard()
        self._lock = threading.Lock()
        self._loaded = False
        # Whose loss was believed since the last proof.
        self._this_step: set[str] = set()
        self._kept_proof_ms = 0
        self._proof_trouble: tuple[int, str] | None = None
        self._proved_monotonic_ns: int | None = None
        self._reading_asked = threading.Event()
        self._asked_ms: int | None = None
        with write(engine) as connection:
            self._organisation = store.ensure_organisation(connection, *organisation)
        self._load()
        age_ms = self.age_ms()
        since_ms = clock.now_ms() - (age_ms if age_ms < UNKNOWN_AGE_MS else 0)
        self._told = self._state = SourceState(connected=False, server="", mode="", since_ms=since_ms)
        if self._census.windows.size:
            # What ended while the service did not run, or by other settings, is over before the first tap.
            self._change(None)
            self._publish()

    def _load(self) -> None:
        """Read the copy from the database: at the start, and after a change that could not be stored."""
        if self._loaded:
            return
        with read(self._engine) as connection:
            self._census = Census(connection, self._followed, self._organisation)
            self._hold = hold_store.load_standing(connection, self.name)
            copy = store.load_copy(connection, self.name)
        self._logins = self._census.logins()
        self._cookie = None if copy is None else copy.cookie
        self._proof_source = ("", "") if copy is None else (copy.server or "", copy.mode or "")
        if self._proved_monotonic_ns is None and copy is not None and copy.verified_at_ms is not None:
            age_ms = self._clock.now_ms() - copy.verified_at_ms
            # A clock that was set back says nothing about the age: then the copy counts as never proved.
            if age_ms >= 0:
                self._proved_monotonic_ns = self._clock.monotonic_ns() - age_ms * 1_000_000
        if self._asked_ms is None and copy is not None and (copy.asked_ms or 0) <= (copy.read_ms or 0):
            # Whoever asked before everything was read last has been served.
            self._asked_ms = copy.asked_ms
        self._count()
        self._loaded = True

    def _count(self) -> None:
        """Count who is present, for readers in other threads: they must not walk what this one is changing."""
        self._present_people, self._present_groups = self._census.counts()
        self._windows, self._counting_windows = self._census.windows.size, self._census.windows.counting

    def known_dns(self) -> Mapping[str, str]:
        """Return stable id -> normalised DN of every entry in the copy.

        Raises:
            DatabaseUnavailable: the last change failed, and what was stored before cannot be read either.
        """
        with self._lock:
            self._load()
            return self._census.known_dns()

    def login_of(self, row: int) -> str | None:
        """Return the login of the person with this row number, None if they have none, left or were never here.

        From memory, as it was last stored, and from any thread: a tap waits for nothing here.
        """
        return self._logins.get(row)

    def has_person(self, row: int) -> bool:
        """Tell whether the person with this row number is in this directory; from any thread."""
        return row in self._logins

    def cookie(self) -> str | None:
        """Return the cookie the copy was last stored with, None for an empty copy."""
        return self._cookie

    def age_ms(self) -> int:
        """Return how long ago the copy was last proved to equal the server, measured monotonically."""
        proved = self._proved_monotonic_ns
        return UNKNOWN_AGE_MS if proved is None else (self._clock.monotonic_ns() - proved) // 1_000_000

    def status(self) -> DirectoryStatus:
        """Return what operations and metrics show."""
        state, proof_trouble = self._state, self._proof_trouble
        if state.trouble is None and proof_trouble is not None:
            since_ms, trouble = proof_trouble
            state = replace(state, since_ms=since_ms, trouble=trouble)
        return DirectoryStatus(
            directory=self.name,
            people=self._present_people,
            groups=self._present_groups,
            age_ms=self.age_ms(),
            server=state.server or self._proof_source[0],
            mode=state.mode or self._proof_source[1],
            connected=state.connected,
            since_ms=state.since_ms,
            trouble=state.trouble,
            remark=state.remark,
            hold=self._hold,
            movers=self._counting_windows,
        )

    def source(self) -> str:
        """Return what a decision records of where its people came from: server, mode and cookie."""
        server, mode = self._proof_source
        return f"{server} {mode} {self._cookie or ''}".strip()

    def state(self, state: SourceState) -> None:
        """Note that the source connected, or why it is not connected.

        A trouble ends with the next proof and not before: a server that lets us sign in and then breaks off every time
        is one trouble with one beginning.
        """
        before, self._told = self._state, state
        if before.connected:
            self._state = state
        else:
            trouble = state.trouble or before.trouble
            self._state = replace(state, connected=False, since_ms=before.since_ms, trouble=trouble)
        if self._state != before:
            self._keep(**self._state_values())

    def _state_values(self) -> dict[str, Any]:
        state = self._state
        return {
            "connected": state.connected,
            "since_ms": state.since_ms,
            "trouble": state.trouble,
            "remark": state.remark,
        }

    def proved(self, proof: Proof) -> None:
        """Note that the copy was current when `proof` was asked for; it is stored every five seconds.

        A server that names none of the people we know proves nothing about them.
        """
        hold = self._hold
        if hold is not None and hold.count(Loss.LOST) >= self._present_people > 0:
            return
        self._this_step.clear()
        begins = self._told.connected and not self._state.connected
        if begins:
            self._state = self._told
        with self._lock:
            self._proved_monotonic_ns = max(self._proved_monotonic_ns or 0, proof.sent_at_monotonic_ns)
            self._proof_source = (proof.server, proof.mode)
            late = proof.sent_at_ms - self._kept_proof_ms
        if begins or late < 0 or late >= _KEEP_PROOF_MS:
            self._kept_proof_ms = proof.sent_at_ms
            values = {"verified_at_ms": proof.sent_at_ms, "server": proof.server, "mode": proof.mode}
            self._keep(**values, **self._state_values())

    def _keep(self, **values: Any) -> None:
        """Store the proof and the state, for the next start and for other programs.

        Failing to is no reason to stop following the directory.
        """
        try:
            with write(self._engine) as connection:
                store.store_copy(connection, self.name, **values)
        except DatabaseUnavailable as error:
            if self._proof_trouble is None:
                _log.error("directory.proof_not_stored", error=str(error))
                self._proof_trouble = self._clock.now_ms(), str(error)
        else:
            self._proof_trouble = None

    def reading_asked(self) -> bool:
        """Tell, once, whether somebody asked to have everything read anew now."""
        if not self._reading_asked.is_set():
            return False
        self._reading_asked.clear()
        return True

    def look(self) -> None:
        """Take notice of what administrators asked for since, in whatever program; from any thread.

        Raises:
            DatabaseUnavailable: it cannot be read, or what was decided cannot be stored: look again.
        """
        hold = self._hold
        with read(self._engine) as connection:
            copy = store.load_copy(connection, self.name)
            state = None if hold is None else hold_store.state_of(connection, hold.number)
            end_ms = mover_store.next_end_ms(connection, self.name) if self._windows else None
        if copy is not None and copy.asked_ms is not None and copy.asked_ms != self._asked_ms:
            self._asked_ms = copy.asked_ms
            self._reading_asked.set()
        decided = hold is not None and (state is not hold.state or state is HoldState.CONFIRMED)
        if decided or (end_ms is not None and end_ms <= self._clock.now_ms()):
            with self._lock:
                self._load()
                self._change(None)
            self._publish()

    def apply(self, change: DirectoryChange) -> None:
        """Store `change` durably and publish it.

        Raises:
            DatabaseUnavailable: nothing was stored; the copy is as it was.
        """
        with self._lock:
            self._load()
            self._change(change)
        self._publish()

    def _change(self, change: DirectoryChange | None) -> None:
        """Carry out what was decided on the hold, end windows, then store `change`; all of it or nothing."""
        # What a failure leaves half done in memory is read anew before it is used again: the database may be away for
        # longer than this call.
        self._loaded = False
        before, steps, weighed = self._hold, list[Step](), Weighed()
        with write(self._engine) as connection:
            hold = self._take_decision(connection, steps)
            applied = before is not None and hold is None
            self._store(connection, self._census.plan_ends(connection, self._clock.now_ms()))
            if change is not None:
                told = self._census.told(change, self._present_people)
                weighed = weigh(told, hold, self._this_step, self._guard)
                steps.append(self._census.plan(change, weighed))
                self._store(connection, steps[-1])
                hold = self._store_hold(connection, hold, weighed)
                self._store_position(connection, change)
        # Only now: what was not stored is nobody's login.
        self._tell(before, hold, applied=applied)
        self._tell_windows()
        self._note(steps, change, weighed)
        self._hold = hold
        self._loaded = True

    def _take_decision(self, connection: Connection, steps: list[Step]) -> StandingHold | None:
        """Apply a hold that was confirmed; return the one that stands."""
        hold = self._hold
        if hold is None:
            return None
        state = hold_store.lock_state(connection, hold.number)
        if state is not HoldState.CONFIRMED:
            return replace(hold, state=state)
        step = self._census.plan_losses(hold.people)
        self._store(connection, step)
        steps.append(step)
        hold_store.release(connection, self._census.rows(hold.people))
        hold_store.update(connection, hold.number, state=HoldState.APPLIED.value)
        return None

    def _store(self, connection: Connection, step: Step) -> None:
        moved = self._census.store(connection, step, self._clock.now_ms())
        changes.append(connection, "person", sorted(moved))

    def _store_position(self, connection: Connection, change: DirectoryChange) -> None:
        values: dict[str, Any] = {} if change.cookie is None else {"cookie": change.cookie}
        if change.complete:
            values["read_ms"] = self._clock.now_ms()
        if values:
            store.store_copy(connection, self.name, **values)

    def _store_hold(self, connection: Connection, hold: StandingHold | None, weighed: Weighed) -> StandingHold | None:
        """Let the hold keep whom it is to keep: the same hold while nobody new is in it, a new one otherwise."""
        if hold is None and not weighed.held:
            return None
        if hold is not None and hold.people == weighed.held:
            return hold
        now_ms = self._clock.now_ms()
        if hold is not None:
            back = hold.people.keys() - weighed.held.keys()
            hold_store.release(connection, self._census.rows(back))
        if weighed.opened:
            hold = self._open_hold(connection, hold, weighed, now_ms)
        elif hold is not None and not weighed.held:
            hold_store.update(connection, hold.number, state=HoldState.OVER.value, settled_ms=now_ms)
            return None
        elif hold is not None:
            hold = replace(hold, people=weighed.held)
        if hold is not None:
            counts = {"lost": hold.count(Loss.LOST), "disabled": hold.count(Loss.DISABLED)}
            hold_store.update(connection, hold.number, **counts)
        return hold

    def _open_hold(
        self, connection: Connection, before: StandingHold | None, weighed: Weighed, now_ms: int
    ) -> StandingHold:
        """Nobody believes that a city lost so many at once: keep them and wait for a person to decide."""
        unsettled = before is not None and before.state is HoldState.OPEN
        began_ms = before.began_ms if before is not None and unsettled else now_ms
        number = hold_store.open_hold(
            connection,
            directory=self.name,
            began_ms=began_ms,
            server=self._told.server or self._proof_source[0],
            cookie=self._cookie,
        )
        if before is not None:
            hold_store.update(connection, before.number, state=HoldState.REPLACED.value, settled_ms=now_ms)
        rows = {self._census.people[one].row: loss for one, loss in weighed.held.items()}
        hold_store.keep(connection, number, rows)
        return StandingHold(number, HoldState.OPEN, began_ms, weighed.held)

    def _tell(self, before: StandingHold | None, now: StandingHold | None, *, applied: bool) -> None:
        """Log what became of holds; numbers only."""
        if before is not None and applied:
            _log.info("directory.hold_applied", directory=self.name, hold=before.number, people=len(before.people))
        elif before is not None and now is None:
            _log.info("directory.hold_over", directory=self.name, hold=before.number)
        if now is not None and (before is None or now.number != before.number):
            _log.error(
                "directory.removals_held",
                directory=self.name,
                hold=now.number,
                lost=now.count(Loss.LOST),
                disabled=now.count(Loss.DISABLED),
                of=self._present_people,
            )

    def _tell_windows(self) -> None:
        """Log what became of windows; numbers only."""
        told = self._census.windows.take_told()
        for number in told.ended:
            _log.info("directory.window_ended", directory=self.name, window=number)
        if told.opened or told.over:
            _log.info("directory.windows", directory=self.name, opened=told.opened, over=told.over)
        if told.unkept:
            _log.error("directory.windows_not_kept", directory=self.name, windows=told.unkept)

    def _note(self, steps: list[Step], change: DirectoryChange | None, weighed: Weighed) -> None:
        """Bring up to date what other threads read, once everything is stored."""
        for step in steps:
            known = self._census.people
            self._logins.update({known[entry.stable_id].row: entry.login for entry in step.new_people})
            self._logins.update({row: entry.login for row, entry in step.known_people.items()})
            for stable_id in step.gone_people:
                self._logins.pop(known[stable_id].row, None)
        if change is not None:
            enabled = {one.stable_id for one in change.upserts if isinstance(one, DirectoryPerson) and one.enabled}
            self._this_step = (self._this_step | weighed.gone | weighed.disabled) - enabled
            self._cookie = change.cookie if change.cookie is not None else self._cookie
        self._count()
