# SPDX-License-Identifier: EUPL-1.2
"""What one agent may ask: a bounded rate, and nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from cardservice.agents.limits import RecentSequences, TokenBucket


class SetClock:
    """A clock a test sets."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ms(self) -> int:
        return 0

    def monotonic_ns(self) -> int:
        return self.ns


def test_a_burst_passes_then_the_rate_holds():
    """Five at once, afterwards two a second, never more than the burst however long it was quiet."""
    clock = SetClock()
    bucket = TokenBucket(per_s=2, burst=5, clock=clock)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    clock.ns += 500_000_000
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.ns += 3_600_000_000_000
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]


@given(pauses_ms=st.lists(st.integers(0, 400), max_size=200))
def test_over_any_time_no_more_pass_than_rate_and_burst_allow(pauses_ms):
    clock = SetClock()
    bucket = TokenBucket(per_s=20, burst=10, clock=clock)
    passed = 0
    for pause_ms in pauses_ms:
        clock.ns += pause_ms * 1_000_000
        passed += bucket.take()
    assert passed <= 10 + clock.ns * 20 / 1e9


@given(sequences=st.lists(st.integers(1, 60), max_size=200))
def test_each_number_is_new_once(sequences):
    """In whatever order they come, as long as none is far behind."""
    recent = RecentSequences()
    seen: set[int] = set()
    for sequence in sequences:
        assert recent.is_new(sequence) == (sequence not in seen)
        seen.add(sequence)


def test_a_number_far_behind_is_never_new():
    """What is no longer remembered may have been seen; memory stays bounded."""
    recent = RecentSequences()
    for sequence in range(1, 10_001):
        assert recent.is_new(sequence)
    assert not recent.is_new(1)
    assert not recent.is_new(9_000)
    assert recent.is_new(10_001)
    assert len(recent._seen) < 3_000


def test_a_jump_ahead_closes_the_way_back():
    recent = RecentSequences()
    assert recent.is_new(2**52)
    assert not recent.is_new(5)
