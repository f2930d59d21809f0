# SPDX-License-Identifier: EUPL-1.2
"""The reader agents of the demonstration city: programs of their own, or threads of this process without pcscd."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine import Engine

from cardservice.agents.service import Agents
from cardservice.clock import SystemClock
from cardservice.demo.benches import Bench
from cardservice.demo.live import LiveReader
from cardservice.demo.processes import DemoError, Workshop, to_toml
from cardservice.demo.seeding import PLACES_AGENT
from cardservice.demo.surroundings import Around
from cardservice.workstations.ports import Sessions
from integrations.logind import LogindSessions
from integrations.simulated_io import build as build_output
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector
from readers.identity import Identity
from readers.main import sessions_of
from readers.settings import AgentSettings, load_settings

AGENT: Final = "rathaus"
HOST_AGENT: Final = "eigener-rechner"
_READY_S: Final = 30.0


class ReaderAgents:
    """One agent for each bench, and one for the readers of this machine, if it has any. `start` once."""

    def __init__(self, shop: Workshop, benches: Sequence[Bench], around: Around, host_pcsc: Path | None) -> None:
        self._shop = shop
        self._benches = benches
        self._around = around
        self._host_pcsc = host_pcsc
        self._there: dict[str, threading.Event] = {}
        self._no_longer: Callable[[], None]
        self.kiosk_url = ""

    def start(self, engine: Engine, port: int, live: LiveReader) -> set[str]:
        """Start them all, connecting to `port` of this machine; return their names."""
        self._there = {bench.agent: threading.Event() for bench in self._benches}
        wanted = {bench.agent: len(bench.readers) for bench in self._benches}

        def note(event: Mapping[str, Any]) -> None:
            agent = event.get("agent", "")
            if event["kind"] == "agent" and agent in self._there and len(event["readers"]) >= wanted[agent]:
                self._there[agent].set()

        self._no_longer = live.listen(note)
        for bench in self._benches:
            self._start(bench.agent, bench, engine, port)
        if self.needs_host_agent():
            self._start(HOST_AGENT, None, engine, port)
            return {*self._there, HOST_AGENT}
        return set(self._there)

    def await_readers(self) -> None:
        """Wait until every agent has seen its readers.

        A card held to a reader before its agent looks there counts as left lying: it is asked for again.

        Raises:
            DemoError: one of them has not.
        """
        for agent, readers_there in self._there.items():
            if not readers_there.wait(_READY_S):
                raise DemoError(f"the agent {agent} saw not all of its readers within {_READY_S:.0f} s")
        self._no_longer()

    @property
    def host_readers_served(self) -> bool:
        """Whether a card can be held to a real reader of this machine."""
        return self.needs_host_agent() or self._ours_is_the_hosts

    def needs_host_agent(self) -> bool:
        """Whether the host's own pcscd runs beside ours; a process can serve only one, so it gets its own agent."""
        socket = self._host_pcsc
        return socket is not None and socket.exists() and not self._ours_is_the_hosts and not why_no_pyscard()

    @property
    def _ours_is_the_hosts(self) -> bool:
        return self._benches[0].mode == "direct"

    def _start(self, name: str, bench: Bench | None, engine: Engine, port: int) -> None:
        state = self._shop.state
        identity = Identity.create(state / f"{name}.key")
        Agents(engine, SystemClock()).enrol(name, identity.public_key_hex())
        values: dict[str, Any] = {
            "agent": name,
            "centre_url": f"ws://127.0.0.1:{port}/agents/v1",
            "key_file": f"{state}/{name}.key",
            "outbox_file": f"{state}/{name}.outbox",
        }
        environment: dict[str, str] = {}
        if name == PLACES_AGENT:
            values |= self._around.agent_settings()
            self.kiosk_url = f"http://127.0.0.1:{values['kiosk_port']}/"
            if self._around.bus_address is not None:
                environment["DBUS_SYSTEM_BUS_ADDRESS"] = self._around.bus_address
        if bench is None:
            values["pcsc_socket"] = str(self._host_pcsc)
        elif bench.pcsc_socket is not None:
            values["pcsc_socket"] = bench.pcsc_socket
        config = self._shop.write(f"{name}.toml", to_toml({"": values}))
        if bench is not None and bench.pcsc_socket is None:
            self._start_here(config, bench)
            return
        self._shop.child(name, "-m", "readers", "--config", str(config), "run", environment=environment)

    def _start_here(self, config: Path, bench: Bench) -> None:
        """Run the very same agent in a thread, on readers inside this process."""
        settings = load_settings(config)
        surroundings = Surroundings(websocket_connector(settings), sessions=lambda: self._sessions(settings))
        agent = Agent(settings, bench.driver(), build_output, surroundings=surroundings)
        loop = asyncio.new_event_loop()

        def run() -> None:
            loop.run_until_complete(agent.run())
            loop.close()

        thread = threading.Thread(target=run, name=f"agent {bench.agent}", daemon=True)

        def close() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(agent.request_stop)
            thread.join(timeout=10)

        self._shop.closers.append(close)
        thread.start()

    def _sessions(self, settings: AgentSettings) -> Sessions:
        address = self._around.bus_address
        return sessions_of(settings) if address is None else LogindSessions(settings.seat, address=address)


def why_no_pyscard() -> str:
    """Say in one sentence why real readers cannot be used; nothing when they can."""
    try:
        __import__("smartcard.scard")
    except ImportError as error:
        return f"pyscard is not installed ({error.name or 'it cannot be loaded'})"
    return ""
