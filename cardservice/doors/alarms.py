# SPDX-License-Identifier: EUPL-1.2
"""Alarms of doors: what agents tell of them, journalled once when it begins and once when it ends."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from cardservice.agents.messages import DoorState
from cardservice.doors.record import DoorJournal
from cardservice.doors.rules import Alarm
from cardservice.errors import Overloaded
from cardservice.journal.rules import Scalar

# How many changes of a door's alarm are known again: an agent whose connection broke tells its last ones twice.
REMEMBERED_CHANGES: Final = 64
_ALARM_KINDS: Final = frozenset({"alarm_begun", "alarm_ended"})
_log = structlog.get_logger()


class Alarms:
    """Which alarm lasts at which door, as it is written down. `told` is called in the loop."""

    def __init__(self, journal: DoorJournal) -> None:
        self._journal = journal
        self._lasting: dict[str, Alarm] = {}
        # (when by the door's clock, which alarm from then on) of what is written down.
        self._changes: dict[str, deque[tuple[int, Alarm]]] = {}

    def remember(self) -> None:
        """Read from the journal which alarms last.

        Raises:
            DatabaseUnavailable: the record store cannot be read.
        """
        for payload in self._journal.newest(_ALARM_KINDS):
            point = payload["point"]
            now: Alarm = payload["alarm"] if payload["kind"] == "alarm_begun" else "none"
            self._lasting[point] = now
            self._note_change(point, payload["door_ms"], now)

    def lasting(self, point: str) -> Alarm:
        """Return the alarm that lasts at `point`; may be called from any thread."""
        return self._lasting.get(point, "none")

    def told(self, _: str, state: DoorState) -> None:
        """Journal an alarm that began or ended."""
        before, now = self.lasting(state.point), state.alarm
        if before == now or (state.at_ms, now) in self._changes.get(state.point, ()):
            # As it was, or told a second time by an agent that could not know whether the first one arrived.
            return
        changed: Mapping[str, Alarm] = {"alarm_ended": before, "alarm_begun": now}
        facts: Sequence[Mapping[str, Scalar]] = [
            {"kind": kind, "point": state.point, "alarm": alarm, "door_ms": state.at_ms}
            for kind, alarm in changed.items()
            if alarm != "none"
        ]
        self._lasting[state.point] = now
        self._note_change(state.point, state.at_ms, now)
        try:
            kept = self._journal.submit_here(facts)
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
        self._lasting[state.point] = before
        with contextlib.suppress(ValueError):
            self._changes[state.point].remove((state.at_ms, state.alarm))
        _log.error("door.alarm_not_recorded", point=state.point, error=type(error).__name__)
