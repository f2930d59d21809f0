# SPDX-License-Identifier: EUPL-1.2
"""What a supervisor is told, over its real socket: once ready, again and again while all is well, never in vain."""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.supervised import Listener

from cardservice.supervisor import ALIVE, READY, STOPPING, Supervisor


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A path of its own: a UNIX socket's name has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="notify-") as folder, Listener(Path(folder)) as listening:
        yield listening


async def watched(supervisor: Supervisor, well: list[bool]) -> None:
    """Keep watch until the list of answers is used up."""
    with contextlib.suppress(IndexError):
        await supervisor.keep_watch(lambda: well.pop(0))


def test_it_says_what_it_is_told_to_say(listener: Listener) -> None:
    supervisor = Supervisor(listener.environment, os.getpid())
    supervisor.tell(READY)
    supervisor.tell(STOPPING)
    assert [listener.hears(), listener.hears()] == ["READY=1", "STOPPING=1"]


async def test_it_is_silent_while_something_is_wrong(listener: Listener) -> None:
    """Whoever hears nothing starts the program again."""
    supervisor = Supervisor(listener.environment, os.getpid())
    await watched(supervisor, [True, False, False])
    supervisor.tell(STOPPING)
    assert listener.hears_until(STOPPING) == [ALIVE, STOPPING]
    await watched(supervisor, [True, True])
    supervisor.tell(STOPPING)
    assert listener.hears_until(STOPPING) == [ALIVE, ALIVE, STOPPING]


@pytest.mark.parametrize(
    "changed",
    [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}],
    ids=str,
)
async def test_without_a_watchdog_of_ours_nothing_is_repeated(listener: Listener, changed: dict[str, str]) -> None:
    """A child that inherits the environment of a watched program does not speak for it."""
    supervisor = Supervisor({**listener.environment, **changed}, os.getpid())
    async with asyncio.timeout(5):
        await supervisor.keep_watch(lambda: True)
    supervisor.tell(READY)
    assert listener.hears() == READY


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify"])
async def test_nobody_who_listens_is_missed(address: str) -> None:
    Supervisor({"NOTIFY_SOCKET": address}, os.getpid()).tell(READY)
    async with asyncio.timeout(5):
        await Supervisor({"WATCHDOG_USEC": "1000"}, os.getpid()).keep_watch(lambda: True)


def test_a_name_without_a_path_is_found() -> None:
    """The abstract namespace, which systemd uses for containers."""
    name = f"cardservice-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        Supervisor({"NOTIFY_SOCKET": "@" + name}, os.getpid()).tell(READY)
        assert listening.recv(100) == b"READY=1"
