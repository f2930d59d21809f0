# SPDX-License-Identifier: EUPL-1.2
"""Writes taps into an outbox until it is killed, and says each thing only after the outbox said it is durable."""

import sys
from pathlib import Path

from cardservice.agents.messages import TapEvent
from readers.outbox import Outbox


def say(word: str, epoch: int, sequence: int) -> None:
    sys.stdout.write(f"{word} {epoch} {sequence}\n")
    sys.stdout.flush()


def main() -> None:
    outbox = Outbox.open(Path(sys.argv[1]), "agent-1", at_ms=1_760_000_000_000)
    say("epoch", outbox.epoch, 0)
    while True:
        event = outbox.open_tap("door-1", 1)
        say("opened", event.epoch, event.sequence)
        if event.sequence % 5 == 0:
            continue
        outbox.finish(TapEvent(event=event, point="door-1", at_ms=1, outcome="shown"))
        say("finished", event.epoch, event.sequence)
        if event.sequence % 3 == 0:
            say("acknowledging", event.epoch, event.sequence)
            outbox.acknowledged([event])
            say("acknowledged", event.epoch, event.sequence)


if __name__ == "__main__":
    main()
