# SPDX-License-Identifier: EUPL-1.2
"""Somebody at the desk who looks after the doors of a running service, from the test's own loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from cardservice.app import Service
from cardservice.doors.service import Doors, DoorServices

Result = TypeVar("Result")


class DoorsDesk:
    """The doors of `service`."""

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
