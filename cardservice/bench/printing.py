# SPDX-License-Identifier: EUPL-1.2
"""`cardservice bench print`: from the decision of a tap to the document complete at the printer.

A real cupsd, its own simulated printers, one document of one page a tap. The clock starts when `PrintRelease.release`
is called and stops when the printer's program has the whole document; the record on the disk is in between. The other
side sends the same IPP requests, encoded before, on kept connections. Both take turns at the same printers.
"""

import asyncio
import pwd
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import uvloop

from cardservice.bench.city_figures import load_row, spread
from cardservice.bench.city_program import BenchError
from cardservice.bench.print_floor import Floor, to_cups, to_printer
from cardservice.bench.report import Ratio, Report
from cardservice.database import open_databases, upgrade
from cardservice.printing.rules import Code
from cardservice.printing.service import PrintRelease
from cardservice.recorder import Recorder
from integrations.cups import POLICIES, CupsSettings, CupsSpooler
from rig.cups import Cups, Printer
from rig.pdf import one_page

LIBRARIES: Final = ("sqlalchemy", "uvloop")
GOAL: Final = 1.3
_PSEUDONYM: Final = "0" * 32
_LIMIT_S: Final = 20.0
_LOOK_S: Final = 0.002
_SIDES: Final = ("ours", "answered", "floor")


@dataclass(frozen=True, slots=True)
class Size:
    """How many rounds, how many documents of each side in a round, at how many printers in turn.

    A printer is busy with cupsd for about a second after each document.
    """

    rounds: int = 7
    documents: int = 10
    printers: int = 8


@dataclass(slots=True)
class _Times:
    """Milliseconds from the call to the complete document, and to the answer for the person."""

    ours: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def run(size: Size = Size()) -> Report:  # frozen
    """Measure.

    Raises:
        RigError: CUPS is not installed, or this is not root; one sentence.
        BenchError: a document was not printed.
    """
    report = Report("print", libraries=LIBRARIES, rows=[load_row()])
    names = [f"mfp{number}" for number in range(1, size.printers + 1)]
    with tempfile.TemporaryDirectory(prefix="print-") as name, Cups(POLICIES, names) as cups:
        rounds = uvloop.run(_measure(cups, Path(name), size))
    ours, answered, floor = ([time for times in rounds for time in getattr(times, side)] for side in _SIDES)
    ratios = [statistics.median(times.ours) / statistics.median(times.floor) for times in rounds]
    report.rows += [
        spread("release called to document complete", ours, "ms"),
        spread("release called to answer for the person", answered, "ms"),
        spread("the same requests, encoded before, to document complete", floor, "ms"),
        {
            "case": "rounds",
            "rounds": len(rounds),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
        },
    ]
    report.ratios.append(
        Ratio("document complete, against the bare requests", statistics.median(ratios), GOAL, at_least=False)
    )
    return report


async def _measure(cups: Cups, folder: Path, size: Size) -> list[_Times]:
    databases = open_databases(f"sqlite:///{folder / 'stores'}")
    upgrade(databases)
    recorder = Recorder(databases.record)
    recorder.start()
    measurement = _Measurement(cups, folder, recorder)
    try:
        # The first documents load what all later ones find loaded.
        await measurement.round(len(cups.printers))
        return [await measurement.round(size.documents) for _ in range(size.rounds)]
    finally:
        await measurement.close()
        recorder.stop()
        databases.close()


class _Measurement:
    """Both sides at the same printers, one document after the other."""

    def __init__(self, cups: Cups, folder: Path, recorder: Recorder) -> None:
        self._cups = cups
        self._recorder = recorder
        self._document = folder / "document.pdf"
        self._document.write_bytes(one_page("Bescheid"))
        self._spooler = CupsSpooler(CupsSettings(socket=cups.socket))
        # Sees what the queues do; the printers themselves are done long before.
        self._onlooker = CupsSpooler(CupsSettings(socket=cups.socket, ask_devices=False))
        self._printing = PrintRelease(self._spooler, {name: name for name in cups.printers})
        user = pwd.getpwuid(0).pw_name
        self._kept = to_cups(cups.socket, user)
        self._turn = 0

    async def round(self, documents: int) -> _Times:
        """Measure so many documents of each side, in turn."""
        times = _Times()
        for _ in range(documents):
            ours, answered = await self._once(self._release)
            times.ours.append(ours)
            times.answered.append(answered)
            floor, _ = await self._once(self._release_bare)
            times.floor.append(floor)
        return times

    async def close(self) -> None:
        """Disconnect."""
        self._kept.close()
        await self._spooler.close()
        await self._onlooker.close()

    async def _once(self, release: Callable[[Printer, int], Awaitable[tuple[int, int]]]) -> tuple[float, float]:
        """Send a document, release it; return the milliseconds to the document and to the answer."""
        self._turn += 1
        printer = list(self._cups.printers.values())[self._turn % len(self._cups.printers)]
        await self._idle(printer)
        before = set(printer.documents())
        job = await asyncio.to_thread(self._cups.submit, self._cups.users[0], self._document)
        began_ns, answered_ns = await release(printer, job)
        async with _limit("the document"):
            while len(printer.documents()) == len(before):  # noqa: ASYNC110  # another program's folder
                await asyncio.sleep(_LOOK_S)
        (arrived,) = set(printer.documents()) - before
        return (Printer.arrived_ns(arrived) - began_ns) / 1e6, (answered_ns - began_ns) / 1e6

    async def _release(self, printer: Printer, _: int) -> tuple[int, int]:
        event = f"bench/1/{self._turn}"
        began_ns = time.time_ns()
        answer = await self._printing.release(
            event, self._cups.users[0], _PSEUDONYM, printer.name, self._recorder.submit_here
        )
        answered_ns = time.time_ns()
        if (answer.code, answer.released) != (Code.RELEASED, 1):
            raise BenchError(f"a tap ended otherwise: {answer.code}")
        return began_ns, answered_ns

    async def _release_bare(self, printer: Printer, job: int) -> tuple[int, int]:
        device = to_printer(printer.uri)
        try:
            floor = Floor(self._kept, device, printer.uri)
            floor.prepare(job, self._cups.queue, printer.name)
            began_ns = time.time_ns()
            floor.release()
            return began_ns, time.time_ns()
        finally:
            device.close()

    async def _idle(self, printer: Printer) -> None:
        """Wait until cupsd has done with the printer's last document, and the printer too."""
        async with _limit("an idle printer"):
            while (await self._onlooker.printer(printer.name)).condition != "idle":  # noqa: ASYNC110  # cupsd tells nobody
                await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def _limit(awaited: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LIMIT_S):
            yield
    except TimeoutError:
        raise BenchError(f"{awaited} did not come within {_LIMIT_S:.0f} s") from None
