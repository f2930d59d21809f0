# SPDX-License-Identifier: EUPL-1.2
"""Many worlds, one after the other or in several processes."""

import gc
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from simulation.place import scratch
from simulation.town import Town
from simulation.trace import Violation
from simulation.world import World


@dataclass(slots=True)
class Campaign:
    """What was found in many worlds: the hash of each, what was broken, and how much happened."""

    traces: dict[int, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0

    def take(self, other: "Campaign") -> None:
        """Add what another part found."""
        self.traces |= other.traces
        self.broken += other.broken
        self.numbers += other.numbers
        self.cpu_s += other.cpu_s


@contextmanager
def tidied_up_between() -> Iterator[Callable[[], object]]:
    """Look for garbage only when asked: what was loaded before stays anyway, and a world ends soon."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield gc.collect
    finally:
        gc.enable()
        gc.unfreeze()


def play(seeds: Iterable[int], days: float) -> Campaign:
    """Play one world for each seed; go on after a broken promise."""
    found = Campaign()
    began_s = time.process_time()
    with tidied_up_between() as tidy_up, tempfile.TemporaryDirectory(dir=scratch()) as folder:
        town = Town(Path(folder))
        for seed in seeds:
            _play_one(found, World(seed, days, town))
            tidy_up()
        town.close()
    found.cpu_s = time.process_time() - began_s
    return found


def _play_one(found: Campaign, world: World) -> None:
    try:
        one = world.play()
    except Violation as violation:
        found.broken.append(str(violation))
    else:
        found.traces[one.seed] = one.trace
        found.numbers.update(one.numbers)


def play_in_processes(seeds: Sequence[int], days: float, processes: int) -> Campaign:
    """Play one world for each seed, spread over some processes."""
    parts = [(seeds[number::processes], days) for number in range(processes)]
    found = Campaign()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for part in pool.starmap(play, parts):
            found.take(part)
    return found
