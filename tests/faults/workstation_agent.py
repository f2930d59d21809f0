# SPDX-License-Identifier: EUPL-1.2
"""The agent of a PC, which kills itself at a step of its own: before or after it tells logind or notes something.

    python workstation_agent.py ORDER

ORDER is a JSON file: `settings` of the agent, and `die_at`, the number of the step (0: never).
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from cardservice.workstations.ports import Unlocked
from integrations.logind import LogindSessions
from integrations.simulated_io import build as build_output
from readers import logs, session
from readers.agent import Agent, Surroundings
from readers.centre_socket import websocket_connector
from readers.pcsc import PcscDriver
from readers.settings import AgentSettings
from readers.unlocked import UnlockedNotes

Step = Callable[[], None]


def stepper(die_at: int) -> Step:
    """Return what counts the steps and kills this very process at one of them: no goodbye, nothing written."""
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


@contextmanager
def around(step: Step) -> Iterator[None]:
    step()
    yield
    step()


class MortalSessions(LogindSessions):
    """Logind's sessions with a step before and after each call that changes something."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    async def unlock(self, user: str) -> Unlocked:
        with around(self._step):
            return await super().unlock(user)

    async def lock(self, user: str | None) -> None:
        with around(self._step):
            await super().lock(user)


class MortalNotes(UnlockedNotes):
    """The notes with a step before and after each."""

    step: Step

    def note(self, point: str, user: str) -> None:
        with around(type(self).step):
            super().note(point, user)

    def settle(self, point: str) -> None:
        with around(type(self).step):
            super().settle(point)


async def run(settings: AgentSettings, die_at: int) -> None:
    step = stepper(die_at)
    MortalNotes.step = staticmethod(step)
    # The one part of it that nobody hands in.
    session.UnlockedNotes = MortalNotes
    surroundings = Surroundings(websocket_connector(settings), sessions=lambda: MortalSessions(step))
    agent = Agent(settings, PcscDriver(settings.pcsc_socket), build_output, surroundings=surroundings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, agent.request_stop)
    await agent.run()


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    settings = AgentSettings(**order["settings"])
    logs.configure(settings.log_format, settings.log_level)
    uvloop.run(run(settings, order["die_at"]))


if __name__ == "__main__":
    main()
