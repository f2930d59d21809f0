# SPDX-License-Identifier: EUPL-1.2
"""The printers as a tap meets them, with a spooler that takes as long as the test wants; the record is real."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock
from structlog.testing import capture_logs
from support.points import a_point
from support.waiting import wait_until

from cardservice.access.rules import Use
from cardservice.agents.places import Answer, PermittedTap
from cardservice.database import Databases, write
from cardservice.errors import DatabaseUnavailable
from cardservice.printing import store
from cardservice.printing.place import PrintPlace
from cardservice.printing.ports import Fate, HeldJob, PrinterState
from cardservice.printing.service import KEPT_MS, PrintRelease
from cardservice.printing.store import Asked, Key, print_release
from cardservice.recorder import Recorder

ANNA = 4711
DAY_MS = 86_400_000


class GatedSpooler:
    """One document of Anna's waits; a release ends when the test lets it, with `defect` if there is one."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.defect: Exception | None = None
        self.ends: list[str] = []

    async def held(self, owner: str) -> tuple[HeldJob, ...]:
        return (HeldJob(1, "Titel", owner, 7_000),)

    async def release(self, job: int, owner: str, printer: str) -> None:
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        if self.defect is not None:
            raise self.defect
        self.ends.append("released")

    async def settle(self, job: int, since_ms: int, printer: str) -> Fate:
        return "waiting"

    async def printer(self, name: str) -> PrinterState:
        return PrinterState(name, "idle", accepting=True)

    async def hold_strays(self) -> int:
        return 0

    async def close(self) -> None:
        pass


def tap(answer_budget_ms: int = 300) -> PermittedTap:
    options = {"printer": "mfp1"}
    point = a_point("printer.east", Use.PRINTER, answer_budget_ms=answer_budget_ms, options=options)
    return PermittedTap("agent/1/1", point, at_ms=0, person=ANNA)


class Hall:
    """A place with its spooler and its record; `owners` says what a person's print account is."""

    def __init__(self, databases: Databases, clock: FakeClock) -> None:
        self.spooler = GatedSpooler()
        self.owners: dict[int, str | Exception] = {ANNA: "anna"}
        self._databases = databases
        self.recorder = Recorder(databases.record)
        self.recorder.start()
        self.place = PrintPlace(
            PrintRelease(self.spooler, {"printer.east": "mfp1"}, clock=clock),
            self.recorder.submit_here,
            owner_of=self._owner_of,
            secret=lambda: b"printing pseudonyms of a test...",
        )

    def _owner_of(self, person: int) -> str | None:
        found = self.owners.get(person)
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def states(self) -> Sequence[str]:
        with self._databases.record.connect() as connection:
            return connection.scalars(sa.select(print_release.c.state).order_by(print_release.c.job)).all()

    async def until(self, *states: str) -> None:
        await asyncio.to_thread(wait_until, lambda: self.states == [*states])

    async def act(self, answer_budget_ms: int = 300) -> Answer:
        answer = await self.place.act(tap(answer_budget_ms), None)
        assert answer is not None
        return answer


@pytest.fixture
async def hall(databases: Databases, clock: FakeClock) -> AsyncIterator[Hall]:
    made = Hall(databases, clock)
    yield made
    made.recorder.stop()


@pytest.mark.parametrize(("answer_budget_ms", "patience_s"), [(50, 0.1), (300, 0.21)])
async def test_a_slow_spooler_keeps_nobody_waiting_for_an_answer(hall, answer_budget_ms, patience_s):
    """Before the agent gives up the holder reads that their documents come; they do, and it is on record."""
    began_s = asyncio.get_running_loop().time()
    answer = await hall.act(answer_budget_ms)
    assert asyncio.get_running_loop().time() - began_s >= patience_s - 0.01
    assert (answer.done, answer.code) == (True, "under_way")
    assert (answer.text_de, answer.text_en) == ("Ihre Dokumente werden gedruckt.", "Your documents are being printed.")
    assert hall.spooler.ends == []
    hall.spooler.gate.set()
    await hall.until("released")
    assert hall.spooler.ends == ["released"]


async def test_a_release_in_time_says_how_many_come_out(hall):
    hall.spooler.gate.set()
    answer = await hall.act(60_000)
    assert (answer.done, answer.code, answer.facts["released"]) == (True, "released", 1)


async def test_a_release_that_fails_after_the_answer_is_logged(hall):
    """A defect that nobody waits for any more is seen all the same."""
    hall.spooler.defect = RuntimeError("a defect")
    with capture_logs() as log:
        assert (await hall.act()).code == "under_way"
        hall.spooler.gate.set()
        await asyncio.to_thread(wait_until, lambda: log)
    assert [(line["event"], line["error"]) for line in log] == [("printing.release_failed", "RuntimeError")]


async def test_whose_documents_they_are_may_be_unknown(hall):
    """Nobody's account, and a store that cannot say: an answer each, nothing is released."""
    hall.owners = {}
    assert (await hall.act(60_000)).code == "no_account"
    hall.owners = {ANNA: DatabaseUnavailable("the state cannot be read")}
    with capture_logs() as log:
        assert (await hall.act(60_000)).code == "spooler_down"
    assert log[0]["error"] == "DatabaseUnavailable"
    assert hall.states == []


async def test_the_service_ends_what_is_under_way_when_it_stops(hall):
    """The release is cut off, and stays on record as begun: the next life finds out what became of it."""
    settling = asyncio.create_task(hall.place.settle_now_and_then())
    assert (await hall.act(1_000)).code == "under_way"
    settling.cancel()
    await asyncio.wait({settling})
    assert settling.cancelled()
    assert hall.spooler.ends == ["cancelled"]
    assert hall.states == ["asked"]


async def test_releases_are_forgotten_after_a_week(hall, databases, clock):
    """Whoever printed what is not kept for ever; younger releases and those without an end are."""
    with write(databases.record) as connection:
        for job, age_ms in ((1, KEPT_MS + 1), (2, KEPT_MS - DAY_MS)):
            key = Key("followme", job, 7_000)
            store.claim(connection, [key], Asked("agent/1/1", "mfp1", "a" * 32, clock.now_ms() - age_ms))
            store.settle(connection, [(key, "released")])
        store.claim(
            connection, [Key("followme", 3, 7_000)], Asked("agent/1/2", "mfp1", "a" * 32, clock.now_ms() - KEPT_MS - 1)
        )
    settling = asyncio.create_task(hall.place.settle_now_and_then())
    # The one without an end was settled in the same round.
    await hall.until("released", "failed")
    settling.cancel()
    await asyncio.wait({settling})
