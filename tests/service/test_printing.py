# SPDX-License-Identifier: EUPL-1.2
"""A tap at a printer: record and spooler together, on the real cupsd and the real recorder."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from service.fake_clock import FakeClock
from support.cups import texts, wait_for_texts, write_pdf
from support.waiting import wait_until

from cardservice.database import Databases, open_databases, upgrade, write
from cardservice.errors import Overloaded
from cardservice.printing import store
from cardservice.printing.ports import SpoolerDown
from cardservice.printing.rules import Code
from cardservice.printing.service import PrintAnswer, PrintRelease
from cardservice.printing.store import Asked, Key, print_release
from cardservice.recorder import Recorder
from integrations.cups import POLICIES, CupsSettings, CupsSpooler
from rig.cups import Cups

ANNA, BERND = Cups.users[:2]
PSEUDONYMS = {ANNA: "a" * 32, BERND: "b" * 32}
POINTS = {"printer.east": "mfp1", "printer.west": "mfp2"}
ASKED = Asked("agent/1/1", "mfp1", "a" * 32, 1_000)


def rows(databases: Databases) -> list[tuple[int, str, str, str]]:
    """Job, printer, event and state of everything on record."""
    columns = print_release.c
    with databases.record.connect() as connection:
        query = sa.select(columns.job, columns.printer, columns.event, columns.state).order_by(columns.job)
        return [tuple(row) for row in connection.execute(query)]


class Floor:
    """Two printers, their spooler, the record, and people who send and tap."""

    def __init__(self, cups: Cups, databases: Databases, tmp_path: Path) -> None:
        self.cups = cups
        self.databases = databases
        self._tmp_path = tmp_path
        self.recorder = Recorder(databases.record)
        self.recorder.start()
        self.spooler = CupsSpooler(CupsSettings(socket=cups.socket, limit_s=2.0))
        self.printing = PrintRelease(self.spooler, POINTS, clock=FakeClock())
        self._taps = 0

    @property
    def printed(self) -> dict[str, list[str]]:
        return {name: texts(printer) for name, printer in self.cups.printers.items()}

    def send(self, user: str, *documents: str) -> list[int]:
        return [self.cups.submit(user, write_pdf(self._tmp_path / "sent.pdf", text)) for text in documents]

    async def tap(self, user: str, point: str = "printer.east") -> PrintAnswer:
        self._taps += 1
        event = f"agent/1/{self._taps}"
        return await self.printing.release(event, user, PSEUDONYMS[user], point, self.recorder.submit_here)

    async def renew(self, spooler: CupsSpooler) -> None:
        """Go on with another spooler, as after a restart of the service."""
        await self.spooler.close()
        self.spooler = spooler
        self.printing = PrintRelease(spooler, POINTS, clock=FakeClock())

    async def close(self) -> None:
        await self.spooler.close()
        self.recorder.stop()


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Databases]:
    databases = open_databases(f"sqlite:///{tmp_path / 'stores'}")
    upgrade(databases)
    yield databases
    databases.close()


@pytest.fixture
async def floor(record: Databases, tmp_path: Path):
    with Cups(POLICIES) as cups:
        made = Floor(cups, record, tmp_path)
        yield made
        await made.close()


@pytest.mark.cups
async def test_a_tap_releases_the_holders_documents_to_this_printer_and_nothing_else(floor):
    """All of Anna's at the printer she stands at, none of Bernd's anywhere; before the tap no printer has anything."""
    jobs = floor.send(ANNA, "a1", "a2")
    others = floor.send(BERND, "b1")
    assert floor.printed == {"mfp1": [], "mfp2": []}
    answer = await floor.tap(ANNA, "printer.west")
    assert (answer.code, answer.printer, answer.released, answer.waiting) == (Code.RELEASED, "mfp2", 2, 0)
    assert answer.text == ("2 Dokumente werden gedruckt.", "2 documents are being printed.")
    wait_for_texts(floor.cups.printers["mfp2"], ["a1", "a2"])
    assert floor.printed["mfp1"] == []
    assert [job.number for job in await floor.spooler.held(BERND)] == others
    assert rows(floor.databases) == [(job, "mfp2", "agent/1/1", "released") for job in jobs]
    assert (await floor.tap(ANNA)).code is Code.NOTHING_WAITING
    assert (await floor.tap(BERND)).released == 1
    wait_for_texts(floor.cups.printers["mfp1"], ["b1"])


@pytest.mark.cups
async def test_a_printer_in_error_releases_nothing_and_another_one_is_named(floor):
    """Stopped, or switched off: the answer says which printer, why, and which one prints."""
    floor.send(ANNA, "a1")
    floor.cups.disable("mfp1")
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.printer, answer.waiting, answer.another) == (Code.PRINTER_ERROR, "mfp1", 1, "mfp2")
    assert answer.text[0] == (
        "Der Drucker mfp1 druckt nicht (angehalten). Ihre Dokumente warten weiter. Bitte nehmen Sie mfp2."
    )
    floor.cups.enable("mfp1")
    for printer in floor.cups.printers.values():
        printer.stop()
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.reasons, answer.another) == (Code.PRINTER_ERROR, ("offline",), None)
    assert "mfp1 druckt nicht (nicht erreichbar)" in answer.text[0]
    assert (await floor.tap(ANNA, "printer.unknown")).reasons == ("not-configured",)
    assert floor.printed == {"mfp1": [], "mfp2": []}
    assert rows(floor.databases) == []
    floor.cups.printers["mfp1"].start()
    assert (await floor.tap(ANNA)).code is Code.RELEASED
    wait_for_texts(floor.cups.printers["mfp1"], ["a1"])


@pytest.mark.cups
async def test_many_taps_at_once_release_each_document_once(floor):
    """Two printers, ten taps of the same person at the same moment."""
    floor.send(ANNA, "a1", "a2")
    answers = await asyncio.gather(*(floor.tap(ANNA, point) for point in [*POINTS] * 5))
    assert sum(answer.released for answer in answers) == 2
    assert {answer.code for answer in answers} == {Code.RELEASED, Code.NOTHING_WAITING}
    winner = next(answer.printer for answer in answers if answer.released == 2)
    wait_for_texts(floor.cups.printers[winner], ["a1", "a2"])
    floor.send(ANNA, "last")
    other = next(point for point, queue in POINTS.items() if queue != winner)
    await floor.tap(ANNA, other)
    # What another of the ten taps had released would have come before this one.
    wait_for_texts(floor.cups.printers[POINTS[other]], ["last"])


class DeletedMeanwhile(CupsSpooler):
    """The owner deletes the first document at the moment it is to be released."""

    def __init__(self, settings: CupsSettings, cups: Cups) -> None:
        super().__init__(settings)
        self._cups = cups

    async def release(self, job: int, owner: str, printer: str) -> None:
        if job == 1:
            self._cups.run_as(owner, "cancel", f"followme-{job}")
        await super().release(job, owner, printer)


@pytest.mark.cups
async def test_a_document_deleted_meanwhile_is_not_missed(floor):
    """The others are printed; the record says that it had gone."""
    floor.send(ANNA, "a1", "a2")
    await floor.renew(DeletedMeanwhile(CupsSettings(socket=floor.cups.socket), floor.cups))
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.released, answer.waiting) == (Code.RELEASED, 1, 0)
    wait_for_texts(floor.cups.printers["mfp1"], ["a2"])
    assert [row[3] for row in rows(floor.databases)] == ["gone", "released"]


class DiesBefore(CupsSpooler):
    """The spooler is killed right before the second document is released, when the first is printed and done with."""

    def __init__(self, settings: CupsSettings, cups: Cups) -> None:
        super().__init__(settings)
        self._cups = cups

    async def release(self, job: int, owner: str, printer: str) -> None:
        if job == 2:
            wait_until(lambda: "mfp1-1 " in self._cups.run_as("root", "lpstat", "-W", "completed", "-o"))
            self._cups.kill_cupsd()
        await super().release(job, owner, printer)


@pytest.mark.cups
async def test_a_spooler_that_dies_in_between_is_named_and_nothing_is_lost_or_doubled(floor):
    """Partly; then down; and when it is back the next tap settles the open one and prints what is left, once."""
    floor.send(ANNA, "a1", "a2", "a3")
    await floor.renew(DiesBefore(CupsSettings(socket=floor.cups.socket), floor.cups))
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.released, answer.waiting) == (Code.PARTLY, 1, 2)
    assert answer.text[0] == "1 von 3 Dokumenten wird gedruckt, 2 warten weiter."
    assert [row[3] for row in rows(floor.databases)] == ["released", "asked", "failed"]
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.released) == (Code.SPOOLER_DOWN, 0)
    floor.cups.start_cupsd()
    await floor.renew(CupsSpooler(CupsSettings(socket=floor.cups.socket)))
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.released) == (Code.RELEASED, 2)
    assert [row[3] for row in rows(floor.databases)] == ["released"] * 3
    wait_for_texts(floor.cups.printers["mfp1"], ["a1", "a2", "a3"])


@pytest.mark.cups
async def test_what_a_former_life_began_is_settled_at_the_start(floor):
    """Asked for and still here: it waits on and the next tap prints it; the strays are held."""
    first, second = floor.send(ANNA, "a1", "a2")
    held = {job.number: job.since_ms for job in await floor.spooler.held(ANNA)}
    with write(floor.databases.record) as connection:
        keys = [Key("followme", number, held[number]) for number in (first, second)]
        store.claim(connection, [*keys, Key("followme", 99, 0)], ASKED)
    await floor.spooler.release(first, ANNA, "mfp1")
    wait_for_texts(floor.cups.printers["mfp1"], ["a1"])
    found = await floor.printing.recover(floor.recorder.submit_here)
    assert found.counts == {"released": 1, "waiting": 1, "gone": 1}
    assert [row[3] for row in rows(floor.databases)] == ["released", "failed", "gone"]
    assert floor.printed["mfp1"] == ["a1"]
    assert (await floor.tap(ANNA, "printer.west")).released == 1
    wait_for_texts(floor.cups.printers["mfp2"], ["a2"])


@pytest.mark.cups
async def test_nothing_is_released_that_cannot_be_put_on_record(floor):
    """The recorder has stopped: the tap fails, every document waits."""
    floor.send(ANNA, "a1")
    await floor.tap(BERND)
    floor.recorder.stop()
    with pytest.raises(Overloaded):
        await floor.tap(ANNA)
    assert len(await floor.spooler.held(ANNA)) == 1
    assert floor.printed == {"mfp1": [], "mfp2": []}


@pytest.mark.cups
async def test_a_spooler_that_is_down_is_one_answer(floor):
    """Nothing is on record, and the start-up settling says so to its caller."""
    floor.cups.kill_cupsd()
    answer = await floor.tap(ANNA)
    assert (answer.code, answer.released) == (Code.SPOOLER_DOWN, 0)
    with pytest.raises(SpoolerDown):
        await floor.printing.recover(floor.recorder.submit_here)
    assert rows(floor.databases) == []


def test_only_what_failed_can_be_asked_for_again(databases: Databases) -> None:
    """Asked, released and gone documents are nobody else's; the same number made later is another document."""
    keys = [Key("followme", number, 7_000) for number in range(1, 5)]
    with write(databases.record) as connection:
        assert store.claim(connection, keys, ASKED) == keys
        assert store.claim(connection, keys, ASKED) == []
        ends = zip(keys, ("released", "gone", "failed"), strict=False)
        store.settle(connection, list(ends))
        again = Asked("agent/1/2", "mfp2", "a" * 32, 2_000)
        later = Key("followme", 1, 8_000)
        assert store.claim(connection, [*keys, later], again) == [keys[2], later]
        assert store.unsettled(connection, "followme") == [
            (keys[3], "mfp1"),
            (later, "mfp2"),
            (keys[2], "mfp2"),
        ]
        assert store.unsettled(connection, "other") == []


def test_an_end_on_record_stays(databases: Databases) -> None:
    key = Key("followme", 1, 7_000)
    with write(databases.record) as connection:
        store.claim(connection, [key], ASKED)
        store.settle(connection, [(key, "released")])
        store.settle(connection, [(key, "failed")])
        assert store.claim(connection, [key], ASKED) == []


def test_the_record_is_forgotten_but_for_what_is_open(databases: Databases) -> None:
    keys = [Key("followme", number, 7_000) for number in (1, 2, 3)]
    with write(databases.record) as connection:
        store.claim(connection, keys[:2], ASKED)
        store.settle(connection, [(keys[0], "released")])
        store.claim(connection, keys[2:], Asked("agent/1/2", "mfp1", "a" * 32, 5_000))
        store.settle(connection, [(keys[2], "released")])
        assert store.forget(connection, before_ms=5_000) == 1
    assert [(row[0], row[3]) for row in rows(databases)] == [(2, "asked"), (3, "released")]
