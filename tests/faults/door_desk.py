# SPDX-License-Identifier: EUPL-1.2
"""A service that opens doors from the desk and dies by SIGKILL at a given step, life after life.

    python door_desk.py CONFIG

A life is told a JSON object: `ask`, the request ids to open in order; `die`, the step of the last of them after which
it dies (one of `STEPS`, or a number: so many milliseconds after it was asked for; none: when all are answered). It says
`ID OUTCOME` once a request is answered.
"""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.lives import each_line, say
from support.service import AGENT
from support.waiting import wait_until

from cardservice.agents import session
from cardservice.app import Service
from cardservice.doors.openings import Openings
from cardservice.doors.record import DoorJournal
from cardservice.server import listen
from cardservice.settings import load

DOOR, CALLER = "bauamt.aussen", "pforte"
STEPS = ("claimed", "asked", "sent", "answered", "written", "finished", "acknowledged")


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(step: Callable[..., Any], *, before: bool = False, nth: int = 1) -> Callable[..., Any]:
    """Return `step` that ends the process after its `nth` call, or before it begins."""
    calls = [0]

    def counted() -> bool:
        calls[0] += 1
        return calls[0] == nth

    async def later(*args: Any, **named: Any) -> Any:
        found = await step(*args, **named)
        if counted():
            die()
        return found

    def now(*args: Any, **named: Any) -> Any:
        if before:
            die()
        found = step(*args, **named)
        if counted():
            die()
        return found

    return later if asyncio.iscoroutinefunction(step) else now


def arm(step: str) -> None:
    """From now on the service dies at `step`."""
    agents = session.AgentSession
    match step:
        case "claimed":
            Openings._claim = dying(Openings._claim)
        case "asked":
            DoorJournal.keep_here = dying(DoorJournal.keep_here)
        case "sent":
            agents.command = dying(agents.command)
        case "answered":
            agents._done = dying(agents._done, before=True)
        case "written":
            DoorJournal.keep_here = dying(DoorJournal.keep_here, nth=2)
        case "finished":
            Openings._finish = dying(Openings._finish)


def ask(service: Service, order: dict[str, Any]) -> None:
    """Open what is to be opened, then die."""
    wait_until(lambda: service._loop is not None and AGENT in service._hub.online)
    step = order["die"]
    for request in order["ask"]:
        if request == order["ask"][-1] and isinstance(step, str):
            arm(step)
        if request == order["ask"][-1] and isinstance(step, int | float):
            timer = threading.Timer(step / 1_000, die)
            timer.daemon = True
            timer.start()
        work = service._doors.openings.open_once(DOOR, caller=CALLER, reason="Probe", request_id=request)
        assert service._loop is not None
        say(f"{request} {asyncio.run_coroutine_threadsafe(work, service._loop).result(20).outcome}")
    die()


def live(config: Path, order: dict[str, Any]) -> None:
    settings = load(config)
    listener = listen(settings.service.host, settings.service.port)
    service = Service(settings)
    service.start()
    threading.Thread(target=ask, args=(service, order), daemon=True).start()
    service.server(on_ready=lambda: None).run(sockets=[listener])


if __name__ == "__main__":
    each_line(lambda line: live(Path(sys.argv[1]), json.loads(line)))
