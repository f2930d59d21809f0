# SPDX-License-Identifier: EUPL-1.2
"""kill -9 of the service between any two steps of opening a door once from the desk."""

import asyncio
import hashlib
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from faults.door_desk import CALLER, DOOR, STEPS
from faults.load import LoadedCity, loaded_city
from support.lives import Lives
from support.scripted_agent import ScriptedAgent
from support.service import AGENT
from websockets.exceptions import WebSocketException

from cardservice.agents.messages import PointCommand
from cardservice.database import read
from cardservice.doors.store import door_request
from cardservice.journal.service import verify
from cardservice.journal.store import journal_entry

# What the caller is told who asks again after a death at a step. Before the answer is on disk nobody knows.
AFTERWARDS = dict.fromkeys(STEPS[:4], "unknown") | dict.fromkeys(STEPS[4:], "opened")
LONGEST_MS = 40.0


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedCity]:
    with loaded_city(tmp_path_factory.mktemp("doors")) as made:
        yield made


async def stay(agent: ScriptedAgent, told: list[PointCommand]) -> None:
    """Come back whenever the centre does, and open whatever one is told to."""
    while True:
        try:
            await agent.join()
            await agent.obey(told)
        except (OSError, WebSocketException):
            await asyncio.sleep(0.02)


@contextmanager
def door_agent(city: LoadedCity) -> Iterator[list[PointCommand]]:
    """Keep the agent of the door running; yield what it was told to open."""
    port = city.files.settings().service.port
    agent = ScriptedAgent(f"ws://127.0.0.1:{port}/agents/v1", AGENT, city.files.enrol(AGENT))
    told: list[PointCommand] = []
    loop = asyncio.new_event_loop()
    work = loop.create_task(stay(agent, told))

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(work)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        loop.call_soon_threadsafe(work.cancel)
        thread.join(10)
        assert not thread.is_alive()


def desk(city: LoadedCity) -> Lives:
    program = Path(__file__).with_name("door_desk.py")
    return Lives(program, str(city.files.config), log=city.files.folder / "desk.log")


def live(program: Lives, ask: list[str], die: str | float | None) -> dict[str, str]:
    """Let the service live once; return what it acknowledged before it died."""
    life = program.begin(json.dumps({"ask": ask, "die": die}))
    answers = dict(said.split() for said in life)
    assert life.exit_code == -signal.SIGKILL
    return answers


def key_of(request: str) -> str:
    return hashlib.sha256(f"{CALLER}\0{request}".encode()).hexdigest()


def test_a_death_at_any_step_opens_nothing_twice_and_loses_no_answer(city, scale, dice, report):
    """Asked again after each death: opened once at most; what was acknowledged is said again, and journalled."""
    steps = list(STEPS) * scale.of(1, 12) + [dice.uniform(0, LONGEST_MS) for _ in range(scale.of(2, 60))]
    dice.shuffle(steps)
    told: dict[str, str] = {}
    again: dict[str, str] = {}
    with door_agent(city) as commands, desk(city) as program:
        for number, step in enumerate(steps):
            earlier = [f"request-{number - 1}"] if number else []
            answers = live(program, [*earlier, f"request-{number}"], step)
            again |= {request: answers.pop(request) for request in earlier}
            if isinstance(step, str):
                assert bool(answers) == (step == STEPS[-1]), f"it did not die at {step!r}"
            told |= answers
        last = [f"request-{number}" for number in range(len(steps))]
        again |= live(program, last, None)
    journal, opened = journalled(city), Counter(command.id for command in commands)
    requests = [f"request-{number}" for number in range(len(steps))]
    report(
        "kill -9 of the service while it opens a door",
        cycles=len(steps),
        opened=len(opened),
        acknowledged=len(told),
        unknown=list(again.values()).count("unknown"),
    )
    assert set(opened.values()) == {1}
    assert again.keys() == set(requests)
    assert told.items() <= again.items()
    for request, step in zip(requests, steps, strict=True):
        assert again[request] == AFTERWARDS.get(step, again[request])
        lines = journal[key_of(request)]
        assert lines in (["open_once", again[request]], [again[request]])
        was_opened = key_of(request)[:32] in opened
        assert was_opened or again[request] == "unknown"
        # No command left without its line on disk.
        assert lines[0] == "open_once" or not was_opened


def journalled(city: LoadedCity) -> dict[str, list[str]]:
    """Return request -> what the journal says of it, in order; every chain verifies, no request is without its end."""
    with city.files.stores() as stores:
        verify(stores.record)
        with read(stores.state) as connection:
            assert None not in connection.execute(sa.select(door_request.c.outcome)).scalars().all()
        found: dict[str, list[str]] = {}
        with read(stores.record) as connection:
            order = (journal_entry.c.epoch, journal_entry.c.sequence)
            for row in connection.execute(sa.select(journal_entry.c.payload).order_by(*order)):
                payload = json.loads(row.payload)
                if payload.get("point") == DOOR and "request" in payload:
                    found.setdefault(payload["request"], []).append(payload.get("outcome", payload["kind"]))
    return found
