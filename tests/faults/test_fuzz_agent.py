# SPDX-License-Identifier: EUPL-1.2
"""The agent in the hands of a hostile centre, of broken files and of strange readers: alive, bounded, and shut."""

import asyncio
import gc
import os
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from agent.scripted_centre import Link, ScriptedCentre, permit, running
from faults.fuzz_attacks import ATTACKS, HostileCentre, attacking
from faults.fuzz_bounds import Parser, feed
from faults.fuzz_files import (
    AGENT,
    HEAVY_SETTINGS,
    NOW_MS,
    SPOILT,
    Written,
    bent_points,
    bent_settings,
    damage,
    spoil,
    write_outbox,
)
from faults.fuzz_frames import bend_bytes
from faults.fuzz_logs import CountedLog, counted_logs
from faults.fuzz_peer import POINTS, READERS
from faults.fuzz_taps import TapMachine
from hypothesis.stateful import run_state_machine_as_test
from prometheus_client import generate_latest
from support.metrics import label_values
from support.waiting import wait_until
from unit.readers.fakes import FakeCard, FakeDriver, NotingDoor
from websockets.uri import parse_uri

from cardservice.agents.messages import (
    CardPresent,
    CardResponses,
    EventAck,
    EventId,
    EventRange,
    EventsAccount,
    Health,
    PointSetup,
    TapEvent,
    Welcome,
    decode_from_agent,
)
from readers import centre_socket
from readers.agent import Agent, AgentTimes
from readers.bank import MAX_READERS
from readers.channel import ChannelTimes
from readers.errors import IdentityFault, OutboxFault, SettingsFault
from readers.identity import Identity
from readers.outbox import Outbox, read_aside
from readers.points import PointMap
from readers.ports import CardArrived, CardRemoved, ReaderAppeared, ReaderFaulted, ReaderVanished
from readers.settings import ENVIRONMENT_PREFIX, AgentSettings, load_settings

QUICK = AgentTimes(
    stop_grace_s=0.5,
    late_grace_ms=100,
    channel=ChannelTimes(retry_min_s=0.005, retry_max_s=0.01, refused_retry_s=0.02, open_timeout_s=0.3, settled_s=0.5),
)
HONEST = tuple(PointSetup(**{**point, "answer_budget_ms": 5_000, "tap_budget_ms": 10_000}) for point in POINTS)
HONEST_OPEN_MS = 600_000 - 1
# The agent's own tasks, one for each reader and each tap that still waits for a late decision, and the test's.
MAX_TASKS = 80
MAX_LEFT_BYTES = 4 << 20
EXTRA_ROUNDS = 4
MAX_POINTS = 64
OTHERS = (Health, TapEvent, EventsAccount, CardPresent, CardResponses)
# CPU time that reading a file at the start may cost.
MAX_START_S = 5.0


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> CountedLog:
    monkeypatch.setattr(centre_socket, "CLOSE_TIMEOUT_S", 0.1)
    return counted_logs(monkeypatch)


