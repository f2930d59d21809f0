# SPDX-License-Identifier: EUPL-1.2
"""A disk that is full or broken: nothing is acknowledged that is not on it, and all goes on by itself afterwards."""

import asyncio
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from agent.conftest import Rig
from agent.scripted_centre import ScriptedCentre, permit, running
from faults import disk_outbox, disk_record, disk_state
from faults.conftest import Scale
from faults.disk_desk import Desk, migrate
from faults.disk_full import AgentOnTinyDisk, ServiceOnTinyDisk, agent_on_tiny_disk, service_on_tiny_disk
from faults.disk_image import images, lay_out
from faults.disk_outbox import examine_outbox, on_disk, open_outbox
from faults.disk_record import missing, plain_engine
from faults.disk_state import TroubledState
from faults.disk_story import Story
from faults.disk_trouble import TroubledOutbox, TroubledRecord
from faults.file_layer import Disk, Fault
from support.scripted_agent import report as report_of
from support.tiny_disk import TinyDiskRefused
from support.waiting import LIMIT_S, wait_until
from unit.readers.fakes import FakeCard, FakeDriver

from cardservice.agents.messages import CardPresent, EventAck, EventRefused, TapEvent
from cardservice.agents.store import agent_event
from cardservice.errors import DatabaseUnavailable
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry
from readers import texts
from readers.errors import OutboxFault
from readers.identity import Identity
from readers.tap import TapTools

FAULTS = (
    Fault("full", 1),
    Fault("full", 1, lasting=True),
    Fault("broken", 1),
    Fault("broken", 1, lasting=True),
)
each_fault = pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: f"{fault.kind} {'lasting' if fault.lasting else 'once'}"
)
ACKNOWLEDGED = {"place", "decision", "event", "done", "opened", "finished", "answered"}
# Taps at the server room are all kept, at the building office only refusals.
KEPT, UNKEPT = "serverraum.aussen", "bauamt.aussen"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def desk(tmp_path: Path, migrated: Path, dice: random.Random) -> Desk:
    return Desk(tmp_path, migrated, dice)


