# SPDX-License-Identifier: EUPL-1.2
"""Events that agents hand over: stored once, acknowledged only when they are on disk.

The same event again changes nothing and is acknowledged again; the same id with other content is refused and alarmed,
and so is a tap that claims a decision this centre never made.
"""

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from cardservice.access.rules import PointRecord, Reason
from cardservice.agents import store
from cardservice.agents.messages import EventAck, EventRefused, TapEvent
from cardservice.agents.receipts import carries_receipt
from cardservice.agents.taps import TapServices
from cardservice.journal.service import Entry

Verdict = Literal["stored", "repeated", "different_content", "unseen_tap", "foreign_point", "foreign_event"]
_MESSAGES: Final[dict[Verdict, str]] = {
    "different_content": "an event with this id was stored before, with other content",
    "unseen_tap": "this centre made no such decision",
    "foreign_point": "the agent does not serve this point",
    "foreign_event": "the event was made by another agent",
}
# Worth a line even where permitted taps are not kept: the door did not do what was decided.
_WORTH_KEEPING: Final = frozenset({"late", "no_answer", "output_failed", "abandoned"})
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Upload:
    """One uploaded event, with what its storing needs."""

    event: TapEvent
    digest: bytes
    now_ms: int
    point: PointRecord | None
    seen: bool


class EventDesk:
    """Takes events from agents."""

    def __init__(self, services: TapServices) -> None:
        self._services = services

    async def take(self, agent: str, uploaded: TapEvent) -> EventAck | EventRefused:
        """Store `uploaded` once; return what to tell the agent.

        Raises:
            CardServiceError: it could not be stored now; nothing is acknowledged, the agent sends it again.
        """
        verdict = await self._verdict(agent, uploaded)
        self._services.metrics.events.labels(verdict).inc()
        if verdict in {"stored", "repeated"}:
            return EventAck(event=uploaded.event)
        _log.error("agent.event_refused", agent=agent, verdict=verdict, sequence=uploaded.event.sequence)
        return EventRefused(event=uploaded.event, code=verdict, message=_MESSAGES[verdict])

    async def _verdict(self, agent: str, uploaded: TapEvent) -> Verdict:
        if uploaded.event.agent != agent:
            return "foreign_event"
        point = self._services.city.snapshot.point(uploaded.point)
        if point is not None and point.agent != agent:
            return "foreign_point"
        upload = _Upload(
            event=uploaded,
            digest=_digest(uploaded),
            now_ms=self._services.clock.now_ms(),
            point=point,
            seen=_claims_nothing(uploaded) or carries_receipt(uploaded, self._services.keys.secret("receipts")),
        )
        return await asyncio.wrap_future(
            self._services.recorder.submit(lambda connection: self._store(connection, upload))
        )

    def _store(self, connection: Connection, upload: _Upload) -> Verdict:
        """Run inside the recorder: one row per event, and a line in the journal where one is due."""
        event, table = upload.event.event, store.agent_event
        known = connection.execute(
            sa.select(table.c.digest).where(
                table.c.agent == event.agent, table.c.epoch == event.epoch, table.c.sequence == event.sequence
            )
        ).first()
        if known is not None:
            if bytes(known.digest) == upload.digest:
                return "repeated"
            self._alarm(connection, upload, "event_changed")
            return "different_content"
        if not upload.seen:
            self._alarm(connection, upload, Reason.UNSEEN_TAP)
            return "unseen_tap"
        connection.execute(
            sa.insert(table),
            {
                "agent": event.agent,
                "epoch": event.epoch,
                "sequence": event.sequence,
                "digest": upload.digest,
                "received_ms": upload.now_ms,
            },
        )
        if upload.event.outcome in _WORTH_KEEPING:
            self._keep(connection, upload, "tap_outcome", upload.event.outcome)
        return "stored"

    def _alarm(self, connection: Connection, upload: _Upload, reason: str) -> None:
        self._keep(connection, upload, "alarm", reason)

    def _keep(self, connection: Connection, upload: _Upload, kind: str, reason: str) -> None:
        event = upload.event.event
        payload = {
            "kind": kind,
            "event": f"{event.agent}/{event.epoch}/{event.sequence}",
            "point": upload.event.point,
            "reason": str(reason),
            "decision": upload.event.decision,
            "agent_at_ms": upload.event.at_ms,
        }
        stream = "system" if upload.point is None else upload.point.use.value
        self._services.journal.append(connection, Entry(stream, upload.now_ms, payload))


def _claims_nothing(uploaded: TapEvent) -> bool:
    """Tell whether the event says that no decision was acted on: then there is nothing to prove."""
    return uploaded.decision is None and uploaded.outcome in {"no_answer", "card_gone", "abandoned"}


def _digest(uploaded: TapEvent) -> bytes:
    content = uploaded.model_dump(mode="json", exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()