class Hunted:
    """A whole agent, whose centre is honest whenever it does not attack."""

    def __init__(self, folder: Path, honest: ScriptedCentre, centre: HostileCentre) -> None:
        self.honest = honest
        self.centre = centre
        self.driver = FakeDriver(*READERS)
        self.doors: dict[str, NotingDoor] = {}
        settings = AgentSettings(
            agent="agent-1",
            centre_url=centre.url,
            key_file=folder / "agent.key",
            outbox_file=folder / "outbox.sqlite",
        )
        self.agent = Agent(settings, self.driver, lambda point, _: self.door(point), times=QUICK)
        self.running = asyncio.ensure_future(self.agent.run())
        self.taps = 0

    def door(self, point: str) -> NotingDoor:
        return self.doors.setdefault(point, NotingDoor())

    def pulses(self) -> Counter[int]:
        return Counter(open_ms for door in self.doors.values() for open_ms in door.pulses)

    def opened(self) -> Counter[int]:
        """The pulses that no honest centre asked for."""
        return Counter({open_ms: times for open_ms, times in self.pulses().items() if open_ms != HONEST_OPEN_MS})

    async def hold_cards_to_readers(self, dice) -> None:
        """Cards come and go until cancelled; some answer nonsense."""
        answers = (lambda apdu: apdu + b"\x90\x00", lambda _: b"", lambda _: bytes(65_539), lambda _: b"\x6f\x00")
        while True:
            reader = dice.choice(READERS)
            if reader not in self.driver.cards:
                self.driver.insert(reader, FakeCard(dice.choice(answers)))
                self.taps += 1
            await asyncio.sleep(dice.choice((0.002, 0.01, 0.04)))
            if reader in self.driver.cards and dice.random() < 0.8:
                self.driver.remove(reader)

    async def meets_an_honest_centre(self) -> Link:
        """Return the connection on which the centre is honest, once the agent has taken its welcome."""
        self.centre.is_honest = True
        link = await self.honest.link()
        # Sent after the welcome was taken.
        await link.expect(Health, skip=OTHERS)
        return link

    async def reads_everything(self, link: Link) -> None:
        """Return when the agent has read all that was sent: pongs come in turn."""
        await (await link.socket.ping())

    async def serves_an_honest_centre(self) -> None:
        """A tap works as if nothing had been: reported, permitted, acted on, handed over."""
        for reader in tuple(self.driver.cards):
            self.driver.remove(reader)
        link = await self.meets_an_honest_centre()
        self.driver.insert(READERS[0], FakeCard())
        event = (await self.hears(link, CardPresent)).event
        await link.send(permit(event, open_ms=HONEST_OPEN_MS))
        while (told := await self.hears(link, TapEvent)).event != event:
            pass
        assert (told.outcome, told.permit) == ("acted", True)
        self.driver.remove(READERS[0])
        assert self.pulses()[HONEST_OPEN_MS] >= 1
        await link.close()

    async def hears(self, link: Link, kind: type) -> Any:
        """Return the next message of `kind`; acknowledge every event, as a centre does."""
        while True:
            message = decode_from_agent(await link.socket.recv())
            if isinstance(message, TapEvent):
                await link.send(EventAck(event=message.event))
            if isinstance(message, kind):
                return message


@asynccontextmanager
async def hunted(folder: Path, dice) -> AsyncIterator[Hunted]:
    identity = Identity.create(folder / "agent.key")
    async with (
        running(ScriptedCentre(identity.public_key_hex(), points=HONEST)) as honest,
        attacking(dice, honest.port) as centre,
    ):
        prey = Hunted(folder, honest, centre)
        try:
            yield prey
        finally:
            prey.agent.request_stop()
            await prey.running


def test_a_tap_opens_for_its_own_permit_alone(scale, seed, report, logs):
    """Whatever centre, card, door, disk and clock do, in any order: one report, nothing opened but by its permit."""
    del logs
    examples = scale.of(60, 3_000)
    run_state_machine_as_test(
        hypothesis.seed(seed)(TapMachine),
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )
    report("taps in the hands of a centre that says anything", taps=examples)


