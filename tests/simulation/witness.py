# SPDX-License-Identifier: EUPL-1.2
"""Sees every frame, every pulse and every write of an outbox, and objects as soon as a promise is broken."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulation.connection import Connection
from simulation.oracle import Oracle
from simulation.town import POINTS
from simulation.trace import Trace

from cardservice.agents.messages import EventId, TapEvent

Key = tuple[str, int, int]
# Timers fire a little late; nothing else may.
TOLERANCE_US = 2_000


@dataclass(slots=True)
class Sent:
    """One decision as the centre sent it."""

    event: Key
    connection: int
    at_us: int
    decision: str
    permit: bool
    reason: str
    point: str
    # Whether the centre's disk stood still when it was to be written.
    while_stalled: bool


@dataclass(slots=True)
class Seen:
    """What was seen of one tap."""

    point: str
    opened_us: int
    # False when the outbox was full: its report is lost, and the centre must learn that it is.
    kept: bool = True
    content: bytes | None = None
    outcome: str | None = None
    connection: int | None = None
    asked_us: int = 0
    gone: bool = False
    decision: Sent | None = None
    got_us: int | None = None
    pulsed: bool = False


@dataclass(slots=True)
class Counts:
    """How much happened."""

    taps: int = 0
    pulses: int = 0
    refusals: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)


class Witness:
    """Watches one world."""

    def __init__(self, trace: Trace, now_us: Callable[[], int]) -> None:
        self._trace = trace
        self._now_us = now_us
        self._at_point: dict[str, Key] = {}
        self._asked: dict[tuple[int, str], Key] = {}
        self.oracle: Oracle
        # Whether an event is on the centre's disk; which card answered last at a point; whether the centre's disk
        # stands still, or did so a moment ago.
        self.is_stored: Callable[[Key], bool]
        self.card_at: Callable[[str], str | None]
        self.is_stalled: Callable[[], bool]
        self.taps: dict[Key, Seen] = {}
        self.sent: list[Sent] = []
        self.welcomed: dict[str, tuple[int, int]] = {}
        self.pulses: dict[str, int] = {}
        self.counts = Counts()

    def restarted(self, agent: str) -> None:
        """An agent's program begins: none of its taps runs any more."""
        for point in POINTS.values():
            if point.agent == agent:
                self._at_point.pop(point.code, None)

    # The outboxes.

    def opened(self, event: EventId, point: str, *, kept: bool) -> None:
        key = _key(event)
        if key in self.taps:
            self._trace.violated(f"event {key} was given out twice")
        self._trace.note(key[0], f"opened {key} {point}{'' if kept else ' in a full outbox'}")
        self.taps[key] = Seen(point, self._now_us(), kept)
        self._at_point[point] = key
        self.counts.taps += 1

    def finished(self, event: TapEvent) -> None:
        self._trace.note(event.event.agent, f"finished {_key(event.event)} {event.outcome}")
        self._note_content(event)

    def found(self, event: TapEvent) -> None:
        self._note_content(event)

    def forgets(self, event: EventId) -> None:
        key = _key(event)
        self._trace.note(key[0], f"forgets {key}")
        if not self.is_stored(key):
            self._trace.violated(f"the agent forgets {key}, which is not on the centre's disk")

    def set_aside(self, event: EventId, code: str) -> None:
        self._trace.violated(f"the centre refused {_key(event)} of an honest agent: {code}")

    def _note_content(self, event: TapEvent) -> None:
        seen = self.taps.get(_key(event.event))
        if seen is None:
            self._trace.violated(f"{_key(event.event)} was never opened")
            return
        content = digest(event)
        if seen.content is None:
            seen.content, seen.outcome = content, event.outcome
            self.counts.outcomes[event.outcome] = self.counts.outcomes.get(event.outcome, 0) + 1
        elif seen.content != content:
            self._trace.violated(f"{_key(event.event)} changed in the outbox")

    # The frames.

    def agent_sent(self, connection: Connection, frame: str) -> None:
        kind = _kind(frame)
        if kind == "card.present":
            message = json.loads(frame)
            key = _key_of(message["event"])
            seen = self.taps.get(key)
            if seen is None:
                self._trace.violated(f"{key} was sent before it was stored")
                return
            seen.connection, seen.asked_us = connection.number, self._now_us()
        elif kind == "card.responses":
            message = json.loads(frame)
            seen = self.taps[self._asked[connection.number, message["conversation"]]]
            seen.asked_us = self._now_us()
            seen.gone = seen.gone or message.get("gone") is not None

    def centre_sent(self, connection: Connection, frame: str) -> None:
        kind = _kind(frame)
        if kind == "card.open":
            message = json.loads(frame)
            self._asked[connection.number, message["conversation"]] = _key_of(message["event"])
        elif kind == "decision":
            self._decided(connection, json.loads(frame))

    def agent_got(self, connection: Connection, frame: str) -> None:
        kind = _kind(frame)
        if kind == "decision":
            seen = self.taps[_key_of(json.loads(frame)["event"])]
            if connection.number == seen.connection:
                seen.got_us = self._now_us()
        elif kind == "welcome":
            self.welcomed[connection.agent] = connection.number, self._now_us()

    def _decided(self, connection: Connection, message: dict[str, Any]) -> None:
        key = _key_of(message["event"])
        seen = self.taps[key]
        sent = Sent(
            key,
            connection.number,
            self._now_us(),
            message["decision"],
            message["permit"],
            message["reason"],
            seen.point,
            self.is_stalled(),
        )
        if seen.decision is not None:
            self._trace.violated(f"{key} was decided twice")
        seen.decision = sent
        self.sent.append(sent)
        self.counts.refusals += not sent.permit

    # The doors.

    def pulsed(self, point: str) -> None:
        """A strike was released."""
        now_us = self._now_us()
        card = self.card_at(point)
        self._trace.note(POINTS[point].agent, f"pulse {point} {card}")
        self.pulses[point] = now_us
        self.counts.pulses += 1
        key = self._at_point.get(point)
        objection = "nobody reported a card" if key is None else self._objection(self.taps[key], point, card)
        if objection is not None:
            self._trace.violated(f"{point} opened for {card}: {objection} ({key})")

    def _objection(self, seen: Seen, point: str, card: str | None) -> str | None:
        """Return why the newest tap of this point gives no right to open to the holder of `card`."""
        setup, sent, now_us = POINTS[point].setup, seen.decision, self._now_us()
        if sent is None or seen.got_us is None or not sent.permit:
            return "there is no permit of the centre for this tap"
        if sent.connection != seen.connection:
            return "the permit belongs to another connection"
        if seen.pulsed:
            return "the same permit opened before"
        if seen.gone or card is None:
            return "the card was gone before the end"
        deadline_us = min(seen.opened_us + setup.tap_budget_ms * 1_000, seen.asked_us + setup.answer_budget_ms * 1_000)
        if max(now_us, seen.got_us) > deadline_us + TOLERANCE_US:
            return f"{(now_us - deadline_us) // 1_000} ms too late"
        seen.pulsed = True
        return self.oracle.objection(card, POINTS[point], sent.at_us, stalled=sent.while_stalled)


def digest(event: TapEvent) -> bytes:
    """Return the hash of an event's content, as the centre keeps it."""
    content = event.model_dump(mode="json", exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()


def _kind(frame: str) -> str:
    """Return the type of a frame, without reading all of it."""
    _, _, rest = frame.partition('"type":"')
    return rest[: rest.index('"')]


def _key(event: EventId) -> Key:
    return event.agent, event.epoch, event.sequence


def _key_of(event: dict[str, Any]) -> Key:
    return event["agent"], event["epoch"], event["sequence"]
