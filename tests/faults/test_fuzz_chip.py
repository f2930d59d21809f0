# SPDX-License-Identifier: EUPL-1.2
"""Everything that reads a card's bytes: its own errors or an answer, soon, in little memory, whatever the card says."""

import inspect
import itertools
import os
import pkgutil
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from faults.fuzz_bounds import Parser, feed, hold_to_memory, left_behind
from faults.fuzz_cards import HEAVY_CONTENTS, bend_answer, heavy_content
from faults.fuzz_chip import EVERYTHING, READERS, SEEDS, TALKS, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.chip.hostile import scripts

import cardservice.chip
from cardservice.chip import tlv
from cardservice.chip.tlv import Tlv

ROOT = Path(__file__).parents[2]
READ_FROM_BYTES = "from_bytes"
MAX_RSS_MB = 1_024
MAX_INPUT_SECONDS = 5
# 32,000 objects: a reader that looks at all of them for each takes half a minute. One pass takes 50 ms, the reader of
# public keys makes four of them, and a busy machine needs three times as long.
MAX_HEAVY_SECONDS = 2.0
CONTAINERS = (0x53, 0x61, 0x7C, 0x7F49)
QUIET = {"max_examples": 100, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def test_every_reader_of_the_card_language_is_fed():
    """Whatever has `from_bytes` is in the table: a new one has to be given its place here."""
    modules = [
        import_module(f"cardservice.chip.{module.name}") for module in pkgutil.iter_modules(cardservice.chip.__path__)
    ]
    classes = {
        thing
        for module in modules
        for _, thing in inspect.getmembers(module, inspect.isclass)
        if thing.__module__.startswith("cardservice.chip") and READ_FROM_BYTES in vars(thing)
    }
    fed = {getattr(reader.parse, "__self__", None) for reader in READERS}
    assert classes <= fed
    assert len(classes) >= 10


@pytest.mark.parametrize("reader", EVERYTHING.values(), ids=EVERYTHING)
def test_every_reader_takes_what_it_is_made_for(reader):
    """Each seed, so that none of the campaigns begins with nothing but refusals; and no seed without a reader."""
    own = list(seeds(reader.name))
    assert own
    assert [reader.takes(seed) for seed in own] == [True] * len(own)
    assert {file.name.split(".")[0] for file in SEEDS.glob("*.bin")} == set(EVERYTHING)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_any_bytes_are_read_or_refused(reader):
    @settings(**QUIET)
    @given(st.binary(max_size=512) | st.sampled_from(list(seeds(reader.name))).flatmap(cut))
    def read(data: bytes) -> None:
        reader.takes(data)

    read()


def cut(seed: bytes) -> st.SearchStrategy[bytes]:
    """A seed with a piece of it replaced."""
    places = st.integers(0, len(seed))
    return st.builds(lambda at, until, middle: seed[:at] + middle + seed[until:], places, places, st.binary(max_size=8))


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_any_answers_are_believed_or_refused(talk):
    @settings(**QUIET)
    @given(scripts)
    def converse(script: list[bytes]) -> None:
        talk.takes(b"".join(len(answer).to_bytes(2, "big") + answer for answer in script))

    converse()


def bent(dice: random.Random, reader: Parser) -> Iterator[bytes]:
    """A reader's seeds bent one to three times, without end."""
    own = list(seeds(reader.name))
    while True:
        data = dice.choice(own)
        for _ in range(dice.randint(1, 3)):
            data = bend_answer(dice, data, own)
        yield data


@pytest.mark.parametrize("reader", EVERYTHING.values(), ids=EVERYTHING)
def test_bent_seeds_cost_little(reader, dice, scale):
    """Declared errors only, and 50 ms of CPU each."""
    assert feed(reader, bent(dice, reader), scale.of(200, 60_000)).inputs


def test_bent_seeds_leave_nothing_behind(dice, scale):
    """All readers in turn: memory is given back."""
    sources = [(reader, bent(dice, reader)) for reader in EVERYTHING.values()]
    turns = ((reader, next(source)) for reader, source in itertools.cycle(sources))
    everything = Parser("the card language", lambda turn: turn[0].takes(turn[1]), ())
    left_behind(everything, turns, scale.of(1_000, 30_000))


@pytest.mark.parametrize("name", HEAVY_CONTENTS)
def test_sixty_five_kilobytes_made_to_be_slow_cost_little(name):
    """Two seconds of CPU and 64 MiB at most, in whichever container a reader looks for them."""
    inner = tlv.descend(heavy_content(name), 0x53)
    for data in (inner, *(bytes(Tlv(tag, inner)) for tag in CONTAINERS)):
        for reader in READERS:
            began = time.process_time()
            reader.takes(data)
            assert time.process_time() - began <= MAX_HEAVY_SECONDS, reader.name
    for name_of_reader in ("tlv", "metadata", "certificate-object"):
        hold_to_memory(EVERYTHING[name_of_reader], inner)


# --- guided by coverage ------------------------------------------------------------------------------------------


def corpus(folder: Path) -> Path:
    """The seeds as the guided fuzzer takes them: behind the number of their reader."""
    folder.mkdir()
    for number, name in enumerate(EVERYTHING):
        for place, seed in enumerate(seeds(name)):
            (folder / f"{name}.{place}").write_bytes(bytes((number,)) + seed)
    return folder


def guided(tmp_path: Path, *arguments: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Runs the fuzzer for so long; what it finds stays in `tmp_path`."""
    limits = (f"-timeout={MAX_INPUT_SECONDS}", f"-rss_limit_mb={MAX_RSS_MB}", f"-max_total_time={seconds}")
    command = [sys.executable, "-m", "faults.fuzz_chip_guided", *arguments, *limits, "-print_final_stats=1"]
    path = os.pathsep.join(str(ROOT / folder) for folder in ("", "hardware-sim", "tests"))
    return subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=seconds + 90,
        check=False,
    )


@pytest.mark.atheris
def test_guided_by_coverage_nothing_but_refusals_is_found(tmp_path, scale, seed, report):
    """Seconds of libFuzzer over all readers: no other error, no input above 5 s, the process below 1 GiB."""
    found = guided(
        tmp_path, str(corpus(tmp_path / "corpus")), f"-seed={seed}", "-max_len=8192", seconds=scale.of(5, 1_800)
    )
    assert found.returncode == 0, found.stdout[-3_000:] + found.stderr[-6_000:]
    inputs = int(re.search(r"number_of_executed_units:\s+(\d+)", found.stderr)[1])
    covered = [int(edges) for edges in re.findall(r"\bcov: (\d+)", found.stderr)]
    assert inputs >= 500
    assert covered[-1] >= covered[0] > 200, "the card language is not instrumented"
    report("inputs guided by coverage to the card language", inputs=inputs, covered=covered[-1])


@pytest.mark.atheris
def test_guided_by_coverage_a_planted_defect_is_found(tmp_path, seed):
    """From nothing: a reader that believes a length is caught, and the input that did it is kept."""
    found = guided(tmp_path, "--planted", f"-seed={seed}", "-max_len=64", seconds=60)
    assert found.returncode != 0
    assert "IndexError" in found.stdout + found.stderr
    (kept,) = tmp_path.glob("crash-*")
    assert b"\x7c" in kept.read_bytes()
