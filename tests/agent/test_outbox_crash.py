# SPDX-License-Identifier: EUPL-1.2
"""kill -9 at any moment: what the outbox said is durable is there, once, and no id is ever given twice."""

import os
import random
import subprocess
import sys
from pathlib import Path

from readers.outbox import Outbox

HERE = Path(__file__).parent
ROUNDS = 6


def run_and_kill(file: Path, lines: int) -> list[tuple[str, int, int]]:
    """Let a writer say `lines` things, kill it, and return everything it said."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "outbox_writer.py"), str(file)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE.parent.parent)},
        text=True,
    )
    with process:
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    return [(word, int(epoch), int(sequence)) for word, epoch, sequence in map(str.split, said) if sequence]


def test_killed_at_random_moments(tmp_path):
    """Epochs grow, sequences never repeat, open taps become `abandoned`, unacknowledged reports are all still there."""
    file = tmp_path / "outbox.sqlite"
    dice = random.Random(20261122)
    said: list[tuple[str, int, int]] = []
    for _ in range(ROUNDS):
        said += run_and_kill(file, dice.randrange(2, 80))
    epochs = [epoch for word, epoch, _ in said if word == "epoch"]
    assert epochs == sorted(set(epochs))
    assert len(epochs) == ROUNDS
    opened = [(epoch, sequence) for word, epoch, sequence in said if word == "opened"]
    assert len(opened) == len(set(opened))
    outbox = Outbox.open(file, "agent-1", at_ms=1_760_000_000_000)
    assert outbox.epoch > epochs[-1]
    pending = {(event.event.epoch, event.event.sequence): event.outcome for event in outbox.pending(100_000)}
    outbox.close()
    words = {
        word: {(epoch, sequence) for said_word, epoch, sequence in said if said_word == word} for word, _, _ in said
    }
    may_be_forgotten = words.get("acknowledging", set())
    for event in set(opened) - may_be_forgotten:
        assert event in pending, f"{event} was durable and is lost"
        assert pending[event] == "shown" if event in words["finished"] else pending[event] in {"abandoned", "shown"}
    assert not words.get("acknowledged", set()) & pending.keys()
    for epoch in epochs:
        mine = sorted(sequence for of, sequence in {*opened, *pending} if of == epoch)
        assert mine == list(range(1, len(mine) + 1)), "a sequence has a gap"