@pytest.fixture(autouse=True)
def quick_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder in trouble looks every few milliseconds whether it is over."""
    monkeypatch.setattr("cardservice.recorder.PROBE_S", 0.005)


def some_of(numbers: Sequence[int], scale: Scale, dice: random.Random, *, few: int = 6) -> list[int]:
    """All of them; in the small size a few."""
    return list(numbers) if scale.full else dice.sample(numbers, few)


def moments_of(story: Story, word: str, dice: random.Random) -> list[int]:
    """Some of the moments right after `word` was said."""
    moments = [at for at, what in story.told if what[0] == word]
    return dice.sample(moments, min(3, len(moments)))


@dataclass
class Tally:
    """What many troubled runs came to."""

    runs: int = 0
    struck: int = 0
    refused: int = 0
    acknowledged: int = 0

    def add(self, story: Story, refused: int) -> None:
        self.runs += 1
        self.struck += story.disk.struck > 0
        self.refused += refused
        self.acknowledged += sum(what[0] in ACKNOWLEDGED for _, what in story.told)

    def has_teeth(self) -> None:
        assert self.struck > 0
        assert self.refused > 0


async def record_lives(story: Story, trouble: Callable[[Disk], None]) -> tuple[int, int]:
    """Let the record store meet trouble, mend the disk, and wait until the recorder finds that out by itself.

    Returns how much was refused, and how many operations could have failed.
    """
    record = TroubledRecord(story)
    before = story.disk.operations
    trouble(story.disk)
    await record.crowds()
    met = story.disk.operations - before
    story.disk.lift()
    record.recovers()
    refused = record.refused
    await record.crowd()
    assert record.refused == refused, "it had recovered"
    record.side.stop()
    return refused, met


async def record_starts_anew(story: Story, trouble: Callable[[Disk], None]) -> None:
    """Let the record store meet trouble, end while it lasts, and start again on the mended disk."""
    before = TroubledRecord(story)
    trouble(story.disk)
    await before.crowds()
    before.side.stop()
    story.disk.lift()
    after = TroubledRecord(story)
    await after.crowds()
    assert after.refused == 0
    after.side.stop()


def agent_lives(story: Story, dice: random.Random) -> int:
    """Let an agent do its work, then mend the disk and let it catch up; return how often it was refused."""
    agent = TroubledOutbox(story, dice)
    agent.goes_on(5)
    story.disk.lift()
    agent.catches_up()
    agent.ends()
    return agent.refused


def lost_from_record(folder: Path, story: Story, cut: int) -> list[object]:
    """Return what had been acknowledged by the step `cut` and is not in the store; its chains verify."""
    engine = plain_engine(folder)
    lost = missing(engine, *(story.by(cut, word) for word in ("place", "decision", "event")))
    verify(engine)
    engine.dispose()
    return lost


@each_fault
async def test_the_record_store_acknowledges_nothing_that_is_not_on_the_disk(desk, dice, scale, report, fault):
    """Permits, entries and events that were acknowledged are there, whichever write or flush failed.

    The others were refused as such, and the recorder is back without a hand.
    """
    tally, lost = Tally(), []
    with desk.story(disk_record.FILE) as story:
        refused, operations = await record_lives(story, Disk.lift)
        assert refused == 0
    for nth in some_of(range(1, operations + 1), scale, dice):
        with desk.story(disk_record.FILE) as story:
            strike = partial(Disk.strike, fault=replace(fault, nth=nth))
            tally.add(story, (await record_lives(story, strike))[0])
            lost += lost_from_record(story.disk.folder, story, len(story.disk.steps))
    what = f"{fault.kind} disk below the record store"
    report(what, lasting=str(fault.lasting), lost=len(lost), **asdict(tally))
    assert lost == []
    tally.has_teeth()


@each_fault
def test_the_state_store_says_of_nothing_that_it_was_done_that_was_not(desk, dice, scale, report, fault):
    """A change that returned is there, one that was refused is not, not even in the memory of the directory copy.

    What was refused works when it is tried again.
    """
    tally = Tally()
    for nth in some_of(range(1, 80), scale, dice):
        with desk.story(disk_state.FILE) as story:
            state = TroubledState(story)
            story.disk.strike(replace(fault, nth=nth))
            state.goes_on(4)
            story.disk.lift()
            state.catches_up()
            state.check(story.disk.folder)
            tally.add(story, state.refused)
    report(f"{fault.kind} disk below the state store", lasting=str(fault.lasting), **asdict(tally))
    tally.has_teeth()


@each_fault
def test_the_outbox_calls_nothing_durable_that_is_not_on_the_disk(desk, dice, scale, report, fault):
    """Whichever write or flush fails, from the making of the file on, an `OutboxFault` and nothing else is raised.

    No id is given twice, and the next tap works as soon as the disk does.
    """
    tally = Tally()
    with desk.story(disk_outbox.FILE) as story:
        assert agent_lives(story, dice) == 0
        operations = story.disk.operations
    for nth in some_of(range(1, operations + 1), scale, dice):
        with desk.story(disk_outbox.FILE) as story:
            story.disk.strike(replace(fault, nth=nth))
            tally.add(story, agent_lives(story, dice))
    report(f"{fault.kind} disk below the outbox", lasting=str(fault.lasting), **asdict(tally))
    tally.has_teeth()


@pytest.mark.parametrize("starts_anew", [False, True], ids=["goes on", "starts anew"])
async def test_the_record_store_builds_nothing_on_a_flush_that_failed(desk, dice, scale, report, starts_anew):
    """What it acknowledges once the disk works again survives a power cut, also after a restart in between.

    After a flush that failed, the system's memory holds what the disk does not, and no later flush brings it there:
    whoever opens the file again and believes what it reads would append to something that is not there.
    """
    lost, cuts = [], 0
    for nth in some_of(range(1, 17), scale, dice, few=8):
        with desk.story(disk_record.FILE) as story:
            strike = partial(Disk.strike, fault=Fault("broken", nth, lasting=True, of="flushes"))
            await (record_starts_anew if starts_anew else record_lives)(story, strike)
            for cut, image in images(story.disk, moments_of(story, "place", dice), dice):
                lay_out(image, desk.image)
                cuts += 1
                lost += lost_from_record(desk.image, story, cut)
    what = "starts anew" if starts_anew else "goes on"
    report("power cuts after a failed flush of the record store", then=what, power_cuts=cuts, lost=len(lost))
    assert lost == []


def test_the_outbox_builds_nothing_on_a_flush_that_failed(desk, dice, scale, report):
    """The same for the outbox, also when the agent has to start anew on the disk that had failed."""
    cuts = 0
    for nth in some_of(range(1, 25), scale, dice, few=12):
        with desk.story(disk_outbox.FILE) as story:
            story.disk.strike(Fault("broken", nth, lasting=True, of="flushes"))
            agent_lives(story, dice)
            for cut, image in images(story.disk, moments_of(story, "opened", dice), dice):
                lay_out(image, desk.image)
                cuts += 1
                examine_outbox(desk.image, story, cut)
    report("power cuts after a failed flush of the outbox", power_cuts=cuts)


def test_an_outbox_without_its_write_ahead_log_is_not_used(desk):
    """Where SQLite could not change over it keeps its old journal, without an error; a power cut may undo a commit."""
    for nth in range(1, 9):
        with desk.story(disk_outbox.FILE) as story:
            story.disk.strike(Fault("broken", nth, of="flushes"))
            with on_disk(story.driver), suppress(OutboxFault):
                outbox = open_outbox(story.disk.folder)
                assert (story.disk.folder / f"{disk_outbox.FILE}-wal").exists(), f"flush {nth} failed"
                outbox.close()


async def test_a_recorder_that_stops_on_a_full_disk_leaves_nobody_waiting(desk):
    """Whoever waits is told that it was not stored, and the stop does not hang."""
    with desk.story(disk_record.FILE) as story:
        record = TroubledRecord(story)
        story.disk.strike(Fault("full", 1, lasting=True))
        futures = [record.side.append(number) for number in range(50)]
        record.side.stop()
        assert not record.side.recorder.alive
        assert all(isinstance(future.exception(LIMIT_S), DatabaseUnavailable) for future in futures)
        assert lost_from_record(story.disk.folder, story, len(story.disk.steps)) == []


async def test_an_alarm_that_could_not_be_stored_is_stored_when_its_event_comes_again(desk):
    """A rewritten event is refused only beside an alarm in the journal, however often the disk failed before."""
    with desk.story(disk_record.FILE) as story:
        record = TroubledRecord(story)
        event = record.side.event()
        assert isinstance(await record.side.upload(event), EventAck)
        rewritten = event.model_copy(update={"outcome": "card_gone"})
        story.disk.strike(Fault("full", 1, lasting=True))
        with pytest.raises(DatabaseUnavailable):
            await record.side.upload(rewritten)
        story.disk.lift()
        record.recovers()
        assert isinstance(await record.side.upload(rewritten), EventRefused)
        with record.side.engine.connect() as connection:
            payloads = connection.execute(sa.select(journal_entry.c.payload)).scalars().all()
        record.side.stop()
    assert sum("event_changed" in payload for payload in payloads) == 1


async def test_what_a_door_did_is_told_once_the_disk_works_again(desk, tmp_path, monkeypatch):
    """The disk fills up between a tap and its report: the report is not given up, and needs no restart to arrive."""
    monkeypatch.setattr("readers.session.TapTools", partial(TapTools, store_retry_s=0.01))
    monkeypatch.setattr("readers.uploads.RESEND_S", 0.05)
    identity = Identity.create(tmp_path / "agent.key")
    with desk.story(disk_outbox.FILE) as story, on_disk(story.driver):
        async with running(ScriptedCentre(identity.public_key_hex())) as centre:
            rig = Rig(tmp_path, centre, FakeDriver("Reader A"))
            rig.start(outbox_file=story.disk.folder / disk_outbox.FILE)
            link = await centre.link()
            rig.driver.insert("Reader A", FakeCard())
            present = await link.expect(CardPresent)
            story.disk.strike(Fault("full", 1, lasting=True))
            await link.send(permit(present.event))
            tries = 3 * TapTools.__dataclass_fields__["store_longest_pause"].default
            await asyncio.to_thread(wait_until, lambda: rig.count("faults_total", what="outbox") >= tries)
            assert rig.door().pulses == [3_000]
            story.disk.lift()
            try:
                async with asyncio.timeout(5):
                    event = await link.expect(TapEvent)
            finally:
                await rig.stop()
    assert (event.event, event.outcome, event.permit) == (present.event, "acted", True)


@pytest.fixture(scope="module")
def full_city() -> Iterator[ServiceOnTinyDisk]:
    with tempfile.TemporaryDirectory(prefix="city-") as folder:
        try:
            with service_on_tiny_disk(Path(folder)) as city:
                yield city
        except TinyDiskRefused as refused:
            pytest.skip(f"this machine allows no disk of our own: {refused}")


async def test_a_service_on_a_really_full_disk_refuses_what_it_cannot_keep(full_city, tmp_path, report):
    """Taps that must be kept are refused, no event is acknowledged, and health says what is the matter.

    When there is room again, everything goes on by itself, and what was acknowledged is there exactly once.
    """
    city, disk, service = full_city, full_city.disk, full_city.service
    permitted, acknowledged = [], []

    async def tap() -> TapEvent:
        decision = await agent.tap(city.files.cards()["mehmet"], KEPT)
        if decision.permit:
            permitted.append(decision.decision)
        else:
            assert decision.reason == "overloaded"
        return report_of(decision, KEPT)

    async def hand_over(event: TapEvent) -> None:
        assert isinstance(await agent.upload(event), EventAck)
        acknowledged.append(event.event.sequence)

    async with city.agent() as agent:
        await hand_over(await tap())
        assert permitted
        kept_back = [await tap()]
        before = len(permitted)
        with disk.full():
            for _ in range(5):
                kept_back.append(await tap())
                assert service.health()["status"] == "not_ready"
                assert city.degraded("record store: ", "the disk is full")(service.health()), service.health()
            await agent.send(kept_back[0])
            with pytest.raises(TimeoutError):
                await agent.receive(limit_s=0.5)
        assert len(permitted) == before
        service.wait_health(lambda state: state["status"] == "ready")
        for event in (*kept_back, await tap()):
            await hand_over(event)
    assert len(permitted) == before + 1
    check_store(disk.copy_out("db", tmp_path / "db"), permitted, acknowledged)
    report("really full disk below the service", refused=len(kept_back) - 1, acknowledged=len(acknowledged))


def check_store(folder: Path, permitted: list[str], acknowledged: list[int]) -> None:
    """Each permit is one line of the journal, each acknowledged event one row, and the chains verify."""
    engine = plain_engine(folder)
    with engine.connect() as connection:
        payloads = [json.loads(text) for text in connection.execute(sa.select(journal_entry.c.payload)).scalars()]
        stored = connection.execute(sa.select(agent_event.c.sequence)).scalars().all()
    verify(engine)
    engine.dispose()
    kept = [payload["decision"] for payload in payloads if payload["kind"] == "tap" and payload["permit"]]
    assert sorted(kept) == sorted(permitted)
    assert sorted(stored) == sorted(acknowledged)


async def test_on_a_full_disk_doors_that_need_no_line_go_on(full_city):
    """What only reads needs no room: agents come back in, and what the directory tells is taken when there is some."""
    city, disk = full_city, full_city.disk
    with disk.full():
        city.directory.set_disabled("krueger", disabled=True)
        city.service.wait_health(city.degraded("directory "))
        async with city.agent() as agent:
            assert (await agent.tap(city.files.cards()["anna"], UNKEPT)).permit
    city.service.wait_health(lambda state: state["status"] == "ready")
    async with city.agent() as agent:
        assert (await agent.tap(city.files.cards()["sabine"], "buergerbuero.innen")).reason == "person_disabled"


@pytest.mark.pcscd
def test_an_agent_on_a_really_full_disk_opens_nothing(report):
    """The reader shows amber, no id is used, and the next tap opens as soon as there is room."""
    with tempfile.TemporaryDirectory(prefix="city-") as folder:
        try:
            with agent_on_tiny_disk(Path(folder)) as city:
                opened = tap_on_a_full_disk(city)
        except TinyDiskRefused as refused:
            pytest.skip(f"this machine allows no disk of our own: {refused}")
    report("really full disk below the agent", opened=opened)
    assert opened == 0


def tap_on_a_full_disk(city: AgentOnTinyDisk) -> int:
    """A tap before, one while the disk is full, one afterwards; each at a door of its own.

    Returns how often the door in the middle was opened, until the tap after it was over.
    """
    before, meanwhile, after = "bauamt.aussen", "kantine.aussen", "haupteingang.aussen"
    opened_by_tap(city, before)
    with city.disk.full():
        city.insert("anna", meanwhile)
        seen = city.seen(lambda event: event["kind"] == "output" and event["point"] == meanwhile)
        assert (seen[-1]["led"], seen[-1]["state"]) == ("amber", "locked")
        assert seen[-1]["text"] == {"de": texts.READER_FAULT[0], "en": texts.READER_FAULT[1]}
        city.take_away(meanwhile)
    seen += opened_by_tap(city, after)
    assert [row.sequence for row in city.files.rows(agent_event)] == [1, 2]
    released = {"kind": "output", "point": meanwhile, "state": "released"}
    return sum(released.items() <= event.items() for event in seen)


def opened_by_tap(city: AgentOnTinyDisk, point: str) -> list[dict[str, Any]]:
    """Tap until the event is reported; return all that was shown until then."""
    city.insert("anna", point)
    seen = city.seen(lambda event: event["kind"] == "event" and event["point"] == point)
    assert seen[-1]["outcome"] == "acted"
    city.take_away(point)
    return seen
