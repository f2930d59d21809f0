# SPDX-License-Identifier: EUPL-1.2
"""The live feed of a service, kept from its beginning to its end, so that many readers can be watched at once."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from support.service import HttpSide

from readers import texts

LIMIT_S = 20.0
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """One tap as the feed showed it; `position` is where the feed told what came of it."""

    outcome: str
    permit: bool | None
    reason: str | None
    released: bool
    position: int


class Feed:
    """Everything the feed has shown, in order; positions count from 0."""

    def __init__(self, service: HttpSide) -> None:
        self._stack = ExitStack()
        self._response = self._stack.enter_context(service.watching())
        self._events: list[Event] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._read, name="live feed")
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.fromfd(self._response.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(LIMIT_S)
        self._stack.close()

    def now(self) -> int:
        """The position of whatever comes next."""
        with self._changed:
            return len(self._events)

    def first(self, what: Callable[[Event], Any], since: int, limit_s: float = LIMIT_S) -> tuple[int, Event]:
        """The first event from `since` on of which `what` is true, with its position."""
        deadline, position = time.monotonic() + limit_s, since
        with self._changed:
            while True:
                while position < len(self._events):
                    if what(self._events[position]):
                        return position, self._events[position]
                    position += 1
                assert not self._ended, "the live feed ended"
                left_s = deadline - time.monotonic()
                assert left_s > 0, f"not seen within {limit_s} s: {self._events[since:][-12:]}"
                self._changed.wait(left_s)

    def since(self, position: int, **fields: Any) -> list[Event]:
        """What was shown from `position` on and has these values."""
        with self._changed:
            return [event for event in self._events[position:] if fields.items() <= event.items()]

    def outcome(self, point: str, since: int, limit_s: float = LIMIT_S) -> Seen:
        """What came of the first tap at `point` that is over after `since`."""
        at, over = self.first(lambda event: event["kind"] == "event" and event["point"] == point, since, limit_s)
        event, outcome = over["event"], over["outcome"]
        decided = None
        if outcome in {"acted", "shown", "late", "output_failed"}:
            # The decision is shown when it has been sent, which may be a moment after its outcome came back.
            decided = self.first(lambda one: one["kind"] == "tap" and one["event"] == event, 0)[1]
        else:
            decided = next(iter(self.since(0, kind="tap", event=event)), None)
        return Seen(
            outcome=outcome,
            permit=decided["permit"] if decided else None,
            reason=decided["reason"] if decided else None,
            released=self._released(point, since, at),
            position=at,
        )

    def locked_again(self, point: str, since: int) -> int:
        """Wait until the strike at `point`, released after `since`, has locked; return the position after that."""
        released, _ = self.first(_output(point, "released"), since)
        return self.first(_output(point, "locked"), released)[0] + 1

    def health(self, agent: str, what: Callable[[Event], Any], limit_s: float = LIMIT_S) -> Event:
        """The latest word of `agent` about its readers if `what` is true of it, else the next such."""
        with self._changed:
            known = [place for place, event in enumerate(self._events) if _is_health(event, agent)]
        latest = known[-1] if known else 0
        return self.first(lambda event: _is_health(event, agent) and what(event), latest, limit_s)[1]

    def _released(self, point: str, since: int, until: int) -> bool:
        with self._changed:
            return any(map(_output(point, "released"), self._events[since:until]))

    def _read(self) -> None:
        # Whatever ends it, the connection was shut from this side or the other, and whoever still waits is told.
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while line := self._response.readline():
                if line.startswith(b"data: "):
                    with self._changed:
                        self._events.append(json.loads(line[6:]))
                        self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def is_present_again(event: Event) -> bool:
    """Whether a holder is asked to present the card once more."""
    return event["kind"] == "output" and (event["text"] or {}).get("en") == texts.PRESENT_AGAIN[1]


def _output(point: str, state: str) -> Callable[[Event], bool]:
    wanted = {"kind": "output", "point": point, "state": state}
    return lambda event: wanted.items() <= event.items()


def _is_health(event: Event, agent: str) -> bool:
    return bool(event["kind"] == "agent" and event["agent"] == agent)
