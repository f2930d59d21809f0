# SPDX-License-Identifier: EUPL-1.2
"""One tap at a printer in a process of its own, which kills itself before its Nth step.

A life is told a JSON object, see `Tap`; its exit code is 0 if the tap went well. A step is what the release loop does
to the world, with the moments before, in the middle of and after it: a request to cupsd or to a printer (not sent, sent
but not answered, answered) and a unit of the record (not begun, not yet written, written but not committed, committed).
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection as Database
from support.lives import each_line

from cardservice.database import open_databases
from cardservice.printing.rules import Code
from cardservice.printing.service import PrintRelease
from cardservice.recorder import Recorder
from integrations.cups import CupsSettings, CupsSpooler, connection

NEVER = 0
_WENT_WELL = (Code.RELEASED, Code.NOTHING_WAITING)


@dataclass(frozen=True, slots=True)
class Tap:
    """Who taps where, and before which step the process dies (0: never)."""

    database: str
    socket: str
    points: dict[str, str]
    owner: str
    point: str
    event: str
    dies_at: int = NEVER


class Steps:
    """Counts, and kills."""

    def __init__(self, dies_at: int) -> None:
        self._left = dies_at

    def one(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def watch_requests(steps: Steps) -> None:
    ask, answer = connection.Connection.ask, connection._answer

    async def watched_ask(self: connection.Connection, path: str, request: bytes) -> bytes:
        steps.one()
        answered = await ask(self, path, request)
        steps.one()
        return answered

    async def watched_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bool]:
        steps.one()
        return await answer(reader)

    connection.Connection.ask = watched_ask
    connection._answer = watched_answer


def watch_record(steps: Steps, recorder: Recorder) -> Callable[[Callable[[Database], Any]], Awaitable[Any]]:
    async def submit(unit: Callable[[Database], Any]) -> Any:
        def watched(database: Database) -> Any:
            steps.one()
            result = unit(database)
            steps.one()
            return result

        steps.one()
        result = await recorder.submit_here(watched)
        steps.one()
        return result

    return submit


async def tap(wanted: Tap) -> int:
    steps = Steps(wanted.dies_at)
    databases = open_databases(wanted.database)
    recorder = Recorder(databases.record)
    recorder.start()
    spooler = CupsSpooler(CupsSettings(socket=Path(wanted.socket)))
    watch_requests(steps)
    printing = PrintRelease(spooler, wanted.points)
    submit = watch_record(steps, recorder)
    answer = await printing.release(wanted.event, wanted.owner, "a" * 32, wanted.point, submit)
    steps.one()
    await spooler.close()
    recorder.stop()
    databases.close()
    return 0 if answer.code in _WENT_WELL else 1


if __name__ == "__main__":
    each_line(lambda line: asyncio.run(tap(Tap(**json.loads(line)))))
