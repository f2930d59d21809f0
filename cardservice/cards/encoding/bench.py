# SPDX-License-Identifier: EUPL-1.2
"""Brings jobs and cards together: whatever lies on an encoder that has a job is worked on, in a thread of its own.

A card is offered to a job once while it lies there: one that was refused is refused until it is laid on anew.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy.engine import Engine

from cardservice.cards.encoding import service, store
from cardservice.cards.encoding.ports import CardOnEncoder, Encoders
from cardservice.cards.encoding.rules import EncoderName
from cardservice.cards.encoding.runner import Runner, Tools
from cardservice.cards.encoding.service import Job
from cardservice.cards.encoding.works import CardKeys
from cardservice.clock import Clock
from cardservice.database import read, write
from cardservice.errors import CardServiceError

# Jobs that another process has ordered are found this late at most.
LOOK_S: Final = 1.0
# So many encoders work at once; others wait their turn.
THREADS: Final = 4
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EncoderLine:
    """An encoder for whoever chooses one."""

    encoder: EncoderName
    usable: bool
    card_present: bool


class EncodingBench:
    """Started and stopped in the event loop; `catch_up` has the next tap see a card that was changed."""

    def __init__(
        self, state: Engine, keys: CardKeys, clock: Clock, encoders: Encoders, catch_up: Callable[[], None]
    ) -> None:
        self.keys, self._state, self._encoders, self._catch_up = keys, state, encoders, catch_up
        self._runner = Runner(Tools(state, keys, clock, self._told, self._publish))
        self._threads = ThreadPoolExecutor(THREADS, "encoder")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._busy: set[EncoderName] = set()
        # What was offered to which jobs, while it lies there.
        self._offered: dict[CardOnEncoder, set[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def lines(self) -> tuple[EncoderLine, ...]:
        """The encoders as they are now."""
        return tuple(EncoderLine(one.encoder, one.usable, one.visit is not None) for one in self._encoders.now)

    def start(self) -> None:
        """Begin; what ran when the service ended wants its card again."""
        self._loop = asyncio.get_running_loop()
        self._encoders.changed = self._stirred
        self._watch = asyncio.create_task(self._run(), name="encoding")

    async def stop(self) -> None:
        """Begin nothing more, and let the threads end; what they do to a card goes on at the next start."""
        tasks = [*self._tasks, *(() if self._watch is None else (self._watch,))]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None
        self._threads.shutdown(wait=False, cancel_futures=True)

    def look_soon(self) -> None:
        """A job was ordered or ended; from any thread."""
        self._told()

    async def changed(self) -> None:
        """Wait until an encoder or a job changes."""
        await self._changed.wait()

    def _stirred(self) -> None:
        self._wake.set()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _told(self) -> None:
        loop = self._loop
        if loop is not None:
            # A loop that is closed meanwhile has nobody left who looks.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._stirred)

    def _publish(self) -> None:
        try:
            self._catch_up()
        except CardServiceError as error:
            _log.error("change.not_published", error=str(error))

    async def _run(self) -> None:
        await _quietly(self._interrupt())
        while True:
            self._wake.clear()
            lying = {one.encoder: one.visit for one in self._encoders.now if one.visit is not None}
            here = set(lying.values())
            self._offered = {card: jobs for card, jobs in self._offered.items() if card in here}
            for encoder, card in lying.items():
                if encoder not in self._busy:
                    await _quietly(self._offer(card))
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if lying else None):
                    await self._wake.wait()

    async def _interrupt(self) -> None:
        def make() -> None:
            with write(self._state) as connection:
                store.interrupt_running(connection)

        await asyncio.to_thread(make)

    async def _offer(self, card: CardOnEncoder) -> None:
        job = await asyncio.to_thread(self._job_at, card.encoder)
        offered = self._offered.setdefault(card, set())
        if job is None or job.reference in offered:
            return
        offered.add(job.reference)
        self._busy.add(card.encoder)
        task = asyncio.create_task(self._serve(job, card), name=f"encoder {card.encoder.agent}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, job: Job, card: CardOnEncoder) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._runner.run, job, card)
        except CardServiceError as error:
            _log.error("encoding.not_stored", agent=job.encoder.agent, error=str(error))
        finally:
            self._busy.discard(card.encoder)
            self._stirred()

    def _job_at(self, encoder: EncoderName) -> Job | None:
        with read(self._state) as connection:
            row = store.open_job_at(connection, encoder)
        return None if row is None else service.job_of(row)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    """What a store does not answer now is looked at again."""
    try:
        await work
    except CardServiceError as error:
        _log.error("encoding.not_looked", error=str(error))
