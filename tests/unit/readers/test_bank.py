# SPDX-License-Identifier: EUPL-1.2
"""The bank of readers: bounded, and nothing of a lost reader stays behind."""

import asyncio
import threading
from contextlib import asynccontextmanager

from structlog.testing import capture_logs
from unit.readers.fakes import FakeClock, FakeDriver

from readers.bank import MAX_READERS, BankHooks, BankParts, ReaderBank
from readers.errors import ReaderFault
from readers.metrics import Metrics
from readers.ports import DriverUp, ReaderAppeared, ReaderFaulted, ReaderVanished
from readers.worker import Worker


class Watched:
    """A running bank; `changed` is set after each batch of events."""

    def __init__(self, driver: FakeDriver) -> None:
        self.changed = asyncio.Event()
        hooks = BankHooks(
            begin_tap=lambda _slot, _arrival: None,
            tap_ended=lambda _slot, _tap: None,
            takes_found=lambda _reader: None,
            ask_again=lambda _reader: None,
            card_left=lambda _reader: None,
            changed=self.changed.set,
        )
        self.metrics = Metrics()
        self.bank = ReaderBank(BankParts(driver, Worker, FakeClock(), self.metrics), hooks, removal_debounce_ms=0)

    async def until(self, readers: set[str]) -> None:
        while {reader.reader for reader in self.bank.health()} != readers:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def running(driver: FakeDriver):
    watched = Watched(driver)
    task = asyncio.create_task(watched.bank.run())
    yield watched
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await watched.bank.close()


async def test_more_readers_than_the_wire_can_name_are_not_served():
    """The first ones stay; a lost one makes room; a name too long for the wire is refused."""
    names = [f"Reader {number}" for number in range(MAX_READERS)]
    driver = FakeDriver(*names)
    async with running(driver) as watched:
        await watched.until(set(names))
        driver.tell(ReaderAppeared("one more"))
        driver.tell(ReaderVanished("Reader 0"))
        driver.tell(ReaderAppeared("x" * 128))
        await watched.until(set(names) - {"Reader 0"})
        driver.tell(ReaderAppeared("another"))
        await watched.until(set(names) - {"Reader 0"} | {"another"})
        assert "one more" not in {reader.reader for reader in watched.bank.health()}


async def test_a_driver_that_raises_is_down_and_asked_again(monkeypatch):
    """The health says so, and the next answer of the driver counts again."""
    monkeypatch.setattr("readers.bank.DRIVER_RETRY_S", 0)
    driver = FakeDriver("Reader A")
    real_wait, failures = driver.wait, [ReaderFault("broken")]

    def wait(timeout_s: float):
        if failures:
            raise failures.pop()
        return real_wait(timeout_s)

    driver.wait = wait
    async with running(driver) as watched:
        await watched.until({"Reader A"})
        assert watched.bank.pcsc == "down"
        assert watched.metrics.registry.get_sample_value("cardservice_agent_pcsc_up") == 0


async def test_a_driver_that_hangs_is_down_until_it_answers(monkeypatch):
    """Nothing tells of a pcscd that stands still; without this it would look healthy while no card is seen."""
    monkeypatch.setattr("readers.bank.HANGS_S", 0.05)
    driver = FakeDriver("Reader A")
    real_wait, go_on = driver.wait, threading.Event()

    async with running(driver) as watched:
        await watched.until({"Reader A"})
        driver.tell(DriverUp())
        driver.wait = lambda timeout_s: real_wait(timeout_s) if go_on.wait(10) else ()
        while watched.bank.pcsc != "down":
            watched.changed.clear()
            await watched.changed.wait()
        assert watched.metrics.registry.get_sample_value("cardservice_agent_pcsc_up") == 0
        assert [reader.reader for reader in watched.bank.health()] == ["Reader A"]
        go_on.set()
        while watched.bank.pcsc == "down":
            watched.changed.clear()
            await watched.changed.wait()
        assert watched.metrics.registry.get_sample_value("cardservice_agent_pcsc_up") == 1


async def test_a_reader_that_must_not_be_used_is_named_though_it_was_never_seen_before():
    """Two readers of one name at the start: the log and the metric say which, and not for longer than it is so."""
    driver = FakeDriver("Reader A")
    driver.tell(ReaderFaulted("Twin", "there are two"))
    with capture_logs() as logs:
        async with running(driver) as watched:
            await watched.until({"Reader A"})
            usable = watched.metrics.registry.get_sample_value
            while usable("cardservice_agent_reader_usable", {"reader": "Twin"}) != 0:
                watched.changed.clear()
                await watched.changed.wait()
            assert usable("cardservice_agent_reader_usable", {"reader": "Reader A"}) == 1
            driver.tell(ReaderAppeared("Twin"))
            await watched.until({"Reader A", "Twin"})
            assert usable("cardservice_agent_reader_usable", {"reader": "Twin"}) == 1
    assert ("reader_faulty", "Twin", "there are two") in [
        (line["event"], line.get("reader"), line.get("reason")) for line in logs
    ]
