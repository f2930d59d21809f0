# SPDX-License-Identifier: EUPL-1.2
"""A worker runs one call at a time, in order, and says when it hangs."""

import threading

import pytest

from readers.errors import WorkerBusy
from readers.worker import Worker


async def test_calls_run_in_order_in_one_thread_and_errors_come_back():
    worker = Worker("w")
    seen: list[tuple[int, int]] = []
    for number in range(3):
        await worker.call(lambda number=number: seen.append((number, threading.get_ident())))
    assert [number for number, _ in seen] == [0, 1, 2]
    assert len({thread for _, thread in seen} - {threading.get_ident()}) == 1
    with pytest.raises(ZeroDivisionError):
        await worker.call(lambda: 1 // 0)
    assert await worker.call(lambda: 7) == 7
    assert worker.stop(timeout_s=5) is True


async def test_a_hanging_worker_takes_only_so_much():
    """Then it refuses at once instead of growing; what was queued still runs when it is free."""
    worker, gate, done = Worker("w", max_waiting=2), threading.Event(), []
    started = threading.Event()
    worker.submit(lambda: started.set() or gate.wait(30))
    started.wait()
    worker.submit(lambda: done.append(1))
    worker.submit(lambda: done.append(2))
    with pytest.raises(WorkerBusy, match="hangs"):
        worker.submit(lambda: done.append(3))
    assert worker.stop(timeout_s=0) is False
    gate.set()
    assert worker.stop(timeout_s=5) is True
    assert done == [1, 2]
    with pytest.raises(WorkerBusy, match="stopped"):
        worker.submit(lambda: done.append(4))