async def test_an_agent_outlives_every_attack_of_its_centre(tmp_path, dice, scale, report, logs):
    """It stays alive, opens only for permits of that very tap, keeps no tasks, threads or memory, and serves on."""
    rounds, left = scale.of(1, 20), 0
    async with hunted(tmp_path, dice) as prey:
        await prey.serves_an_honest_centre()
        threads = threading.active_count()
        for number in range(rounds + EXTRA_ROUNDS):
            # On a slow machine every permit of a round may come too late for its tap.
            if number >= rounds and prey.opened():
                break
            if number == 1 and rounds > 1:
                gc.collect()
                tracemalloc.start()
            playing = asyncio.ensure_future(prey.hold_cards_to_readers(dice))
            for attack in dice.sample(ATTACKS, len(ATTACKS)):
                await prey.centre.attack(attack)
                assert not prey.running.done(), f"the agent ended after {attack.__name__}"
                assert len(asyncio.all_tasks()) <= MAX_TASKS, f"tasks pile up after {attack.__name__}"
            playing.cancel()
            async with asyncio.timeout(15):
                await prey.serves_an_honest_centre()
            assert prey.centre.failures == []
            assert threading.active_count() <= threads + 1
        if tracemalloc.is_tracing():
            gc.collect()
            left, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert left <= MAX_LEFT_BYTES
        moved, granted = prey.opened(), prey.centre.armoury.permits.granted
        assert set(moved) <= set(granted), "a door opened for no permit of its own"
        events = [granted[open_ms] for open_ms in moved.elements()]
        assert len(events) == len(set(events)), "a door opened twice for one tap"
        assert events, "no permit ever opened: the attacks were not understood"
    assert not logs.counts["tap_failed"]
    assert not logs.counts["background_failed"]
    report(
        "attacks of a centre on its agent",
        attacks=prey.centre.carried_out,
        frames=prey.centre.frames,
        decisions=prey.centre.armoury.permits.decisions,
        taps=prey.taps,
        opened=len(events),
        log_lines=logs.lines,
        bytes_left_behind=left,
    )


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuple(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


def settings_parser(folder: Path) -> Parser:
    """What reads a settings file; what it takes can be used by whoever needs it."""
    file = folder / "agent.toml"

    def parse(content: bytes) -> None:
        file.write_bytes(content)
        settings = load_settings(file)
        address = parse_uri(settings.centre_url)
        address.host.encode("idna")
        assert 0 < address.port < 65_536
        paths = (settings.key_file, settings.outbox_file, settings.ca_file, settings.pcsc_socket)
        for path in filter(None, paths):
            path.with_name(path.name + ".lock").exists()

    return Parser("settings file", parse, (SettingsFault,))


@pytest.mark.usefixtures("bare_environment")
def test_a_settings_file_is_used_or_refused_by_name(tmp_path, dice, scale, report):
    """Only `SettingsFault` comes out of whatever the file holds, and settings that are taken can be connected with."""
    tally = feed(settings_parser(tmp_path), bent_settings(dice), scale.of(250, 30_000))
    assert 0 < tally.taken < tally.inputs
    report("settings files", inputs=tally.inputs, taken=tally.taken, slowest_us=tally.slowest_us)


@pytest.mark.usefixtures("bare_environment")
@pytest.mark.parametrize("name", HEAVY_SETTINGS)
def test_no_settings_file_keeps_the_agent_from_starting_for_long(tmp_path, name):
    """A few seconds of CPU at the very most, for 16 KiB written to be slow, and for a file of any length."""
    began = time.process_time()
    settings_parser(tmp_path).takes(HEAVY_SETTINGS[name])
    assert time.process_time() - began < MAX_START_S


def test_remembered_points_are_taken_or_forgotten(dice, scale, report):
    """Whatever was remembered, nothing comes out but points within the bounds of a welcome."""

    def parse(text: str) -> None:
        points = PointMap.from_json(text)
        assert len(points.setups) <= 64
        assert PointMap.from_json(points.to_json()).setups == points.setups
        points.for_reader("Reader 1")
        if not points.setups:
            raise LookupError

    parser = Parser("remembered points", parse, (LookupError,))
    tally = feed(parser, bent_points(dice), scale.of(2_000, 150_000))
    assert tally.taken
    report("remembered points", inputs=tally.inputs, taken=tally.taken, slowest_us=tally.slowest_us)


def test_a_key_file_is_used_or_refused_without_a_word_of_it(tmp_path, dice, scale, report):
    """Only `IdentityFault`, and nothing of the file in it."""
    file = tmp_path / "agent.key"
    Identity.create(file)
    pem = file.read_bytes()

    def parse(content: bytes) -> None:
        file.write_bytes(content)
        try:
            assert len(Identity.load(file).sign_hello("aa", "agent-1", 1)) == 128
        except IdentityFault as fault:
            if pem[30:50].decode() in f"{fault} {fault.__cause__}":
                raise AssertionError("the key is in the error") from fault
            raise

    def bent() -> Iterator[bytes]:
        while True:
            yield bend_bytes(dice, pem, [pem[::-1], b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", b"=" * 5_000])

    tally = feed(Parser("key file", parse, (IdentityFault,)), bent(), scale.of(600, 60_000))
    assert tally.taken
    report("key files", inputs=tally.inputs, taken=tally.taken, slowest_us=tally.slowest_us)


@pytest.fixture(scope="module", params=["closed", "crashed"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_outbox(tmp_path_factory.mktemp("outbox"), crashed=request.param == "crashed")


def use(path: Path) -> list[TapEvent]:
    """Do with the outbox at `path` what an agent does in its life; return what waited for the centre at first."""
    read_aside(path)
    outbox = Outbox.open(path, AGENT, at_ms=NOW_MS + 60_000)
    try:
        PointMap.from_json(outbox.recall("points"))
        waiting = list(outbox.pending(100))
        outbox.account()
        event = outbox.open_tap("door-1", NOW_MS)
        outbox.finish(TapEvent(event=event, point="door-1", at_ms=NOW_MS, outcome="shown"))
        outbox.acknowledged([event, *(one.event for one in waiting[:1])])
        outbox.again(EventRange(epoch=NOW_MS // 1_000, first=1, last=2**53 - 1), NOW_MS)
        outbox.set_aside(event, "unseen_tap")
        return waiting
    finally:
        outbox.close()


def test_a_sound_outbox_gives_back_everything(written, tmp_path):
    """What the tests below bend is whole before: every finished event that was not acknowledged waits."""
    found = use(written.copy_to(tmp_path / "sound"))
    assert [event for event in found if event.outcome == "shown"] == list(written.waiting)


def test_a_damaged_outbox_is_refused_or_works(written, tmp_path, dice, scale, report):
    """Cut, overwritten, mixed up: `OutboxFault` or an outbox that works, soon, never anything else."""
    count, refused = scale.of(40, 2_000), 0
    for _ in range(count):
        path = written.copy_to(tmp_path / "damaged")
        beside = [file for file in path.parent.iterdir() if not file.name.endswith(".lock")]
        done = [damage(dice, dice.choice(beside)) for _ in range(dice.choice((1, 1, 2)))]
        refused += _is_refused(path, done)
    assert 0 < refused < count
    report("damaged outbox files", files=count, refused=refused)


def test_rows_nobody_wrote_lose_no_sound_report(written, tmp_path, dice, scale, report):
    """An outbox with garbage in it is refused, or goes on with every sound report that was in it."""
    count, refused = scale.of(40, 2_000), 0
    for _ in range(count):
        path = written.copy_to(tmp_path / "spoilt")
        refused += _is_refused(path, [spoil(dice, path)], written.waiting)
    assert 0 < refused < count
    report("outbox files with garbage rows", files=count, refused=refused)


def _is_refused(path: Path, done: list[str], waiting: tuple[TapEvent, ...] = ()) -> bool:
    began = time.process_time()
    try:
        found = use(path)
    except OutboxFault:
        return True
    except Exception as error:
        error.add_note(f"after {done}")
        raise
    finally:
        assert time.process_time() - began < MAX_START_S, done
    sound = [event for event in waiting if event.event.sequence not in SPOILT]
    assert all(event in found for event in sound), f"reports are lost after {done}"
    return False


# Whatever pyscard can make of a name; see `fuzz_pcscd` for what it cannot.
STRANGE_NAMES = (
    *("", " ", "*", "Reader 0\x00", "\x1b[31mred", "a\r\nlevel=error", "\u202egnirts", "\ufeff", "Türöffner", "{}"),
    *("x" * 127, "\U0001f6aa" * 127, "x" * 128, "y" * 100_000, "%s%n", "../../etc", "reader 0", "READER 0"),
)


async def test_readers_of_any_name_leave_the_others_at_work(tmp_path, dice, logs):
    """Controls, nothing at all, no Unicode, far too long: such readers are served or refused, and the agent goes on."""
    async with hunted(tmp_path, dice) as prey:
        for name in STRANGE_NAMES:
            prey.driver.tell(ReaderAppeared(name))
            prey.driver.tell(CardArrived(name, dice.randbytes(dice.choice((0, 1, 33, 34, 300)))))
            prey.driver.tell(CardRemoved(name))
            prey.driver.tell(ReaderVanished(name))
            prey.driver.tell(ReaderAppeared(name))
        async with asyncio.timeout(15):
            await prey.serves_an_honest_centre()
        assert not prey.running.done()
        assert b"gnirts" in generate_latest(prey.agent.metrics.registry)
    assert not logs.counts["tap_failed"]


def threads_named(prefix: str) -> int:
    return sum(thread.name.startswith(prefix) for thread in threading.enumerate())


async def test_readers_that_come_and_go_are_forgotten(tmp_path, dice, logs):
    """A device that calls itself otherwise each time fills neither memory, threads nor the metrics."""
    del logs
    async with hunted(tmp_path, dice) as prey:
        await prey.serves_an_honest_centre()
        for number in range(300):
            name = f"Flaky {number:04}"
            prey.driver.tell(ReaderAppeared(name))
            prey.driver.tell(ReaderVanished(name))
        async with asyncio.timeout(15):
            await prey.serves_an_honest_centre()
        assert len(asyncio.all_tasks()) <= MAX_TASKS
        # Those that were told to end have their time for it.
        await asyncio.to_thread(wait_until, lambda: threads_named("reader Flaky ") <= MAX_READERS)
        assert len(label_values(prey.agent.metrics.registry, "reader")) <= MAX_READERS


async def test_readers_that_must_not_be_used_are_forgotten_too(tmp_path, dice, logs):
    """Each of them is named for the administrator, and the metrics do not grow with them."""
    del logs
    async with hunted(tmp_path, dice) as prey:
        for number in range(5 * MAX_READERS):
            prey.driver.tell(ReaderFaulted(f"Strange {number:04}", "not ASCII"))
        async with asyncio.timeout(15):
            await prey.serves_an_honest_centre()
        assert len(label_values(prey.agent.metrics.registry, "reader")) <= MAX_READERS + len(READERS)


async def test_points_that_come_and_go_are_forgotten(tmp_path, dice, logs):
    """A centre that names the same door otherwise before each tap fills neither the metrics nor the outputs."""
    del logs
    async with hunted(tmp_path, dice) as prey:
        link = await prey.meets_an_honest_centre()
        for number in range(MAX_POINTS + 16):
            setup = HONEST[0].model_copy(update={"point": f"door.{number}"})
            await link.send(Welcome(points=(setup,), centre_time_ms=0))
            await prey.reads_everything(link)
            prey.driver.insert(READERS[0], FakeCard())
            event = (await prey.hears(link, CardPresent)).event
            await link.send(permit(event, open_ms=0))
            await prey.hears(link, TapEvent)
            prey.driver.remove(READERS[0])
        assert len(label_values(prey.agent.metrics.registry, "point")) <= MAX_POINTS


async def test_a_flood_of_points_keeps_no_tap_waiting(tmp_path, dice, logs):
    """Fifteen hundred welcomes, each with other points: no task for each, no write for each, and the next tap works."""
    async with hunted(tmp_path, dice) as prey:
        link = await prey.meets_an_honest_centre()
        for number in range(1_500):
            setup = HONEST[0].model_copy(update={"tap_budget_ms": 10_000 + number})
            await link.send(Welcome(points=(setup,), centre_time_ms=0))
        await prey.reads_everything(link)
        assert len(asyncio.all_tasks()) <= MAX_TASKS
        prey.driver.insert(READERS[0], FakeCard())
        async with asyncio.timeout(5):
            await link.send(permit((await prey.hears(link, CardPresent)).event, open_ms=HONEST_OPEN_MS))
            assert (await prey.hears(link, TapEvent)).outcome == "acted"
    assert not logs.counts["tap_not_stored"]


async def test_a_flood_from_the_centre_is_no_flood_of_log_lines(tmp_path, dice, logs):
    """Three thousand messages that are ignored leave a hundred lines at most: the disk is not the centre's to fill."""
    async with hunted(tmp_path, dice) as prey:
        link = await prey.meets_an_honest_centre()
        before = logs.lines
        ack = EventAck(event=EventId(agent="agent-1", epoch=1, sequence=1))
        await link.send(*[ack] * 3_000)
        await prey.reads_everything(link)
        assert logs.lines - before <= 100
