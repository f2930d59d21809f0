# SPDX-License-Identifier: EUPL-1.2
"""The printers as a tap meets them: the holder's waiting documents come out here, nobody else's."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import structlog

from cardservice.access.rules import PointRecord, Use
from cardservice.agents.places import Answer, PermittedTap
from cardservice.errors import CardServiceError
from cardservice.printing.ports import SpoolerError
from cardservice.printing.rules import SPOOLER_DOWN, Code, printer_of
from cardservice.printing.service import PrintAnswer, PrintRelease, Submit
from cardservice.pseudonyms import pseudonym_of

RELEASE_LIMIT_S: Final = 20.0
# What of the time in which the agent expects an answer the release may take; the rest is for everything before and
# after it. With less than the lowest even a fast spooler would always come too late.
PATIENCE: Final = 0.7
LOWEST_PATIENCE_S: Final = 0.1
SETTLE_EVERY_S: Final = 3_600.0
RETRY_S: Final = 30.0
_NOBODY: Final = (
    "Für Sie ist kein Druckkonto bekannt. Bitte wenden Sie sich an die IT.",
    "No print account is known for you. Please ask the IT desk.",
)
_UNDER_WAY: Final = Answer(
    done=True,
    code="under_way",
    text_de="Ihre Dokumente werden gedruckt.",
    text_en="Your documents are being printed.",
)
_log = structlog.get_logger()


class QueuesOfPoints(Mapping[str, str]):
    """The queue of each printer's reader as the city is set up now, by the reader's point."""

    def __init__(self, points: Callable[[], Mapping[str, PointRecord]]) -> None:
        self._points = points

    def __getitem__(self, code: str) -> str:
        point = self._points()[code]
        queue = printer_of(point.options) if point.use is Use.PRINTER else None
        if queue is None:
            raise KeyError(code)
        return queue

    def __iter__(self) -> Iterator[str]:
        return (
            code for code, point in self._points().items() if point.use is Use.PRINTER and printer_of(point.options)
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)


class PrintPlace:
    """Releases what waits for the holder. The record is kept by `PrintRelease`, before the spooler is asked."""

    use: Final = Use.PRINTER
    # What is released is put on record job by job.
    books: Final = None

    def __init__(
        self,
        release: PrintRelease,
        submit: Submit,
        *,
        owner_of: Callable[[int], str | None],
        secret: Callable[[], bytes],
    ) -> None:
        self._release = release
        self._submit = submit
        self._owner_of = owner_of
        self._secret = secret
        # Releases that have not ended: the holder may have been answered already.
        self._under_way: set[asyncio.Task[Answer]] = set()

    async def act(self, tap: PermittedTap, answer: Answer | None) -> Answer | None:
        """Release, and say how many documents come out; a release that takes longer goes on after the answer."""
        releasing = asyncio.create_task(self._released(tap))
        self._under_way.add(releasing)
        releasing.add_done_callback(self._ended)
        patience_s = max(LOWEST_PATIENCE_S, PATIENCE * tap.point.answer_budget_ms / 1_000)
        done, _ = await asyncio.wait({releasing}, timeout=patience_s)
        return releasing.result() if done and not releasing.cancelled() else _UNDER_WAY

    async def _released(self, tap: PermittedTap) -> Answer:
        try:
            async with asyncio.timeout(RELEASE_LIMIT_S):
                owner = self._owner_of(tap.person)
                if owner is None:
                    return Answer(done=False, code="no_account", text_de=_NOBODY[0], text_en=_NOBODY[1])
                pseudonym = pseudonym_of(self._secret(), tap.person)
                found = await self._release.release(tap.event, owner, pseudonym, tap.point.code, self._submit)
        except (CardServiceError, TimeoutError) as error:
            _log.error("printing.not_released", point=tap.point.code, error=type(error).__name__)
            return Answer(done=False, code=Code.SPOOLER_DOWN, text_de=SPOOLER_DOWN[0], text_en=SPOOLER_DOWN[1])
        return _told(found)

    def _ended(self, releasing: "asyncio.Task[Answer]") -> None:
        self._under_way.discard(releasing)
        error = None if releasing.cancelled() else releasing.exception()
        if error is not None:
            _log.error("printing.release_failed", error=type(error).__name__)

    async def settle_now_and_then(self) -> None:
        """Settle what a former life left open, at once and every hour; hold what came without a hold; forget.

        Never ends by itself; cancelled, it ends the releases that are under way: the next life settles them.
        """
        try:
            while True:
                pause_s = await self._settle()
                await asyncio.sleep(pause_s)
        finally:
            for releasing in self._under_way:
                releasing.cancel()
            # They go on by a step or two, on a spooler that is closed next.
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _settle(self) -> float:
        """Return after how many seconds to do it again."""
        try:
            await self._release.forget(self._submit)
            await self._release.recover(self._submit)
        except (CardServiceError, SpoolerError) as error:
            _log.warning("printing.not_settled", error=type(error).__name__)
            return RETRY_S
        return SETTLE_EVERY_S


def _told(found: PrintAnswer) -> Answer:
    facts: dict[str, str | int | bool] = {
        "released": found.released,
        "waiting": found.waiting,
        "printer": found.printer,
    }
    if found.another is not None:
        facts["another"] = found.another
    return Answer(
        done=found.code in {Code.RELEASED, Code.PARTLY, Code.NOTHING_WAITING},
        code=found.code.value,
        text_de=found.text[0],
        text_en=found.text[1],
        facts=facts,
    )
