# SPDX-License-Identifier: EUPL-1.2
"""Somebody at the desk who looks after the doors of a running service, and what is said and written of one door."""

import asyncio
import json
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from support.service import CALLERS, ServiceThread
from support.waiting import LIMIT_S, wait_until

from cardservice.agents.messages import DoorState, PointCommand, PointDone
from cardservice.app import Service
from cardservice.doors import store
from cardservice.doors.service import Doors, DoorServices, DoorView
from cardservice.journal.service import Entry
from cardservice.journal.store import journal_entry
from integrations.facility import Facility

Result = TypeVar("Result")
# The door that the tests are at, and its zone.
DOOR, ZONE = "bauamt.aussen", "bauamt"


class DoorsDesk:
    """The doors of `service`, from the test's own loop."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.doors = service._doors

    async def there(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` in the service's loop."""
        loop = self.service._loop
        assert loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))

    async def open(self, point: str, request_id: str, *, caller: str = "pforte", reason: str = "Lieferung") -> Any:
        """Open a door once."""
        opening = self.doors.openings.open_once(point, caller=caller, reason=reason, request_id=request_id)
        return await self.there(opening)

    async def blocking(self, work: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Run what reads or writes a store beside the loop."""
        return await asyncio.to_thread(work, *arguments, **named)

    @contextmanager
    def restarted(self) -> Iterator[Self]:
        """Put doors that know only what is on disk in the place of those that run, while the context lasts."""
        service = self.service
        listeners = service._hub.states.listeners
        before = list(listeners)
        listeners.clear()
        self.doors = Doors(
            DoorServices(
                city=service.city,
                hub=service._hub,
                recorder=service.recorder,
                journal=service._journal,
                clock=service._clock,
                state=service._databases.state,
            )
        )
        self.doors.start()
        try:
            yield self
        finally:
            listeners[:] = before
            self.doors = service._doors


def fresh() -> str:
    """Return a request's number that no other test uses."""
    return secrets.token_hex(8)


def lines(service: ServiceThread, **wanted: object) -> list[tuple[sa.Row[Any], dict[str, Any]]]:
    """Return the journal's lines of doors that hold all of `wanted`, each with its payload."""
    service.recorded()
    rows = [row for row in service.files.rows(journal_entry) if row.stream == store.STREAM]
    return [(row, json.loads(row.payload)) for row in rows if wanted.items() <= json.loads(row.payload).items()]


def record(desk: DoorsDesk, *facts: dict[str, Any]) -> None:
    """Have these lines in the journal, as whatever happens at doors leaves them."""
    journal, at_ms = desk.service._journal, desk.service._clock.now_ms()
    entries = [Entry(store.STREAM, at_ms, line) for line in facts]

    def append(connection: sa.Connection) -> None:
        for entry in entries:
            journal.append(connection, entry)

    desk.service.recorder.submit(append).result(LIMIT_S)


def calling(service: ServiceThread, caller: str) -> Facility:
    """Return the facility's client with the token of a caller."""
    return Facility(service.url, CALLERS[caller][0])


def done(command: PointCommand, **changes: Any) -> PointDone:
    """Return what an agent answers that did what it was told; `changes`: any other field."""
    return PointDone(**({"id": command.id, "point": command.point, "done": True} | changes))


def state(contact: str = "closed", alarm: str = "none", at_ms: int = 5_000) -> DoorState:
    """Return what the agent says of `DOOR`."""
    return DoorState(point=DOOR, contact=contact, alarm=alarm, at_ms=at_ms)


async def seen(desk: DoorsDesk, wanted: Callable[[DoorView], bool]) -> DoorView:
    """Wait until the view of `DOOR` is `wanted`; return it."""

    def view() -> DoorView | None:
        (found,) = [one for one in desk.doors.list() if one.code == DOOR]
        return found if wanted(found) else None

    return await asyncio.to_thread(wait_until, view)
