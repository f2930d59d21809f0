# SPDX-License-Identifier: EUPL-1.2
"""`cardservice serve` as a process: ends in order and soon, whoever is connected and whatever hangs."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_agent import CardInHand, ScriptedAgent, report, response
from support.service import AGENT, CityFiles, DirectoryThread, ServiceProcess, directory_in_thread

from cardservice.agents.messages import CardApdus, CardOpen, EventAck
from cardservice.agents.store import agent_event
from cardservice.journal.service import verify

DOOR = "bauamt.aussen"
END_LIMIT_S = 6.0


@pytest.fixture(scope="module")
def directory() -> Iterator[DirectoryThread]:
    with directory_in_thread() as running:
        yield running


@pytest.fixture(scope="module")
def files(directory: DirectoryThread, tmp_path_factory: pytest.TempPathFactory) -> CityFiles:
    """A city that was seeded by an earlier run of the service."""
    files = CityFiles(tmp_path_factory.mktemp("stopping"), directory.address)
    files.upgrade()
    with ServiceProcess(files, files.folder / "seed.log") as service:
        service.wait_health(lambda state: state.get("status") == "ready")
        files.seed()
    return files


@pytest.fixture(scope="module")
def agent_key(files: CityFiles):
    return files.enrol(AGENT)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "service.log"


@pytest.fixture
def service(files: CityFiles, log: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(files, log) as running:
        running.wait_health(lambda state: state.get("status") == "ready")
        yield running


def ended_cleanly(service: ServiceProcess, log: Path, number: signal.Signals) -> None:
    """Exit code 0 within the limit, and no trace of a failure in the log."""
    asked_s = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - asked_s < END_LIMIT_S
    text = log.read_text()
    assert "Traceback" not in text
    assert "Error" not in text
    for line in text.splitlines():
        assert json.loads(line)["level"] != "error", line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_with_a_watcher_an_agent_and_a_tap_under_way(service, files, agent_key, log, number):
    """The agent is told, the journal is whole."""
    with service.watching():
        agent = ScriptedAgent(service.agents_url, AGENT, agent_key)
        await agent.join()
        refused = await agent.tap(files.cards()["sabine"], DOOR)
        assert refused.reason == "no_grant"
        await agent.send(agent.present(DOOR))
        await agent.expect(CardOpen)
        await asyncio.to_thread(ended_cleanly, service, log, number)
        assert await agent.closed() in {1012, 1006}
    with files.stores() as databases:
        assert verify(databases.record)


async def test_it_ends_although_the_directory_hangs(service, directory, log):
    directory.switches.pause()
    try:
        await asyncio.to_thread(service.wait_health, lambda state: state["status"] == "degraded")
        await asyncio.to_thread(ended_cleanly, service, log, signal.SIGTERM)
    finally:
        directory.switches.resume()


async def test_nothing_acknowledged_is_lost_by_a_kill(service, files, agent_key, log):
    """Killed without warning; the next process takes the same event for a repeat, and a new one with its receipt."""
    agent = ScriptedAgent(service.agents_url, AGENT, agent_key)
    await agent.join()
    stored = report(await agent.tap(files.cards()["anna"], DOOR), DOOR)
    assert isinstance(await agent.upload(stored), EventAck)
    pending = report(await agent.tap(files.cards()["anna"], DOOR), DOOR)
    await asyncio.to_thread(service.stop, signal.SIGKILL)
    await agent.socket.close()
    before = len(files.rows(agent_event))
    with ServiceProcess(files, log) as again:
        async with ScriptedAgent(again.agents_url, AGENT, agent_key) as back:
            assert isinstance(await back.upload(stored), EventAck)
            assert isinstance(await back.upload(pending), EventAck)
            assert len(files.rows(agent_event)) == before + 1


async def test_a_tap_survives_a_restart_of_everything_but_the_agent(service, files, agent_key, log):
    """A conversation cut off by the end is simply begun again at the next process."""
    agent = ScriptedAgent(service.agents_url, AGENT, agent_key)
    await agent.join()
    hand = CardInHand(files.cards()["anna"])
    await agent.send(agent.present(DOOR))
    await agent.expect(CardOpen)
    question = await agent.expect(CardApdus)
    await asyncio.to_thread(service.stop)
    with ServiceProcess(files, log) as again:
        agent.url = again.agents_url
        await agent.join()
        # The old conversation's answer means nothing to the new process.
        await agent.send(response(question, hand.answers(question.apdus)))
        assert (await agent.tap(files.cards()["anna"], DOOR)).permit
        await agent.socket.close()
