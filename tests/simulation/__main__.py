# SPDX-License-Identifier: EUPL-1.2
"""Play worlds by hand: `PYTHONPATH=tests:hardware-sim python -m simulation --seed 4711 --days 7 --trace FILE`."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from simulation.place import scratch
from simulation.town import Town
from simulation.trace import Violation
from simulation.world import Options, World


def main() -> int:
    """Play the worlds asked for; print the hash of each, or what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--trace", type=Path)
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        town = Town(Path(folder))
        for seed in range(arguments.seed, arguments.seed + arguments.worlds):
            began = time.process_time()
            world = World(seed, arguments.days, town, Options(keep_trace=arguments.trace is not None))
            try:
                found = world.play()
            except Violation as violation:
                failed += 1
                sys.stderr.write(f"seed {seed}: {violation}\n")
            else:
                sys.stdout.write(f"{seed} {found.trace} {time.process_time() - began:.2f} s {found.numbers}\n")
            if arguments.trace is not None:
                world.trace.write(arguments.trace)
        town.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
