# SPDX-License-Identifier: EUPL-1.2
"""Where events come from: the doors' stream of the record and the change log, each by cursor, and what lasts.

What is read is queued and the cursor moved in one transaction of the state store: nothing is told twice under two
names, and nothing is passed over, whenever the service ends.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from cardservice import changes
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.webhooks import store
from cardservice.webhooks.ports import Condition, Conditions, DoorEvent, DoorRecord
from cardservice.webhooks.rules import CARD_CHANGED, DOOR_EVENTS, LASTING, MAX_WAITING, Event, Scalar

AT_ONCE: Final = 500
# An agent that connects again within this time was never away, nor is one away that is still starting.
GRACE_MS: Final = 300_000
_WITH_GRACE: Final = frozenset({"agent.away"})
_DOORS, _CARDS = "doors", "cards"


class Sources:
    """Queues what happened for those who want to know. Used by one thread."""

    def __init__(
        self,
        state: Engine,
        doors: DoorRecord,
        conditions: Conditions,
        clock: Clock,
        *,
        most_waiting: int = MAX_WAITING,
    ) -> None:
        self._most_waiting = most_waiting
        self._state, self._doors, self._conditions, self._clock = state, doors, conditions, clock
        self._first_seen_ms: dict[Condition, int] = {}

    def collect(self) -> int:
        """Queue what is new; return how many events were read. Fewer than `AT_ONCE`: nothing more is there now.

        Raises:
            DatabaseUnavailable: a store cannot be used; the next time finds the same.
        """
        with read(self._state) as connection:
            receivers = [row for row in store.all_webhooks(connection) if row.enabled]
            cursors, told = store.cursors(connection), store.told_conditions(connection)
        if not receivers:
            if cursors or told:
                with write(self._state) as connection:
                    store.forget_sources(connection)
            return 0
        if _DOORS not in cursors or _CARDS not in cursors:
            self._begin()
            return 0
        doors = self._doors(cursors[_DOORS], AT_ONCE)
        conditions = self._lasting(told)
        with read(self._state) as connection:
            cards = changes.since(connection, int(cursors[_CARDS]), AT_ONCE)
        if doors or cards or conditions != told.keys():
            self._store(doors, cards, conditions, told)
        return max(len(doors), len(cards))

    def _begin(self) -> None:
        """Tell of what happens from now on."""
        newest = self._doors(None, 1)
        with write(self._state) as connection:
            store.move_cursor(connection, _DOORS, newest[-1].cursor if newest else "0.0")
            store.move_cursor(connection, _CARDS, str(changes.latest(connection)))

    def _lasting(self, told: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
        """Return what lasts now, without what began too short a time ago."""
        now_ms = self._clock.now_ms()
        now = set(self._conditions())
        self._first_seen_ms = {one: self._first_seen_ms.get(one, now_ms) for one in now}
        return {
            (one.kind, one.subject)
            for one in now
            if (one.kind, one.subject) in told
            or one.kind not in _WITH_GRACE
            or now_ms - self._first_seen_ms[one] >= GRACE_MS
        }

    def _store(
        self,
        doors: Sequence[DoorEvent],
        cards: Sequence[changes.Change],
        lasting: set[tuple[str, str]],
        told: dict[tuple[str, str], int],
    ) -> None:
        now_ms = self._clock.now_ms()
        with write(self._state) as connection:
            receivers = [row for row in store.all_webhooks(connection) if row.enabled]
            events = [*_of_doors(doors), *_of_cards(connection, cards, now_ms), *_of_lasting(lasting, told, now_ms)]
            for row in receivers:
                self._queue(connection, row, events, now_ms)
            if doors:
                store.move_cursor(connection, _DOORS, doors[-1].cursor)
            if cards:
                store.move_cursor(connection, _CARDS, str(cards[-1].revision))
            for kind, subject in sorted(lasting - told.keys()):
                store.begin_condition(connection, kind, subject, now_ms)
            for kind, subject in sorted(told.keys() - lasting):
                store.end_condition(connection, kind, subject)

    def _queue(self, connection: Connection, row: sa.Row[Any], events: Sequence[Event], now_ms: int) -> None:
        wanted = set(json.loads(row.events))
        chosen = [event for event in events if event.type in wanted]
        if row.waiting + len(chosen) > self._most_waiting:
            why = f"{self._most_waiting} events wait for it already"
            store.change(connection, row.id, enabled=False, disabled_ms=now_ms, disabled_why=why)
            return
        for event in chosen:
            store.queue(connection, row.id, event.message, event.body(), now_ms)


def _of_doors(doors: Sequence[DoorEvent]) -> Iterator[Event]:
    for one in doors:
        kind = DOOR_EVENTS.get(one.kind)
        if kind is not None:
            data: dict[str, Scalar] = {} if one.point is None else {"point": one.point}
            # What a door does, never what a card did there.
            data |= {name: one.facts[name] for name in ("alarm", "outcome", "zone") if name in one.facts}
            yield Event(kind, one.at_ms, f"door-{one.cursor.replace('.', '-')}", data)


def _of_cards(connection: Connection, cards: Sequence[changes.Change], now_ms: int) -> Iterator[Event]:
    newest = {change.row: change.revision for change in cards if change.kind == "card"}
    states = store.card_states(connection, newest)
    for number, revision in newest.items():
        row = states.get(number)
        if row is not None:
            data = {"card": row.reference, "state": row.state, "suspended_until_ms": row.suspended_until_ms}
            yield Event(CARD_CHANGED, now_ms, f"card-{revision}", data)


def _of_lasting(lasting: set[tuple[str, str]], told: dict[tuple[str, str], int], now_ms: int) -> Iterator[Event]:
    for kind, subject in sorted(lasting - told.keys()):
        yield _about(kind, kind, subject, now_ms)
    for kind, subject in sorted(told.keys() - lasting):
        yield _about(LASTING[kind], kind, subject, now_ms)


def _about(kind: str, condition: str, subject: str, now_ms: int) -> Event:
    group = condition.partition(".")[0]
    return Event(kind, now_ms, f"{kind.replace('.', '-')}-{subject}-{now_ms}", {group: subject})
