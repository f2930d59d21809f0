# SPDX-License-Identifier: EUPL-1.2
"""The wire between agent and centre under bent, made-up and heavy frames: a message or a refusal, and soon."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from faults.fuzz_bounds import MAX_PEAK_BYTES, Parser, feed, hold_to_memory, hold_to_time, left_behind
from faults.fuzz_frames import DECODERS, bend_json, dump, frames, golden, heavy, sampler
from support.command import python_environment

from cardservice.agents.messages import MAX_MESSAGE_BYTES, MessageRefused, encode

SIDES = ("agent", "centre")
PEAK = Path(__file__).with_name("fuzz_peak.py")


def decoder(side: str) -> Parser:
    """What reads the frames of `side`: what it takes means the same when sent on, what it refuses is one sentence."""
    decode = DECODERS[side]

    def parse(frame: bytes) -> None:
        try:
            message = decode(frame)
        except MessageRefused as refused:
            # A cause would repeat the frame.
            if len(str(refused)) > 400 or refused.__cause__ is not None:
                raise AssertionError("the refusal says too much") from refused
            raise
        assert decode(encode(message)) == message

    return Parser(f"frames from the {side}", parse, (MessageRefused,))


@pytest.mark.parametrize("side", SIDES)
def test_whatever_is_on_the_wire_a_message_or_a_refusal_comes_out(side, dice, scale, report):
    """Nothing else leaves the decoders, no frame costs more than 50 ms of CPU; each side gets the other's, too."""
    count = scale.of(3_000, 200_000)
    tallies = {other: feed(decoder(side), frames(other, dice), count) for other in SIDES}
    assert tallies[side].taken > count / 50, "too few frames get past the first check to prove anything"
    report(
        f"frames to the decoder of the {side}'s messages",
        inputs=sum(tally.inputs for tally in tallies.values()),
        taken=sum(tally.taken for tally in tallies.values()),
        slowest_us=max(tally.slowest_us for tally in tallies.values()),
    )


@pytest.mark.parametrize("side", SIDES)
def test_every_message_within_its_bounds_is_taken(side, dice, scale, report):
    """All that the schema of the wire allows is read, whatever the characters, at the edges too."""
    made, count = sampler(side, dice), scale.of(50, 5_000)
    for kind in made.kinds:
        for _ in range(count):
            frame = dump(dice, made.message(kind))
            assert len(frame) > MAX_MESSAGE_BYTES or DECODERS[side](frame).type == kind
    report(f"messages at their bounds from the {side}", messages=count * len(made.kinds))


@pytest.mark.parametrize("one", heavy(), ids=lambda one: one.name)
def test_a_heavy_frame_costs_little(one):
    """50 ms of CPU and 64 MiB at most, whichever side gets it."""
    for side in SIDES:
        hold_to_time(decoder(side), one.frame)
        hold_to_memory(decoder(side), one.frame)


def test_heavy_frames_cost_little_native_memory(report):
    """Counted by the operating system in a process of its own, since the parser does not allocate in Python."""
    said = subprocess.run(
        [sys.executable, str(PEAK)],
        capture_output=True,
        check=True,
        timeout=60,
        env=python_environment(),
    )
    found = json.loads(said.stdout)
    assert found["frames"] == len(heavy())
    assert found["grown_kib"] <= MAX_PEAK_BYTES >> 10
    report("memory for heavy frames", **found)


@pytest.mark.parametrize("side", SIDES)
def test_frames_leave_nothing_behind(side, dice, scale, report):
    """After 10,000 frames as much memory is in use as before."""
    count = scale.of(600, 10_000)
    left = left_behind(decoder(side), frames(side, dice), count)
    report(f"memory left behind by frames from the {side}", frames=count, bytes=left)


@pytest.mark.parametrize("side", SIDES)
def test_a_text_is_read_like_its_bytes(side, dice, scale):
    """A WebSocket library may hand over either; both mean the same, or are both refused."""
    known = golden(side)
    for _ in range(scale.of(1_000, 50_000)):
        spelled = json.dumps(bend_json(dice, json.loads(dice.choice(known))), ensure_ascii=False)
        read = [_read(side, spelled), _read(side, spelled.encode("utf-8", "surrogatepass"))]
        assert read[0] == read[1]


def _read(side: str, frame: str | bytes) -> object:
    try:
        return DECODERS[side](frame)
    except MessageRefused:
        return None
