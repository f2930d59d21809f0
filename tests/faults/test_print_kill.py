# SPDX-License-Identifier: EUPL-1.2
"""kill -9 between any two steps of a release: nothing is printed twice, nothing is forgotten, nothing is foreign."""

import json
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from faults.print_driver import NEVER, Tap
from support.cups import texts, write_pdf
from support.lives import Lives
from support.waiting import wait_until

from cardservice.database import Databases, open_databases, upgrade
from cardservice.printing.store import print_release
from integrations.cups import POLICIES
from rig.cups import Cups

pytestmark = pytest.mark.cups
ANNA, BERND = Cups.users[:2]
PRINTERS = ("mfp1", "mfp2", "mfp3", "mfp4", "mfp5", "mfp6")
POINTS = {f"printer.{name}": name for name in PRINTERS}
DOCUMENTS_A_TAP = 2
# A tap with two documents has 48 steps at most; what is beyond the last one survives.
STEPS = 48
# cupsd prints one document after the other at each printer, about one a second.
PRINT_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where it happens: a folder with the record in it, and who taps."""

    folder: Path
    databases: Databases
    driver: Lives

    def tap(self, cups: Cups, event: str, at: int, dies_at: int) -> int:
        """Anna taps at the `at`-th printer, counted round and round; return the exit code, or minus the signal."""
        point = list(POINTS)[at % len(POINTS)]
        database = f"sqlite:///{self.folder / 'stores'}"
        wanted = Tap(database, str(cups.socket), POINTS, ANNA, point, event, dies_at)
        life = self.driver.begin(json.dumps(asdict(wanted)))
        assert list(life) == []
        return life.exit_code

    def send(self, cups: Cups, user: str, text: str) -> None:
        cups.submit(user, write_pdf(self.folder / "sent.pdf", text))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    databases = open_databases(f"sqlite:///{tmp_path / 'stores'}")
    upgrade(databases)
    with Lives(Path(__file__).with_name("print_driver.py")) as driver:
        yield Place(tmp_path, databases, driver)
    databases.close()


def on_record(databases: Databases) -> Counter[str]:
    with databases.record.connect() as connection:
        return Counter(connection.execute(sa.select(print_release.c.state)).scalars())


def printed(cups: Cups) -> list[str]:
    return sorted(text for printer in cups.printers.values() for text in texts(printer))


def is_idle(cups: Cups) -> bool:
    """No printer's queue has anything left."""
    jobs = cups.run_as("root", "lpstat", "-o")
    return not any(line.startswith(PRINTERS) for line in jobs.splitlines())


def moments(cycles: int, dice) -> Sequence[int]:
    """Every step is met once before one is met again."""
    steps: list[int] = []
    while len(steps) < cycles:
        steps += dice.sample(range(1, STEPS + 1), STEPS)
    return steps[:cycles]


def test_a_release_that_is_killed_prints_nothing_twice_and_forgets_nothing(place, scale, dice, report):
    """A tap dies before a step; the next, at another printer, prints what is left: each document once in the end."""
    cycles, killed, expected = scale.of(6, 240), 0, []
    with Cups(POLICIES, printers=PRINTERS) as cups:
        place.send(cups, BERND, "foreign")
        for cycle, step in enumerate(moments(cycles, dice)):
            sent = [f"{cycle}-{number}" for number in range(DOCUMENTS_A_TAP)]
            expected += sent
            for text in sent:
                place.send(cups, ANNA, text)
            ended = place.tap(cups, f"killed/1/{cycle}", 2 * cycle, step)
            assert ended in (0, -signal.SIGKILL)
            killed += ended != 0
            assert place.tap(cups, f"again/1/{cycle}", 2 * cycle + 1, NEVER) == 0
        wait_until(lambda: is_idle(cups), PRINT_LIMIT_S * max(1, cycles / 40), every_s=0.2)
        found, states = printed(cups), on_record(place.databases)
    report(
        "kill -9 between two steps of a release",
        cycles=cycles,
        killed=killed,
        documents=len(expected),
        printed=len(found),
        printed_twice=len(found) - len(set(found)),
        lost=len(set(expected) - set(found)),
        left_open=states["asked"],
    )
    assert found == sorted(expected)
    assert states == {"released": len(expected)}
    assert killed >= cycles / 2
