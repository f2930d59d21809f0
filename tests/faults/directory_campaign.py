# SPDX-License-Identifier: EUPL-1.2
"""All faults of a directory, in several cities side by side: most of the time is waiting, and waiting needs no core."""

import random
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from faults.directory_city import directory_city
from faults.directory_faults import FAULTS, Observed, observe

# The city in which connections go through a wire that can be cut.
WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Size:
    """How many people each city has, how often each fault happens, and how long a test waits for its fault."""

    people: int
    rounds: int
    limit_s: float


class Campaign:
    """Lets the `lanes` run, each in a thread and a city of its own; `observed` waits for one fault."""

    def __init__(self, folder: Path, lanes: Mapping[str, Sequence[str]], size: Size, seed: int) -> None:
        self._size = size
        self._stop = threading.Event()
        self._found: dict[str, Future[list[Observed]]] = {name: Future() for lane in lanes.values() for name in lane}
        self._threads = [
            threading.Thread(
                target=self._run, args=(folder / name, lane, random.Random(f"{seed} {name}"), name == WIRE), name=name
            )
            for name, lane in lanes.items()
            if lane
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, folder: Path, lane: Sequence[str], dice: random.Random, relayed: bool) -> None:
        """One city: each fault of the lane in turn; a fault that cannot be ended takes the later ones with it."""
        try:
            with directory_city(folder, self._size.people, dice, relayed=relayed) as city:
                for name in lane:
                    found = [observe(city, FAULTS[name]) for _ in range(self._size.rounds) if not self._stop.is_set()]
                    self._found[name].set_result(found)
        except BaseException as error:  # noqa: BLE001 - whatever it is, every test that waits must fail with it
            for name in lane:
                if not self._found[name].done():
                    self._found[name].set_exception(error)

    def observed(self, name: str) -> list[Observed]:
        """Return what was seen of a fault, one for each round, once it is over."""
        return self._found[name].result(self._size.limit_s)

    def close(self) -> None:
        """End after the faults under way."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
