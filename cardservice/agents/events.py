# SPDX-License-Identifier: EUPL-1.2
"""Events that agents hand over: stored once, acknowledged only when they are on disk.

The same event again changes nothing and is acknowledged again; the same id with other content is refused and alarmed,
and so is a tap that claims a decision this centre never made.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection

from cardservice.access.rules import PointRecord, Reason
from cardservice.agents import gaps, store
from cardservice.agents.messages import (
    MAX_RANGES,
    EpochAccount,
    EventAck,
    EventRange,
    EventRefused,
    EventsAccount,
    TapEvent,
)
from cardservice.agents.receipts import open_receipt
from cardservice.agents.tap_services import TapServices
from cardservice.database import read
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
class Sender:
    """The agent that uploads, and the boot epoch it said hello with: events of later ones it cannot have made."""

    agent: str
    epoch: int


@dataclass(frozen=True, slots=True)
class _Upload:
    """One uploaded event, with what its storing needs."""

    event: TapEvent
    digest: bytes
    now_ms: int
    point: PointRecord | None
    refused: Literal["unseen_tap"] | None


class EventDesk:
    """Takes events from agents. `missing` tells of which agents events are missing here."""

    def __init__(self, services: TapServices) -> None:
        self._services = services
        self._record = services.recorder.engine
        self.missing = self._totals()
        # Comparing counts rows: one agent at a time, beside the taps.
        self._comparing = asyncio.Lock()

    async def take(self, sender: Sender, uploaded: TapEvent) -> EventAck | EventRefused:
        """Store `uploaded` once; return what to tell the agent.

        Raises:
            CardServiceError: it could not be stored now; nothing is acknowledged, the agent sends it again.
        """
        verdict = await self._verdict(sender, uploaded)
        self._services.metrics.events.labels(verdict).inc()
        if verdict in {"stored", "repeated"}:
            return EventAck(event=uploaded.event)
        _log.error("agent.event_refused", agent=sender.agent, verdict=verdict, sequence=uploaded.event.sequence)
        return EventRefused(event=uploaded.event, code=verdict, message=_MESSAGES[verdict])

    async def compare(self, sender: Sender, account: EventsAccount) -> Sequence[EventRange]:
        """Write down what `sender` handed over and is not here; return what it shall send again.

        Raises:
            CardServiceError: the record store cannot be used now; the agent accounts again when it comes back.
        """
        epochs = [epoch for epoch in account.epochs if epoch.epoch <= sender.epoch]
        # To its end, even if the agent leaves meanwhile: what is written down is also what is shown.
        found = await asyncio.shield(asyncio.ensure_future(self._find(sender.agent, epochs)))
        wanted = sorted(gap for gap in found if gap.state == "asked")[:MAX_RANGES]
        return [EventRange(epoch=gap.epoch, first=gap.first, last=gap.last) for gap in wanted]

    async def _find(self, agent: str, epochs: Sequence[EpochAccount]) -> set[gaps.Gap]:
        async with self._comparing:
            found, before = await asyncio.to_thread(self._compare, agent, epochs)
            if found or before:
                await self._settle(agent, found, before)
        return found

    async def _settle(self, agent: str, found: set[gaps.Gap], before: set[gaps.Gap]) -> None:
        if found != before:
            now_ms, journal = self._services.clock.now_ms(), self._services.journal
            await self._services.recorder.submit_here(
                lambda connection: gaps.write_down(connection, journal, found, before, now_ms)
            )
            _log.error("agent.events_missing", agent=agent, events=sum(gap.size for gap in found))
        self.missing = await asyncio.to_thread(self._totals)

    def _compare(self, agent: str, epochs: Sequence[EpochAccount]) -> tuple[set[gaps.Gap], set[gaps.Gap]]:
        with read(self._record) as connection:
            return gaps.compare(connection, agent, epochs), gaps.known(connection, agent, epochs)

    def _totals(self) -> list[gaps.GapTotals]:
        with read(self._record) as connection:
            return gaps.totals(connection)

    async def _verdict(self, sender: Sender, uploaded: TapEvent) -> Verdict:
        event = uploaded.event
        if event.agent != sender.agent or event.epoch > sender.epoch:
            return "foreign_event"
        point = self._services.city.snapshot.point(uploaded.point)
        decided = open_receipt(
            uploaded.receipt,
            self._services.keys.secret("receipts"),
            event,
            point=uploaded.point,
            decision=uploaded.decision,
        )
        ours = decided is not None and decided.permit == uploaded.permit
        # With a receipt the tap was ours, whoever serves the point by now.
        if not ours and point is not None and point.agent != sender.agent:
            return "foreign_point"
        upload = _Upload(
            event=uploaded,
            digest=_digest(uploaded),
            now_ms=self._services.clock.now_ms(),
            point=point,
            refused=None if ours or _claims_nothing(uploaded) else "unseen_tap",
        )
        return await self._services.recorder.submit_here(lambda connection: self._store(connection, upload))

    def _store(self, connection: Connection, upload: _Upload) -> Verdict:
        """Run inside the recorder: one row per event, and a line in the journal where one is due."""
        event, table = upload.event.event, store.agent_event
        known = connection.execute(
            sa.select(table.c.digest, table.c.refused).where(
                table.c.agent == event.agent, table.c.epoch == event.epoch, table.c.sequence == event.sequence
            )
        ).first()
        if known is not None:
            if bytes(known.digest) == upload.digest:
                return known.refused or "repeated"
            self._alarm_once(connection, upload)
            return "different_content"
        connection.execute(
            sa.insert(table),
            {
                "agent": event.agent,
                "epoch": event.epoch,
                "sequence": event.sequence,
                "digest": upload.digest,
                "received_ms": upload.now_ms,
                "refused": upload.refused,
                "alarmed": False,
            },
        )
        if upload.refused is not None:
            self._keep(connection, upload, "alarm", Reason.UNSEEN_TAP)
        elif upload.event.outcome in _WORTH_KEEPING:
            self._keep(connection, upload, "tap_outcome", upload.event.outcome)
        return upload.refused or "stored"

    def _alarm_once(self, connection: Connection, upload: _Upload) -> None:
        """Write one alarm per event id: an agent that goes on must not fill the journal."""
        event, table = upload.event.event, store.agent_event
        first = connection.execute(
            sa.update(table)
            .where(
                table.c.agent == event.agent,
                table.c.epoch == event.epoch,
                table.c.sequence == event.sequence,
                sa.not_(table.c.alarmed),
            )
            .values(alarmed=True)
        ).rowcount
        if first:
            self._keep(connection, upload, "alarm", "event_changed")

    def _keep(self, connection: Connection, upload: _Upload, kind: str, reason: str) -> None:
        event = upload.event.event
        payload = {
            "kind": kind,
            "event": str(event),
            "point": upload.event.point,
            "reason": str(reason),
            "decision": upload.event.decision,
            "agent_at_ms": upload.event.at_ms,
        }
        stream = "system" if upload.point is None else upload.point.use.value
        self._services.journal.append(connection, Entry(stream, upload.now_ms, payload))


def _claims_nothing(uploaded: TapEvent) -> bool:
    """Tell whether the event says that no decision was acted on: then there is nothing to prove."""
    undecided = uploaded.decision is None and uploaded.permit is None
    return undecided and uploaded.outcome in {"no_answer", "card_gone", "abandoned"}


def _digest(uploaded: TapEvent) -> bytes:
    content = uploaded.model_dump(mode="json", exclude_none=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()
