# SPDX-License-Identifier: EUPL-1.2
"""Agents and centre in a simulated world: virtual time, a network that loses, programs that die at any step.

`tests/simulation` is the world, and watches what is promised: each tap at the centre exactly once and as the agent
kept it, nothing forgotten before it is on the centre's disk, no door open without a right of that moment, nobody kept
out without a reason, journals whole, and everybody back at work once the faults are over.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.conftest import FULL_TIMEOUT_S, Scale
from simulation.campaign import Campaign, play_in_processes
from simulation.defects import DEFECTS
from simulation.place import scratch
from simulation.town import Town
from simulation.trace import Violation
from simulation.world import Options, World

ROOT = Path(__file__).resolve().parents[2]
REPLAY_DAYS = 3
# A planted defect shows in one of the first worlds, the rarest in one of eight, or something is wrong with them.
DEFECT_WORLDS = 40
DEFECT_DAYS = 3


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        made = Town(Path(folder))
        yield made
        made.close()


@pytest.mark.timeout(FULL_TIMEOUT_S)
def test_worlds_of_faults_break_no_promise(scale: Scale, seed: int, report: Callable[..., None]) -> None:
    """25 worlds of a week, or 1,000 of two weeks, and not one promise broken in any."""
    worlds, days = scale.of(25, 1_000), scale.of(7, 14)
    seeds = range(seed, seed + worlds)
    found = play_in_processes(seeds, days, 2)
    report("simulated worlds", worlds=worlds, days=days, broken=len(found.broken), **_counts(found))
    assert not found.broken, f"{len(found.broken)} of {worlds} worlds\n" + "\n".join(found.broken[:3])
    # Worlds in which little happens prove little.
    assert found.numbers["crashes"] > 5 * worlds
    assert found.numbers["cuts"] > 3 * worlds
    assert found.numbers["let in as expected"] > 40 * worlds


def _counts(found: Campaign) -> dict[str, int]:
    return dict(found.numbers) | {"cpu seconds": round(found.cpu_s)}


def test_a_world_is_the_same_every_time(seed: int, town: Town) -> None:
    """The same seed gives the same trace: after other worlds, in a new process, and with other hashes of texts."""
    here = [World(one, REPLAY_DAYS, town).play().trace for one in (seed + 1, seed)]
    elsewhere = [_replayed(seed, hashes) for hashes in ("1", "20261122")]
    assert elsewhere == [here[1], here[1]]
    assert here[0] != here[1]


def _replayed(seed: int, hashes: str) -> str:
    paths = (ROOT, ROOT / "hardware-sim", ROOT / "tests")
    result = subprocess.run(
        [sys.executable, "-m", "simulation", "--seed", str(seed), "--days", str(REPLAY_DAYS)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONHASHSEED": hashes},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return result.stdout.split()[1]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_noticed(name: str, town: Town) -> None:
    """Each of these breaks one promise of the product on purpose; the worlds say which."""
    plant, expected = DEFECTS[name]
    for seed in range(1, DEFECT_WORLDS + 1):
        world = World(seed, DEFECT_DAYS, town, Options(eventful=True))
        with plant(), contextlib.suppress(Violation):
            world.play()
        if world.trace.violation is not None:
            break
    said = str(world.trace.violation)
    assert re.search(expected, said.splitlines()[0])
    assert f"--seed {seed} " in said
