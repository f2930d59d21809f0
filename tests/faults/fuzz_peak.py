# SPDX-License-Identifier: EUPL-1.2
"""A process of its own that reads every heavy frame and says how much its memory grew, native allocations included.

Run by `test_fuzz_messages`; one JSON object comes out.
"""

import contextlib
import json
import resource
import sys

from faults.fuzz_frames import DECODERS, golden, heavy

from cardservice.agents.messages import MessageRefused


def peak_kib() -> int:
    """Return the most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_all(frames: list[bytes]) -> None:
    """Give every frame to both sides."""
    for frame in frames:
        for decode in DECODERS.values():
            with contextlib.suppress(MessageRefused):
                decode(frame)


def main() -> None:
    """Read ordinary frames, then the heavy ones, and print the growth."""
    read_all(golden("agent") + golden("centre"))
    frames = [one.frame for one in heavy()]
    before = peak_kib()
    read_all(frames)
    sys.stdout.write(json.dumps({"frames": len(frames), "grown_kib": peak_kib() - before}))


if __name__ == "__main__":
    main()
