# SPDX-License-Identifier: EUPL-1.2
"""An agent at a PC that writes down when its driver told it of a card: a program of `cardservice bench unlock`.

`python -m cardservice.bench.unlock_agent --config FILE --moments FILE --bus ADDRESS`. It writes a line for each arrival
and removal, with the monotonic clock of this machine in microseconds, the clock of logind's double in its notes.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from integrations.logind import LogindSessions
from integrations.simulated_io import build as build_output
from readers import logs
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector
from readers.pcsc import PcscDriver
from readers.ports import CardArrived, CardRemoved, ReaderEvent
from readers.settings import AgentSettings, load_settings


class NotingDriver(PcscDriver):
    """The ordinary driver, which also writes down when it handed over an event."""

    def __init__(self, socket: Path | None, moments: Path) -> None:
        super().__init__(socket)
        self._moments = moments

    def wait(self, timeout_s: float) -> Sequence[ReaderEvent]:
        """Return what happened; the moment is the one at which it is returned."""
        events = super().wait(timeout_s)
        told = [event for event in events if isinstance(event, CardArrived | CardRemoved)]
        if told:
            now_us = time.monotonic_ns() // 1_000
            with self._moments.open("a", encoding="ascii") as file:
                file.writelines(f"{now_us} {type(event).__name__}\n" for event in told)
        return events


async def _serve(settings: AgentSettings, moments: Path, bus: str) -> None:
    surroundings = Surroundings(websocket_connector(settings), sessions=lambda: LogindSessions(address=bus))
    agent = Agent(settings, NotingDriver(settings.pcsc_socket, moments), build_output, surroundings=surroundings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.request_stop)
    await agent.run()


def main(arguments: Sequence[str]) -> int:
    """Run the agent; return the exit code."""
    parser = argparse.ArgumentParser(prog="unlock_agent")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--moments", type=Path, required=True)
    parser.add_argument("--bus", required=True)
    options = parser.parse_args(arguments)
    settings = load_settings(options.config)
    logs.configure(settings.log_format, settings.log_level)
    uvloop.run(_serve(settings, options.moments, options.bus))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
