# SPDX-License-Identifier: EUPL-1.2
"""A city whose service, or whose agent, lives on a really small disk (`support.tiny_disk`)."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from e2e.whole_city import reader_of
from support.agent_process import AgentProcess
from support.scripted_agent import ScriptedAgent
from support.service import AGENT, CityFiles, DirectoryThread, ServiceProcess, ServiceThread, directory_in_thread
from support.tiny_disk import TinyDisk, tiny_disk

from city import building
from rig.control import RigClient
from rig.process import RigProcess

MEGABYTES = 6
LIMIT_S = 15.0


@contextmanager
def _seeded(files: CityFiles) -> Iterator[ServiceThread]:
    """Fill the stores as ever, on an ordinary disk; the service runs while the context lasts."""
    files.upgrade()
    service = ServiceThread(files)
    service.start()
    service.wait_health(lambda state: state.get("status") == "ready")
    points = files.seed()
    service.wait_health(lambda state: state["points"] == points)
    yield service
    service.stop()


@dataclass(frozen=True, slots=True)
class ServiceOnTinyDisk:
    """A real service whose stores are on `disk`."""

    disk: TinyDisk
    files: CityFiles
    directory: DirectoryThread
    service: ServiceProcess
    key: Ed25519PrivateKey

    def agent(self) -> ScriptedAgent:
        """Return an agent that has not connected yet."""
        return ScriptedAgent(self.service.agents_url, AGENT, self.key)

    def degraded(self, *words: str) -> Callable[[dict[str, Any]], bool]:
        """Return whether one sentence of the health report has all of `words`."""
        return lambda state: any(all(word in text for word in words) for text in state.get("degraded", ()))


@contextmanager
def service_on_tiny_disk(folder: Path) -> Iterator[ServiceOnTinyDisk]:
    """Start a service on a tiny disk in `folder`."""
    with directory_in_thread() as directory:
        files = CityFiles(folder / "city", directory.address)
        with _seeded(files):
            key = files.enrol(AGENT)
        with tiny_disk(files.folder, MEGABYTES) as disk, ExitStack() as stack:
            with disk.programs():
                service = stack.enter_context(ServiceProcess(files, folder / "service.log"))
            service.wait_health(lambda state: state.get("status") == "ready")
            yield ServiceOnTinyDisk(disk, files, directory, service, key)


@dataclass
class AgentOnTinyDisk:
    """A real agent beside a real pcscd; its outbox is on `disk`, the service's stores are not."""

    disk: TinyDisk
    files: CityFiles
    log: Path
    control: RigClient
    live: HTTPResponse

    def seen(self, done: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
        """Return what the live feed shows, up to and with the first event of which `done` is true."""
        deadline, events = time.monotonic() + LIMIT_S, []
        while time.monotonic() < deadline:
            line = self.live.readline()
            assert line, "the live feed ended"
            if line.startswith(b"data: "):
                events.append(json.loads(line[6:]))
                if done(events[-1]):
                    return events
        raise AssertionError(f"not seen within {LIMIT_S} s")

    def insert(self, card: str, point: str) -> None:
        """Hold a card to the reader of `point`."""
        self.control.insert(card, reader_of(point))

    def take_away(self, point: str) -> None:
        """Take the card away and wait until the agent noticed."""
        reader = reader_of(point)
        self.control.eject(reader)
        self.until_empty(reader)

    def until_empty(self, reader: str) -> None:
        """Wait until the agent reports an empty reader."""

        def is_empty(event: dict[str, Any]) -> bool:
            here = {one["reader"]: one["present"] for one in event.get("readers", ())}
            return here.get(reader) is False

        self.seen(is_empty)


@contextmanager
def agent_on_tiny_disk(folder: Path) -> Iterator[AgentOnTinyDisk]:
    """Start everything in `folder`, which needs a short name; the agent alone is on the tiny disk."""
    with directory_in_thread() as directory, ExitStack() as stack:
        files = CityFiles(folder / "city", directory.address)
        service = stack.enter_context(_seeded(files))
        arguments = ["--doors", str(len(building.DOORS))]
        rig = stack.enter_context(
            RigProcess(folder / "rig", deck=files.deck_file, loader="cardsim.deck:load_deck", arguments=arguments)
        )
        # Its first start makes and enrols its key, on the ordinary disk.
        AgentProcess(files, AGENT, service.agents_url, rig.pcsc_socket or "").stop()
        disk = stack.enter_context(tiny_disk(files.folder, MEGABYTES))
        live = stack.enter_context(service.watching())
        with disk.programs():
            agent = stack.enter_context(AgentProcess(files, AGENT, service.agents_url, rig.pcsc_socket or ""))
        city = AgentOnTinyDisk(disk, files, agent.log, stack.enter_context(rig.client()), live)
        city.until_empty(building.reader_name(1, 0))
        yield city
        assert agent.stop() == 0
