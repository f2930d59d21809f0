# SPDX-License-Identifier: EUPL-1.2
"""A thread that works for long pauses again and again; one that works little does not."""

import threading
import time
from collections.abc import Callable

import pytest

from cardservice import courtesy

PAUSE_S = 0.000_25


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause that was asked for; none is made."""
    asked: list[float] = []
    monkeypatch.setattr(courtesy.time, "sleep", asked.append)
    return asked


def in_a_thread(work: Callable[[], None]) -> None:
    """Do something in a thread that has done nothing before."""
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def work(for_s: float) -> None:
    """Use so much processor time, giving way at each step."""
    until_ns = time.thread_time_ns() + round(for_s * 1e9)
    while time.thread_time_ns() < until_ns:
        courtesy.give_way()


def test_long_work_leaves_half_of_the_time_to_others(pauses: list[float]) -> None:
    """Once it is long, every quarter of a millisecond of work is followed by a pause as long."""
    in_a_thread(lambda: work(0.1))
    # What takes longer than a step is followed by one pause too; what was waited for meanwhile is worth some steps.
    assert 100 < len(pauses) <= 400
    assert set(pauses) == {PAUSE_S}


def test_short_work_is_not_held_up(pauses: list[float]) -> None:
    """A single change waits for nobody."""
    in_a_thread(lambda: work(0.003))
    assert pauses == []


def test_who_has_waited_may_work_again(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """After long work and a tenth of a second, a single change waits for nobody again."""

    def twice() -> None:
        work(0.05)
        assert pauses
        now_ns = time.monotonic_ns()
        monkeypatch.setattr(courtesy.time, "monotonic_ns", lambda: now_ns + 100_000_000)
        # The first look brings the credit back.
        work(0.000_5)
        pauses.clear()
        work(0.003)

    in_a_thread(twice)
    assert pauses == []
