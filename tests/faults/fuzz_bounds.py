# SPDX-License-Identifier: EUPL-1.2
"""What every parser owes whoever feeds it: an answer or a declared error, soon, and nothing left behind."""

import gc
import itertools
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

# CPU time of one input, the best of three: a collection of garbage is not the input's fault, nor is a neighbour on the
# same core. What grows with the square of its length takes a minute for the longest input.
MAX_INPUT_S = 0.15
MAX_PEAK_BYTES = 64 << 20
# What 10,000 inputs may leave behind: the JSON parser keeps 16,384 short texts, and fills that store little by little.
MAX_LEFT_BYTES = 1 << 20
BATCH = 200


@dataclass(frozen=True, slots=True)
class Parser:
    """A function under test and the errors it may raise."""

    name: str
    parse: Callable[[Any], Any]
    refusals: tuple[type[Exception], ...]

    def takes(self, given: Any) -> bool:
        """Parse `given`; tell whether it was taken. Any other error than a declared one goes through."""
        try:
            self.parse(given)
        except self.refusals:
            return False
        return True


@dataclass(slots=True)
class Tally:
    """What came of many inputs; `slowest_us` is known only of batches that were looked at closely."""

    inputs: int = 0
    taken: int = 0
    slowest_us: int = 0


def feed(parser: Parser, inputs: Iterable[Any], count: int) -> Tally:
    """Feed `count` of `inputs` to `parser`; fail at the first that is too slow or raises what is not declared."""
    tally, source = Tally(), iter(inputs)
    while tally.inputs < count:
        batch = list(itertools.islice(source, min(BATCH, count - tally.inputs)))
        assert batch, f"{parser.name}: no more inputs after {tally.inputs}"
        began = time.process_time()
        for given in batch:
            tally.taken += _takes(parser, given)
        took = time.process_time() - began
        tally.inputs += len(batch)
        # The whole batch within the time of one: no need to look at each.
        if took > MAX_INPUT_S:
            tally.slowest_us = max(tally.slowest_us, *(hold_to_time(parser, given) for given in batch))
    return tally


def hold_to_time(parser: Parser, given: Any) -> int:
    """Check the CPU time of one input; return it in microseconds."""
    best = MAX_INPUT_S + 1
    for _ in range(3):
        began = time.process_time()
        parser.takes(given)
        best = min(best, time.process_time() - began)
        if best <= MAX_INPUT_S:
            return int(best * 1e6)
    raise AssertionError(f"{parser.name}: {best * 1e3:.0f} ms for {given!r:.200} ({len(given)} long)")


def hold_to_memory(parser: Parser, given: Any) -> None:
    """Check how much memory one input takes at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        parser.takes(given)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= MAX_PEAK_BYTES, f"{parser.name}: {peak - before} bytes for one input"


def left_behind(parser: Parser, inputs: Iterable[Any], count: int) -> int:
    """Return how much more memory is in use after `count` inputs than after half as many before them."""
    source = iter(inputs)
    tracemalloc.start()
    try:
        before = _in_use_after(parser, itertools.islice(source, count // 2))
        left = _in_use_after(parser, itertools.islice(source, count)) - before
    finally:
        tracemalloc.stop()
    assert left <= MAX_LEFT_BYTES, f"{parser.name}: {left} bytes are left behind by {count} inputs"
    return left


def _in_use_after(parser: Parser, inputs: Iterable[Any]) -> int:
    for given in inputs:
        parser.takes(given)
    del given
    gc.collect()
    in_use, _ = tracemalloc.get_traced_memory()
    return in_use


def _takes(parser: Parser, given: Any) -> bool:
    try:
        return parser.takes(given)
    except Exception as error:
        error.add_note(f"{parser.name} was given {given!r:.2000}")
        raise
